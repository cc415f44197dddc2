"""The numeric environment with one small choice a step."""

from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from toolorch_env.core.errors import ConfigurationError, EpisodeError, InvalidActionError
from toolorch_env.envs.observation import Observation
from toolorch_env.envs.partial_call import PartialCall, partial_call_space
from toolorch_env.envs.tool_orch import ToolOrchEnv


class MicroSteps(gym.Wrapper[Observation, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """``ToolOrch-v0`` in which a call is chosen in several steps: first its tool, then its parameters one by one.

    A call takes one step and one more for each parameter of its tool; finishing takes one. The actions are all choices
    of all components of the plain action in one `Discrete` space, in the order of the plain mask; `action_masks()` has
    those of one component open. Knowing the tool, it is stricter than the plain one: a value fits the parameter of
    this tool, and what the tool requires cannot be left out while anything else is open. An action of another component
    leaves the parameter out, and finishes where a tool is to be chosen.

    Observations have two more parts: `chosen`, the choices made for the call so far, and `component`, which one is
    next. The reward and the info of a call come with its last step, rewards before are 0. Call limit, tasks and ends
    are those of the plain environment.

    Args:
        env: a ``ToolOrch-v0``, wrapped or not, with actions as they are.

    Raises:
        ConfigurationError: it is another environment.
    """

    def __init__(self, env: gym.Env[Observation, np.ndarray]) -> None:
        plain = env.unwrapped
        if not isinstance(plain, ToolOrchEnv):
            raise ConfigurationError(f"only calls of ToolOrch-v0 can be chosen in small steps, not those of {env}")
        gym.utils.RecordConstructorArgs.__init__(self)
        super().__init__(env)
        self._plain = plain
        space = partial_call_space(plain.vocabulary)
        self.observation_space = cast("spaces.Space[Observation]", space)
        self.action_space = cast("spaces.Space[int]", spaces.Discrete(plain.vocabulary.mask_size))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._begin(observation), info

    def step(self, action: int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Makes one choice; with the last one of a call, the call.

        Raises:
            InvalidActionError: the action lies outside the action space.
            EpisodeError: the episode has ended or was not started.
        """
        if self._plain.episode.done:
            raise EpisodeError("the episode has ended: call reset() first")
        if not self.action_space.contains(action):
            raise InvalidActionError(f"the action {action!r} is outside the action space {self.action_space}")
        self._call.choose(int(action))
        if self._call.component is not None:
            return self._call.observe(self._observation), 0.0, False, False, {}
        observation, reward, terminated, truncated, info = self.env.step(self._call.action)
        return self._begin(observation), float(reward), terminated, truncated, info

    def _begin(self, observation: Observation) -> Observation:
        """Begins the next call; gives what is observed before it."""
        mentions = [mention.value for mention in self._plain.episode.task.mentions]
        self._observation = observation
        self._call = PartialCall(self._plain.vocabulary, self._plain.action_masks(), mentions)
        return self._call.observe(observation)

    def action_masks(self) -> np.ndarray:
        """Which choices are open, bool, shape (number of actions,)."""
        self._plain.episode  # noqa: B018  raises before the first reset
        return self._call.mask()
