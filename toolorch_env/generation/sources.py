"""One workflow as a source of tasks: its traces, the literals that a query has to say, and the reference calls."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.states import state_order
from toolorch_env.core.tasks import Binding, ReferenceCall, dependency_levels
from toolorch_env.generation.constraints import SPLITS, Split, Style, TaskConstraints
from toolorch_env.generation.distinct_traces import Place, Repetitions, count_distinct, possible_repetitions
from toolorch_env.generation.estimates import Estimate
from toolorch_env.generation.joins import MAX_ENUMERATED, TraceJoin
from toolorch_env.generation.literal_selections import LiteralTable, source_rows, step_table
from toolorch_env.generation.phrasing import Template
from toolorch_env.generation.splits import is_held_out, literals_split
from toolorch_env.store.compiled import Compiled
from toolorch_env.store.interned import ABSENT
from toolorch_env.store.workflows import QueryArgument, Workflow

_LOGGER = logging.getLogger(__name__)

FEW_TRACES = 20_000
"""So many traces are looked at one by one faster than they are counted."""

KEPT_TRACES = 200
"""A workflow that has no more traces than that keeps them: few of them may be tasks, and are found by many draws."""


class Trace:
    """One valid trace of a workflow.

    Attributes:
        number: its number in the join.
        rows: for each step in order, a row of its table, which is its tool's unless selections on it name literals.
        literals: the values that the query has to say.
        split: by the literals that are not at their default: what may as well be left out makes no other combination.
    """

    __slots__ = ("literals", "number", "rows", "split")

    def __init__(self, number: int, rows: list[int], literals: dict[str, Any], split: Split) -> None:
        self.number = number
        self.rows = rows
        self.literals = literals
        self.split = split


class _Literal(NamedTuple):
    """Where the values of a literal stand.

    Attributes:
        step: index of a step.
        values: for each row of its table the value's id, that of the default where it is left out.
        default_id, default: of the parameter that takes it.
    """

    step: int
    values: np.ndarray
    default_id: int
    default: Any

    @property
    def passed_values(self) -> np.ndarray:
        """Like ``values``, but ABSENT for the default."""
        return np.where(self.values == self.default_id, ABSENT, self.values)


class TraceSource:
    """One workflow with all its traces.

    Args:
        workflow: the workflow.
        compiled: the recorded responses, compiled for its links.
        tools: the tools.
        held_out: whether only ``test_workflows`` draws from it; by default its name decides.

    Attributes:
        phrasings: by style, sentence by sentence; whoever phrases the workflow keeps them here.
    """

    def __init__(self, workflow: Workflow, compiled: Compiled, tools: ToolSet, held_out: bool | None = None) -> None:
        self.workflow = workflow
        self.compiled = compiled
        self._toolset = tools
        self.tools = frozenset(step.tool for step in workflow.steps)
        self.all_tools = tuple(tools)
        self.other_tools = [name for name in self.all_tools if name not in self.tools]
        self.phrasings: dict[Style, Sequence[Sequence[Template]]] = {}
        self.held_out = is_held_out(workflow.name) if held_out is None else held_out
        self._state_order = state_order([tools[step.tool].read_only for step in workflow.order])
        self._bindings = [self._bindings_of(index) for index in range(len(workflow.order))]
        self._levels = dependency_levels(
            [{binding.step for binding in bindings}.union(after) for bindings, after in self._bindings]
        )
        self._places = {
            argument.query: (index, compiled.tables[step.tool].parameters.index(name), step.tool, name)
            for index, step in reversed(list(enumerate(workflow.order)))  # the first place of a literal counts
            for name, argument in reversed(step.arguments.items())
            if isinstance(argument, QueryArgument)
        }
        self._called = [step.tool for step in workflow.order]
        self._tables = [step_table(compiled, workflow, step) for step in workflow.order]
        self._literals = {name: self._literal(name) for name in workflow.literals}
        self._written = any(isinstance(table, LiteralTable) for table in self._tables)

    def _literal(self, name: str) -> "_Literal":
        for step, table in enumerate(self._tables):
            if isinstance(table, LiteralTable) and name in table.literals:
                return _Literal(step, table.literal_values[:, table.literals.index(name)], ABSENT, None)
        step, column, tool, parameter = self._places[name]
        values = self._tables[step].arguments[:, column]
        default = self._toolset.signature(tool).parameters[parameter].default
        default_id = ABSENT if default is None else self.compiled.values.find(canonical_json(default))
        if default_id != ABSENT:
            values = np.where(values == ABSENT, default_id, values)
        return _Literal(step, values, default_id, default)

    @cached_property
    def is_feasible(self) -> bool:
        """Whether there is any trace at all; logs a warning where there is none."""
        feasible = self.join.trace_count.value > 0
        if not feasible:
            _LOGGER.warning("%s", self.why_infeasible)
        return feasible

    @property
    def why_infeasible(self) -> str:
        """At which step no recorded response is left, and which edges break there, in words."""
        count = self.join.trace_count
        if not count.is_exact:
            return f"workflow {self.workflow.name!r} has {count} traces: none was found by drawing"
        step = self.join.broken_step()
        place = f"at step {step.id!r} ({step.tool}): {'; '.join(self.join.broken_edges())}" if step else "anywhere"
        return f"workflow {self.workflow.name!r} has no traces: no recorded responses fit together {place}"

    @cached_property
    def join(self) -> TraceJoin:
        """All traces of the workflow."""
        return TraceJoin(self.workflow, self.compiled, self._toolset)

    def _bindings_of(
        self, index: int, literals: Mapping[str, Any] | None = None
    ) -> tuple[tuple[Binding, ...], tuple[int, ...]]:
        """Where a step's arguments come from, with literals written in if they are known, and what it comes after."""
        step, position = self.workflow.order[index], self.workflow.position
        bindings = tuple(
            Binding(name, position[argument.step], argument.written(literals) if literals else argument.select)
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
        return self._make_trace(number) if self._kept is None else self._kept[number]

    @cached_property
    def _kept(self) -> tuple[Trace | None, ...] | None:
        """All traces by number, where there are few."""
        count = self.join.count
        return tuple(map(self._make_trace, range(count))) if count <= KEPT_TRACES else None

    def _make_trace(self, number: int) -> Trace | None:
        rows = self.join.trace(number)
        if len(set(zip(self._called, self._table_rows(rows), strict=True))) < len(rows):
            return None
        if not self.join.is_exact and not self.join.fit(np.array([rows]))[0]:
            return None
        ids = [int(literal.values[rows[literal.step]]) for literal in self._literals.values()]
        if len(set(ids)) < len(ids):
            return None
        literals = {
            name: literal.default if value_id == literal.default_id else self.compiled.values[value_id]
            for (name, literal), value_id in zip(self._literals.items(), ids, strict=True)
        }
        passed = [
            literals[name]
            for (name, literal), value_id in zip(self._literals.items(), ids, strict=True)
            if value_id != literal.default_id
        ]
        return Trace(number, rows, literals, literals_split(passed))

    def _table_rows(self, rows: list[int]) -> list[int]:
        """For each step in order its row in the table of its tool."""
        if not self._written:
            return rows
        return [
            int(table.sources[row]) if isinstance(table, LiteralTable) else row
            for table, row in zip(self._tables, rows, strict=True)
        ]

    def are_tasks(self, rows: np.ndarray) -> np.ndarray:
        """Which rows of :meth:`TraceJoin.traces` :meth:`trace` makes a trace of: bool, shape (n,)."""
        tasks: np.ndarray = self.join.fit(rows) & self._repetitions.absent(rows)
        return tasks

    @cached_property
    def _repetitions(self) -> Repetitions:
        values = {Place(literal.step, name): literal.values for name, literal in self._literals.items()}
        for step, tool in enumerate(self._called):
            if self._called.count(tool) > 1:
                values[Place(step, tool=tool)] = source_rows(self._tables[step])
        return possible_repetitions(self.join.relations(), values)

    @cached_property
    def task_count(self) -> Estimate:
        """Number of traces that are tasks: those that repeat no call and no value.

        It is exact unless the join is cyclic or has many literals and steps that can be equal, and is too large for
        its traces to be looked at one by one.
        """
        if not self._repetitions.pairs:
            return self.join.trace_count
        if self.join.count <= FEW_TRACES:
            return self.join.count_where(self.are_tasks)
        try:
            return Estimate.exactly(count_distinct(self.join.relations(), self._repetitions))
        except OverflowError:
            return self.join.count_where(self.are_tasks)

    @property
    def acceptance(self) -> float:
        """Share of all numbers that are tasks, whatever their split: the others are drawn anew; 1 if there are none."""
        return self.task_count.value / self.join.count if self.join.count else 1.0

    def split_counts(self) -> dict[Split, int] | None:
        """Number of tasks by the split of their literals; ``None`` where there are too many to look at them all.

        Some 100,000 traces are looked at in a second. A workflow that is held out draws from ``test_workflows`` only,
        and the others never do.
        """
        if self.join.count > MAX_ENUMERATED:
            return None
        counts: Counter[Split] = Counter()
        splits: dict[tuple[int, ...], Split] = {}
        value = lru_cache(None)(self.compiled.values.__getitem__)
        for rows in self.join.all_rows():
            rows = rows[self.are_tasks(rows)]
            ids = [literal.passed_values[rows[:, literal.step]] for literal in self._literals.values()]
            combinations = np.sort(np.array(ids, np.int32).reshape(len(ids), len(rows)), axis=0).T
            for combination in map(tuple, combinations.tolist()):
                split = splits.get(combination)
                if split is None:
                    passed = [value(number) for number in combination if number != ABSENT]
                    split = splits[combination] = literals_split(passed)
                counts[split] += 1
        return {split: counts[split] for split in SPLITS}

    def literal_places(self) -> Iterator[tuple[str, str, str]]:
        """For each literal that is passed its kind, and tool and parameter that take it."""
        for name, (_, _, tool, parameter) in self._places.items():
            yield self.workflow.literals[name], tool, parameter

    @property
    def selects_by_literals(self) -> bool:
        """Whether selections name literals, so that rows of a step are not those of its tool's table."""
        return self._written

    def literal_columns(self) -> Iterator[tuple[int, int, int]]:
        """For each literal, in order, a step, the column of its arguments that holds it, and the id of its default."""
        for name, literal in self._literals.items():
            yield literal.step, self._places[name][1], literal.default_id

    def dependencies(self) -> Iterator[tuple[tuple[Binding, ...], tuple[int, ...]]]:
        """For each step in order where its arguments come from, and which steps come first besides."""
        yield from self._bindings

    def reference(self, trace: Trace) -> tuple[ReferenceCall, ...]:
        """The reference calls of a trace."""
        calls: list[ReferenceCall] = []
        for step, table, row, (bindings, after) in zip(
            self.workflow.order, self._tables, trace.rows, self._bindings, strict=True
        ):
            if self._written:
                bindings, after = self._bindings_of(len(calls), trace.literals)
            arguments = {
                name: self.compiled.values[value]
                for name, value in zip(table.parameters, table.arguments[row].tolist(), strict=True)
                if value != ABSENT
            }
            calls.append(ReferenceCall(step.tool, arguments, bindings, after))
        return tuple(calls)
