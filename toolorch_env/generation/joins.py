"""A workflow on a snapshot is a join: count its valid traces exactly, and turn numbers into traces.

Rows are recorded responses. A literal that two steps share, or a binding of an argument to an earlier response, is an
equality between columns. Where the join is a tree (acyclic in the sense of Graham, Yu and Ozsoyoglu), the completions
below every row are counted once by dynamic programming, and the k-th trace is found by descending with k: every draw
is valid, none is rejected, uniform k gives uniform traces (Zhao et al., "Random Sampling over Joins Revisited",
SIGMOD 2018). Where it has cycles, a spanning tree is counted, and :attr:`TraceJoin.exact` says that some traces of it
are not valid.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.errors import WorkflowError
from toolorch_env.core.signatures import Parameter
from toolorch_env.generation.workflows import QueryArgument, Workflow, WorkflowStep
from toolorch_env.store.compiled import ABSENT, Compiled

Attribute = tuple[str, ...]
"""A column that steps can share: ``("query", literal)`` or ``("response", step, expression, consumer)``."""


@dataclass
class Relation:
    """The rows of one step and the columns that it shares with others.

    Attributes:
        step: the step.
        positions: rows of the step's :class:`toolorch_env.store.compiled.ToolTable`, shape (n,).
        columns: value ids of each attribute, fractions rounded, shape (n,).
    """

    step: WorkflowStep
    positions: np.ndarray
    columns: dict[Attribute, np.ndarray]


@dataclass
class _Node:
    """One relation in the join tree."""

    index: int
    parent: int | None = None
    children: list[int] = field(default_factory=list)
    weights: np.ndarray = field(default_factory=lambda: np.empty(0, object))
    order: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    cumulative: np.ndarray = field(default_factory=lambda: np.empty(0, object))
    group_of_parent_row: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    group_start: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))


class TraceJoin:
    """All traces of a workflow on a compiled snapshot, numbered from 0 to :attr:`count` - 1.

    Args:
        workflow: the workflow.
        compiled: the compiled snapshot.
        tools: its tools.

    Raises:
        WorkflowError: the snapshot is not compiled for one of the workflow's selections.
    """

    def __init__(self, workflow: Workflow, compiled: Compiled, tools: ToolSet) -> None:
        self.workflow = workflow
        self.tools = tools
        builder = _RelationBuilder(workflow, compiled, tools)
        self.relations = [builder.build(step) for step in workflow.order]
        self._prepare()

    def _prepare(self) -> None:
        self.exact = True
        self._nodes = [_Node(index) for index in range(len(self.relations))]
        self._descent: list[int] = []
        self._build_tree()
        for index in reversed(self._descent):
            self._count(self._nodes[index])

    @cached_property
    def count(self) -> int:
        """Number of traces (of the spanning tree, if not :attr:`exact`)."""
        total = 1
        for node in self._nodes:
            if node.parent is None:
                total *= int(node.cumulative[-1]) if len(node.cumulative) else 0
        return total

    def trace(self, number: int) -> list[int] | None:
        """For each step in order its row in trace ``number`` of [0, count); ``None`` if a cycle does not close."""
        chosen = [0] * len(self.relations)
        share = [0] * len(self.relations)
        for index in self._descent:
            node = self._nodes[index]
            if node.parent is None:
                start, limit = 0, len(node.order)
                size = int(node.cumulative[-1])
                number, rest = divmod(number, size)
            else:
                group = int(node.group_of_parent_row[chosen[node.parent]])
                start, limit = int(node.group_start[group]), int(node.group_start[group + 1])
                base = self._before(node, start)
                size = int(node.cumulative[limit - 1]) - base
                share[node.parent], rest = divmod(share[node.parent], size)
                rest += base
            place = start + int(node.cumulative[start:limit].searchsorted(rest, side="right"))
            chosen[index] = int(node.order[place])
            share[index] = rest - self._before(node, place)
        if not self.exact and not self._closes(chosen):
            return None
        return [int(relation.positions[row]) for relation, row in zip(self.relations, chosen, strict=True)]

    def broken_step(self) -> WorkflowStep | None:
        """The first step for which no rows are left, where there are no traces at all; else ``None``."""
        if self.count:
            return None
        for prefix in range(1, len(self.relations) + 1):
            partial = TraceJoin.__new__(TraceJoin)
            partial.relations = self.relations[:prefix]
            partial._prepare()
            if not partial.count:
                return self.relations[prefix - 1].step
        return None

    @staticmethod
    def _before(node: _Node, place: int) -> int:
        return int(node.cumulative[place - 1]) if place else 0

    def _build_tree(self) -> None:
        """Removes ears one by one; what an ear shares with the rest, it shares with its parent."""
        attributes = [set(relation.columns) for relation in self.relations]
        remaining = list(range(len(self.relations)))
        removed: list[int] = []
        while remaining:
            index, parent, covered = self._next_ear(attributes, remaining)
            self.exact &= covered
            self._nodes[index].parent = parent
            if parent is not None:
                self._nodes[parent].children.append(index)
            remaining.remove(index)
            removed.append(index)
        self._descent = removed[::-1]

    @staticmethod
    def _next_ear(attributes: list[set[Attribute]], remaining: list[int]) -> tuple[int, int | None, bool]:
        """A relation to remove, its parent, and whether the parent has all that it shares with the rest."""
        best: tuple[int, int, int] | None = None
        for index in reversed(remaining):
            others = [other for other in remaining if other != index]
            shared = attributes[index] & set().union(*(attributes[other] for other in others))
            if not shared:
                return index, None, True
            for other in others:
                overlap = len(shared & attributes[other])
                if overlap == len(shared):
                    return index, other, True
                if best is None or overlap > best[0]:
                    best = (overlap, index, other)
        assert best is not None  # a relation that shares nothing was returned above
        return best[1], best[2], False

    def _count(self, node: _Node) -> None:
        """Weighs each row by the number of its completions, and groups rows by what the parent asks for."""
        relation = self.relations[node.index]
        rows = len(relation.positions)
        weights = np.ones(rows, object)
        for child in node.children:
            weights = weights * self._group_sums(self._nodes[child])
        node.weights = weights
        if node.parent is None:
            groups = np.zeros(rows, np.int64)
            count = 1
        else:
            groups, node.group_of_parent_row, count = self._groups(node)
        node.order = np.argsort(groups, kind="stable")
        node.cumulative = np.cumsum(weights[node.order]) if rows else np.empty(0, object)
        if rows and node.cumulative[-1] < 2**62:
            node.cumulative = node.cumulative.astype(np.int64)
        node.group_start = np.searchsorted(groups[node.order], np.arange(count + 1))

    def _groups(self, node: _Node) -> tuple[np.ndarray, np.ndarray, int]:
        """Group number of each row of a node, and of each row of its parent, by their shared columns."""
        assert node.parent is not None
        mine, theirs = self.relations[node.index].columns, self.relations[node.parent].columns
        shared = sorted(mine.keys() & theirs.keys())
        left = np.stack([mine[attribute] for attribute in shared], axis=1)
        right = np.stack([theirs[attribute] for attribute in shared], axis=1)
        unique, inverse = np.unique(np.concatenate([left, right]), axis=0, return_inverse=True)
        inverse = inverse.reshape(-1)
        return inverse[: len(left)], inverse[len(left) :], len(unique)

    def _group_sums(self, child: _Node) -> np.ndarray:
        """For each row of the child's parent, the number of completions in that child."""
        padded = np.concatenate([np.zeros(1, object), child.cumulative.astype(object)])
        sums = padded[child.group_start[1:]] - padded[child.group_start[:-1]]
        result: np.ndarray = sums[child.group_of_parent_row]
        return result

    def _closes(self, chosen: list[int]) -> bool:
        values: dict[Attribute, int] = {}
        return all(
            values.setdefault(attribute, int(column[row])) == column[row]
            for relation, row in zip(self.relations, chosen, strict=True)
            for attribute, column in relation.columns.items()
        )


