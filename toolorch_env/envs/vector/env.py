"""Many copies of the numeric environment that step at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from toolorch_env.core.episode import Episode
from toolorch_env.core.errors import ConfigurationError, EpisodeError, InvalidActionError
from toolorch_env.core.tasks import Task
from toolorch_env.envs.tool_orch import ToolOrchEnv
from toolorch_env.envs.vector.making import make_engine
from toolorch_env.envs.vector.seeds import SeedStreams
from toolorch_env.envs.vocabulary import Vocabulary
from toolorch_env.generation.mixture import Reporting

Observations = dict[str, np.ndarray]
Infos = dict[str, Any]


class ToolOrchVectorEnv(VectorEnv[Observations, np.ndarray, np.ndarray]):
    """``ToolOrch-v0`` in many copies that step at once, in compiled code (extra ``vector``).

    Each copy behaves as :class:`toolorch_env.envs.tool_orch.ToolOrchEnv` does, to the bit: the same tasks for the same
    seed, the same observations, rewards, masks and ends. Spaces and arguments are described there.

    Infos tell of ends only: ``is_success`` and ``is_clean_success`` of the copies that have ended. What else there is
    to know is told when it is asked for: :meth:`task`, :meth:`episode`.

    Args:
        num_envs: number of copies, at least 1.
        autoreset_mode: what happens to a copy that has ended: ``NEXT_STEP`` (its next step begins an episode,
            whatever the action), ``SAME_STEP`` (the same step does; ``final_obs`` and ``final_info`` tell of the end),
            or ``DISABLED`` (``reset(options={"reset_mask": ...})`` does).
        **kwargs: as for the scalar environment.

    Raises:
        ConfigurationError: the extra is not installed, or something is asked for that only scalar environments can do:
            tools that change a state, ``on_miss`` other than ``"error"``, rewards of other packages.
    """

    def __init__(
        self, num_envs: int = 1, autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP, **kwargs: Any
    ) -> None:
        if not isinstance(num_envs, int) or isinstance(num_envs, bool) or num_envs < 1:
            raise ConfigurationError(f"num_envs is a whole number of at least 1, not {num_envs!r}")
        self.num_envs = num_envs
        self.autoreset_mode = _as_mode(autoreset_mode)
        self.metadata = {**ToolOrchEnv.metadata, "autoreset_mode": self.autoreset_mode}
        self._scalar = ToolOrchEnv(**{**kwargs, "compiled": False})
        self.render_mode = self._scalar.render_mode
        self.single_action_space = self._scalar.action_space
        self.single_observation_space = self._scalar.observation_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._limits = self._scalar.vocabulary.sizes.astype(np.uint64)
        self._engine = make_engine(self._scalar, num_envs, "use vectorization_mode='sync'")
        self._seeds = SeedStreams(num_envs)
        self._has_begun = np.zeros(num_envs, bool)
        self._is_drawn = np.zeros(num_envs, bool)

    @property
    def vocabulary(self) -> Vocabulary:
        """What the components of an action mean."""
        return self._scalar.vocabulary

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """What a method gives for each copy, or an attribute that is the same for all, as other environments do it.

        Args:
            name: ``action_masks``, ``task``, ``episode``, ``vocabulary`` or another attribute.
            *args, **kwargs: none.
        """
        if name == "action_masks":
            return tuple(self.action_masks())
        if name in ("task", "episode"):
            return tuple(getattr(self, name)(copy) for copy in range(self.num_envs))
        found = getattr(self, name) if hasattr(self, name) else getattr(self._scalar, name)
        return (found,) * self.num_envs

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """An attribute of each copy (see :meth:`call`)."""
        return self.call(name)

    def action_masks(self) -> np.ndarray:
        """Which choices are open in each copy, bool, shape (num_envs, sum of ``single_action_space.nvec``)."""
        return self._engine.copies.mask.copy()

    def task(self, copy: int) -> Task:
        """The task that a copy plays.

        Raises:
            EpisodeError: it was not reset yet.
        """
        self._check_begun(copy)
        return self._engine.task(copy)

    def episode(self, copy: int) -> Episode:
        """The episode of a copy so far, made again; to play it on changes nothing here.

        Raises:
            EpisodeError: it was not reset yet.
        """
        self._check_begun(copy)
        return self._engine.episode(copy)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observations, Infos]:
        """Begins an episode in every copy, or in those that ``options["reset_mask"]`` names.

        Args:
            seed: of each copy; a whole number stands for itself in the first one, the next in the second and so on.
            options: as for the scalar environment, for all copies; besides ``reset_mask``: bool, shape (num_envs,).

        Raises:
            ConfigurationError: seeds or mask have another length.
            ConstraintError, TaskError: as for the scalar environment.
        """
        options = dict(options or {})
        which = np.flatnonzero(_reset_mask(options.pop("reset_mask", None), self.num_envs))
        seeds = _seeds(seed, self.num_envs)
        for copy in which.tolist():
            one = seeds[copy]
            if one is not None:
                self._seeds.seed(copy, one)
        self._begin(which, options)
        return self._engine.observations(), {}

    def step(self, actions: np.ndarray) -> tuple[Observations, np.ndarray, np.ndarray, np.ndarray, Infos]:
        """Makes one call in every copy, or finishes.

        Args:
            actions: whole numbers, shape (num_envs, components).

        Returns:
            Observations, rewards (float64), terminated, truncated (bool), infos; shape (num_envs,) or
            (num_envs, width).

        Raises:
            InvalidActionError: an action lies outside the action space.
            EpisodeError: an episode was not started, or has ended and is not begun anew by itself.
        """
        copies = self._engine.copies
        chosen = self._checked(actions)
        ended = copies.done.copy()
        if self.autoreset_mode is not AutoresetMode.NEXT_STEP and ended.any():
            raise EpisodeError("an episode has ended or was not started: call reset() first")
        self._check_begun(slice(None))
        rewards = self._engine.step(chosen, ~ended)
        done = copies.done & ~ended
        terminated, truncated = done & copies.finished, done & ~copies.finished
        infos = self._end_infos(done) if done.any() else {}
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            infos, ended = self._final_infos(done, infos), done
        self._begin(np.flatnonzero(ended), {})
        return self._engine.observations(), rewards, terminated, truncated, infos

    def render(self) -> tuple[Any, ...]:
        """What the scalar environment renders, of each copy."""
        frames = []
        for copy in range(self.num_envs):
            self._scalar._episode = self.episode(copy)
            frames.append(self._scalar.render())
        return tuple(frames)

    def _check_begun(self, copy: int | slice) -> None:
        if not np.all(self._has_begun[copy]):
            raise EpisodeError("there is no episode yet: call reset() first")

    def _checked(self, actions: Any) -> np.ndarray:
        actions, shape = np.asarray(actions), (self.num_envs, len(self._limits))
        if actions.dtype.kind not in "iu" or actions.shape != shape:
            raise InvalidActionError(
                f"actions are whole numbers of shape {shape}, got {actions.dtype} of shape {actions.shape}"
            )
        is_inside = (actions.astype(np.uint64) < self._limits).all(axis=1)  # negative numbers become huge ones
        if not is_inside.all():
            copy = int(is_inside.argmin())
            raise InvalidActionError(
                f"the action {actions[copy].tolist()} of copy {copy} is outside the action space: each number is at "
                "least 0 and below its entry of single_action_space.nvec"
            )
        chosen: np.ndarray = actions.astype(np.int64, copy=False)
        return chosen

    def _begin(self, which: np.ndarray, options: Mapping[str, Any]) -> None:
        """Draws tasks and begins their episodes."""
        left = which
        if not options and self._engine.draws_tasks and len(which):
            left = self._engine.draw(which, self._seeds.next(which))
            self._seeds.take_back(left)
        for copy in left.tolist():
            self._engine.load(copy, self._scalar._choose_task(options, self._seeds.generator(copy)))
        self._has_begun[which] = True
        self._is_drawn[which] = not {"task", "task_id"} & options.keys()

    def _end_infos(self, done: np.ndarray) -> Infos:
        success, clean = self._engine.successes()
        generator = self._scalar.generator
        if isinstance(generator, Reporting):
            for copy in np.flatnonzero(done & self._is_drawn).tolist():
                generator.report(self.task(copy).id, bool(success[copy]))
        told = {"is_success": success & done, "is_clean_success": clean & done}
        return told | {f"_{name}": done.copy() for name in told}

    def _final_infos(self, done: np.ndarray, infos: Infos) -> Infos:
        """What SAME_STEP tells of ends."""
        which = np.flatnonzero(done)
        if not len(which):
            return {}
        final = self._engine.observations(which)
        shown = np.full(self.num_envs, None, object)
        for place, copy in enumerate(which.tolist()):
            shown[copy] = {name: array[place] for name, array in final.items()}
        return {"final_obs": shown, "_final_obs": done.copy(), "final_info": infos, "_final_info": done.copy()}


def _as_mode(mode: AutoresetMode | str) -> AutoresetMode:
    try:
        return mode if isinstance(mode, AutoresetMode) else AutoresetMode[str(mode).upper()]
    except KeyError:
        names = ", ".join(each.name for each in AutoresetMode)
        raise ConfigurationError(f"there is no autoreset mode {mode!r}; choose one of {names}") from None


def _reset_mask(mask: Any, count: int) -> np.ndarray:
    if mask is None:
        return np.ones(count, bool)
    if not isinstance(mask, np.ndarray) or mask.shape != (count,) or mask.dtype != bool or not mask.any():
        raise ConfigurationError(f"reset_mask is an array of bool of shape ({count},), true for at least one copy")
    return mask


def _seeds(seed: int | Sequence[int | None] | None, count: int) -> list[int | None]:
    if seed is None:
        return [None] * count
    if isinstance(seed, (int, np.integer)):
        return [int(seed) + copy for copy in range(count)]
    if len(seed) != count:
        raise ConfigurationError(f"there are {len(seed)} seeds for {count} copies")
    return list(seed)
