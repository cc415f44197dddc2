"""Trained models as policies that are evaluated."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from toolorch_env.core.errors import ConfigurationError
from toolorch_env.envs.tool_orch import ToolOrchEnv


class TrainedPolicy:
    """Plays the likeliest choices of a model that ``toolorch train`` has written (extra ``sb3``).

    Args:
        path: the model's file.

    Raises:
        ConfigurationError: there is no such file.
    """

    env_id = "ToolOrch-v0"

    def __init__(self, path: str | Path) -> None:
        self.name = f"sb3:{path}"
        self._path = Path(path)
        if not self._path.is_file():
            raise ConfigurationError(f"there is no model at {path}")
        self._model: Any = None
        self._env: ToolOrchEnv | None = None

    def reset(self, env: gym.Env[Any, Any], rng: np.random.Generator) -> None:
        """See :class:`toolorch_env.policies.base.Policy`.

        Raises:
            ConfigurationError: the model is missing, damaged, or one for another vocabulary.
        """
        unwrapped = env.unwrapped
        assert isinstance(unwrapped, ToolOrchEnv)
        if self._model is None or self._env is None or self._env.snapshot.path != unwrapped.snapshot.path:
            try:
                from toolorch_env.integrations.sb3_training import load_model
            except ModuleNotFoundError as error:
                raise ConfigurationError(
                    f"trained policies need the extra 'sb3' ({error.name} is not installed): "
                    "pip install 'toolorch-env[sb3]'"
                ) from None
            self._model = load_model(self._path, unwrapped.vocabulary)
        self._env = unwrapped

    def act(self, observation: Any, info: dict[str, Any]) -> np.ndarray:
        """The likeliest action."""
        assert self._env is not None
        action, _ = self._model.predict(observation, deterministic=True, action_masks=self._env.action_masks())
        chosen: np.ndarray = action
        return chosen
