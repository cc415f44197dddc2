"""Levels of tasks that follow the success of whoever plays them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from toolorch_env.core.draws import Draws
from toolorch_env.core.errors import ConfigurationError, ConstraintError, TaskError
from toolorch_env.core.tasks import Task
from toolorch_env.generation.constraints import TaskConstraints, read_constraints
from toolorch_env.generation.difficulty import difficulty
from toolorch_env.generation.generator import TaskGenerator
from toolorch_env.generation.mixture import SEPARATOR, Reporting, leaves
from toolorch_env.generation.schedule import CurriculumState, Schedule, is_count
from toolorch_env.store.snapshot import Snapshot

MAX_LEVEL_DRAWS = 1000
"""So many tasks are drawn for one whose difficulty lies in that of its level."""


@dataclass(frozen=True, slots=True)
class Level:
    """What the tasks of a level have in common.

    Attributes:
        constraints: what is asked of them, but the split.
        min_difficulty, max_difficulty: the total difficulty of a task lies in [min, max); both in [0, 1].
    """

    constraints: TaskConstraints = field(default_factory=TaskConstraints)
    min_difficulty: float = 0.0
    max_difficulty: float = 1.0

    def __post_init__(self) -> None:
        if "split" in self.constraints.model_fields_set:
            raise ConfigurationError("a level cannot ask for a split: that is for who draws from the curriculum to say")
        if not 0 <= self.min_difficulty < self.max_difficulty <= 1:
            raise ConfigurationError(
                "the difficulties of a level are 0 <= min_difficulty < max_difficulty <= 1, got "
                f"{self.min_difficulty!r} and {self.max_difficulty!r}"
            )

    def holds(self, task: Task) -> bool:
        """Whether the difficulty of a task is that of the level."""
        if self.min_difficulty == 0 and self.max_difficulty == 1:
            return True
        return self.min_difficulty <= difficulty(task).total < self.max_difficulty


class Curriculum:
    """Draws from the first level of tasks, then from the next ones as the results get better.

    What is asked for in :meth:`sample` holds on every level, and what the level asks for beside it: numbers in the
    stricter of two bounds, included and excluded tools of both; of other constraints, that of the level. Task ids are
    those of the generator with the level before them, ``2:flight_delay/17/...``, so that a result says by itself where
    it belongs. The same state of ``rng`` and the same results give the same tasks.

    Args:
        generator: what is drawn from on all levels.
        levels: the levels, the easiest first: constraints, or :class:`Level` to ask for difficulties
            (see :func:`levels_by_difficulty`).
        up, down, window, review: see :class:`Schedule`.

    Attributes:
        state: where the curriculum is.

    Raises:
        ConfigurationError: a setting or a level is not valid.
        ConstraintError: constraints of a level are malformed.
    """

    def __init__(
        self,
        generator: TaskGenerator,
        levels: Sequence[Level | TaskConstraints | Mapping[str, Any]],
        *,
        up: float = 0.8,
        down: float = 0.0,
        window: int = 50,
        review: float = 0.2,
    ) -> None:
        if isinstance(generator, type) or not isinstance(generator, TaskGenerator):
            raise ConfigurationError(f"a generator is an object with sample() and task(), got {generator!r}")
        self.levels = tuple(level if isinstance(level, Level) else Level(read_constraints(level)) for level in levels)
        self.schedule = Schedule(len(self.levels), up, down, window, review)
        self.state = CurriculumState()
        self.members = (generator,)

    @property
    def snapshot(self) -> Snapshot | None:
        """The snapshot that is drawn from; ``None`` if the generator is not bound to one."""
        return next((leaf.snapshot for leaf in leaves(self) if hasattr(leaf, "snapshot")), None)

    def sample(self, rng: np.random.Generator, constraints: TaskConstraints | Mapping[str, Any] | None = None) -> Task:
        """A task of the current state (see :class:`toolorch_env.generation.generator.TaskGenerator`)."""
        return self.sample_at(self.state, rng, constraints)

    def sample_at(
        self,
        state: CurriculumState,
        rng: np.random.Generator,
        constraints: TaskConstraints | Mapping[str, Any] | None = None,
    ) -> Task:
        """A task of a state, whatever the curriculum's own.

        Raises:
            ConstraintError: no task of the drawn level satisfies the constraints.
        """
        index = self.schedule.choose(state, Draws(int(rng.integers(2**63))))
        level = self.levels[index]
        try:
            asked = _both(read_constraints(constraints), level.constraints)
            for _ in range(MAX_LEVEL_DRAWS):
                task = self.members[0].sample(rng, asked)
                if level.holds(task):
                    return replace(task, id=f"{index}{SEPARATOR}{task.id}")
        except ConstraintError as error:
            raise ConstraintError(f"level {index} of the curriculum: {error}") from None
        raise ConstraintError(
            f"level {index} of the curriculum: none of {MAX_LEVEL_DRAWS:,} tasks has a difficulty in "
            f"[{level.min_difficulty:.3f}, {level.max_difficulty:.3f})"
        )

    def task(self, task_id: str) -> Task:
        """The task of that id (see :class:`toolorch_env.generation.generator.TaskGenerator`)."""
        level, inner = self._parts(task_id)
        task = self.members[0].task(inner)
        if not self.levels[level].holds(task):
            raise TaskError(f"the curriculum has no task {task_id!r}: its difficulty is not that of level {level}")
        return replace(task, id=task_id)

    def report(self, task_id: str, success: bool) -> None:
        """Takes note of a result (see :class:`toolorch_env.generation.mixture.Reporting`)."""
        level, inner = self._parts(task_id)
        self.state = self.schedule.after(self.state, level, bool(success))
        if isinstance(self.members[0], Reporting):
            self.members[0].report(inner, success)

    def level_of(self, task_id: str) -> int:
        """The level that a task was drawn on.

        Raises:
            TaskError: it is no task of this curriculum.
        """
        return self._parts(task_id)[0]

    def state_dict(self) -> dict[str, Any]:
        """The state as JSON values, for :meth:`load_state_dict`."""
        return {"level": self.state.level, "results": list(self.state.results)}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Goes on from a state that was saved.

        Raises:
            ConfigurationError: it is no state, or one of a curriculum with other levels or a smaller window.
        """
        level, results = saved.get("level"), saved.get("results")
        if type(level) is not int or not isinstance(results, list) or {*map(type, results)} - {bool}:
            raise ConfigurationError(f"the state of a curriculum has a level and a list of results, got {saved!r}")
        if not 0 <= level < len(self.levels) or len(results) > self.schedule.window:
            raise ConfigurationError(
                f"the state is at level {level} with {len(results)} results; this curriculum has levels 0 to "
                f"{len(self.levels) - 1} and takes {self.schedule.window} results"
            )
        self.state = CurriculumState(level, tuple(results))

    def _parts(self, task_id: str) -> tuple[int, str]:
        level, _, inner = task_id.partition(SEPARATOR)
        if level not in map(str, range(len(self.levels))):
            raise TaskError(
                f"the curriculum has no task {task_id!r}: ids begin with the level, 0 to {len(self.levels) - 1}"
            )
        return int(level), inner


