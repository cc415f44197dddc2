"""What both environments share: options, tasks, episodes and rendering."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic

import gymnasium as gym
import numpy as np
from gymnasium.core import ActType, ObsType

from toolorch_env.core.episode import Episode
from toolorch_env.core.errors import ConfigurationError, EpisodeError, TaskError
from toolorch_env.core.scoring import Reward, Step
from toolorch_env.core.tasks import Task
from toolorch_env.generation.constraints import TaskConstraints, read_constraints
from toolorch_env.generation.generator import TaskGenerator
from toolorch_env.generation.mixture import Reporting
from toolorch_env.generation.registry import as_generator
from toolorch_env.rewards import make_reward
from toolorch_env.store.bundled import open_snapshot
from toolorch_env.store.replay import LiveAnswers, SnapshotReplay
from toolorch_env.store.snapshot import Snapshot

_OPTIONS = ("constraints", "task", "task_id")


class EpisodeEnv(gym.Env[ObsType, ActType], Generic[ObsType, ActType]):
    """A Gymnasium environment around :class:`toolorch_env.core.episode.Episode`. See its two subclasses."""

    metadata: dict[str, Any] = {  # noqa: RUF012  declared so by Gymnasium
        "render_modes": ["ansi", "rgb_array"],
        "render_fps": 1,
    }

    def __init__(
        self,
        snapshot: str | Path | Snapshot = "travel",
        *,
        reward: str | Reward = "graduated",
        generator: TaskGenerator | str | None = None,
        constraints: TaskConstraints | Mapping[str, Any] | None = None,
        max_calls: int = 16,
        on_miss: str = "error",
        live: LiveAnswers | None = None,
        render_mode: str | None = None,
    ) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            modes = ", ".join(self.metadata["render_modes"])
            raise ConfigurationError(f"there is no render mode {render_mode!r}; choose one of {modes}")
        if not isinstance(max_calls, int) or isinstance(max_calls, bool) or max_calls < 1:
            raise ConfigurationError(f"max_calls must be a whole number of at least 1, got {max_calls!r}")
        self.snapshot = open_snapshot(snapshot)
        self.replay = SnapshotReplay(self.snapshot, on_miss, live)
        self.reward = _as_reward(reward)
        self.generator: TaskGenerator = as_generator(generator, self.snapshot)
        self.constraints = read_constraints(constraints)
        self.max_calls = max_calls
        self.render_mode = render_mode
        self._tool_names = frozenset(self.snapshot.tools)
        self._episode: Episode | None = None
        self._is_drawn = False

    @property
    def episode(self) -> Episode:
        """The episode being played.

        Raises:
            EpisodeError: the environment was not reset yet.
        """
        if self._episode is None:
            raise EpisodeError("there is no episode yet: call reset() first")
        return self._episode

    def _start(self, seed: int | None, options: Mapping[str, Any] | None) -> Episode:
        """Seeds, draws a task and starts its episode."""
        gym.Env.reset(self, seed=seed)
        task = self._choose_task(options or {}, self.np_random)
        self._is_drawn = not {"task", "task_id"} & set(options or {})
        if not self._tool_names.issuperset(task.tools):
            missing = sorted(set(task.tools) - self._tool_names)
            raise TaskError(f"task {task.id!r} offers tools that {self.snapshot.name!r} lacks: {', '.join(missing)}")
        try:
            self._episode = Episode(task, self.replay, self.reward, self.max_calls)
        except ValueError as error:  # a value that is not JSON
            raise TaskError(f"task {task.id!r} cannot be played: {error}") from None
        return self._episode

    def _choose_task(self, options: Mapping[str, Any], rng: np.random.Generator) -> Task:
        if not isinstance(options, Mapping):
            raise ConfigurationError(f"reset options must be a mapping, got {type(options).__name__}")
        unknown = [name for name in options if name not in _OPTIONS]
        if unknown or len(options) > 1:
            raise ConfigurationError(
                f"reset options are one of {', '.join(_OPTIONS)}; got {', '.join(map(str, options)) or 'none'}"
            )
        if "task" in options:
            task = options["task"]
            return task if isinstance(task, Task) else Task.from_json(task)
        if "task_id" in options:
            if not isinstance(options["task_id"], str):
                raise TaskError(f"a task id is a text, got {options['task_id']!r}")
            return self.generator.task(options["task_id"])
        return self.generator.sample(rng, self._laid_over(options.get("constraints")))

    def _laid_over(self, given: TaskConstraints | Mapping[str, Any] | None) -> TaskConstraints:
        """The environment's constraints with those of a reset laid over them."""
        if given is None:
            return self.constraints
        if isinstance(given, Mapping):
            return read_constraints({**self.constraints.model_dump(exclude_unset=True), **given})
        return read_constraints(given)

    def _end_info(self) -> dict[str, Any]:
        """What is told at the end of an episode. ``is_success`` is the name that Stable-Baselines3 logs."""
        self.report()
        return {"is_success": self.episode.success, "is_clean_success": self.episode.clean_success}

    def report(self) -> None:
        """Tells a generator that learns from results how the episode has ended, once.

        It was told already where ``step`` has ended it: this is for who plays :attr:`episode` directly.
        """
        if self._is_drawn and isinstance(self.generator, Reporting):
            self.generator.report(self.episode.task.id, self.episode.success)
        self._is_drawn = False

    def render(self) -> Any:
        """The episode as text (``ansi``) or as a picture of its call graph (``rgb_array``, uint8, (height, width, 3)).

        Raises:
            ConfigurationError: ``rgb_array`` needs the extra ``render``.
        """
        from toolorch_env.envs.rendering import draw_episode, episode_text

        if self.render_mode == "ansi":
            return episode_text(self.episode)
        if self.render_mode == "rgb_array":
            return draw_episode(self.episode)
        gym.logger.warn("render() was called on an environment that was made without a render_mode")
        return None


def reward_info(step: Step) -> dict[str, Any]:
    """The components of a call's reward by name, and the reference call that it was matched to (-1: none)."""
    score = step.score
    matched = -1 if score.matched is None else score.matched
    return {**score.components, "potential": score.potential, "total": score.reward, "matched": matched}


def tier_info(step: Step) -> dict[str, Any]:
    """How near the call is that a nearest answer was recorded for; nothing for all other answers."""
    return {} if step.response.tier is None else {"tier": step.response.tier}


def _as_reward(reward: str | Reward) -> Reward:
    if isinstance(reward, str):
        return make_reward(reward)
    if isinstance(reward, type) or not callable(getattr(reward, "start", None)):
        raise ConfigurationError(f"a reward is a name or an object with a method start(), got {reward!r}")
    return reward
