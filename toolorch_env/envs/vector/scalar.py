"""The numeric environment whose one episode steps in compiled code."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from toolorch_env.core.episode import Episode
from toolorch_env.core.errors import EpisodeError
from toolorch_env.envs.observation import Observation
from toolorch_env.envs.tool_orch import ToolOrchEnv
from toolorch_env.envs.vector.making import make_engine
from toolorch_env.generation.mixture import Reporting


class CompiledToolOrchEnv(ToolOrchEnv):
    """What ``ToolOrchEnv(compiled=True)`` makes: the same tasks, observations, rewards, masks and ends, to the bit.

    Infos tell of ends only, ``is_success`` and ``is_clean_success``; :attr:`episode` has the rest when it is asked for.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._engine = make_engine(self, 1, "leave out compiled=True")
        self._has_begun = False
        self._first = np.zeros(1, np.int64)
        self._actions = np.zeros((1, len(self.vocabulary.sizes)), np.int64)
        self._active = np.ones(1, bool)

    @property
    def episode(self) -> Episode:
        """The episode so far, made again; to play it on changes nothing here.

        Raises:
            EpisodeError: the environment was not reset yet.
        """
        self._check_begun()
        return self._engine.episode(0)

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode (see the class)."""
        gym.Env.reset(self, seed=seed)
        if options or not self._draw():
            self._engine.load(0, self._choose_task(options or {}, self.np_random))
        self._has_begun = True
        self._is_drawn = not {"task", "task_id"} & set(options or {})
        return self._observe(), {}

    def _draw(self) -> bool:
        """Begins an episode of a task that is drawn in compiled code, where that can be done."""
        if not self._engine.draws_tasks:
            return False
        bits = self.np_random.bit_generator
        before = bits.state
        if not len(self._engine.draw(self._first, np.array([self.np_random.integers(2**63)], np.uint64))):
            return True
        bits.state = before
        return False

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Makes one call, or finishes.

        Raises:
            InvalidActionError: the action lies outside the action space.
            EpisodeError: the episode has ended or was not started.
        """
        self._actions[0] = self._choices(action)
        self._check_begun()
        copies = self._engine.copies
        if copies.done[0]:
            raise EpisodeError("the episode has ended: call reset() first")
        reward = float(self._engine.step(self._actions, self._active)[0])
        if not copies.done[0]:
            return self._observe(), reward, False, False, {}
        finished = bool(copies.finished[0])
        return self._observe(), reward, finished, not finished, self._end_info()

    def action_masks(self) -> np.ndarray:
        """Which choices are open (see the class)."""
        self._check_begun()
        mask: np.ndarray = self._engine.copies.mask[0].copy()
        return mask

    def _check_begun(self) -> None:
        if not self._has_begun:
            raise EpisodeError("there is no episode yet: call reset() first")

    def _value(self, parameter: int, choice: int) -> tuple[bool, Any]:
        return self._engine.value(0, 1 + parameter, choice)

    def _end_info(self) -> dict[str, Any]:
        success, clean = self._engine.successes()
        if self._is_drawn and isinstance(self.generator, Reporting):
            self.generator.report(self._engine.task(0).id, bool(success[0]))
        return {"is_success": bool(success[0]), "is_clean_success": bool(clean[0])}

    def _observe(self) -> Observation:
        return {name: array[0] for name, array in self._engine.observations().items()}
