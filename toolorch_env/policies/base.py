"""What a policy is."""

from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np

from toolorch_env import ENVIRONMENTS
from toolorch_env.core.errors import ConfigurationError


@runtime_checkable
class Policy(Protocol):
    """Picks actions, step after step. One method is all it needs; what else it has is used:

    - ``name``: what it is reported as; by default the name of its class
    - ``env_id``: the environment that it plays in; by default ``ToolOrchText-v0``, in words
    - ``reset(env, rng)``: an episode begins; all randomness of the policy is to come from ``rng``
    """

    def act(self, observation: Any, info: dict[str, Any]) -> Any:
        """The next action, from the latest observation and info: at the beginning of an episode those of its reset."""
        ...


def policy_name(policy: Policy) -> str:
    """What a policy is reported as."""
    return str(getattr(policy, "name", type(policy).__name__))


def policy_env_id(policy: Policy) -> str:
    """The environment that a policy plays in.

    Raises:
        ConfigurationError: it is none of ToolOrch's.
    """
    found = str(getattr(policy, "env_id", "ToolOrchText-v0"))
    if found not in ENVIRONMENTS:
        raise ConfigurationError(
            f"the policy {policy_name(policy)!r} has the env_id {found!r}: there are {' and '.join(ENVIRONMENTS)}"
        )
    return found


def begin_episode(policy: Policy, env: gym.Env[Any, Any], rng: np.random.Generator) -> None:
    """Tells a policy that an episode begins, if it wants to know."""
    reset = getattr(policy, "reset", None)
    if reset is not None:
        reset(env, rng)