def levels_by_difficulty(
    generator: TaskGenerator,
    count: int,
    constraints: TaskConstraints | Mapping[str, Any] | None = None,
    *,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[Level, ...]:
    """Levels that hold equal shares of a generator's tasks, by rising difficulty.

    Args:
        generator: what will be drawn from.
        count: number of levels, at least 1.
        constraints: of the tasks that are compared.
        draws: number of tasks that are compared, at least ``count``.
        seed: which ones; the same seed gives the same levels.

    Raises:
        ConfigurationError: there are fewer difficulties than levels.
        ConstraintError: no task satisfies the constraints.
    """
    if not is_count(count) or draws < count:
        raise ConfigurationError(f"levels are at least 1, and draws as many; got {count!r} and {draws!r}")
    rng = np.random.default_rng(seed)
    totals = sorted(difficulty(generator.sample(rng, read_constraints(constraints))).total for _ in range(draws))
    cuts = [totals[draws * index // count] for index in range(1, count)]
    bounds = [0.0, *cuts, 1.0]
    if sorted({totals[0], *cuts}) != [totals[0], *cuts]:
        raise ConfigurationError(f"the tasks differ too little in their difficulty for {count} levels: take fewer")
    return tuple(Level(min_difficulty=low, max_difficulty=high) for low, high in pairwise(bounds))


def _both(asked: TaskConstraints, level: TaskConstraints) -> TaskConstraints:
    """Constraints that ask for what both ask for."""
    both = asked.model_dump(exclude_unset=True)
    for name, value in level.model_dump(exclude_unset=True).items():
        both[name] = _stricter(name, both[name], value) if name in both else value
    return read_constraints(both)


def _stricter(name: str, asked: Any, level: Any) -> Any:
    if name.startswith(("min_", "max_")):
        return max(asked, level) if name.startswith("min_") else min(asked, level)
    if name.startswith(("include_", "exclude_")):
        return tuple(dict.fromkeys((*asked, *level)))
    if isinstance(level, tuple) and asked and level:  # one of these, and one of those
        common = tuple(item for item in asked if item in level)
        if not common:
            raise ConstraintError(f"none of the {name} asked for ({', '.join(asked)}) is on this level")
        return common
    return level or asked if isinstance(level, tuple) else level
