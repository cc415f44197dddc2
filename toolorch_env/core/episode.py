"""The episode: one task being played. It knows no Gymnasium and can be forked."""

from collections.abc import Sequence
from typing import Protocol

from toolorch_env.core.calls import Call, CanonicalCall, Malformed, ToolSet
from toolorch_env.core.errors import EpisodeError
from toolorch_env.core.progress import Progress, Reference
from toolorch_env.core.responses import Response, Source
from toolorch_env.core.scoring import Reward, Scorer, Step
from toolorch_env.core.states import state_after
from toolorch_env.core.tasks import Task
from toolorch_env.core.text import readable


class Replay(Protocol):
    """Answers calls: the seam between episodes and the snapshot in :mod:`toolorch_env.store`."""

    @property
    def tools(self) -> ToolSet:
        """The tools that can be called."""
        ...

    def answer(self, call: CanonicalCall) -> Response:
        """The response to a call of one of :attr:`tools`, in its state."""
        ...

    def look_up(self, call: CanonicalCall) -> Response | None:
        """The recorded response to a call in its state, ``None`` if there is none."""
        ...


Answered = tuple[CanonicalCall | None, Response]
"""A call in its state, ``None`` for what was no call, and the answer."""


class Episode:
    """Plays one task: takes turns of calls, answers them from a replay, and scores them.

    Calls of one turn are made one after the other. Where a state-changing call succeeds, later calls are answered as
    they were recorded after it.

    Args:
        task: the task to play.
        replay: answers the calls.
        reward: scores the calls.
        max_calls: the episode is truncated when this many calls were made.

    Attributes:
        state: what was changed so far (see :attr:`toolorch_env.core.calls.CanonicalCall.state`).
        answer: the agent's last words, ``None`` before it has finished.
        closing_reward: what was earned when the episode ended.
        finished: whether it ended at the agent's word.
        stopped: whether it ended as its agent could not go on.
        turns: number of turns so far.

    Raises:
        TaskError: a call of the task's setup is not recorded, or an optional call changes the state.
    """

    def __init__(self, task: Task, replay: Replay, reward: Reward, max_calls: int) -> None:
        self.task = task
        self.replay = replay
        self.reward = reward
        self.max_calls = max_calls
        self.reference = Reference(task, replay.tools, replay.look_up)
        self.progress = Progress(self.reference)
        self.steps: list[Step] = []
        self.state = self.reference.initial_state
        self.answer: str | None = None
        self.closing_reward = 0.0
        self.finished = False
        self.stopped = False
        self.turns = 0
        self._scorer: Scorer = reward.start(self.reference)
        self._offered = frozenset(task.tools)
        self._state_changing = replay.tools.state_changing

    @property
    def truncated(self) -> bool:
        """Whether the call limit ended the episode, or whatever else kept its agent from going on."""
        return self.done and not self.finished

    @property
    def done(self) -> bool:
        """Whether the episode has ended, one way or the other."""
        return self.finished or self.stopped or len(self.steps) >= self.max_calls

    @property
    def success(self) -> bool:
        """Whether every reference call is complete and the agent said that it has finished."""
        return self.finished and self.progress.all_complete

    @property
    def clean_success(self) -> bool:
        """Whether it is a success with no call more than the reference has; optional ones may be made or left out."""
        reference = self.task.reference
        matches = [step.match for step in self.steps]
        optional = [m for m in matches if m.completes and m.step is not None and reference[m.step].optional]
        return self.success and len(matches) - len(optional) <= len(self.task.required)

    @property
    def total(self) -> float:
        """Sum of the rewards so far."""
        return sum(step.score.reward for step in self.steps) + self.closing_reward

    def send(self, calls: Sequence[Call | Malformed]) -> list[Step]:
        """Makes calls together, in one turn. Calls beyond the limit of the episode are not made.

        Raises:
            EpisodeError: the episode has ended, or there is no call.
            MissError: a call has no recorded response and the miss policy is ``raise``; nothing has happened then.
        """
        self._check_open()
        if not calls:
            raise EpisodeError("a turn needs at least one call; finish() ends the episode")
        calls = calls[: self.max_calls - len(self.steps)]
        state, turn = self._answer_all(calls)
        matches = self.progress.update(turn)
        steps = []
        for call, (canonical, response), match in zip(calls, turn, matches, strict=True):
            score = self._scorer.score(canonical, response, match, self.progress)
            steps.append(Step(call, canonical, response, match, score, self.turns))
        self.state = state
        self.steps += steps
        self.turns += 1
        if self.done:
            self.closing_reward = self._scorer.finish(self.steps, None)
        return steps

    def finish(self, answer: str = "") -> None:
        """Ends the episode at the agent's word.

        Args:
            answer: its last words.

        Raises:
            EpisodeError: the episode has ended already.
        """
        self._check_open()
        self.finished = True
        self.answer = answer
        self.closing_reward = self._scorer.finish(self.steps, answer)

    def stop(self) -> None:
        """Ends the episode as it stands, as the call limit does: its agent cannot go on.

        Raises:
            EpisodeError: the episode has ended already.
        """
        self._check_open()
        self.stopped = True
        self.closing_reward = self._scorer.finish(self.steps, None)

    def _check_open(self) -> None:
        if self.done:
            raise EpisodeError("the episode has ended: start another one with reset()")

    def fork(self) -> "Episode":
        """An independent copy that can be played on differently, for tree search and branching rollouts."""
        other = Episode.__new__(Episode)
        other.__dict__.update(self.__dict__)
        other.progress = self.progress.copy()
        other._scorer = self._scorer.copy()
        other.steps = self.steps.copy()
        return other

    def _answer_all(self, calls: Sequence[Call | Malformed]) -> tuple[bytes, list[Answered]]:
        """The state after the calls of a turn, and the calls in their states with their responses."""
        state, turn = self.state, []
        for call in calls:
            canonical, response = self._answer(call, state)
            if canonical is not None and canonical.tool in self._state_changing:
                state = state_after(canonical, response, read_only=False)
            turn.append((canonical, response))
        return state, turn

    def _answer(self, call: Call | Malformed, state: bytes) -> Answered:
        if isinstance(call, Malformed):
            return None, _refusal(400, call.problem, Source.MALFORMED)
        try:
            canonical = self.replay.tools.canonical(call)
            if state:
                canonical = canonical.within(state)
        except ValueError as error:
            return None, _refusal(400, str(error), Source.MALFORMED)
        if call.tool not in self._offered:
            return canonical, _refusal(404, f"There is no tool {call.tool[:100]!r}.", Source.UNKNOWN_TOOL)
        return canonical, self.replay.answer(canonical)


def _refusal(status: int, detail: str, source: Source) -> Response:
    return Response.synthetic(status, {"detail": readable(detail)}, source)
