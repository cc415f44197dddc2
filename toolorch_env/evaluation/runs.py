"""The lines of a run: what was evaluated, and each episode that has ended."""

import reprlib
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from toolorch_env.core.calls import Call, Malformed
from toolorch_env.core.episode import Episode
from toolorch_env.core.errors import ChatModelError, RunError
from toolorch_env.core.scoring import Reward, Step
from toolorch_env.core.tasks import Task
from toolorch_env.core.text import readable
from toolorch_env.core.version import VERSION
from toolorch_env.envs.base import reward_info
from toolorch_env.evaluation.metrics import EpisodeResult, episode_result, error_kind
from toolorch_env.rewards import REWARDS, make_reward
from toolorch_env.store.replay import OnMiss, SnapshotReplay
from toolorch_env.store.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Outcome:
    """What figures are made of, of one episode.

    Attributes:
        index, attempt: which task, and which time.
        result: what became of it; ``None`` where it came to nothing.
        failure, detail: then the kind of failure, and what was told.
        prompt_tokens, completion_tokens: what a language model's endpoint counted.
        cut_off: number of answers that were cut off at their greatest length, or had no room.
        seconds: wall time.
    """

    index: int
    attempt: int
    result: EpisodeResult | None
    failure: str = ""
    detail: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cut_off: int = 0
    seconds: float = 0.0


class Line(BaseModel):
    """A line of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RunHeader(Line):
    """What was evaluated, and on what.

    Attributes:
        kind, format: of the line and the file.
        toolorch_env: version.
        policy: name of the policy.
        settings: what else the policy was told, for a language model its prompt and sampling.
        env_id: the environment.
        snapshot, content_hash: name or path of the snapshot, and what tells it from others.
        generator, constraints: what draws the tasks and under which constraints.
        reward, reward_parameters: name of the reward, and what of its parameters differs from its own.
        max_calls: call limit of an episode.
        on_miss: what calls without a recorded response came to.
        tasks, tries, seed: number of tasks, how often each is played, and what they are drawn from.
        task_ids: of listed tasks.
    """

    kind: Literal["run"] = "run"
    format: Literal["toolorch-run/1"] = "toolorch-run/1"
    toolorch_env: str = VERSION
    policy: str
    settings: dict[str, Any] = {}
    env_id: str
    snapshot: str
    content_hash: str
    generator: str | None = None
    constraints: dict[str, Any] = {}
    reward: str
    reward_parameters: dict[str, Any] = {}
    max_calls: int
    on_miss: str = "error"
    tasks: int
    tries: int = 1
    seed: int = 0
    task_ids: tuple[str, ...] | None = None


class PlayedCall(Line):
    """What came of one call: its turn, its response's source and status, the kind of error, and reward components."""

    turn: int
    source: str
    status: int
    error: str | None
    reward: dict[str, Any]


