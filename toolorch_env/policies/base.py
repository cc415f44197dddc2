"""What a policy is."""

from typing import Any, Protocol

import gymnasium as gym
import numpy as np


class Policy(Protocol):
    """Picks actions in one environment, episode after episode."""

    name: str
    env_id: str
    """The environment that the policy plays in."""

    def reset(self, env: gym.Env[Any, Any], rng: np.random.Generator) -> None:
        """An episode begins. All randomness of the policy is to come from ``rng``."""
        ...

    def act(self, observation: Any, info: dict[str, Any]) -> Any:
        """The next action, from the latest observation and info."""
        ...
