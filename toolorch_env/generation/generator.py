"""Generators: functions of (snapshot, constraints, seed) that draw tasks."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np

from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.errors import ConstraintError, TaskError
from toolorch_env.core.tasks import Binding, ReferenceCall, Task
from toolorch_env.generation.checking import unreadable_literals
from toolorch_env.generation.constraints import TaskConstraints, read_constraints
from toolorch_env.generation.draws import Draws
from toolorch_env.generation.joins import TraceJoin
from toolorch_env.generation.phrasing import Template, compose
from toolorch_env.generation.splits import is_held_out, literals_split
from toolorch_env.generation.workflows import QueryArgument, Workflow, WorkflowSet, snapshot_workflows
from toolorch_env.store.compiled import ABSENT, Compiled, compile_records
from toolorch_env.store.snapshot import Snapshot

MAX_DRAWS = 10_000
"""Traces of a wrong split or with repeated calls are drawn anew, at most that often."""


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
        snapshot: the recorded API.
        workflows: the workflows to draw from; by default those stored in the snapshot.

    Raises:
        WorkflowError: there are no workflows, or they do not fit the snapshot.
    """

    def __init__(self, snapshot: Snapshot, workflows: WorkflowSet | None = None) -> None:
        self.snapshot = snapshot
        self.workflows = workflows or snapshot_workflows(snapshot)
        self.workflows.check_tools(snapshot.tools)
        self._eligible_cache: dict[TaskConstraints, tuple[_Source, ...]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"snapshot": self.snapshot, "workflows": self.workflows, "_eligible_cache": {}}

    @cached_property
    def _sources(self) -> dict[str, "_Source"]:
        compiled = self.snapshot.compiled
        if compiled is None or not self.workflows.links() <= set(compiled.links):
            compiled = _compile_for(self.snapshot, self.workflows)
        return {
            workflow.name: _Source(workflow, TraceJoin(workflow, compiled, self.snapshot.tools), compiled)
            for workflow in self.workflows.workflows
        }

    @cached_property
    def _pools(self) -> dict[str, list[Any]]:
        """All values of each kind that some trace uses, in a fixed order."""
        pools: dict[str, dict[bytes, Any]] = {}
        for source in self._sources.values():
            for kind, values in source.literal_values():
                pools.setdefault(kind, {}).update((canonical_json(value), value) for value in values)
        return {kind: [pool[key] for key in sorted(pool)] for kind, pool in pools.items()}

    @cached_property
    def _distractions(self) -> list[Template]:
        templates = [Template.parse(text) for text in self.workflows.distractions]
        return [template for template in templates if all(kind in self._pools for kind in template.slots)]

    def counts(self) -> dict[str, int]:
        """Number of traces of each workflow, 0 for one that can never work on this snapshot."""
        return {name: source.join.count for name, source in self._sources.items()}

    def sample(self, rng: np.random.Generator, constraints: TaskConstraints | Mapping[str, Any] | None = None) -> Task:
        """A task drawn under constraints (see :class:`TaskGenerator`)."""
        constraints = read_constraints(constraints)
        sources = self._eligible(constraints)
        draws = Draws(int(rng.integers(2**63)))
        for _ in range(MAX_DRAWS):
            source = draws.choose(sources)
            number = draws.below(source.join.count)
            literals = source.literals(number)
            if literals is not None and literals_split(literals.values()) == constraints.split:
                return self._task(source, number, draws.word() >> 32, constraints)
        raise ConstraintError(
            f"no task was found in {MAX_DRAWS:,} draws: the split {constraints.split!r} of these workflows is (nearly) "
            "empty"
        )

    def task(self, task_id: str) -> Task:
        """The task of that id (see :class:`TaskGenerator`)."""
        try:
            name, number, variant, distractor_tools, distractions, *excluded = task_id.split("/")
            source = self._sources[name]
            constraints = TaskConstraints(
                distractor_tools=int(distractor_tools),
                distractions=int(distractions),
                exclude_tools=tuple(excluded),
            )
            index = int(number)
            if not 0 <= index < source.join.count or source.literals(index) is None:
                raise ValueError
            return self._task(source, index, int(variant, 16), constraints)
        except (ValueError, KeyError):
            raise TaskError(f"this generator has no task {task_id!r}") from None

    def _eligible(self, constraints: TaskConstraints) -> "tuple[_Source, ...]":
        found = self._eligible_cache.get(constraints)
        if found is None:
            self._check_names(constraints)
            found = tuple(source for source in self._sources.values() if source.satisfies(constraints))
            if not found:
                asked = constraints.model_dump(exclude_defaults=True)
                raise ConstraintError(f"no workflow of {self.snapshot.name!r} satisfies the constraints {asked}")
            self._eligible_cache[constraints] = found
        return found

    def _check_names(self, constraints: TaskConstraints) -> None:
        for name in (*constraints.include_tools, *constraints.exclude_tools):
            if name not in self.snapshot.tools:
                raise ConstraintError(f"constraints name a tool {name!r}, which is not in {self.snapshot.name!r}")
        for name in constraints.workflows:
            if name not in self._sources:
                raise ConstraintError(f"constraints name a workflow {name!r}, which is not in {self.snapshot.name!r}")

    def _task(self, source: "_Source", number: int, variant: int, constraints: TaskConstraints) -> Task:
        """The task of a trace. ``variant`` decides everything but the trace."""
        draws = Draws(variant)
        literals = source.literals(number) or {}
        kinds = source.workflow.literals
        sentences = [(draws.choose(source.phrasings), literals, kinds)]
        for template in self._draw_distractions(draws, constraints):
            values = {kind: self._other_value(draws, kind, literals) for kind in template.slots}
            sentence = (template, values, {kind: kind for kind in template.slots})
            sentences.insert(0 if draws.below(2) else len(sentences), sentence)
        query, mentions = compose(sentences)
        split = "test_workflows" if source.held_out else literals_split(literals.values())
        parts = (number, f"{variant:x}", constraints.distractor_tools, constraints.distractions)
        task = Task(
            id="/".join(map(str, (source.workflow.name, *parts, *constraints.exclude_tools))),
            query=query,
            tools=self._offer(draws, source, constraints),
            reference=source.reference(number),
            mentions=mentions,
            workflow=source.workflow.name,
            split=split,
        )
        problems = list(unreadable_literals(task))
        if problems:
            raise TaskError(f"task {task.id!r} is not well posed: {'; '.join(problems)}")
        return task

    def _draw_distractions(self, draws: Draws, constraints: TaskConstraints) -> list[Template]:
        if not constraints.distractions or not self._distractions:
            return []
        count = min(1 + draws.below(constraints.distractions), len(self._distractions))
        return draws.sample(self._distractions, count)

    def _other_value(self, draws: Draws, kind: str, literals: Mapping[str, Any]) -> Any:
        """A value of a kind that the task does not need, if there is one."""
        pool = self._pools[kind]
        value = draws.choose(pool)
        for _ in range(20):
            if value not in literals.values():
                break
            value = draws.choose(pool)
        return value

    def _offer(self, draws: Draws, source: "_Source", constraints: TaskConstraints) -> tuple[str, ...]:
        needed = source.tools
        others = [name for name in self.snapshot.tools if name not in needed | set(constraints.exclude_tools)]
        chosen = needed.union(draws.sample(others, min(constraints.distractor_tools, len(others))))
        return tuple(name for name in self.snapshot.tools if name in chosen)


