"""How sure metrics are, and what they come to in parts: intervals, repeated tries, groups of tasks."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import comb
from typing import Any

import numpy as np

from toolorch_env.evaluation.metrics import EpisodeResult

Part = Callable[[EpisodeResult], float]

RATES: Mapping[str, tuple[Part, Part]] = {
    "success_rate": (lambda r: r.success, lambda r: 1),
    "clean_success_rate": (lambda r: r.clean_success, lambda r: 1),
    "call_accuracy": (lambda r: r.complete_calls, lambda r: r.reference_calls),
    "turn_accuracy": (lambda r: r.complete_turns, lambda r: r.reference_turns),
    "mean_return": (lambda r: r.total, lambda r: 1),
    "mean_calls": (lambda r: r.calls, lambda r: 1),
}
"""The metrics that are one sum over episodes by another: what is added up above, and below."""

SHARES = ("success_rate", "clean_success_rate", "call_accuracy", "turn_accuracy")
"""Those of :data:`RATES` that lie in [0, 1]."""

RESAMPLES = 4000
LEAST_TASKS = 20
"""With fewer tasks in common no difference is called clear: the bootstrap is too sure of a handful."""

_DRAWN_AT_ONCE = 1_000_000
"""So many numbers are held at a time, whatever the number of tasks."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric, or a difference of metrics, and the interval that it lies in with a confidence of 95%."""

    value: float
    low: float
    high: float
    tasks: int

    @property
    def is_clear(self) -> bool:
        """Of a difference, whether the interval is on one side of 0, and enough tasks say so."""
        return self.tasks >= LEAST_TASKS and (self.low > 0 or self.high < 0)


def estimates(by_task: Sequence[Sequence[EpisodeResult]], seed: int = 0) -> dict[str, Estimate]:
    """Each of :data:`RATES` with its interval, by the percentile bootstrap over tasks (Efron, 1979).

    Tasks are drawn anew, not episodes: what was tried several times at one task is not independent.

    Args:
        by_task: for each task the results of its tries.
        seed: of the bootstrap.

    Raises:
        ValueError: there are no tasks.
    """
    found = _estimated(_ratios(by_task, seed), len(by_task))
    return {**found, **{name: _at_the_end(found[name]) for name in SHARES}}


def differences(
    first: Sequence[Sequence[EpisodeResult]], second: Sequence[Sequence[EpisodeResult]], seed: int = 0
) -> dict[str, Estimate]:
    """By how much each of :data:`RATES` of the second is above that of the first, with its interval.

    Tasks are drawn with the episodes of both: what makes a task hard is in neither's favour.

    Args:
        first, second: for each task the results of its tries; the same tasks in the same order.
        seed: of the bootstrap.

    Raises:
        ValueError: there are no tasks, or not as many in both.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} tasks are not the same tasks")
    return _estimated(_ratios(second, seed) - _ratios(first, seed), len(first))


def _ratios(by_task: Sequence[Sequence[EpisodeResult]], seed: int) -> np.ndarray:
    """Each of :data:`RATES` (columns) of the tasks themselves, in the first row, and of each resample of them."""
    count = len(by_task)
    if not count:
        raise ValueError("there are no episodes to estimate from")
    above, below = (
        np.array([[sum(map(part, tries)) for part in parts] for tries in by_task], float)
        for parts in zip(*RATES.values(), strict=True)
    )
    rng, rows = np.random.default_rng(seed), max(1, _DRAWN_AT_ONCE // count)
    ratios = [above.sum(0, keepdims=True) / below.sum(0)]
    for begin in range(0, RESAMPLES, rows):
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=min(rows, RESAMPLES - begin))
        ratios.append((drawn @ above) / (drawn @ below))
    return np.vstack(ratios)


def _estimated(values: np.ndarray, tasks: int) -> dict[str, Estimate]:
    columns = np.vstack([values[0], np.quantile(values[1:], [0.025, 0.975], axis=0)]).T.tolist()
    return {name: Estimate(value, low, high, tasks) for name, (value, low, high) in zip(RATES, columns, strict=True)}


def _at_the_end(share: Estimate) -> Estimate:
    """A share; where all tasks came to 0, or all to 1, with the exact bound of a share (Clopper and Pearson, 1934).

    All resamples are the same there, which says nothing of how many tasks there were.
    """
    if share.low < share.high or share.value not in (0.0, 1.0):
        return share
    off = 1 - 0.025 ** (1 / share.tasks)
    return replace(share, high=off) if share.value == 0 else replace(share, low=1 - off)


def pass_hat(by_task: Sequence[Sequence[EpisodeResult]], tries: int) -> float:
    """How likely it is that so many tries at a task all succeed, pass^k (Yao et al., tau-bench, 2024).

    That is the mean over tasks of C(c, k) / C(n, k), with c of n tries successful and k = ``tries``; tasks that were
    tried less often are left out.

    Raises:
        ValueError: no task was tried so often.
    """
    shares = [comb(sum(r.success for r in own), tries) / comb(len(own), tries) for own in by_task if len(own) >= tries]
    if not shares:
        raise ValueError(f"no task was tried {tries} times")
    return sum(shares) / len(shares)


def grouped(
    results: Sequence[EpisodeResult], key: Callable[[EpisodeResult], Any]
) -> dict[Hashable, list[EpisodeResult]]:
    """Results by a key, in the order of the keys."""
    groups: dict[Any, list[EpisodeResult]] = {}
    for result in results:
        groups.setdefault(key(result), []).append(result)
    return {name: groups[name] for name in sorted(groups)}
