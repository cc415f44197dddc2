"""Playing many tasks with one policy."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from toolorch_env.core.errors import ConfigurationError
from toolorch_env.envs.base import EpisodeEnv
from toolorch_env.evaluation.metrics import EpisodeResult, Metrics, aggregate, episode_result
from toolorch_env.policies.base import Policy


def play_episodes(
    env: gym.Env[Any, Any], policy: Policy, tasks: int | Sequence[str], seed: int
) -> Iterator[EpisodeResult]:
    """Plays ``tasks`` episodes, or those of the tasks of these ids.

    Episode i is that of ``seed`` and i, whatever was played before it.
    """
    unwrapped = env.unwrapped
    if not isinstance(unwrapped, EpisodeEnv):
        raise ConfigurationError(f"{env} is no ToolOrch environment")
    if env.spec is not None and env.spec.id != policy.env_id:
        raise ConfigurationError(f"the policy {policy.name!r} plays in {policy.env_id}, not in {env.spec.id}")
    count = tasks if isinstance(tasks, int) else len(tasks)
    if count < 1 or seed < 0:
        raise ConfigurationError(f"there must be at least 1 task and a seed of at least 0, got {count} and {seed}")
    for index in range(count):
        task_seed, policy_seed = np.random.SeedSequence([seed, index]).generate_state(2)
        options = None if isinstance(tasks, int) else {"task_id": tasks[index]}
        observation, info = env.reset(seed=int(task_seed), options=options)
        policy.reset(env, np.random.default_rng(int(policy_seed)))
        ended = False
        while not ended:
            observation, _, terminated, truncated, info = env.step(policy.act(observation, info))
            ended = terminated or truncated
        yield episode_result(unwrapped.episode)


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
