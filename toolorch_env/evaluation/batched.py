"""Playing many tasks at once, one in each copy of a vector environment."""

from collections.abc import Callable

import numpy as np
from gymnasium.vector import AutoresetMode

from toolorch_env.core.errors import ConfigurationError
from toolorch_env.envs.blank_query import blanked
from toolorch_env.envs.vector.env import Observations, ToolOrchVectorEnv
from toolorch_env.evaluation.metrics import EpisodeResult, episode_result

Choose = Callable[[Observations, np.ndarray], np.ndarray]
"""Actions of all copies, shape (copies, components), from observations and masks, shape (copies, ...) each."""


def play_at_once(
    env: ToolOrchVectorEnv, choose: Choose, *, seed: int = 0, blank_query: bool = False
) -> list[EpisodeResult]:
    """Plays one episode in each copy; the results are in the order of copies.

    Args:
        env: copies in the autoreset mode NEXT_STEP.
        choose: the policy.
        seed: of the first copy; the next has the next one.
        blank_query: whether observations tell nothing of the query.

    Raises:
        ConfigurationError: the environment is in another mode.
    """
    if env.autoreset_mode is not AutoresetMode.NEXT_STEP:
        raise ConfigurationError("playing at once needs a vector environment with autoreset_mode NEXT_STEP")
    observation, _ = env.reset(seed=seed)
    results: dict[int, EpisodeResult] = {}
    while len(results) < env.num_envs:
        seen = blanked(observation) if blank_query else observation
        observation, _, terminated, truncated, _ = env.step(choose(seen, env.action_masks()))
        for copy in np.flatnonzero(terminated | truncated).tolist():
            if copy not in results:  # what begins anew in an ended copy does not count
                results[copy] = episode_result(env.episode(copy))
    return [results[copy] for copy in range(env.num_envs)]
