"""The atomic score against its formula, written down once more."""

from typing import Any

import jsonschema_rs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rewards.strategies import calls, near_misses, play, tasks
from worlds import WORLD_NAMES, World, world

from toolorch_env.core.calls import Call, CanonicalCall
from toolorch_env.core.progress import Reference
from toolorch_env.core.responses import Response
from toolorch_env.rewards import AtomicReward
from toolorch_env.rewards.credit import NONE, AtomicWeights, atomic_credit, same_value

every_world = pytest.mark.parametrize("name", WORLD_NAMES)


def plain_atomic(here: World, call: CanonicalCall, wanted: CanonicalCall, response: Response) -> float:
    """The formula of the design, for default weights."""
    if call.tool != wanted.tool:
        return 0.0
    properties = here.snapshot.tools[call.tool].properties
    shared = sorted(set(call.arguments) & set(wanted.arguments))
    union = sorted(set(call.arguments) | set(wanted.arguments))
    overlap = len(shared) / len(union) if union else 1.0
    fitting = [name for name in shared if jsonschema_rs.is_valid(properties[name], call.arguments[name])]
    structure = overlap * len(fitting) / len(shared) if shared else overlap * (not union)
    equal = [name for name in shared if plainly_equal(call.arguments[name], wanted.arguments[name])]
    values = len(equal) / len(wanted.arguments) if wanted.arguments else 1.0
    return 0.2 + 0.2 * structure + 0.4 * values + 0.2 * (response.success and call.state == wanted.state)


def plainly_equal(left: Any, right: Any) -> bool:
    """Equal JSON values, fractions when they round to the same four decimals."""
    if isinstance(left, float) or isinstance(right, float):
        numbers = not isinstance(left, bool | str | None | list | dict) and not isinstance(
            right, bool | str | None | list | dict
        )
        return numbers and round(left, 4) == round(right, 4)
    return type(left) is type(right) and left == right


@every_world
@given(data=st.data())
def test_atomic_credit_follows_the_formula(name: str, data: st.DataObject) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    call = data.draw(near_misses(task))
    reference = Reference(task, here.snapshot.tools, here.replay.look_up)
    canonical = here.snapshot.tools.canonical(call)
    response = here.replay.answer(canonical)
    for step, wanted in enumerate(reference.calls):
        credit = atomic_credit(reference, step, canonical, response)
        assert credit.total(AtomicWeights()) == pytest.approx(plain_atomic(here, canonical, wanted, response))
        if canonical.tool != wanted.tool:
            assert credit == NONE
        elif not canonical.same_as(wanted):
            assert credit.total(AtomicWeights()) < 1.0


@every_world
@given(data=st.data())
def test_a_single_call_earns_the_best_atomic_score_over_the_reference(name: str, data: st.DataObject) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    episode = play(here, task, [[data.draw(calls(here, task))]], AtomicReward())
    step, reference = episode.steps[0], episode.reference
    if step.canonical is None:
        best = 0.0
    elif step.match.completes:
        best = 1.0
    else:
        best = max(plain_atomic(here, step.canonical, wanted, step.response) for wanted in reference.calls)
    assert step.score.potential == pytest.approx(best / len(reference.calls), abs=1e-9)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (Call("get_author", {"author_id": "A7"}), 1.0),
        (Call("get_author", {"author_id": "A8"}), 0.2 + 0.2 + 0.0 + 0.2),  # wrong value, answered
        (Call("get_author", {"author_id": "A999"}), 0.2 + 0.2 + 0.0 + 0.0),  # wrong value, not answered
        (Call("get_author", {"author_id": 7}), 0.2 + 0.0 + 0.0 + 0.0),  # does not fit
        (Call("get_author", {}), 0.2 + 0.0 + 0.0 + 0.0),  # missing
        (Call("get_author", {"author_id": "A7", "more": 1}), 0.2 + 0.1 + 0.4 + 0.0),  # extra
        (Call("opening_hours", {"weekday": "Monday"}), 0.0),  # another tool
    ],
)
def test_examples_worked_out_by_hand(call: Call, expected: float) -> None:
    here = world("library")
    task = here.generator.task("author_town/1/1068c872/7/2")
    assert task.reference[0].arguments == {"author_id": "A7"}
    episode = play(here, task, [[call]], AtomicReward())
    assert episode.steps[0].score.potential == pytest.approx(expected / 2, abs=1e-9)


scalars = st.none() | st.booleans() | st.integers(-50, 50) | st.floats(-50, 50) | st.sampled_from(["1", "1.0", "", "a"])


@given(left=scalars, right=scalars)
def test_same_value_compares_types_and_four_decimals(left: Any, right: Any) -> None:
    left, right = orjson.loads(orjson.dumps(left)), orjson.loads(orjson.dumps(right))
    assert same_value(left, right) == plainly_equal(left, right)
    assert same_value(left, right) == same_value(right, left)


@given(number=st.integers(-10_000, 10_000), noise=st.floats(-4e-5, 4e-5))
def test_fractions_that_round_alike_are_the_same_value(number: int, noise: float) -> None:
    exact = number + 0.1234
    assert same_value(exact, exact + noise)
    assert not same_value(exact, exact + 1.1e-4)
