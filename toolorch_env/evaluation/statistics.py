"""How sure metrics are, and what they come to in parts: intervals, repeated tries, groups of tasks."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
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

RESAMPLES = 4000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric, or a difference of metrics, and the interval that it lies in with a confidence of 95%."""

    value: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Of a difference, whether the interval is on one side of 0."""
        return self.low > 0 or self.high < 0


def estimates(by_task: Sequence[Sequence[EpisodeResult]], seed: int = 0) -> dict[str, Estimate]:
    """Each of :data:`RATES` with its interval, by the percentile bootstrap over tasks (Efron, 1979).

    Tasks are drawn anew, not episodes: what was tried several times at one task is not independent.

    Args:
        by_task: for each task the results of its tries.
        seed: of the bootstrap.

    Raises:
        ValueError: there are no tasks.
    """
    drawn = _resamples(len(by_task), seed)
    return {name: _estimate(_ratios(by_task, name, drawn)) for name in RATES}


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
    drawn = _resamples(len(first), seed)
    return {name: _estimate(_ratios(second, name, drawn) - _ratios(first, name, drawn)) for name in RATES}


def _resamples(count: int, seed: int) -> np.ndarray:
    """How often each task is drawn, in each resample after the first one, which is the tasks themselves."""
    if not count:
        raise ValueError("there are no episodes to estimate from")
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    return np.vstack([np.ones(count, np.int64), drawn])


def _ratios(by_task: Sequence[Sequence[EpisodeResult]], name: str, drawn: np.ndarray) -> np.ndarray:
    above, below = RATES[name]
    sums = np.array([[sum(map(above, tries)), sum(map(below, tries))] for tries in by_task], float)
    found: np.ndarray = (drawn @ sums[:, 0]) / (drawn @ sums[:, 1])
    return found


def _estimate(values: np.ndarray) -> Estimate:
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return Estimate(float(values[0]), float(low), float(high))


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
