"""Recorded calls by number: what was answered to which values."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import orjson

from toolorch_env.envs.vector.values import Values
from toolorch_env.store.interned import ABSENT
from toolorch_env.store.keys import split_key
from toolorch_env.store.snapshot import Snapshot


class RecordedCalls(NamedTuple):
    """All recorded calls; the successes come first, tool by tool, in the order of the compiled tables.

    Attributes:
        tools: int32, shape (n,).
        arguments: value numbers, int32, shape (n, most parameters of a tool): ABSENT for defaults, and beyond the
            tool's own parameters.
        rows: row of the tool's compiled table, int32, shape (n,); ABSENT for a failure.
        digests: of a successful body that says something, else 0; int64, shape (n,).
        identifiers: row identifiers in the snapshot, int64, shape (n,).
        first_of_tool: number of the first success of each tool, int64, shape (tools,).
    """

    tools: np.ndarray
    arguments: np.ndarray
    rows: np.ndarray
    digests: np.ndarray
    identifiers: np.ndarray
    first_of_tool: np.ndarray


def recorded_calls(snapshot: Snapshot, values: Values) -> RecordedCalls:
    """The recorded calls of a snapshot that is compiled and whose tools are all read-only."""
    compiled = snapshot.compiled
    assert compiled is not None
    tables = [compiled.tables[name] for name in snapshot.tools]
    sizes = [len(table.rows) for table in tables]
    failures = list(_failures(snapshot, values))
    successes = np.concatenate([table.rows for table in tables])
    calls = RecordedCalls(
        tools=np.concatenate([np.repeat(np.arange(len(sizes)), sizes), [f.tool for f in failures]]).astype(np.int32),
        arguments=np.full(
            (sum(sizes) + len(failures), max([1, *(len(table.parameters) for table in tables)])), ABSENT, np.int32
        ),
        rows=np.concatenate([*map(np.arange, sizes), np.full(len(failures), ABSENT)]).astype(np.int32),
        digests=np.concatenate([_digests(snapshot, successes), np.zeros(len(failures), np.int64)]),
        identifiers=np.concatenate([successes, [f.identifier for f in failures]]).astype(np.int64),
        first_of_tool=np.cumsum(sizes, dtype=np.int64) - sizes,
    )
    for table, first in zip(tables, calls.first_of_tool, strict=True):
        calls.arguments[first : first + len(table.rows), : len(table.parameters)] = table.arguments
    for place, failure in enumerate(failures, sum(sizes)):
        calls.arguments[place, : len(failure.arguments)] = failure.arguments
    return calls


def by_rounded_key(calls: RecordedCalls, is_rounded: np.ndarray) -> np.ndarray:
    """Calls in the order in which they answer calls that are equal when fractions are rounded.

    Those that rounding changes come first, by their rows, as in :mod:`toolorch_env.store.sealing`.

    Args:
        calls: the calls.
        is_rounded: for each value whether rounding changes nothing (ABSENT, the last, must not be changed either).
    """
    is_own = (is_rounded[calls.arguments] | (calls.arguments == ABSENT)).all(axis=1)
    return np.lexsort((calls.identifiers, is_own))


class _Failure(NamedTuple):
    tool: int
    arguments: list[int]
    identifier: int


def _failures(snapshot: Snapshot, values: Values) -> Iterator[_Failure]:
    """The recorded calls that failed, but for those with parameters that their tool does not declare."""
    tools = {name: number for number, name in enumerate(snapshot.tools)}
    for record in snapshot.failures():
        given = orjson.loads(record.arguments)
        names = snapshot.tools.signature(record.tool).parameters
        if given.keys() <= names.keys():
            numbers = [values.number(given[name]) if name in given else ABSENT for name in names]
            yield _Failure(tools[record.tool], numbers, split_key(record.key)[0])


def _digests(snapshot: Snapshot, identifiers: np.ndarray) -> np.ndarray:
    """Digests of rows."""
    rows, digests = snapshot.digests()
    found: np.ndarray = digests[rows.searchsorted(identifiers)]
    return found