class _Source:
    """One workflow with all its traces."""

    def __init__(self, workflow: Workflow, join: TraceJoin, compiled: Compiled) -> None:
        self.workflow = workflow
        self.join = join
        self.compiled = compiled
        self.tools = frozenset(step.tool for step in workflow.steps)
        self.phrasings = [Template.parse(text) for text in workflow.phrasings]
        self.held_out = is_held_out(workflow.name)
        self._bindings = [self._bindings_of(index) for index in range(len(workflow.order))]
        self._places = {
            argument.query: (index, compiled.tables[step.tool].parameters.index(name), step.tool, name)
            for index, step in reversed(list(enumerate(workflow.order)))
            for name, argument in step.arguments.items()
            if isinstance(argument, QueryArgument)
        }

    def _bindings_of(self, index: int) -> tuple[tuple[Binding, ...], tuple[int, ...]]:
        step, position = self.workflow.order[index], self.workflow.position
        bindings = tuple(
            Binding(name, position[argument.step], argument.select)
            for name, argument in step.arguments.items()
            if not isinstance(argument, QueryArgument)
        )
        return bindings, tuple(sorted(position[other] for other in step.after))

    def satisfies(self, constraints: TaskConstraints) -> bool:
        """Whether the workflow can give tasks under these constraints."""
        steps = len(self.workflow.steps)
        return (
            self.join.count > 0
            and self.held_out == (constraints.split == "test_workflows")
            and (not constraints.workflows or self.workflow.name in constraints.workflows)
            and self.tools.issuperset(constraints.include_tools)
            and self.tools.isdisjoint(constraints.exclude_tools)
            and constraints.min_steps <= steps <= constraints.max_steps
            and constraints.min_depth <= self.workflow.depth <= constraints.max_depth
            and constraints.min_width <= self.workflow.width <= constraints.max_width
        )

    def literals(self, number: int) -> dict[str, Any] | None:
        """Literal values of a trace; ``None`` if it repeats a call or a value, or is not valid."""
        rows = self.join.trace(number)
        if rows is None or self._repeats(rows):
            return None
        literals = {}
        for name in self.workflow.literals:
            step, column, tool, parameter = self._places[name]
            value_id = self.compiled.tables[tool].arguments[rows[step], column]
            literals[name] = self._value(int(value_id), tool, parameter)
        texts = [canonical_json(value) for value in literals.values()]
        return literals if len(set(texts)) == len(texts) else None

    def _value(self, value_id: int, tool: str, parameter: str) -> Any:
        if value_id == ABSENT:
            return self.join.tools.signature(tool).parameters[parameter].default
        return self.compiled.values[value_id]

    def _repeats(self, rows: list[int]) -> bool:
        calls = {(step.tool, row) for step, row in zip(self.workflow.order, rows, strict=True)}
        return len(calls) < len(rows)

    def literal_values(self) -> list[tuple[str, list[Any]]]:
        """For each literal its kind and all values that some trace gives it."""
        found = []
        for name, kind in self.workflow.literals.items():
            step = self._places[name][0]
            column = self.join.relations[step].columns[("query", name)]
            found.append((kind, [self.compiled.values[value] for value in np.unique(column)]))
        return found

    def reference(self, number: int) -> tuple[ReferenceCall, ...]:
        """The reference calls of a trace."""
        rows = self.join.trace(number)
        assert rows is not None  # the caller has asked for its literals before
        calls = []
        for step, row, (bindings, after) in zip(self.workflow.order, rows, self._bindings, strict=True):
            table = self.compiled.tables[step.tool]
            arguments = {
                name: self.compiled.values[value]
                for name, value in zip(table.parameters, table.arguments[row].tolist(), strict=True)
                if value != ABSENT
            }
            calls.append(ReferenceCall(step.tool, arguments, bindings, after))
        return tuple(calls)


def _compile_for(snapshot: Snapshot, workflows: WorkflowSet) -> Compiled:
    """Compiles a snapshot in memory for workflows that it was not compiled for; takes seconds."""
    records = ((record.tool, record.arguments, record.response) for record in snapshot.records())
    return compile_records(records, snapshot.tools, workflows.links())
