"""The relations of a workflow's join: for each step its usable rows, and the columns that it shares with others."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.errors import WorkflowError
from toolorch_env.core.signatures import Parameter
from toolorch_env.generation.literal_selections import LiteralTable, step_table
from toolorch_env.store.compiled import Compiled, ToolTable
from toolorch_env.store.interned import ABSENT
from toolorch_env.store.workflows import QueryArgument, Workflow, WorkflowStep

Attribute = tuple[str, ...]
"""A column that steps can share: ``("query", literal)``, ``("response", step, expression, consumer)``,
``("literal", literal)`` where selections name it, or ``("state", k)``, the state of the session after the k-th of its
state-changing calls."""

Use = tuple[str, str, str]
"""A use of a step's response: the tool that takes something from it, as which parameter, and the selection."""


@dataclass(frozen=True)
class Relation:
    """Rows of one step, or of several steps that were joined.

    Attributes:
        steps: indices of the steps in the workflow's order.
        rows: for each of them a row of its :class:`toolorch_env.store.compiled.ToolTable`, int64, shape (n, steps).
        columns: value ids of each attribute, fractions rounded, int32, shape (n,).
        places: for attributes that another one than the first step settles, which of the steps does.
    """

    steps: tuple[int, ...]
    rows: np.ndarray
    columns: dict[Attribute, np.ndarray]
    places: dict[Attribute, int] = field(default_factory=dict)

    def where(self, wanted: np.ndarray) -> "Relation":
        """The wanted ones of the rows (bool, shape (n,))."""
        columns = {attribute: column[wanted] for attribute, column in self.columns.items()}
        return replace(self, rows=self.rows[wanted], columns=columns)

    def with_column(self, attribute: Attribute, column: np.ndarray) -> "Relation":
        """The relation with one more column, which its first step settles."""
        return replace(self, columns={**self.columns, attribute: column})

    def renamed(self, names: Mapping[Attribute, Attribute]) -> "Relation":
        """The relation with other names for some columns."""
        columns = {names.get(attribute, attribute): column for attribute, column in self.columns.items()}
        places = {names.get(attribute, attribute): place for attribute, place in self.places.items()}
        return replace(self, columns=columns, places=places)


def common_groups(left: Relation, right: Relation) -> tuple[np.ndarray, np.ndarray, int]:
    """Group number of each row of both relations, by their shared columns, and the number of groups."""
    groups = np.zeros(len(left.rows) + len(right.rows), np.int64)
    count = 1
    for attribute in sorted(left.columns.keys() & right.columns.keys()):
        column = np.concatenate([left.columns[attribute], right.columns[attribute]])
        numbers = groups * (int(column.max(initial=0)) + 1) + column
        unique, groups = np.unique(numbers, return_inverse=True)
        count = len(unique)
    return groups[: len(left.rows)], groups[len(left.rows) :], count


def join_size(left: Relation, right: Relation) -> int:
    """Number of rows that the join of two relations has."""
    left_groups, right_groups, count = common_groups(left, right)
    sizes = np.bincount(left_groups, minlength=count) * np.bincount(right_groups, minlength=count)
    return int(sizes.sum())


def merge(left: Relation, right: Relation) -> Relation:
    """The join of two relations, of :func:`join_size` rows."""
    left_groups, right_groups, count = common_groups(left, right)
    order = np.argsort(right_groups, kind="stable")
    sizes = np.bincount(right_groups, minlength=count)
    starts = np.cumsum(sizes) - sizes
    repeats = sizes[left_groups]
    total = int(repeats.sum())
    left_rows = np.repeat(np.arange(len(left.rows)), repeats)
    within = np.arange(total) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    right_rows = order[np.repeat(starts[left_groups], repeats) + within]
    columns = {name: column[right_rows] for name, column in right.columns.items()}
    columns |= {name: column[left_rows] for name, column in left.columns.items()}
    rows = np.concatenate([left.rows[left_rows], right.rows[right_rows]], axis=1)
    places = {attribute: len(left.steps) + right.places.get(attribute, 0) for attribute in right.columns}
    places |= {attribute: left.places.get(attribute, 0) for attribute in left.columns}
    return Relation(left.steps + right.steps, rows, columns, places)


