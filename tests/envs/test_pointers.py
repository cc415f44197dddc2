import pickle

import numpy as np
import pytest

pytest.importorskip("numba", reason="the extra 'vector' is not installed")
from toolorch_env.envs.vector import stepping
from toolorch_env.envs.vector.copies import make_copies
from toolorch_env.envs.vector.pointers import Bound
from toolorch_env.envs.vocabulary import Vocabulary
from toolorch_env.store.snapshot import Snapshot


def successes(of: object) -> list[bool]:
    success, clean = np.zeros(5, bool), np.zeros(5, bool)
    of(success, clean)  # type: ignore[operator]
    return [*success.tolist(), *clean.tolist()]


def test_bound_functions_do_what_they_do_with_their_arguments(library_snapshot: Snapshot) -> None:
    copies = make_copies(Vocabulary(library_snapshot), 5, 4)
    copies.steps[:] = 1
    copies.finished[[0, 2, 4]] = True
    copies.complete[[0, 1, 2]] = 1
    copies.ordered[[0, 1, 2]] = 1
    copies.calls[2] = 3
    bound = Bound(stepping.successes, copies)
    expected = successes(lambda *arrays: stepping.successes(copies, *arrays))
    assert expected == [True, False, True, False, False, True, False, False, False, False]
    assert successes(bound) == expected
    assert successes(pickle.loads(pickle.dumps(bound))) == expected

    copies.finished[0] = False  # what is bound is the memory, not what it held
    assert not successes(bound)[0]
    other = make_copies(Vocabulary(library_snapshot), 5, 4)
    bound.bind(other)
    assert not any(successes(bound)[:5])


def test_structures_of_other_kinds_are_not_bound(library_snapshot: Snapshot) -> None:
    copies = make_copies(Vocabulary(library_snapshot), 5, 4)
    bound = Bound(stepping.successes, copies)
    with pytest.raises(AssertionError):
        bound.bind(copies._replace(steps=copies.steps.astype(np.int32)))
    with pytest.raises(AssertionError):
        bound.bind(copies._replace(atomic=copies.atomic[:, ::2]))
