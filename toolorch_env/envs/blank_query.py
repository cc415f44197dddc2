"""The query blanked out: what an agent achieves that cannot read what is asked for."""

from typing import Any

import gymnasium as gym
import numpy as np

from toolorch_env.envs.observation import CONTEXT_BUCKETS, KIND_BUCKETS, Observation
from toolorch_env.envs.tool_orch import ToolOrchEnv
from toolorch_env.envs.vocabulary import MAX_MENTIONS


def blanked(observation: Observation) -> Observation:
    """An observation in which the query tells nothing; arrays may have a first axis of copies.

    Its words are gone, and so are kind and context of each mention; that a mention was used stays.
    """
    mentions = observation["mentions"].copy()
    mentions.reshape(*mentions.shape[:-1], MAX_MENTIONS, -1)[..., : KIND_BUCKETS + CONTEXT_BUCKETS] = 0.0
    return {**observation, "mentions": mentions, "query": np.zeros_like(observation["query"])}


class BlankQuery(gym.ObservationWrapper[Observation, np.ndarray, Observation]):
    """``ToolOrch-v0`` with the query blanked out of observations; masks stay as they are.

    Every published result comes with that of the same policy in this environment.
    """

    def __init__(self, env: gym.Env[Observation, np.ndarray]) -> None:
        assert isinstance(env.unwrapped, ToolOrchEnv)
        super().__init__(env)

    def observation(self, observation: Observation) -> Observation:
        """See :func:`blanked`."""
        return blanked(observation)

    def action_masks(self) -> Any:
        """Those of the environment."""
        return self.env.get_wrapper_attr("action_masks")()