class _Columns:
    """The columns of a table as they are found, and which of its rows have a value in all of them."""

    def __init__(self, rows: int) -> None:
        self.usable = np.ones(rows, bool)
        self.columns: dict[Attribute, np.ndarray] = {}

    def add(self, attribute: Attribute, column: np.ndarray) -> None:
        """Adds a column, or another one that has to equal it."""
        self.usable &= column != ABSENT
        if attribute in self.columns:
            self.usable &= self.columns[attribute] == column
        self.columns[attribute] = column


class RelationBuilder:
    """Makes the relation of each step: its usable rows and its columns."""

    def __init__(self, workflow: Workflow, compiled: Compiled, tools: ToolSet) -> None:
        self._workflow = workflow
        self._compiled = compiled
        self._tools = tools

    def build(self, step: WorkflowStep, uses: Iterable[Use] | None = None) -> Relation:
        """The relation of one step.

        Args:
            step: a step of the workflow.
            uses: the uses of its response that it has to serve; by default all of :meth:`uses_of`.

        Raises:
            WorkflowError: the snapshot is not compiled for a selection on the step's response.
        """
        table = step_table(self._compiled, self._workflow, step)
        found = _Columns(len(table.rows))
        self._add_arguments(step, table, found)
        self._add_outputs(step, table, found, self.uses_of(step) if uses is None else uses)
        if isinstance(table, LiteralTable):
            for index, literal in enumerate(table.literals):
                column = table.literal_values[:, index]
                found.add(("query", literal), self._rounded(column))
                found.add(("literal", literal), column)  # written into all selections in the same way
        for number, column in self._states_of(step, table):
            if number:
                found.add(("state", str(number)), column)
            else:
                found.usable &= column == 0  # a fresh session
        rows = np.flatnonzero(found.usable)
        columns = {attribute: column[rows] for attribute, column in found.columns.items()}
        return Relation((self._workflow.position[step.id],), rows[:, None], columns)

    def _add_arguments(self, step: WorkflowStep, table: ToolTable, found: "_Columns") -> None:
        signature = self._tools.signature(step.tool)
        for index, name in enumerate(table.parameters):
            column = table.arguments[:, index]
            argument = step.arguments.get(name)
            if argument is None:
                found.usable &= column == ABSENT
                continue
            column = self._rounded(self._with_default(column, signature.parameters[name]))
            if isinstance(argument, QueryArgument):
                found.add(("query", argument.query), column)
            else:
                found.add(("response", argument.step, argument.select, f"{step.tool}.{name}"), column)

    def _add_outputs(self, step: WorkflowStep, table: ToolTable, found: "_Columns", uses: Iterable[Use]) -> None:
        for consumer, name, select in uses:
            if select not in table.selects:
                raise WorkflowError(
                    f"workflow {self._workflow.name!r}: the snapshot is not compiled for {select!r} on {step.tool}"
                )
            column = self._output(step.tool, table, select, consumer, name)
            found.add(("response", step.id, select, f"{consumer}.{name}"), self._rounded(column))

    def _output(self, tool: str, table: ToolTable, select: str, consumer: str, name: str) -> np.ndarray:
        """What is selected from each response, as the consumer reads it."""
        key, known = (tool, select, f"{consumer}.{name}"), self._compiled.read_columns
        if key in known and table is self._compiled.tables[tool]:
            return known[key]
        parameter = self._tools.signature(consumer).parameters[name]
        column = self._read_through(table.outputs[:, table.selects.index(select)], parameter)
        if table is self._compiled.tables[tool]:  # and not one with literals written in, which is the workflow's own
            known[key] = column
        return column

    def _states_of(self, step: WorkflowStep, table: ToolTable) -> Iterator[tuple[int, np.ndarray]]:
        """The states that a step sees: how many state-changing calls have led to each, and its number in each row."""
        changing = [other.tool in self._tools.state_changing for other in self._workflow.order]
        position = self._workflow.position[step.id]
        number = sum(changing[:position])
        fresh = np.zeros(len(table.rows), np.int32)
        yield number, fresh if table.before is None else table.before
        if changing[position] and position + 1 < len(changing):
            yield number + 1, fresh if table.after is None else table.after

    def uses_of(self, step: WorkflowStep) -> list[Use]:
        """Every use of the step's response."""
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
        return np.where(column == ABSENT, self._compiled.rounded_id(parameter.default), column)

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
        return self._compiled.rounded_id(read)
