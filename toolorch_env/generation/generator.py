"""Generators: functions of (snapshot, constraints, seed) that draw tasks."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from toolorch_env.core.draws import Draws
from toolorch_env.core.errors import ConstraintError, TaskError
from toolorch_env.core.tasks import Task
from toolorch_env.generation.composing import TaskComposer, draw_trace, read_task_id
from toolorch_env.generation.constraints import TaskConstraints, read_constraints
from toolorch_env.generation.fixed_tasks import FixedTasks
from toolorch_env.generation.literal_selections import with_literal_selections
from toolorch_env.generation.paraphrases import Paraphrases
from toolorch_env.generation.phraser import Phraser
from toolorch_env.generation.phrasing import Template
from toolorch_env.generation.sources import TraceSource
from toolorch_env.generation.structures import held_out_workflows
from toolorch_env.store.bundled import open_snapshot
from toolorch_env.store.compiled import Compiled
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.workflows import WorkflowSet, snapshot_workflows

MAX_TRACE_DRAWS = 200
"""Traces of a wrong split or with repeated calls are drawn anew from their workflow, at most that often."""

MAX_WORKFLOW_DRAWS = 200
"""So many workflows are tried before a split counts as empty: a small workflow may have no trace in it."""


@runtime_checkable
class TaskGenerator(Protocol):
    """Draws tasks. Anything that has these two methods can be plugged into an environment."""

    def sample(self, rng: np.random.Generator, constraints: TaskConstraints | None = None) -> Task:
        """A task drawn under constraints; the same task from the same state of ``rng``.

        Raises:
            ConstraintError: no task satisfies the constraints.
        """
        ...

    def task(self, task_id: str) -> Task:
        """The task of that id, drawn once more.

        Raises:
            TaskError: this generator draws no such task.
        """
        ...


class WorkflowGenerator:
    """Draws tasks from workflows over the recorded responses of a snapshot.

    First a workflow, uniformly among those that satisfy the constraints; then one of its traces, uniformly among all
    valid ones of the split; then a phrasing, sentences with values that are not needed, and distractor tools.
    Every task is well posed: see :mod:`toolorch_env.generation.checking`.

    Args:
        snapshot: the recorded API, or its bundled name or path.
        workflows: the workflows to draw from; by default those stored in the snapshot.

    Raises:
        WorkflowError: there are no workflows, or they do not fit the snapshot.
    """

    def __init__(self, snapshot: str | Path | Snapshot, workflows: WorkflowSet | None = None) -> None:
        self.snapshot = snapshot = open_snapshot(snapshot)
        self.workflows = workflows or snapshot_workflows(snapshot)
        self.workflows.check_tools(snapshot.tools)
        self._eligible_cache: dict[TaskConstraints, tuple[TraceSource, ...]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"snapshot": self.snapshot, "workflows": self.workflows, "_eligible_cache": {}}

    @cached_property
    def _compiled(self) -> Compiled:
        compiled = self.snapshot.compiled_for(self.workflows.links())
        return with_literal_selections(compiled, self.snapshot.records(), self.workflows)

    @cached_property
    def sources(self) -> dict[str, TraceSource]:
        """Each workflow with its traces, by name."""
        held_out = held_out_workflows(self.workflows.workflows)
        return {
            workflow.name: TraceSource(workflow, self._compiled, self.snapshot.tools, workflow.name in held_out)
            for workflow in self.workflows.workflows
        }

    @cached_property
    def _pools(self) -> dict[str, list[Any]]:
        """All values of each kind that some recorded call of a workflow's tools uses, in a fixed order."""
        places = {place for source in self.sources.values() for place in source.literal_places()}
        pools: dict[str, set[int]] = {}
        for kind, tool, parameter in sorted(places):
            pools.setdefault(kind, set()).update(self._compiled.argument_ids(tool, parameter).tolist())
        return {kind: [self._compiled.values[value_id] for value_id in sorted(pool)] for kind, pool in pools.items()}

    @cached_property
    def composer(self) -> TaskComposer:
        """What makes tasks of traces."""
        words = self.workflows
        return TaskComposer(
            Phraser(self.snapshot.tools, words.grammar, words.rewrites),
            self._pools,
            [Template.parse(text) for text in words.distractions],
            Paraphrases(words.paraphrases, self.snapshot),
        )

    def counts(self) -> dict[str, int]:
        """Number of traces of each workflow, 0 for one that can never work on this snapshot.

        Traces that repeat a call or a value are counted, but never drawn.
        """
        return {name: source.join.count for name, source in self.sources.items()}

    def sample(self, rng: np.random.Generator, constraints: TaskConstraints | Mapping[str, Any] | None = None) -> Task:
        """A task drawn under constraints (see :class:`TaskGenerator`)."""
        constraints = read_constraints(constraints)
        sources = self.eligible(constraints)
        draws = Draws(int(rng.integers(2**63)))
        for _ in range(MAX_WORKFLOW_DRAWS):
            source = draws.choose(sources)
            trace = draw_trace(source, draws, constraints.split, MAX_TRACE_DRAWS)
            if trace is not None:
                return self.composer.task(source.workflow.name, source, trace, draws.word() >> 32, constraints)
        if not any(source.is_feasible for source in sources):
            told = "; ".join(source.why_infeasible for source in sources[:5])
            raise ConstraintError(f"none of the workflows works on {self.snapshot.name!r}: {told}")
        raise ConstraintError(
            f"no task was found in {MAX_WORKFLOW_DRAWS * MAX_TRACE_DRAWS:,} draws: these workflows have (nearly) no "
            f"traces in the split {constraints.split!r}"
        )

    def task(self, task_id: str) -> Task:
        """The task of that id (see :class:`TaskGenerator`)."""
        try:
            name, _, _, constraints = read_task_id(task_id)
            self._check_names(constraints)
            return self.composer.again(task_id, name, self.sources[name])
        except (ValueError, KeyError):
            raise TaskError(f"this generator has no task {task_id!r}") from None

    def eligible(self, constraints: TaskConstraints) -> tuple[TraceSource, ...]:
        """The workflows that tasks are drawn from under constraints.

        Raises:
            ConstraintError: there are none.
        """
        found = self._eligible_cache.get(constraints)
        if found is None:
            self._check_names(constraints)
            fitting = [source for source in self.sources.values() if source.satisfies(constraints)]
            asked = constraints.model_dump(exclude_defaults=True)
            if not fitting:
                raise ConstraintError(f"no workflow of {self.snapshot.name!r} satisfies the constraints {asked}")
            found = tuple(source for source in fitting if source.held_out == (constraints.split == "test_workflows"))
            if not found:
                names = ", ".join(source.workflow.name for source in fitting[:5])
                held_out = "held out for test_workflows" if fitting[0].held_out else "not held out for test_workflows"
                raise ConstraintError(
                    f"the split {constraints.split!r} has no workflows for {asked}: those that fit ({names}) are "
                    f"{held_out}, which a hash of their names decides; ask for another split or rename them"
                )
            self._eligible_cache[constraints] = found
        return found

    def _check_names(self, constraints: TaskConstraints) -> None:
        for name in (*constraints.include_tools, *constraints.exclude_tools):
            if name not in self.snapshot.tools:
                raise ConstraintError(f"constraints name a tool {name!r}, which is not in {self.snapshot.name!r}")
        for name in constraints.workflows:
            if name not in self.sources:
                raise ConstraintError(f"constraints name a workflow {name!r}, which is not in {self.snapshot.name!r}")


def stored_generator(snapshot: Snapshot) -> TaskGenerator:
    """The generator of what is stored in a snapshot: its tasks where it has any, else its workflows.

    Raises:
        WorkflowError: there are no tasks, and no workflows or ones that do not fit the snapshot.
    """
    return FixedTasks(snapshot.tasks) if snapshot.tasks else WorkflowGenerator(snapshot)
