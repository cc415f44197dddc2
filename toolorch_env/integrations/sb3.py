"""Stable-Baselines3: ``ToolOrch-v0`` in many copies as a vectorised environment of its own kind (extra ``sb3``)."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from toolorch_env.core.errors import ConfigurationError
from toolorch_env.envs.observation import CONTEXT_BUCKETS, KIND_BUCKETS, QUERY_BUCKETS
from toolorch_env.envs.vocabulary import MAX_MENTIONS, Vocabulary

_NOTHING: dict[str, Any] = {}


def make_vec_env(
    num_envs: int = 256, *, seed: int | None = None, native: bool = True, word_dropout: float = 0.0, **kwargs: Any
) -> "ToolOrchVecEnv":
    """Copies of ``ToolOrch-v0`` for Stable-Baselines3 and sb3-contrib's ``MaskablePPO``.

    Args:
        num_envs: number of copies.
        seed: of the first copy; the next one has the next seed, and so on.
        native: whether all copies step at once in compiled code (extra ``vector``); else one after the other.
        word_dropout: share of the query's features that are left out of the observations of an episode, drawn anew for
            each: what is learned then depends less on single words.
        **kwargs: as for :class:`toolorch_env.envs.tool_orch.ToolOrchEnv`.

    Raises:
        ConfigurationError: as for the environments.
    """
    if native:
        from toolorch_env.envs.vector.env import ToolOrchVectorEnv

        env: Any = ToolOrchVectorEnv(num_envs, AutoresetMode.SAME_STEP, **kwargs)
    else:
        from toolorch_env.envs.tool_orch import ToolOrchEnv

        first = ToolOrchEnv(**kwargs)
        shared = {**kwargs, "snapshot": first.snapshot, "generator": first.generator}
        env = gym.vector.SyncVectorEnv(
            [lambda: ToolOrchEnv(**shared)] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP
        )
    made = ToolOrchVecEnv(env, word_dropout, seed)
    made.seed(seed)
    return made


class ToolOrchVecEnv(VecEnv):
    """A Gymnasium vector environment of ``ToolOrch-v0`` as Stable-Baselines3 takes it.

    Infos are empty but for copies whose episode has ended: ``terminal_observation``, ``episode`` (return ``r``, length
    ``l``), ``is_success``, ``is_clean_success``. The call limit is a rule of the game that observations show, and
    nothing follows it: it counts as an end, not as a time limit to look beyond (``TimeLimit.truncated`` is not set).

    Args:
        env: a vector environment in the autoreset mode SAME_STEP.
        word_dropout: share of the query's features that are left out, from 0 to below 1.
        seed: decides which.

    Raises:
        ConfigurationError: it is in another mode, or there is no such share.
    """

    def __init__(
        self, env: gym.vector.VectorEnv[Any, Any, Any], word_dropout: float = 0.0, seed: int | None = None
    ) -> None:
        if env.metadata.get("autoreset_mode") is not AutoresetMode.SAME_STEP:
            raise ConfigurationError("Stable-Baselines3 needs a vector environment with autoreset_mode SAME_STEP")
        self.env: Any = env
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self.render_mode = getattr(env, "render_mode", None)
        self._actions = np.zeros((env.num_envs, len(env.single_action_space.nvec)), np.int64)  # type: ignore[attr-defined]
        if not 0 <= word_dropout < 1:
            raise ConfigurationError(f"word_dropout is a share from 0 to below 1, not {word_dropout!r}")
        self._word_dropout = word_dropout
        self._rng = np.random.default_rng(seed)
        self._kept_words = np.ones((env.num_envs, QUERY_BUCKETS), np.float32)
        self._kept_contexts = np.ones((env.num_envs, MAX_MENTIONS, CONTEXT_BUCKETS), np.float32)
        self._returns = np.zeros(env.num_envs)
        self._lengths = np.zeros(env.num_envs, np.int64)

    @property
    def vocabulary(self) -> Vocabulary:
        """What the components of an action mean."""
        found: Vocabulary = self.env.get_attr("vocabulary")[0]
        return found

    def action_masks(self) -> np.ndarray:
        """Which choices are open in each copy, bool, shape (copies, sum of ``nvec``)."""
        if hasattr(self.env, "action_masks"):
            masks: np.ndarray = self.env.action_masks()
            return masks
        return np.stack(self.env.call("action_masks"))

    def reset(self) -> VecEnvObs:
        """Begins an episode in every copy."""
        seeds = None if all(seed is None for seed in self._seeds) else list(self._seeds)
        observation, _ = self.env.reset(seed=seeds, options=self._options[0] or None)
        self._reset_seeds()
        self._reset_options()
        self._returns[:] = 0.0
        self._lengths[:] = 0
        self._choose_words(np.arange(self.num_envs))
        return self._with_kept_words(observation)

    def step_async(self, actions: np.ndarray) -> None:
        """Keeps the actions of the next step."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Makes the step."""
        observation, rewards, terminated, truncated, infos = self.env.step(np.asarray(self._actions, np.int64))
        done = terminated | truncated
        self._returns += rewards
        self._lengths += 1
        told: list[dict[str, Any]] = [_NOTHING] * self.num_envs
        for copy in np.flatnonzero(done).tolist():
            told[copy] = self._told_of_end(copy, infos)
        self._returns[done] = 0.0
        self._lengths[done] = 0
        self._choose_words(np.flatnonzero(done))
        return self._with_kept_words(observation), rewards.astype(np.float32), done, told

    def _choose_words(self, copies: np.ndarray) -> None:
        """Draws for episodes that begin which features they show."""
        if self._word_dropout:
            for kept in (self._kept_words, self._kept_contexts):
                kept[copies] = self._rng.random((len(copies), *kept.shape[1:])) >= self._word_dropout

    def _with_kept_words(self, observation: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self._word_dropout:
            observation["query"] *= self._kept_words
            mentions = observation["mentions"].reshape(self.num_envs, MAX_MENTIONS, -1)
            mentions[..., KIND_BUCKETS : KIND_BUCKETS + CONTEXT_BUCKETS] *= self._kept_contexts
        return observation

    def _told_of_end(self, copy: int, infos: dict[str, Any]) -> dict[str, Any]:
        final = infos["final_info"]
        return {
            "terminal_observation": infos["final_obs"][copy],
            "episode": {"r": float(self._returns[copy]), "l": int(self._lengths[copy]), "t": 0.0},
            "is_success": bool(final["is_success"][copy]),
            "is_clean_success": bool(final["is_clean_success"][copy]),
        }

    def close(self) -> None:
        """Closes the environment."""
        self.env.close()

    def has_attr(self, attr_name: str) -> bool:
        """Whether there is an attribute, here or in the environment."""
        return hasattr(self, attr_name) or hasattr(self.env, attr_name)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute, the same for all copies."""
        owner = self if hasattr(self, attr_name) else self.env
        return [getattr(owner, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Copies have no attributes of their own.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError(f"copies share one environment: make another one to change {attr_name!r}")

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """``action_masks``, a row for each copy; other methods do not belong to a single copy.

        Raises:
            ConfigurationError: another method is called.
        """
        if method_name != "action_masks":
            raise ConfigurationError(f"copies share one environment: {method_name!r} cannot be called on one of them")
        return list(self.action_masks()[list(self._get_indices(indices))])

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """No copy is wrapped; episodes are counted as a Monitor would."""
        from stable_baselines3.common.monitor import Monitor

        return [wrapper_class is Monitor] * len(list(self._get_indices(indices)))

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Pictures of all copies."""
        return list(self.env.render())
