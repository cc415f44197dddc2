"""Several generators as one, each with its share of the tasks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from math import isfinite
from typing import Any, Protocol, runtime_checkable

import numpy as np

from toolorch_env.core.draws import Draws
from toolorch_env.core.errors import ConfigurationError, ConstraintError, TaskError
from toolorch_env.core.tasks import Task
from toolorch_env.generation.constraints import TaskConstraints, read_constraints
from toolorch_env.generation.generator import TaskGenerator
from toolorch_env.store.snapshot import Snapshot

SEPARATOR = ":"
"""Stands between what a generator of generators puts before a task id, and the id."""


@runtime_checkable
class Reporting(Protocol):
    """A generator that learns from results. Environments tell it how each episode ended that it drew the task of."""

    def report(self, task_id: str, success: bool) -> None:
        """Takes note of a result.

        Raises:
            TaskError: this generator draws no such task.
        """
        ...


class Mixture:
    """Draws a generator by its weight, then a task from it.

    A generator that cannot satisfy the constraints is left out for these constraints; the others keep their
    proportions. Task ids are those of the generators with their name before them: ``published:17``. A mixture is a
    generator, and may be in a mixture.

    Args:
        members: generators and their weights, which are finite and above 0 and need not add up to 1.
        names: a name for each; by default their numbers.

    Raises:
        ConfigurationError: there are no members, weights or names are not valid, or two members draw from different
            snapshots.
    """

    def __init__(self, members: Sequence[tuple[TaskGenerator, float]], names: Sequence[str] = ()) -> None:
        pairs = _checked_pairs(members)
        self.members = tuple(generator for generator, _ in pairs)
        self.weights = tuple(weight for _, weight in pairs)
        self.names = _checked_names(names, len(pairs))
        self.snapshot = _common_snapshot(self.members)
        self._refusals: dict[Any, str] = {}

    def sample(self, rng: np.random.Generator, constraints: TaskConstraints | Mapping[str, Any] | None = None) -> Task:
        """A task drawn under constraints (see :class:`toolorch_env.generation.generator.TaskGenerator`)."""
        asked = read_constraints(constraints)
        draws = Draws(int(rng.integers(2**63)))
        left = list(range(len(self.members)))
        refusals: dict[int, str] = {}
        while left:
            index = self._choose(left, draws)
            drawn = self._drawn_from(index, draws.word(), asked)
            if isinstance(drawn, Task):
                return replace(drawn, id=f"{self.names[index]}{SEPARATOR}{drawn.id}")
            refusals[index] = drawn
            left.remove(index)
        told = "; ".join(f"{self.names[index]!r}: {why}" for index, why in sorted(refusals.items()))
        raise ConstraintError(f"no generator of the mixture satisfies the constraints ({told})")

    def task(self, task_id: str) -> Task:
        """The task of that id (see :class:`toolorch_env.generation.generator.TaskGenerator`)."""
        member, inner = self._member(task_id)
        return replace(member.task(inner), id=task_id)

    def report(self, task_id: str, success: bool) -> None:
        """Tells a result to the generator that drew the task, if it learns from results (see :class:`Reporting`)."""
        member, inner = self._member(task_id)
        if isinstance(member, Reporting):
            member.report(inner, success)

    def _choose(self, left: Sequence[int], draws: Draws) -> int:
        """One of the members that are left, by weight."""
        bounds = list(accumulate(self.weights[index] for index in left))
        point = (draws.word() >> 11) * 2.0**-53 * bounds[-1]
        return next((index for index, bound in zip(left, bounds, strict=True) if point < bound), left[-1])

    def _drawn_from(self, index: int, seed: int, asked: TaskConstraints) -> Task | str:
        """A task of a member, or why it has none. A generator of its own keeps refusals from moving what follows."""
        key = (index, asked, frozenset(asked.model_fields_set))
        if key in self._refusals:
            return self._refusals[key]
        member = self.members[index]
        try:
            return member.sample(np.random.default_rng(seed), asked)
        except ConstraintError as error:
            if not isinstance(member, Reporting):  # one that learns may draw another time
                self._refusals[key] = str(error)
            return str(error)

    def _member(self, task_id: str) -> tuple[TaskGenerator, str]:
        name, _, inner = task_id.partition(SEPARATOR)
        if name not in self.names:
            raise TaskError(f"the mixture has no task {task_id!r}: its ids begin with {_listed(self.names)}")
        return self.members[self.names.index(name)], inner


def learns(generator: TaskGenerator) -> bool:
    """Whether what a generator draws depends on the results that it was told."""
    if isinstance(generator, Mixture):
        return any(map(learns, generator.members))
    return isinstance(generator, Reporting)


def leaves(generator: TaskGenerator) -> Iterator[TaskGenerator]:
    """The generators that a generator of generators draws from in the end, in order; itself, if it is none."""
    members: tuple[TaskGenerator, ...] = getattr(generator, "members", ())
    for member in members:
        yield from leaves(member)
    if not members:
        yield generator


def _checked_pairs(members: Sequence[tuple[TaskGenerator, float]]) -> list[tuple[TaskGenerator, float]]:
    pairs = list(members)
    if not pairs:
        raise ConfigurationError("a mixture needs at least one generator")
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise ConfigurationError(f"a member of a mixture is a pair of a generator and its weight, got {pair!r}")
        generator, weight = pair
        if isinstance(generator, type) or not isinstance(generator, TaskGenerator):
            raise ConfigurationError(f"a generator is an object with sample() and task(), got {generator!r}")
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not (isfinite(weight) and weight > 0):
            raise ConfigurationError(f"a weight is a finite number above 0, got {weight!r}")
    return [(generator, float(weight)) for generator, weight in pairs]


def _checked_names(names: Sequence[str], count: int) -> tuple[str, ...]:
    if not names:
        return tuple(map(str, range(count)))
    if isinstance(names, str) or len(names) != count or len(set(names)) < count:
        raise ConfigurationError(f"a mixture of {count} generators needs {count} different names, got {names!r}")
    for name in names:
        if not isinstance(name, str) or not name or SEPARATOR in name:
            raise ConfigurationError(f"a name in a mixture is a text without {SEPARATOR!r}, got {name!r}")
    return tuple(names)


def _common_snapshot(members: Sequence[TaskGenerator]) -> Snapshot | None:
    """The snapshot that all members draw from; ``None`` if none of them is bound to one."""
    bound = [leaf.snapshot for member in members for leaf in leaves(member) if hasattr(leaf, "snapshot")]
    snapshots = [snapshot for snapshot in bound if isinstance(snapshot, Snapshot)]
    for other in snapshots[1:]:
        first = snapshots[0]
        if other.path != first.path and other.content_hash != first.content_hash:
            raise ConfigurationError(
                f"the generators of a mixture draw from different snapshots, {first.name!r} ({first.path}) and "
                f"{other.name!r} ({other.path}), and an environment plays one: make an environment for each"
            )
    return snapshots[0] if snapshots else None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name + SEPARATOR) for name in names)
