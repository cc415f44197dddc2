"""The base of the rewards that are paid once, when the episode ends."""

from collections.abc import Sequence
from typing import ClassVar

from toolorch_env.core.calls import CanonicalCall
from toolorch_env.core.progress import Match, Progress, Reference
from toolorch_env.core.responses import Response
from toolorch_env.core.scoring import Score, Step


class TerminalReward:
    """A reward that calls earn nothing on the way, and the whole episode something at its end.

    Subclasses name themselves and define :meth:`final`.
    """

    name: ClassVar[str]

    def start(self, reference: Reference) -> "TerminalScorer":
        """A fresh scorer for an episode of this task."""
        return TerminalScorer(self, reference)

    def final(self, reference: Reference, steps: Sequence[Step], answer: str | None) -> float:
        """What an episode earns, at most 1.

        Args:
            reference: the prepared reference solution of the task.
            steps: all calls with their responses, in order.
            answer: the agent's last words, ``None`` where the call limit ended the episode.
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class TerminalScorer:
    """Scores one episode for a :class:`TerminalReward`. It keeps nothing: the episode has all that counts."""

    def __init__(self, reward: TerminalReward, reference: Reference) -> None:
        self._reward = reward
        self._reference = reference

    def copy(self) -> "TerminalScorer":
        """Itself, as it never changes."""
        return self

    def score(self, call: CanonicalCall | None, response: Response, match: Match, progress: Progress) -> Score:
        """Nothing: all is earned at the end."""
        return Score(0.0, 0.0, 0.0, match.step, {})

    def finish(self, steps: Sequence[Step], answer: str | None) -> float:
        """What the episode earned."""
        return self._reward.final(self._reference, steps, answer)
