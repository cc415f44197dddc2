"""Uniformly random valid actions."""

from typing import Any

import gymnasium as gym
import numpy as np

from toolorch_env.envs.tool_orch import ToolOrchEnv


class RandomPolicy:
    """Picks each component of the action uniformly among the choices that its mask leaves open."""

    name = "random"
    env_id = "ToolOrch-v0"

    def reset(self, env: gym.Env[Any, Any], rng: np.random.Generator) -> None:
        """See :class:`toolorch_env.policies.base.Policy`."""
        unwrapped = env.unwrapped
        assert isinstance(unwrapped, ToolOrchEnv)
        self._env = unwrapped
        self._rng = rng

    def act(self, observation: Any, info: dict[str, Any]) -> np.ndarray:
        """A random valid action."""
        return random_action(self._env, self._rng)


def random_action(env: ToolOrchEnv, rng: np.random.Generator) -> np.ndarray:
    """A uniformly random action among those that the mask leaves open."""
    mask = env.action_masks()
    offsets = env.vocabulary.offsets
    counts = np.add.reduceat(mask, offsets, dtype=np.int64)
    wanted = (rng.random(len(counts)) * counts).astype(np.int64)
    open_choices = np.flatnonzero(mask)
    first = np.cumsum(counts) - counts
    return open_choices[first + wanted] - offsets
