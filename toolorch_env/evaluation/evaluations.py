"""Evaluations that are kept in a file, and gone on with where they were interrupted."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gymnasium as gym

from toolorch_env.core.errors import ConfigurationError, RunError
from toolorch_env.core.tasks import Task
from toolorch_env.envs.base import EpisodeEnv
from toolorch_env.envs.tool_orch_text import ToolOrchTextEnv
from toolorch_env.evaluation.chatting import Chat, ToolCalls, play_chats
from toolorch_env.evaluation.metrics import episode_result
from toolorch_env.evaluation.run_files import RunWriter
from toolorch_env.evaluation.runner import Job, list_jobs, play
from toolorch_env.evaluation.runs import (
    FailedEpisode,
    Outcome,
    PlayedEpisode,
    RunHeader,
    failed_episode,
    played_episode,
    same_task,
)
from toolorch_env.generation.chat_models import OpenAIChat
from toolorch_env.generation.mixture import learns
from toolorch_env.policies.base import Policy, policy_name
from toolorch_env.rewards import changed_parameters

Key = tuple[int, int]


def make_header(
    env: gym.Env[Any, Any],
    policy: str,
    *,
    tasks: int | Sequence[str],
    tries: int = 1,
    seed: int = 0,
    generator: str | None = None,
    settings: dict[str, Any] | None = None,
) -> RunHeader:
    """What a run tells of itself first.

    Args:
        env: the environment.
        policy: name of the policy.
        tasks, tries, seed: see :func:`toolorch_env.evaluation.runner.list_jobs`.
        generator: name of what draws the tasks; by default that of its class.
        settings: what else the policy is told, beside what a text environment tells it.

    Raises:
        ConfigurationError: this is no environment of ToolOrch.
    """
    unwrapped = env.unwrapped
    if not isinstance(unwrapped, EpisodeEnv):
        raise ConfigurationError(f"{env} is no ToolOrch environment")
    return RunHeader(
        policy=policy,
        settings={**(settings or {}), **_told_in_words(unwrapped)},
        env_id=env.spec.id if env.spec is not None else type(unwrapped).__name__,
        snapshot=str(unwrapped.snapshot.path),
        content_hash=unwrapped.snapshot.content_hash,
        generator=generator or type(unwrapped.generator).__name__,
        constraints=unwrapped.constraints.model_dump(mode="json", exclude_unset=True),
        reward=unwrapped.reward.name,
        reward_parameters=changed_parameters(unwrapped.reward),
        max_calls=unwrapped.max_calls,
        on_miss=unwrapped.replay.on_miss.value,
        tasks=tasks if isinstance(tasks, int) else len(tasks),
        tries=tries,
        seed=seed,
        task_ids=None if isinstance(tasks, int) else tuple(tasks),
    )


def _told_in_words(env: EpisodeEnv) -> dict[str, Any]:
    if not isinstance(env, ToolOrchTextEnv):
        return {}
    names = ("max_response_chars", "system_prompt", "brief_tools")
    return {name: getattr(env, name) for name in names}


def evaluate_policy(
    env: gym.Env[Any, Any],
    policy: Policy,
    *,
    tasks: int | Sequence[str],
    tries: int = 1,
    seed: int = 0,
    path: Path | None = None,
    generator: str | None = None,
    settings: dict[str, Any] | None = None,
    name: str | None = None,
    progress: Callable[[], None] = lambda: None,
) -> list[Outcome]:
    """Plays episodes one after the other with a policy that picks actions.

    Args:
        env: the environment that the policy plays in.
        policy: the policy.
        tasks, tries, seed: see :func:`toolorch_env.evaluation.runner.list_jobs`.
        path: file that the run is written to; where there is one of the same run, it is gone on with.
        generator, settings: told in the file.
        name: what the policy is called there; by default its own name.
        progress: called for each episode, and for those that were played before.

    Raises:
        ConfigurationError: the policy does not play in this environment, or there are no tasks to play.
        RunError: the file is another run, or cannot be written.
    """
    header = make_header(
        env, name or policy_name(policy), tasks=tasks, tries=tries, seed=seed, generator=generator, settings=settings
    )
    with _Kept(path, header, progress) as kept:
        jobs = kept.left(env, list_jobs(tasks, seed, tries))
        begin = time.perf_counter()
        for job, episode in play(env, policy, jobs):
            seconds = time.perf_counter() - begin
            if path is None:
                kept.add(Outcome(job.index, job.attempt, episode_result(episode), seconds=seconds))
            else:
                kept.write(played_episode(job.index, job.attempt, episode, seconds=seconds))
            begin = time.perf_counter()
        return list(kept.outcomes.values())


def evaluate_chat(
    env: gym.Env[Any, Any],
    chat: OpenAIChat,
    *,
    tasks: int | Sequence[str],
    tries: int = 1,
    seed: int = 0,
    path: Path | None = None,
    generator: str | None = None,
    concurrency: int = 16,
    tool_calls: ToolCalls = "native",
    progress: Callable[[], None] = lambda: None,
) -> list[Outcome]:
    """Plays episodes with a language model, many at a time.

    Args:
        env: a text environment.
        chat: the model.
        tasks, tries, seed, path, generator, progress: as for :func:`evaluate_policy`.
        concurrency, tool_calls: see :func:`toolorch_env.evaluation.chatting.play_chats`.

    Raises:
        ConfigurationError: this is no text environment, there are no tasks to play, or the extra is not installed.
        RunError: the file is another run, or cannot be written.
    """
    unwrapped = env.unwrapped
    if not isinstance(unwrapped, ToolOrchTextEnv):
        raise ConfigurationError(f"language models play in ToolOrchText-v0, not in {env}")
    settings = {
        "tool_calls": tool_calls,
        "temperature": chat.temperature,
        "max_tokens": chat.max_tokens,
        "seed": chat.seed,
    }
    header = make_header(
        env, f"openai:{chat.model}", tasks=tasks, tries=tries, seed=seed, generator=generator, settings=settings
    )
    with _Kept(path, header, progress) as kept:
        jobs = kept.left(env, list_jobs(tasks, seed, tries))
        _run(
            play_chats(
                unwrapped,
                chat,
                jobs,
                lambda ended: kept.write(_line(ended)),
                concurrency=concurrency,
                tool_calls=tool_calls,
            )
        )
        return list(kept.outcomes.values())


def _run(playing: Coroutine[Any, Any, None]) -> None:
    """Runs to the end; in a notebook, whose own loop is running already, in a thread beside it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(playing)
    else:
        with ThreadPoolExecutor(1) as beside:
            beside.submit(asyncio.run, playing).result()


