"""What a reward is: the seam between episodes and the rewards in :mod:`toolorch_env.rewards`."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from toolorch_env.core.calls import Call, CanonicalCall, Malformed
from toolorch_env.core.progress import Match, Progress, Reference
from toolorch_env.core.responses import Response


class Score(NamedTuple):
    """The score of one call.

    Attributes:
        reward: what the call earned: the potential's rise minus the penalty.
        potential: the episode's potential after the call, in [0, 1].
        penalty: what was taken off for a call that raised nothing, 0 or more.
        matched: index of the reference call that this call was matched to, ``None`` if there is none.
        components: parts of the reward by name.
    """

    reward: float
    potential: float
    penalty: float
    matched: int | None
    components: Mapping[str, float]


class Step(NamedTuple):
    """One call of an episode and what came of it.

    Attributes:
        call: the call as the agent made it.
        canonical: the call as it was read, in the state that it was made in; ``None`` for what was no call.
        response: the answer.
        match: what it did for the reference solution.
        score: what it earned.
        turn: number of the message that it was made in, from 0.
    """

    call: Call | Malformed
    canonical: CanonicalCall | None
    response: Response
    match: Match
    score: Score
    turn: int


class Scorer(Protocol):
    """Scores the calls of one episode, one after the other."""

    def score(self, call: CanonicalCall | None, response: Response, match: Match, progress: Progress) -> Score:
        """The score of the next call. ``call`` is ``None`` for what was no call; ``progress`` is the state after it."""
        ...

    def finish(self, steps: Sequence[Step], answer: str | None) -> float:
        """What is earned when the episode ends. Called once, after the last call was scored.

        Args:
            steps: all calls of the episode and what came of them, in order.
            answer: the agent's last words, or ``None`` where the call limit ended the episode.
        """
        ...

    def copy(self) -> "Scorer":
        """An independent copy, for forked episodes."""
        ...


class Reward(Protocol):
    """Makes a scorer for each episode. A reward is immutable and can be shared and pickled."""

    @property
    def name(self) -> str:
        """The name under which results are reported."""
        ...

    def start(self, reference: Reference) -> Scorer:
        """A fresh scorer for an episode of this task."""
        ...