class _RelationBuilder:
    """Makes the relation of each step: its usable rows and its columns."""

    def __init__(self, workflow: Workflow, compiled: Compiled, tools: ToolSet) -> None:
        self._workflow = workflow
        self._compiled = compiled
        self._tools = tools
        self._steps = {step.id: step for step in workflow.steps}

    def build(self, step: WorkflowStep) -> Relation:
        table = self._compiled.tables[step.tool]
        usable = np.ones(len(table.rows), bool)
        columns: dict[Attribute, np.ndarray] = {}

        def add(attribute: Attribute, column: np.ndarray) -> None:
            nonlocal usable
            usable &= column != ABSENT
            if attribute in columns:
                usable &= columns[attribute] == column
            columns[attribute] = column

        signature = self._tools.signature(step.tool)
        for index, name in enumerate(table.parameters):
            column = table.arguments[:, index]
            if name not in step.arguments:
                usable &= column == ABSENT
                continue
            argument = step.arguments[name]
            column = self._rounded(self._with_default(column, signature.parameters[name]))
            if isinstance(argument, QueryArgument):
                add(("query", argument.query), column)
            else:
                add(("response", argument.step, argument.select, f"{step.tool}.{name}"), column)
        for consumer, name, select in self._uses_of(step):
            if select not in table.selects:
                raise WorkflowError(
                    f"workflow {self._workflow.name!r}: the snapshot is not compiled for {select!r} on {step.tool}"
                )
            parameter = self._tools.signature(consumer).parameters[name]
            column = self._read_through(table.outputs[:, table.selects.index(select)], parameter)
            add(("response", step.id, select, f"{consumer}.{name}"), self._rounded(column))
        rows = np.flatnonzero(usable)
        return Relation(step, rows, {attribute: column[rows] for attribute, column in columns.items()})

    def _uses_of(self, step: WorkflowStep) -> list[tuple[str, str, str]]:
        """Consumer tool, parameter and selection of every use of the step's response."""
        return sorted(
            {
                (other.tool, name, argument.select)
                for other in self._workflow.steps
                for name, argument in other.arguments.items()
                if not isinstance(argument, QueryArgument) and argument.step == step.id
            }
        )

    def _with_default(self, column: np.ndarray, parameter: Parameter) -> np.ndarray:
        if not parameter.has_default or parameter.default is None:
            return column
        return np.where(column == ABSENT, self._compiled.ids[canonical_json(parameter.default)], column)

    def _rounded(self, column: np.ndarray) -> np.ndarray:
        if not len(self._compiled.values):
            return column
        return np.where(column == ABSENT, ABSENT, self._compiled.rounded_ids[column])

    def _read_through(self, column: np.ndarray, parameter: Parameter) -> np.ndarray:
        """Value ids as the consumer reads them: ``"2"`` flows into a number as 2."""
        unique, inverse = np.unique(column, return_inverse=True)
        read = [self._read_id(int(value), parameter) for value in unique]
        return np.array(read, np.int32)[inverse.reshape(-1)] if len(read) else column

    def _read_id(self, value_id: int, parameter: Parameter) -> int:
        if value_id == ABSENT:
            return ABSENT
        value = self._compiled.values[value_id]
        read = parameter.read(value)
        if type(read) is type(value) and read == value:
            return value_id
        return self._compiled.ids.get(canonical_json(read), ABSENT)
