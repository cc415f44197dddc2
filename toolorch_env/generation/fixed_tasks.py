"""Fixed tasks: those of a published data set, or any list of them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from toolorch_env.core.errors import ConstraintError, TaskError
from toolorch_env.core.tasks import Task
from toolorch_env.generation.constraints import TaskConstraints, read_constraints


class FixedTasks:
    """Draws from a list of tasks, uniformly among those that satisfy the constraints.

    A task is as it is: constraints choose among tasks, and change none. ``distractor_tools`` and ``distractions`` say
    nothing here, and neither does ``split`` where nobody asked for one; ``exclude_tools`` leaves out tasks that call
    one of these tools, not those that merely offer it.

    Args:
        tasks: the tasks, each with an id of its own.

    Raises:
        TaskError: there are no tasks, or two have the same id.
    """

    def __init__(self, tasks: Iterable[Task]) -> None:
        self.tasks = tuple(tasks)
        self._by_id = {task.id: task for task in self.tasks}
        if not self.tasks:
            raise TaskError("there are no tasks to draw from")
        if len(self._by_id) < len(self.tasks):
            raise TaskError("two tasks have the same id")
        self._eligible_cache: dict[tuple[TaskConstraints, bool], tuple[Task, ...]] = {}

    def __len__(self) -> int:
        return len(self.tasks)

    def where(self, wanted: Callable[[Task], bool]) -> "FixedTasks":
        """Those of the tasks that are wanted.

        Raises:
            TaskError: there are none.
        """
        return FixedTasks(task for task in self.tasks if wanted(task))

    def sample(self, rng: np.random.Generator, constraints: TaskConstraints | Mapping[str, Any] | None = None) -> Task:
        """A task drawn under constraints (see :class:`toolorch_env.generation.generator.TaskGenerator`)."""
        eligible = self.eligible(constraints)
        return eligible[int(rng.integers(len(eligible)))]

    def task(self, task_id: str) -> Task:
        """The task of that id (see :class:`toolorch_env.generation.generator.TaskGenerator`)."""
        if task_id not in self._by_id:
            raise TaskError(f"there is no task {task_id!r} among these {len(self.tasks):,}")
        return self._by_id[task_id]

    def eligible(self, constraints: TaskConstraints | Mapping[str, Any] | None = None) -> tuple[Task, ...]:
        """The tasks that satisfy constraints, in their order.

        Raises:
            ConstraintError: there are none.
        """
        asked = read_constraints(constraints)
        key = (asked, "split" in asked.model_fields_set)
        found = self._eligible_cache.get(key)
        if found is None:
            found = tuple(task for task in self.tasks if _satisfies(task, asked))
            if not found:
                named = asked.model_dump(exclude_unset=True)
                raise ConstraintError(f"none of the {len(self.tasks):,} tasks satisfies the constraints {named}")
            self._eligible_cache[key] = found
        return found


def _satisfies(task: Task, asked: TaskConstraints) -> bool:
    called = {call.tool for call in task.reference}
    return (
        ("split" not in asked.model_fields_set or task.split == asked.split)
        and (not asked.workflows or task.workflow in asked.workflows)
        and called.issuperset(asked.include_tools)
        and called.isdisjoint(asked.exclude_tools)
        and asked.min_steps <= len(task.reference) <= asked.max_steps
        and asked.min_depth <= task.depth <= asked.max_depth
        and asked.min_width <= task.width <= asked.max_width
    )
