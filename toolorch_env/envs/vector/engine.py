"""Steps and draws in compiled code, with the scalar rules answering what it asks."""

from typing import Any

import numpy as np

from toolorch_env.core.episode import Episode
from toolorch_env.core.tasks import Task
from toolorch_env.envs.tool_orch import ToolOrchEnv
from toolorch_env.envs.vector import drawing, stepping
from toolorch_env.envs.vector.copies import make_copies, observations
from toolorch_env.envs.vector.loading import TaskLoader
from toolorch_env.envs.vector.pointers import Bound
from toolorch_env.envs.vector.scoring import Rules, make_scratch
from toolorch_env.envs.vector.seeing import READING
from toolorch_env.envs.vector.supply import Supply, make_supply
from toolorch_env.envs.vector.values import Values
from toolorch_env.envs.vector.world import make_world
from toolorch_env.generation.composing import make_task_id
from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.rewards import AtomicReward, BinaryReward, GraduatedReward, OrchestrationReward
from toolorch_env.store.interned import ABSENT

NATIVE_REWARDS = (GraduatedReward, AtomicReward, OrchestrationReward, BinaryReward)


class Engine:
    """The copies of an environment and the compiled snapshot that they play on.

    Args:
        env: a scalar environment, whose rules hold.
        count: number of copies.

    Attributes:
        copies: their state.
    """

    def __init__(self, env: ToolOrchEnv, count: int) -> None:
        self._env = env
        self._values = Values(env.vocabulary)
        self._world = make_world(env.vocabulary, self._values)
        self._rules = _rules(env)
        self._loader = TaskLoader(env.vocabulary, self._values, env.replay, env.reward, env.max_calls)
        self.copies = make_copies(env.vocabulary, count, env.max_calls)
        self._tasks: list[Task | None] = [None] * count
        self._questions = np.zeros((count, 3), np.int64)
        steps, widest = self.copies.reference_arguments.shape[1:]
        self._scratch = make_scratch(widest, steps)
        self._supply = make_supply(env.generator, env.constraints, env.vocabulary, self._values)
        self._drawing_room = drawing.make_room(_widest(self._supply, len(env.vocabulary.tools)))
        self._drawn = np.full((count, 3), -1, np.int64)
        self._step_all = Bound(stepping.step_all, self._world, self.copies, self._rules, self._scratch)
        self._draw_all: Bound | None = None
        if self._supply is not None:
            self._draw_all = Bound(drawing.draw_all, self._world, self._supply, self.copies, self._drawing_room)
        self._successes = Bound(stepping.successes, self.copies)
        self._chosen = Bound(stepping.chosen, self._world, self.copies)
        self._renew()

    @property
    def draws_tasks(self) -> bool:
        """Whether tasks can be drawn here; else the generator has to."""
        return self._supply is not None

    def step(self, actions: np.ndarray, active: np.ndarray) -> np.ndarray:
        """Makes one call in every active copy; returns the rewards, float64, shape (n,).

        Args:
            actions: within the action space, int64, shape (n, components).
            active: bool, shape (n,).
        """
        active, rewards = active.copy(), np.zeros(len(active))
        while asked := self._step_all(actions, active, rewards, self._questions):
            for kind, one, value in self._questions[:asked].tolist():
                self._answer(kind, one, value)
        return rewards

    def _answer(self, kind: int, one: int, value: int) -> None:
        if kind == READING:
            self._values.read(one, value)
            self._renew()
            return
        seen = self.episode(one).progress.has_seen(self._values[value])
        self.copies.seen[one, self.copies.seen_count[one]] = value, seen
        self.copies.seen_count[one] += 1

    def _renew(self) -> None:
        """New values may have found no room where the old ones were."""
        if self._world.values is not self._values.arrays:
            self._world = self._world._replace(values=self._values.arrays)
            self._step_all.bind(self._world, self.copies, self._rules, self._scratch)
            self._chosen.bind(self._world, self.copies)
            if self._draw_all is not None:
                self._draw_all.bind(self._world, self._supply, self.copies, self._drawing_room)

    def draw(self, which: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """Begins episodes of tasks that are drawn here; returns the copies for which the generator has to.

        Args:
            which: numbers of copies, int64.
            seeds: for each of them what the generator would draw from its random generator, uint64.
        """
        assert self._draw_all is not None
        count = len(self._tasks)
        pending, all_seeds = np.zeros(count, bool), np.zeros(count, np.uint64)
        outcomes, questions = np.zeros(count, np.int64), np.zeros(count, np.int64)
        pending[which], all_seeds[which] = True, seeds
        while pending.any():
            self._draw_all(pending, all_seeds, self._drawn, outcomes, questions)
            for value in set(questions[pending].tolist()):
                self._values.accept(value)
        for copy in which.tolist() if any(self._tasks) else ():
            self._tasks[copy] = None
        left: np.ndarray = which[outcomes[which] == drawing.GIVES_UP]
        return left

    def load(self, copy: int, task: Task) -> None:
        """Begins the episode of a task in a copy.

        Raises:
            TaskError: it cannot be played here.
        """
        self._loader.load(self.copies, copy, task)
        self._tasks[copy] = task
        self._renew()

    def task(self, copy: int) -> Task:
        """The task that a copy plays."""
        task = self._tasks[copy]
        if task is None:
            task = self._tasks[copy] = self._task_again(*self._drawn[copy].tolist())
        return task

    def _task_again(self, workflow: int, trace: int, variant: int) -> Task:
        generator, constraints = self._env.generator, self._env.constraints
        assert isinstance(generator, WorkflowGenerator)
        name = generator.eligible(constraints)[workflow].workflow.name
        return generator.task(make_task_id(name, trace, variant, constraints))

    def episode(self, copy: int) -> Episode:
        """The episode of a copy so far, made again."""
        return self._loader.episode(self.copies, copy, self.task(copy))

    def value(self, copy: int, component: int, choice: int) -> tuple[bool, Any]:
        """Whether a choice of a component of the action resolves now, and to what."""
        number = int(self._chosen(copy, component, choice))
        return (False, None) if number == ABSENT else (True, self._values[number])

    def observations(self, which: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """What copies show now, by default all (see :func:`toolorch_env.envs.vector.copies.observations`)."""
        return observations(self.copies, which)

    def successes(self) -> tuple[np.ndarray, np.ndarray]:
        """Which copies have solved their task, and which with no call more than needed; bool, shape (n,) each."""
        success, clean = np.zeros(len(self._tasks), bool), np.zeros(len(self._tasks), bool)
        self._successes(success, clean)
        return success, clean


def _rules(env: ToolOrchEnv) -> Rules:
    reward = env.reward
    assert isinstance(reward, NATIVE_REWARDS)
    alpha = reward.alpha if isinstance(reward, GraduatedReward) else float(isinstance(reward, AtomicReward))
    return Rules(
        all_or_nothing=isinstance(reward, BinaryReward),
        alpha=float(alpha),
        penalty=reward.penalty,
        weights=np.array(reward.weights.parts),
        max_calls=env.max_calls,
        auto_finish=env.auto_finish,
    )


def _widest(supply: Supply | None, tools: int) -> int:
    return max(tools, 1 if supply is None else len(supply.distractions), 1)