def _line(chat: Chat) -> PlayedEpisode | FailedEpisode:
    job = chat.job
    told: dict[str, Any] = {
        "messages": tuple(chat.messages),
        "prompt_tokens": chat.prompt_tokens,
        "completion_tokens": chat.completion_tokens,
        "seconds": chat.seconds,
    }
    if chat.failure is not None:
        return failed_episode(job.index, job.attempt, chat.episode.task.id, chat.failure, **told)
    return played_episode(job.index, job.attempt, chat.episode, cut_off=chat.cut_off, **told)


class _Kept:
    """The outcomes of a run, and its file if there is one."""

    def __init__(self, path: Path | None, header: RunHeader, progress: Callable[[], None]) -> None:
        self._path, self._header, self._progress = path, header, progress
        self._stack = ExitStack()
        self._writer: RunWriter | None = None
        self.outcomes: dict[Key, Outcome] = {}

    def __enter__(self) -> "_Kept":
        if self._path is not None:
            self._writer = self._stack.enter_context(RunWriter(self._path, self._header))
            for outcome in self._writer.played.values():
                self.add(outcome)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def left(self, env: gym.Env[Any, Any], jobs: Sequence[Job]) -> list[Job]:
        """The episodes that are still to be played.

        Raises:
            RunError: not the same tasks would be drawn as before.
        """
        left = [job for job in jobs if (job.index, job.attempt) not in self.outcomes]
        if left and self._writer is not None and self._writer.played:
            self._check_draws(env, {(job.index, job.attempt): job for job in jobs}, self._writer.tasks)
        return left

    def _check_draws(self, env: gym.Env[Any, Any], jobs: Mapping[Key, Job], tasks: Mapping[Key, Task]) -> None:
        unwrapped = env.unwrapped
        assert isinstance(unwrapped, EpisodeEnv)
        if learns(unwrapped.generator):
            raise RunError(
                f"{self._path} cannot be gone on with: what its generator draws depends on the results of earlier "
                "episodes; give another file"
            )
        for key, task in tasks.items():
            env.reset(seed=jobs[key].task_seed, options=jobs[key].options)
            drawn = unwrapped.episode.task
            if same_task(drawn) != same_task(task):
                raise RunError(
                    f"{self._path} is another run: its task {key[0]} is {task.id!r}, and another generator draws "
                    f"{drawn.id!r}; give another file, or go on as it was begun"
                )

    def add(self, outcome: Outcome) -> None:
        self.outcomes[outcome.index, outcome.attempt] = outcome
        self._progress()

    def write(self, line: PlayedEpisode | FailedEpisode) -> None:
        if self._writer is not None:
            prompt, completion = self._writer.spent.get((line.index, line.attempt), (0, 0))
            spent = {
                "prompt_tokens": line.prompt_tokens + prompt,
                "completion_tokens": line.completion_tokens + completion,
            }
            line = line.model_copy(update=spent)
            self._writer.write(line)
        self.add(line.outcome)
