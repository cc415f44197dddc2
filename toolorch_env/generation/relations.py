"""The relations of a workflow's join: for each step its usable rows, and the columns that it shares with others."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.errors import WorkflowError
from toolorch_env.core.signatures import Parameter
from toolorch_env.store.compiled import Compiled, ToolTable
from toolorch_env.store.interned import ABSENT
from toolorch_env.store.workflows import QueryArgument, Workflow, WorkflowStep

Attribute = tuple[str, ...]
"""A column that steps can share: ``("query", literal)``, ``("response", step, expression, consumer)``, or
``("state", k)``, the state of the session after the k-th of its state-changing calls."""

MAX_MERGED_ROWS = 5_000_000


@dataclass(frozen=True)
class Relation:
    """Rows of one step, or of several steps that were joined.

    Attributes:
        steps: indices of the steps in the workflow's order.
        rows: for each of them a row of its :class:`toolorch_env.store.compiled.ToolTable`, int64, shape (n, steps).
        columns: value ids of each attribute, fractions rounded, int32, shape (n,).
    """

    steps: tuple[int, ...]
    rows: np.ndarray
    columns: dict[Attribute, np.ndarray]


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
    """The join of two relations.

    Raises:
        WorkflowError: the join is too large to be written out.
    """
    left_groups, right_groups, count = common_groups(left, right)
    order = np.argsort(right_groups, kind="stable")
    sizes = np.bincount(right_groups, minlength=count)
    starts = np.cumsum(sizes) - sizes
    repeats = sizes[left_groups]
    total = int(repeats.sum())
    if total > MAX_MERGED_ROWS:
        raise WorkflowError(
            f"a cyclic join of {total:,} rows is larger than the {MAX_MERGED_ROWS:,} that are supported"
        )
    left_rows = np.repeat(np.arange(len(left.rows)), repeats)
    within = np.arange(total) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    right_rows = order[np.repeat(starts[left_groups], repeats) + within]
    columns = {name: column[right_rows] for name, column in right.columns.items()}
    columns |= {name: column[left_rows] for name, column in left.columns.items()}
    rows = np.concatenate([left.rows[left_rows], right.rows[right_rows]], axis=1)
    return Relation(left.steps + right.steps, rows, columns)


class RelationBuilder:
    """Makes the relation of each step: its usable rows and its columns."""

    def __init__(self, workflow: Workflow, compiled: Compiled, tools: ToolSet) -> None:
        self._workflow = workflow
        self._compiled = compiled
        self._tools = tools

    def build(self, step: WorkflowStep) -> Relation:
        """The relation of one step.

        Raises:
            WorkflowError: the snapshot is not compiled for a selection on the step's response.
        """
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
        for number, column in self._states_of(step, table):
            if number:
                add(("state", str(number)), column)
            else:
                usable &= column == 0  # a fresh session
        rows = np.flatnonzero(usable)
        columns = {attribute: column[rows] for attribute, column in columns.items()}
        return Relation((self._workflow.position[step.id],), rows[:, None], columns)

    def _states_of(self, step: WorkflowStep, table: ToolTable) -> Iterator[tuple[int, np.ndarray]]:
        """The states that a step sees: how many state-changing calls have led to each, and its number in each row."""
        changing = [other.tool in self._tools.state_changing for other in self._workflow.order]
        position = self._workflow.position[step.id]
        number = sum(changing[:position])
        fresh = np.zeros(len(table.rows), np.int32)
        yield number, fresh if table.before is None else table.before
        if changing[position] and position + 1 < len(changing):
            yield number + 1, fresh if table.after is None else table.after

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