class PlayedEpisode(Line):
    """An episode that was played to its end.

    Attributes:
        kind: of the line.
        index, attempt: which task, and which time.
        task: the task.
        turns: the calls of each message.
        answer: the agent's last words, ``None`` where the call limit, or the model's context, ended the episode.
        calls: what came of each call.
        result: what metrics are made of.
        messages: the chat in OpenAI's form, empty for a policy that does not chat.
        prompt_tokens, completion_tokens: what a language model's endpoint counted, and before, if the episode had come
            to nothing.
        cut_off: number of answers that were cut off at their greatest length, or had no room.
        seconds: wall time.
    """

    kind: Literal["episode"] = "episode"
    index: int
    attempt: int
    task: Task
    turns: tuple[tuple[Call | Malformed, ...], ...]
    answer: str | None
    calls: tuple[PlayedCall, ...]
    result: EpisodeResult
    messages: tuple[dict[str, Any], ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cut_off: int = 0
    seconds: float = 0.0

    @property
    def outcome(self) -> Outcome:
        """What figures are made of."""
        paid = (self.prompt_tokens, self.completion_tokens, self.cut_off)
        return Outcome(self.index, self.attempt, self.result, "", "", *paid, self.seconds)


class FailedEpisode(Line):
    """An episode that came to nothing, as a language model gave no answer. It is played anew when the run goes on.

    Attributes:
        kind: of the line.
        index, attempt: which task, and which time.
        task_id: the task.
        failure: kind of failure (see :class:`toolorch_env.core.errors.ChatModelError`).
        detail: what was told.
        messages: the chat so far.
        prompt_tokens, completion_tokens: what the endpoint counted, and before, if the episode had come to nothing.
        seconds: wall time.
    """

    kind: Literal["failure"] = "failure"
    index: int
    attempt: int
    task_id: str
    failure: str
    detail: str
    messages: tuple[dict[str, Any], ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    @property
    def outcome(self) -> Outcome:
        """What figures are made of."""
        paid = (self.prompt_tokens, self.completion_tokens, 0)
        return Outcome(self.index, self.attempt, None, self.failure, self.detail, *paid, self.seconds)


def same_task(task: Task) -> tuple[str, str, tuple[str, ...]]:
    """What makes tasks the same: constraints may give those of one id other queries and tools."""
    return task.id, task.query, tuple(task.tools)


def played_episode(index: int, attempt: int, episode: Episode, **told: Any) -> PlayedEpisode:
    """The line of an episode that has ended.

    Args:
        index, attempt: which task, and which time.
        episode: the episode.
        **told: more fields of :class:`PlayedEpisode`.
    """
    turns: list[list[Call | Malformed]] = [[] for _ in range(episode.turns)]
    for step in episode.steps:
        turns[step.turn].append(_writable(step))
    calls = [
        PlayedCall(
            turn=step.turn,
            source=step.response.source.value,
            status=step.response.status,
            error=error_kind(episode, step),
            reward=reward_info(step),
        )
        for step in episode.steps
    ]
    return PlayedEpisode(
        index=index,
        attempt=attempt,
        task=episode.task,
        turns=tuple(map(tuple, turns)),
        answer=None if episode.answer is None else readable(episode.answer),
        calls=tuple(calls),
        result=episode_result(episode),
        **told,
    )


def _writable(step: Step) -> Call | Malformed:
    """A call as JSON can hold it: what was no call stays none."""
    call = step.call
    if isinstance(call, Malformed):
        return Malformed(readable(call.text), readable(call.problem))
    if step.canonical is None:  # such as one with arguments that are no numbers
        return Malformed(readable(f"{call.tool} {reprlib.repr(dict(call.arguments))}"), step.response.body["detail"])
    return call


def failed_episode(index: int, attempt: int, task_id: str, failure: ChatModelError, **told: Any) -> FailedEpisode:
    """The line of an episode that came to nothing.

    Args:
        index, attempt: which task, and which time.
        task_id: the task.
        failure: what was wrong.
        **told: more fields of :class:`FailedEpisode`.
    """
    return FailedEpisode(
        index=index, attempt=attempt, task_id=task_id, failure=failure.kind, detail=str(failure), **told
    )


def replay_of(header: RunHeader, snapshot: Snapshot) -> SnapshotReplay:
    """What answers the calls of a run as they were answered.

    Raises:
        RunError: the API itself answered some.
    """
    if header.on_miss == OnMiss.LIVE:
        raise RunError("the API itself answered calls of this run (on_miss='live'): they cannot be made again")
    return SnapshotReplay(snapshot, header.on_miss)


def reward_of(header: RunHeader) -> Reward:
    """The reward of a run.

    Raises:
        RunError: it is none that a name makes again.
    """
    if header.reward not in REWARDS:
        raise RunError(
            f"the run's reward {header.reward!r} is one of its user's: score it anew first, with `toolorch rescore "
            f"--reward NAME --out FILE`; NAME is one of {', '.join(REWARDS)}"
        )
    return make_reward(header.reward, header.reward_parameters)


def play_again(played: PlayedEpisode, replay: SnapshotReplay, reward: Reward, max_calls: int) -> Episode:
    """The episode of a line, made again on the same snapshot, with any reward."""
    episode = Episode(played.task, replay, reward, max_calls)
    for turn in played.turns:
        episode.send(turn)
    if played.answer is not None:
        episode.finish(played.answer)
    elif not episode.done:  # the chat had outgrown the model's context
        episode.stop()
    return episode
