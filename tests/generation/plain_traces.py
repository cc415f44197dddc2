"""The traces of a workflow straight from their definition: nested loops over the recorded calls, and nothing clever."""

from collections.abc import Iterable, Iterator
from itertools import product
from math import sqrt
from statistics import NormalDist
from typing import Any, NamedTuple

import orjson

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.canonical import canonical_json, rounded
from toolorch_env.store.records import Record
from toolorch_env.store.selection import Selector
from toolorch_env.store.workflows import QueryArgument, Workflow, WorkflowStep

ALPHA = 1e-6


class PlainTrace(NamedTuple):
    """Recorded calls that fit a workflow, one for each step in order, and the values of its literals."""

    records: tuple[Record, ...]
    literals: dict[str, Any]

    @property
    def is_task(self) -> bool:
        """Whether it repeats no call and no value."""
        keys = {record.key for record in self.records}
        values = {canonical_json(value) for value in self.literals.values()}
        return len(keys) == len(self.records) and len(values) == len(self.literals)


def plain_traces(tools: ToolSet, workflow: Workflow, recording: Iterable[Record]) -> Iterator[PlainTrace]:
    """All traces of a workflow, by trying all records for one step after the other."""
    successes = [record for record in recording if record.response.success]
    yield from _extended(tools, workflow, successes, (), {}, {}, b"")


def _extended(
    tools: ToolSet,
    workflow: Workflow,
    successes: list[Record],
    records: tuple[Record, ...],
    literals: dict[str, Any],
    named: dict[str, Any],
    state: bytes,
) -> Iterator[PlainTrace]:
    """Traces that begin with some records. ``named`` are the literals that selections name."""
    if len(records) == len(workflow.order):
        yield PlainTrace(records, literals | named)
        return
    step = workflow.order[len(records)]
    for record in successes:
        if record.tool != step.tool or record.state != state:
            continue
        found = _read(tools, workflow, step, record, records, literals, named)
        if found is None:
            continue
        after = state if tools[step.tool].read_only else record.key
        for values in _named_values(workflow, step, record, found, named):
            yield from _extended(tools, workflow, successes, (*records, record), found, values, after)


def _read(
    tools: ToolSet,
    workflow: Workflow,
    step: WorkflowStep,
    record: Record,
    records: tuple[Record, ...],
    literals: dict[str, Any],
    named: dict[str, Any],
) -> dict[str, Any] | None:
    """The literals as they are known with a record for the step, ``None`` if it does not fit."""
    literals = dict(literals)
    given = orjson.loads(record.arguments)
    for name, parameter in tools.signature(step.tool).parameters.items():
        argument = step.arguments.get(name)
        if argument is None:
            if name in given:
                return None
            continue
        value = given.get(name, parameter.default)
        if value is None:
            return None
        if isinstance(argument, QueryArgument):
            for known in (literals, named):
                if argument.query in known and _form(known[argument.query]) != _form(value):
                    return None
            literals.setdefault(argument.query, value)
        else:
            body = records[workflow.position[argument.step]].response.body
            selected = Selector(_written(argument.select, named))(body)
            if selected is None or _form(parameter.read(selected)) != _form(value):
                return None
    return literals


def _named_values(
    workflow: Workflow, step: WorkflowStep, record: Record, literals: dict[str, Any], named: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """The values that literals can have which selections on the step's response name, besides those known before."""
    listed: dict[str, list[Any]] = {}
    for other in workflow.order:
        for argument in other.arguments.values():
            if isinstance(argument, QueryArgument) or argument.step != step.id:
                continue
            for literal, select in argument.values.items():
                values = Selector(select)(record.response.body)
                different = {canonical_json(value): value for value in values or ()}
                known = listed.get(literal, list(different.values()))
                listed[literal] = [value for value in known if canonical_json(value) in different]
    for values in product(*listed.values()):
        chosen = dict(zip(listed, values, strict=True))
        same_named = all(
            canonical_json(named.get(name, value)) == canonical_json(value) for name, value in chosen.items()
        )
        if same_named and all(_form(literals.get(name, value)) == _form(value) for name, value in chosen.items()):
            yield named | chosen


def _written(select: str, named: dict[str, Any]) -> str:
    for name, value in named.items():
        text = orjson.dumps(value).decode().replace("`", "\\`")
        select = select.replace(f"${name}", f"`{text}`")
    return select


def _form(value: Any) -> bytes:
    return canonical_json(rounded(value))


def chi_square_limit(cells: int) -> float:
    """What the chi-square statistic of that many equally likely cells exceeds with probability :data:`ALPHA` (by the
    approximation of Wilson and Hilferty)."""
    freedom = cells - 1
    z = NormalDist().inv_cdf(1 - ALPHA)
    return freedom * (1 - 2 / (9 * freedom) + z * sqrt(2 / (9 * freedom))) ** 3
