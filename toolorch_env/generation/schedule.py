"""When a curriculum moves on, as a pure function of its state.

:class:`Schedule` says which level a state draws from and which state a result leads to. A
:class:`toolorch_env.generation.curriculum.Curriculum` keeps one state; a trainer with many workers can keep the state
itself, give it to all of them, and take in their results one by one.
"""

from dataclasses import dataclass
from typing import Any

from toolorch_env.core.draws import Draws
from toolorch_env.core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class CurriculumState:
    """Where a curriculum is.

    Attributes:
        level: index of the level that is learnt now.
        results: the latest results on it, oldest first, since it was last entered.
    """

    level: int = 0
    results: tuple[bool, ...] = ()


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a curriculum moves on. Pure: it has no state, and is the same for all who share a curriculum.

    Attributes:
        levels: number of levels, at least 1.
        up: success rate in (0, 1] over a full window from which the next level comes.
        down: success rate in [0, up) over a full window below which the previous level comes; 0: never.
        window: number of results on the level that a rate is taken over, at least 1.
        review: share in [0, 1) of the tasks that come from earlier levels, all of them alike.
    """

    levels: int
    up: float = 0.8
    down: float = 0.0
    window: int = 50
    review: float = 0.2

    def __post_init__(self) -> None:
        checks = {
            f"levels is a whole number of at least 1, got {self.levels!r}": is_count(self.levels),
            f"window is a whole number of at least 1, got {self.window!r}": is_count(self.window),
            f"up is above 0 and at most 1, got {self.up!r}": 0 < self.up <= 1,
            f"down is at least 0 and below up, got {self.down!r}": 0 <= self.down < self.up,
            f"review is at least 0 and below 1, got {self.review!r}": 0 <= self.review < 1,
        }
        for message, holds in checks.items():
            if not holds:
                raise ConfigurationError(f"a curriculum's {message}")

    def choose(self, state: CurriculumState, draws: Draws) -> int:
        """The level of the next task."""
        point = (draws.word() >> 11) * 2.0**-53
        return draws.below(state.level) if state.level and point < self.review else state.level

    def after(self, state: CurriculumState, level: int, success: bool) -> CurriculumState:
        """The state that a result leads to. Results on other levels than the current one change nothing."""
        if level != state.level:
            return state
        results = (*state.results, success)[-self.window :]
        if len(results) == self.window:
            rate = sum(results) / self.window
            if rate >= self.up and level + 1 < self.levels:
                return CurriculumState(level + 1)
            if rate < self.down and level > 0:
                return CurriculumState(level - 1)
        return CurriculumState(level, results)


def is_count(number: Any) -> bool:
    """Whether this is a whole number of at least 1."""
    return isinstance(number, int) and not isinstance(number, bool) and number >= 1
