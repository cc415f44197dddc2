"""The base of the rewards that are differences of a potential, and re-scoring of logged episodes."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from toolorch_env.core.calls import CanonicalCall
from toolorch_env.core.errors import ConfigurationError
from toolorch_env.core.progress import Match, Progress, Reference
from toolorch_env.core.responses import Response
from toolorch_env.core.scoring import Score, Step
from toolorch_env.rewards.credit import FULL, NONE, AtomicWeights, Credit, atomic_credit
from toolorch_env.rewards.formulas import on_grid, penalty_of


class PotentialReward:
    """A reward that is the rise of a potential, minus a penalty for calls that raise nothing::

        reward_t = potential_t - potential_(t-1) - penalty_t

    A call that completes a reference call in a valid order is never penalised, whether this reward sees it or not.

    Subclasses name themselves and define :meth:`potential`.

    Args:
        penalty: taken off for each call that does not raise the potential, 0 or more.
        weights: weights of the atomic score.

    Raises:
        ConfigurationError: the penalty lies outside [0, 1], or the weights are no weights.
    """

    name: ClassVar[str]

    def __init__(self, penalty: float = 0.05, weights: AtomicWeights | None = None) -> None:
        if not isinstance(penalty, (int, float)) or not 0 <= penalty <= 1:
            raise ConfigurationError(f"the penalty must lie in [0, 1], got {penalty!r}")
        if weights is not None and not isinstance(weights, AtomicWeights):
            raise ConfigurationError(f"the weights must be AtomicWeights, got {weights!r}")
        self.penalty = on_grid(penalty)
        self.weights = weights or AtomicWeights()

    def start(self, reference: Reference) -> "PotentialScorer":
        """A fresh scorer for an episode of this task."""
        return PotentialScorer(self, reference)

    def potential(self, atomic: Sequence[float], complete: Sequence[bool], ordered: Sequence[bool]) -> float:
        """How far the episode has come, in [0, 1]; exactly 1 when it is solved.

        One entry for each reference call, optional ones left out.

        Args:
            atomic: best atomic score of a matched call, in [0, 1].
            complete: whether it is complete.
            ordered: whether it was completed with every value seen before it was used.
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}(penalty={self.penalty:.4g})"


class PotentialScorer:
    """Scores one episode for a :class:`PotentialReward`."""

    def __init__(self, reward: PotentialReward, reference: Reference) -> None:
        count = len(reference.calls)
        required = reference.task.required
        self._required = required if len(required) < count else None
        self._reward = reward
        self._reference = reference
        self._atomic = [0.0] * count
        self._complete = [False] * count
        self._ordered = [False] * count
        self._potential = 0.0

    def copy(self) -> "PotentialScorer":
        """An independent copy, for forked episodes."""
        other = PotentialScorer.__new__(PotentialScorer)
        other.__dict__.update(self.__dict__)
        other._atomic = self._atomic.copy()
        other._complete = self._complete.copy()
        other._ordered = self._ordered.copy()
        return other

    def score(self, call: CanonicalCall | None, response: Response, match: Match, progress: Progress) -> Score:
        """The score of the next call."""
        step, credit = self._credit(call, response, match)
        before = self._potential
        if step is not None:
            self._atomic[step] = max(self._atomic[step], credit.total(self._reward.weights))
        if match.completes and match.step is not None:
            self._atomic[match.step] = 1.0
            self._complete[match.step] = True
            self._ordered[match.step] = match.ordered
        if step is not None:
            self._potential = on_grid(self._reward.potential(*self._of_required()))
        rise = self._potential - before
        penalty = penalty_of(rise, match.ordered, self._reward.penalty)
        return Score(rise - penalty, self._potential, penalty, step, self._components(credit, match, rise, penalty))

    def finish(self, steps: Sequence[Step], answer: str | None) -> float:
        """Nothing: all was earned on the way."""
        return 0.0

    def _of_required(self) -> tuple[list[float], list[bool], list[bool]]:
        if self._required is None:
            return self._atomic, self._complete, self._ordered
        return (
            [self._atomic[index] for index in self._required],
            [self._complete[index] for index in self._required],
            [self._ordered[index] for index in self._required],
        )

    def _credit(self, call: CanonicalCall | None, response: Response, match: Match) -> tuple[int | None, Credit]:
        """The reference call that this call counts for, and its credit there."""
        if match.step is not None:
            return match.step, FULL
        if call is None or match.repeated:
            return None, NONE
        best: tuple[int | None, Credit] = (None, NONE)
        best_rise = 0.0
        for step, wanted in enumerate(self._reference.calls):
            if wanted.tool != call.tool or self._complete[step] or self._reference.task.reference[step].optional:
                continue
            credit = atomic_credit(self._reference, step, call, response)
            rise = credit.total(self._reward.weights) - self._atomic[step]
            if rise > best_rise or best[0] is None:
                best, best_rise = (step, credit), max(rise, best_rise)
        return best

    def _components(self, credit: Credit, match: Match, rise: float, penalty: float) -> dict[str, Any]:
        return {
            "name": credit.name,
            "structure": credit.structure,
            "values": credit.values,
            "execution": credit.execution,
            "complete": float(match.completes),
            "ordered": float(match.ordered),
            "rise": rise,
            "penalty": penalty,
        }


def rescore(
    reward: PotentialReward, reference: Reference, turns: Iterable[Sequence[tuple[CanonicalCall | None, Response]]]
) -> list[Score]:
    """The scores of a logged episode: a pure function of task, calls and responses.

    Args:
        reward: the reward to score with.
        reference: the prepared reference solution of the task.
        turns: calls and their responses, turn by turn; ``None`` for what was no call.
    """
    progress = Progress(reference)
    scorer = reward.start(reference)
    scores = []
    for turn in turns:
        for (call, response), match in zip(turn, progress.update(turn), strict=True):
            scores.append(scorer.score(call, response, match, progress))
    return scores
