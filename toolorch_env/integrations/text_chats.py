"""Episodes as chats in plain messages: what the trainers of language models play."""

import copy
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import gymnasium as gym
import orjson

from toolorch_env.core.episode import Episode
from toolorch_env.core.errors import EpisodeError
from toolorch_env.envs.tool_orch_text import ToolOrchTextEnv
from toolorch_env.evaluation.chatting import Transcript
from toolorch_env.evaluation.metrics import episode_result


class Reply(NamedTuple):
    """What a message of the model comes to.

    Attributes:
        messages: what it is answered with, OpenAI form; nothing at the end.
        reward: what its calls earned.
        done: whether the episode has ended.
        rewards: for each call the components of its reward by name.
    """

    messages: list[dict[str, Any]]
    reward: float
    done: bool
    rewards: list[dict[str, Any]]


class TextChat:
    """An episode of ``ToolOrchText-v0`` as a chat; tools are told and called in text.

    Chats of the same options and seed are of the same task: so a group of samples of one prompt plays one episode each.

    Args:
        env: keyword arguments of the environment, JSON values; environments of equal arguments share what they read.
        seed: the task is drawn from it.
        options: of the environment's ``reset``.

    Attributes:
        prompt: the messages that the model is to go on from.

    Raises:
        ConstraintError, TaskError, ConfigurationError: as for the environment.
    """

    def __init__(
        self, env: Mapping[str, Any] | None = None, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> None:
        self._env = text_env(env)
        _, info = self._env.reset(seed=seed, options=options)
        self._transcript = Transcript(info, "text")
        self.prompt: list[dict[str, Any]] = list(self._transcript.messages)

    @property
    def done(self) -> bool:
        """Whether the episode has ended."""
        return self._env.episode.done

    @property
    def finished(self) -> bool:
        """Whether the model has finished, rather than being stopped at the call limit."""
        return self._env.episode.finished

    @property
    def task_id(self) -> str:
        """The task. It names the workflow: not for the model."""
        return self._env.episode.task.id

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The chat so far."""
        return list(self._transcript.messages)

    def send(self, message: str) -> Reply:
        """Takes a message of the model.

        Raises:
            EpisodeError: the episode has ended.
            InvalidActionError: the message has more than a million characters.
        """
        if self.done:
            raise EpisodeError("the episode has ended: begin another chat")
        action = self._transcript.take({"role": "assistant", "content": message})
        observation, reward, _, _, info = self._env.step(action)
        if self.done:
            return Reply([], reward, True, info["reward"])
        self._transcript.tell(observation, info)
        return Reply([self._transcript.messages[-1]], reward, False, info["reward"])

    def stop(self) -> float:
        """Ends the episode as it stands, as the model cannot go on; returns what is earned by that.

        Raises:
            EpisodeError: the episode has ended.
        """
        self._env.episode.stop()
        return self._env.episode.closing_reward

    def metrics(self) -> dict[str, float]:
        """What the episode comes to so far, by name: success, share of complete calls, return, number of calls."""
        return episode_metrics(self._env.episode)

    def solution(self) -> str | None:
        """The message that makes the next reference call, ``None`` when all are made: for warm-ups and tests."""
        from toolorch_env.policies.oracle import next_reference_call

        call = next_reference_call(self._env.episode)
        return None if call is None else self._env.action_for(call)


def chat_rows(count: int, *, first_seed: int = 0, env: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Rows of a data set of prompts: ``prompt`` (messages), ``seed``, and ``env`` where it has any entries.

    Args:
        count: number of rows.
        first_seed: of the first one; the next has the next one.
        env: keyword arguments of the environment.
    """
    given = dict(env or {})
    seeds = range(first_seed, first_seed + count)
    told = {"env": given} if given else {}  # files of columns cannot hold an object without entries
    return [{"prompt": TextChat(given, seed=seed).prompt, "seed": seed, **told} for seed in seeds]


def plain_values(value: Any) -> Any:
    """A value of a row as it was written, without the arrays, missing entries and containers of trainers."""
    if isinstance(value, Mapping):
        return {str(name): plain_values(each) for name, each in value.items() if each is not None}
    if hasattr(value, "tolist"):
        return plain_values(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain_values(each) for each in value]
    return value


def text_env(env: Mapping[str, Any] | None = None) -> ToolOrchTextEnv:
    """An environment for one episode at a time; those of equal arguments share what they read.

    Args:
        env: keyword arguments of ``ToolOrchText-v0``, JSON values.

    Raises:
        ConstraintError, ConfigurationError: as for the environment.
    """
    return copy.copy(_shared_env(orjson.dumps(dict(env or {}), option=orjson.OPT_SORT_KEYS)))


def episode_metrics(episode: Episode) -> dict[str, float]:
    """What an episode comes to so far, by name: success, share of complete calls, return, number of calls."""
    result = episode_result(episode)
    return {
        "success": float(result.success),
        "clean_success": float(result.clean_success),
        "call_accuracy": result.complete_calls / result.reference_calls,
        "turn_accuracy": result.complete_turns / result.reference_turns,
        "return": result.total,
        "calls": float(result.calls),
    }


@lru_cache(16)
def _shared_env(arguments: bytes) -> ToolOrchTextEnv:
    made: Any = gym.make("ToolOrchText-v0", **orjson.loads(arguments)).unwrapped
    assert isinstance(made, ToolOrchTextEnv)
    return made
