"""One workflow as a source of tasks: its traces, the literals that a query has to say, and the reference calls."""

import logging
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.states import state_order
from toolorch_env.core.tasks import Binding, ReferenceCall, dependency_levels
from toolorch_env.generation.constraints import Split, TaskConstraints
from toolorch_env.generation.joins import TraceJoin
from toolorch_env.generation.phrasing import Template
from toolorch_env.generation.splits import is_held_out, literals_split
from toolorch_env.store.compiled import Compiled
from toolorch_env.store.interned import ABSENT
from toolorch_env.store.workflows import QueryArgument, Workflow

_LOGGER = logging.getLogger(__name__)


class Trace:
    """One valid trace of a workflow.

    Attributes:
        number: its number in the join.
        rows: for each step in order, a row of its table.
        literals: the values that the query has to say.
    """

    __slots__ = ("literals", "number", "rows", "split")

    def __init__(self, number: int, rows: list[int], literals: dict[str, Any]) -> None:
        self.number = number
        self.rows = rows
        self.literals = literals
        self.split: Split = literals_split(literals.values())


class TraceSource:
    """One workflow with all its traces."""

    def __init__(self, workflow: Workflow, compiled: Compiled, tools: ToolSet) -> None:
        self.workflow = workflow
        self.compiled = compiled
        self._toolset = tools
        self.tools = frozenset(step.tool for step in workflow.steps)
        self.all_tools = tuple(tools)
        self.other_tools = [name for name in self.all_tools if name not in self.tools]
        self.phrasings = [Template.parse(text) for text in workflow.phrasings]
        self.held_out = is_held_out(workflow.name)
        self._state_order = state_order([tools[step.tool].read_only for step in workflow.order])
        self._bindings = [self._bindings_of(index) for index in range(len(workflow.order))]
        self._levels = dependency_levels(
            [{binding.step for binding in bindings}.union(after) for bindings, after in self._bindings]
        )
        self._places = {
            argument.query: (index, compiled.tables[step.tool].parameters.index(name), step.tool, name)
            for index, step in reversed(list(enumerate(workflow.order)))
            for name, argument in step.arguments.items()
            if isinstance(argument, QueryArgument)
        }
        self._called = [step.tool for step in workflow.order]
        self._columns = {name: self._column(name) for name in workflow.literals}

    def _column(self, literal: str) -> tuple[int, np.ndarray, int, Any]:
        """Where the values of a literal stand: step, the arguments in its tool's table, their column, the default."""
        step, column, tool, parameter = self._places[literal]
        default = self._toolset.signature(tool).parameters[parameter].default
        return step, self.compiled.tables[tool].arguments, column, default

    @cached_property
    def is_feasible(self) -> bool:
        """Whether there is any trace at all; logs a warning where there is none."""
        if not self.join.count:
            _LOGGER.warning("%s", self.why_infeasible)
        return self.join.count > 0

    @property
    def why_infeasible(self) -> str:
        """At which step no recorded response is left, in words."""
        step = self.join.broken_step()
        place = f"at step {step.id!r} ({step.tool})" if step else "anywhere"
        return f"workflow {self.workflow.name!r} has no traces: no recorded responses fit together {place}"

    @cached_property
    def join(self) -> TraceJoin:
        """All traces of the workflow."""
        return TraceJoin(self.workflow, self.compiled, self._toolset)

    def _bindings_of(self, index: int) -> tuple[tuple[Binding, ...], tuple[int, ...]]:
        step, position = self.workflow.order[index], self.workflow.position
        bindings = tuple(
            Binding(name, position[argument.step], argument.select)
            for name, argument in step.arguments.items()
            if not isinstance(argument, QueryArgument)
        )
        return bindings, tuple(sorted({position[other] for other in step.after}.union(self._state_order[index])))

    def satisfies(self, constraints: TaskConstraints) -> bool:
        """Whether the workflow is of the kind that the constraints ask for, whatever the split."""
        steps = len(self.workflow.steps)
        return (
            (not constraints.workflows or self.workflow.name in constraints.workflows)
            and self.tools.issuperset(constraints.include_tools)
            and self.tools.isdisjoint(constraints.exclude_tools)
            and constraints.min_steps <= steps <= constraints.max_steps
            and constraints.min_depth <= 1 + max(self._levels) <= constraints.max_depth
            and constraints.min_width <= max(map(self._levels.count, self._levels)) <= constraints.max_width
        )

    def trace(self, number: int) -> Trace | None:
        """Trace ``number``; ``None`` if it repeats a call or a value."""
        rows = self.join.trace(number)
        if len(set(zip(self._called, rows, strict=True))) < len(rows):
            return None
        literals = {}
        for name, (step, arguments, column, default) in self._columns.items():
            value_id = arguments[rows[step], column]
            literals[name] = default if value_id == ABSENT else self.compiled.values[value_id]
        values = list(literals.values())
        if any(value in values[:index] for index, value in enumerate(values)):
            return None
        return Trace(number, rows, literals)

    def literal_places(self) -> Iterator[tuple[str, str, str]]:
        """For each literal its kind, and tool and parameter that take it."""
        for name, kind in self.workflow.literals.items():
            _, _, tool, parameter = self._places[name]
            yield kind, tool, parameter

    def reference(self, trace: Trace) -> tuple[ReferenceCall, ...]:
        """The reference calls of a trace."""
        calls = []
        for step, row, (bindings, after) in zip(self.workflow.order, trace.rows, self._bindings, strict=True):
            table = self.compiled.tables[step.tool]
            arguments = {
                name: self.compiled.values[value]
                for name, value in zip(table.parameters, table.arguments[row].tolist(), strict=True)
                if value != ABSENT
            }
            calls.append(ReferenceCall(step.tool, arguments, bindings, after))
        return tuple(calls)
