"""Playing many tasks with one policy."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from toolorch_env.core.episode import Episode
from toolorch_env.core.errors import ConfigurationError
from toolorch_env.envs.base import EpisodeEnv
from toolorch_env.evaluation.metrics import EpisodeResult, Metrics, aggregate, episode_result
from toolorch_env.policies.base import Policy, begin_episode, policy_env_id, policy_name


@dataclass(frozen=True, slots=True)
class Job:
    """One episode to be played.

    Attributes:
        index: number of the task in the evaluation.
        attempt: which time the task is played, from 0.
        task_seed: what the task is drawn from.
        policy_seed: for what the policy draws.
        task_id: the task where it is listed, else it is drawn.
    """

    index: int
    attempt: int
    task_seed: int
    policy_seed: int
    task_id: str | None = None

    @property
    def options(self) -> dict[str, Any] | None:
        """Of the environment's ``reset``."""
        return None if self.task_id is None else {"task_id": self.task_id}


def list_jobs(tasks: int | Sequence[str], seed: int, tries: int = 1) -> list[Job]:
    """The episodes of an evaluation. Each stands for itself, whatever is played before it.

    Args:
        tasks: number of tasks, at least 1; or the ids of the tasks to play.
        seed: the same seed gives the same tasks.
        tries: how often each task is played, at least 1.

    Raises:
        ConfigurationError: a number is too small.
    """
    count = tasks if isinstance(tasks, int) else len(tasks)
    if count < 1 or seed < 0 or tries < 1:
        raise ConfigurationError(
            f"there must be at least 1 task, 1 try and a seed of at least 0, got {count}, {tries} and {seed}"
        )
    return [_job(tasks, seed, index, attempt) for index in range(count) for attempt in range(tries)]


def _job(tasks: int | Sequence[str], seed: int, index: int, attempt: int) -> Job:
    task_seed, policy_seed = np.random.SeedSequence([seed, index]).generate_state(2).tolist()
    if attempt:
        (policy_seed,) = np.random.SeedSequence([seed, index, attempt]).generate_state(1).tolist()
    return Job(index, attempt, task_seed, policy_seed, None if isinstance(tasks, int) else tasks[index])


def play(env: gym.Env[Any, Any], policy: Policy, jobs: Iterable[Job]) -> Iterator[tuple[Job, Episode]]:
    """Plays episodes one after the other; gives each when it has ended.

    Raises:
        ConfigurationError: the policy does not play in this environment.
    """
    unwrapped = env.unwrapped
    if not isinstance(unwrapped, EpisodeEnv):
        raise ConfigurationError(f"{env} is no ToolOrch environment")
    env_id = policy_env_id(policy)
    if env.spec is not None and env.spec.id != env_id:
        raise ConfigurationError(f"the policy {policy_name(policy)!r} plays in {env_id}, not in {env.spec.id}")
    for job in jobs:
        observation, info = env.reset(seed=job.task_seed, options=job.options)
        begin_episode(policy, env, np.random.default_rng(job.policy_seed))
        ended = False
        while not ended:
            observation, _, terminated, truncated, info = env.step(policy.act(observation, info))
            ended = terminated or truncated
        yield job, unwrapped.episode


def play_episodes(
    env: gym.Env[Any, Any], policy: Policy, tasks: int | Sequence[str], seed: int
) -> Iterator[EpisodeResult]:
    """Plays ``tasks`` episodes, or those of the tasks of these ids; gives their results.

    Raises:
        ConfigurationError: as for :func:`list_jobs` and :func:`play`.
    """
    for _, episode in play(env, policy, list_jobs(tasks, seed)):
        yield episode_result(episode)


def evaluate(
    env: gym.Env[Any, Any],
    policy: Policy,
    *,
    tasks: int | Sequence[str],
    seed: int = 0,
    progress: Callable[[EpisodeResult], None] | None = None,
) -> Metrics:
    """Plays many episodes and returns their metrics.

    Args:
        env: the environment that the policy plays in.
        policy: the policy.
        tasks: number of episodes, at least 1; or the ids of the tasks to play, each once.
        seed: the same seed gives the same tasks and, for a policy that draws from its generator only, the same result.
        progress: called after each episode.

    Raises:
        ConfigurationError: the policy does not play in this environment, or there are no tasks to play.
    """
    begin = time.perf_counter()
    results = []
    for result in play_episodes(env, policy, tasks, seed):
        results.append(result)
        if progress is not None:
            progress(result)
    return aggregate(results, time.perf_counter() - begin)
