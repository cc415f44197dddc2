"""Selections that name literals of the query, as ``flights[?carrier == $carrier].tail_number | [0]`` does.

What they select depends on the response and on the literals. So their steps get tables of their own, with a row for
each response and each combination of values that the literals can have with it. A join on these tables draws rows and
literals together, and is counted like any other.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from toolorch_env.core.canonical import canonical_json, tokens
from toolorch_env.core.errors import WorkflowError
from toolorch_env.core.responses import Response
from toolorch_env.store.compiled import Compiled, ToolTable
from toolorch_env.store.interned import ABSENT, InternedValues
from toolorch_env.store.records import Record
from toolorch_env.store.selection import Selector, with_literals
from toolorch_env.store.workflows import ResponseArgument, Workflow, WorkflowSet, WorkflowStep

MAX_EVALUATIONS = 200_000
"""Selections with literals are evaluated at most so many times for one step; that takes some ten seconds."""


@dataclass(frozen=True, kw_only=True)
class LiteralTable(ToolTable):
    """The table of a step whose response is selected from with literals: rows of its tool's table, several times each.

    Attributes:
        literals: names of the literals, the columns of ``literal_values``.
        literal_values: value ids, int32, shape (n, len(literals)).
        sources: for each row, that of the tool's table which it was made of, int64, shape (n,).
    """

    literals: tuple[str, ...]
    literal_values: np.ndarray
    sources: np.ndarray


class LiteralCompiled(Compiled):
    """A compiled form with the tables of such steps.

    Attributes:
        steps: the tables, by the names of workflow and step.
    """

    def __init__(self, compiled: Compiled, steps: dict[tuple[str, str], LiteralTable]) -> None:
        super().__init__(compiled.values, compiled.links, compiled.tables)
        self.steps = steps


def step_table(compiled: Compiled, workflow: Workflow, step: WorkflowStep) -> ToolTable:
    """The table whose rows a step of a workflow draws from."""
    table = compiled.tables[step.tool]
    if isinstance(compiled, LiteralCompiled):
        return compiled.steps.get((workflow.name, step.id), table)
    return table


def source_rows(table: ToolTable) -> np.ndarray:
    """For each row of a step's table its row in the tool's table."""
    return table.sources if isinstance(table, LiteralTable) else np.arange(len(table.rows))


class _Selections(NamedTuple):
    """What is selected with literals from the response of one step.

    Attributes:
        workflow, step, tool: names.
        selects: the expressions.
        values: for each literal the expressions that list its possible values; it has those that all of them list.
    """

    workflow: str
    step: str
    tool: str
    selects: tuple[str, ...]
    values: Mapping[str, tuple[str, ...]]


def with_literal_selections(compiled: Compiled, records: Iterable[Record], workflows: WorkflowSet) -> Compiled:
    """A compiled form that knows what the workflows select with literals; the same one where they do not.

    Args:
        compiled: of the snapshot, for all other selections.
        records: the recorded calls; not read where there is nothing to select.
        workflows: the workflows.

    Raises:
        WorkflowError: more than :data:`MAX_EVALUATIONS` selections would have to be evaluated for a step.
    """
    wanted = [found for workflow in workflows.workflows for found in _selections(workflow)]
    if not wanted:
        return compiled
    builders = [_Builder(selections, compiled.tables[selections.tool]) for selections in wanted]
    for record in records:
        for builder in builders:
            if record.tool == builder.selections.tool and record.response.row is not None:
                builder.add(record.response)
    extended = _with_values(compiled, {value for builder in builders for value in builder.written()})
    steps = {(builder.selections.workflow, builder.selections.step): builder.build(extended) for builder in builders}
    return LiteralCompiled(extended, steps)


def _selections(workflow: Workflow) -> Iterator[_Selections]:
    for step in workflow.order:
        arguments = [
            argument
            for other in workflow.order
            for argument in other.arguments.values()
            if isinstance(argument, ResponseArgument) and argument.step == step.id and argument.values
        ]
        if arguments:
            listed: dict[str, set[str]] = {}
            for argument in arguments:
                for literal, select in argument.values.items():
                    listed.setdefault(literal, set()).add(select)
            values = {literal: tuple(sorted(listed[literal])) for literal in sorted(listed)}
            selects = tuple(sorted({argument.select for argument in arguments}))
            yield _Selections(workflow.name, step.id, step.tool, selects, values)


class _Builder:
    """Evaluates what is selected with literals from the responses of one step."""

    def __init__(self, selections: _Selections, table: ToolTable) -> None:
        self.selections = selections
        self._table = table
        self._listing = {
            literal: [Selector(select) for select in selects] for literal, selects in selections.values.items()
        }
        self._selector = lru_cache(4096)(Selector)
        self._rows: list[tuple[int, tuple[bytes, ...]]] = []  # source, then literals and outputs as canonical JSON
        self._evaluations = 0

    def add(self, response: Response) -> None:
        """Adds the rows of one response, those where everything is selected."""
        source = self._table.find(response.row or 0)
        if source is None:
            return
        names = list(self._listing)
        for values in product(*(_common(selectors, response.body) for selectors in self._listing.values())):
            self._count()
            outputs = self._outputs(dict(zip(names, values, strict=True)), response)
            if outputs is not None:
                self._rows.append((source, (*map(_copied_json, values), *outputs)))

    def _count(self) -> None:
        self._evaluations += len(self.selections.selects)
        if self._evaluations > MAX_EVALUATIONS:
            raise WorkflowError(
                f"workflow {self.selections.workflow!r}, step {self.selections.step!r}: its literals have too many "
                f"values with the responses of {self.selections.tool}: over {MAX_EVALUATIONS:,} selections"
            )

    def _outputs(self, literals: Mapping[str, Any], response: Response) -> list[bytes] | None:
        outputs = []
        for select in self.selections.selects:
            selected = self._selector(with_literals(select, literals))(response.body)
            if selected is None or not tokens(selected) <= response.tokens:
                return None  # nothing, or what nobody could have seen in the response
            outputs.append(_copied_json(selected))
        return outputs

    def written(self) -> Iterator[bytes]:
        """All values, as canonical JSON."""
        for _, values in self._rows:
            yield from values

    def build(self, compiled: Compiled) -> LiteralTable:
        """The table, once its values are among the compiled ones."""
        table, count = compiled.tables[self.selections.tool], len(self._listing)
        find = lru_cache(None)(compiled.values.find)
        rows = sorted(self._rows)
        sources = np.array([source for source, _ in rows], np.int64)
        ids = np.array([[find(value) for value in values] for _, values in rows], np.int32)
        ids = ids.reshape(len(rows), count + len(self.selections.selects))
        return LiteralTable(
            table.rows[sources],
            table.parameters,
            table.arguments[sources],
            table.selects + self.selections.selects,
            np.concatenate([table.outputs[sources], ids[:, count:]], axis=1),
            None if table.before is None else table.before[sources],
            None if table.after is None else table.after[sources],
            literals=tuple(self._listing),
            literal_values=ids[:, :count],
            sources=sources,
        )


def _common(selectors: Iterable[Selector], body: Any) -> list[Any]:
    """The values that all of some expressions list, each once, in the order of their canonical JSON."""
    listed = []
    for selector in selectors:
        found = selector(body)
        values = found if isinstance(found, list) else [found]
        listed.append({canonical_json(value): value for value in values if value is not None})
    first, *others = listed
    return [first[key] for key in sorted(first) if all(key in other for other in others)]


def _copied_json(value: Any) -> bytes:
    return bytes(memoryview(canonical_json(value)))  # what orjson makes holds on to the 4 KB that it was written into


def _with_values(compiled: Compiled, written: set[bytes]) -> Compiled:
    """A compiled form with some more values."""
    old = compiled.values
    ends = old.ends.tolist()
    pieces = [old.text[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    if written <= set(pieces):
        return compiled
    values = InternedValues.of(written.union(pieces))
    numbers = {piece: number for number, piece in enumerate(sorted(written.union(pieces)))}
    ids = np.array([*(numbers[piece] for piece in pieces), ABSENT], np.int32)  # the last one is that of ABSENT
    tables = {
        name: ToolTable(
            table.rows,
            table.parameters,
            ids[table.arguments],
            table.selects,
            ids[table.outputs],
            table.before,
            table.after,
        )
        for name, table in compiled.tables.items()
    }
    return Compiled(values, compiled.links, tables)
