"""The known solution, played."""

from typing import Any

import gymnasium as gym
import numpy as np

from toolorch_env.core.calls import Call
from toolorch_env.core.episode import Episode
from toolorch_env.envs.base import EpisodeEnv


class OraclePolicy:
    """Makes the reference calls in their order and finishes. Works in both environments."""

    name = "oracle"

    def __init__(self, env_id: str = "ToolOrch-v0") -> None:
        self.env_id = env_id

    def reset(self, env: gym.Env[Any, Any], rng: np.random.Generator) -> None:
        """See :class:`toolorch_env.policies.base.Policy`."""
        unwrapped = env.unwrapped
        assert isinstance(unwrapped, EpisodeEnv)
        self._env: Any = unwrapped

    def act(self, observation: Any, info: dict[str, Any]) -> Any:
        """The next reference call as an action."""
        return self._env.action_for(next_reference_call(self._env.episode))


def next_reference_call(episode: Episode) -> Call | None:
    """The first reference call that is not complete, ``None`` when all are."""
    for reference, complete in zip(episode.task.reference, episode.progress.complete, strict=True):
        if not complete:
            return Call(reference.tool, reference.arguments)
    return None
