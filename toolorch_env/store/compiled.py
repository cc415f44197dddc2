"""The compiled form of a snapshot: every value that can flow from a response into a later argument, as an integer.

For each tool there is one table with a row for each recorded success: which values its arguments had, and which
values its output expressions select from the response. Joins of workflows and steps of the environment are look-ups
in these tables.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import orjson
import zstandard

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.canonical import canonical_json, tokens
from toolorch_env.core.errors import SnapshotCorruptError, WorkflowError
from toolorch_env.core.responses import Response
from toolorch_env.core.states import state_after
from toolorch_env.store.interned import ABSENT, InternedValues
from toolorch_env.store.records import Record
from toolorch_env.store.selection import Selector
from toolorch_env.store.shared_arrays import shared_arrays

MAX_COMPILED_BYTES = 4 * 1024**3
"""Compiled forms that claim to be larger are refused before any memory is taken for them."""


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """A way for a value to flow: what ``select`` finds in a response of ``tool`` can be passed as ``parameter``."""

    parameter: str
    tool: str
    select: str


@dataclass(frozen=True)
class ToolTable:
    """The recorded successes of one tool, as value ids.

    Attributes:
        rows: row identifiers in the snapshot, int64, ascending, shape (n,).
        parameters: names of the columns of ``arguments``.
        arguments: value ids, int32, shape (n, len(parameters)); :data:`ABSENT` where the argument is at its default.
        selects: JMESPath expressions, the columns of ``outputs``.
        outputs: value ids, int32, shape (n, len(selects)); :data:`ABSENT` where nothing is selected, or something that
            does not stand in the response.
        before: state that each call was made in, int32, shape (n,): numbers of the snapshot's states, 0 for that of a
            fresh session; ``None`` where the snapshot knows no other state.
        after: state that each call led to; ``None`` as ``before``.
    """

    rows: np.ndarray
    parameters: tuple[str, ...]
    arguments: np.ndarray
    selects: tuple[str, ...]
    outputs: np.ndarray
    before: np.ndarray | None = None
    after: np.ndarray | None = None

    def find(self, row: int) -> int | None:
        """Position of a row identifier, ``None`` if it is not there."""
        position = int(self.rows.searchsorted(row))
        return position if position < len(self.rows) and self.rows[position] == row else None


class Compiled:
    """All tables of a snapshot and the values that their ids stand for.

    Args:
        values: interned JSON values; a value's id is its number.
        links: the ways in which values can flow, sorted.
        tables: a table for each tool.

    Attributes:
        read_columns: selected outputs as a parameter reads them, by tool, expression and ``tool.parameter``; whoever
            reads them keeps them here.
    """

    def __init__(self, values: InternedValues, links: tuple[Link, ...], tables: dict[str, ToolTable]) -> None:
        self.values = values
        self.links = links
        self.tables = tables
        self.read_columns: dict[tuple[str, str, str], np.ndarray] = {}

    @property
    def rounded_ids(self) -> np.ndarray:
        """For each value id the smallest id that is equal to it when fractions are rounded; int32."""
        return self.values.rounded_numbers

    def rounded_id(self, value: Any) -> int:
        """The smallest id of a value equal to ``value`` when fractions are rounded, :data:`ABSENT` if there is none."""
        return self.values.rounded_number(value)

    def argument_ids(self, tool: str, parameter: str) -> np.ndarray:
        """Ids of all values that some recorded success of a tool has for a parameter; int32, ascending."""
        table = self.tables[tool]
        column = table.arguments[:, table.parameters.index(parameter)]
        used: np.ndarray = np.unique(column[column != ABSENT])
        return used

    def to_bytes(self) -> bytes:
        """The compressed form that is stored in the snapshot."""
        tables = list(self.tables.items())
        header = {
            "links": [[link.parameter, link.tool, link.select] for link in self.links],
            "tables": [[name, table.parameters, table.selects] for name, table in tables],
        }
        arrays = {
            name: np.frombuffer(text, np.uint8)
            for name, text in (("header", orjson.dumps(header)), ("values", self.values.text))
        }
        arrays |= {"ends": self.values.ends, "rounded": self.values.rounded_numbers}
        for index, (_, table) in enumerate(tables):
            arrays |= {f"rows{index}": table.rows, f"arguments{index}": table.arguments}
            arrays[f"outputs{index}"] = table.outputs
            if table.before is not None and table.after is not None:
                arrays |= {f"before{index}": table.before, f"after{index}": table.after}
        buffer = BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        return zstandard.ZstdCompressor(level=12).compress(buffer.getvalue())

    @classmethod
    def from_bytes(cls, data: bytes) -> "Compiled":
        """Reads :meth:`to_bytes` back; large tables into memory that the processes of this machine share.

        Raises:
            SnapshotCorruptError: the data is damaged.
        """
        try:
            arrays = shared_arrays(data, _unpack)
            header = orjson.loads(arrays["header"].tobytes())
            tables = {
                name: ToolTable(
                    arrays[f"rows{index}"],
                    tuple(parameters),
                    arrays[f"arguments{index}"],
                    tuple(selects),
                    arrays[f"outputs{index}"],
                    arrays.get(f"before{index}"),
                    arrays.get(f"after{index}"),
                )
                for index, (name, parameters, selects) in enumerate(header["tables"])
            }
            values = InternedValues(arrays["values"].tobytes(), arrays["ends"], arrays["rounded"])
            return cls(values, tuple(Link(*link) for link in header["links"]), tables)
        except Exception as error:  # damaged data makes these libraries fail in a dozen ways
            raise SnapshotCorruptError(f"the compiled form cannot be read: {error}") from None


def _unpack(data: bytes) -> dict[str, np.ndarray]:
    if zstandard.frame_content_size(data) > MAX_COMPILED_BYTES:
        raise SnapshotCorruptError("it claims to be larger than any that is compiled")
    return dict(np.load(BytesIO(zstandard.ZstdDecompressor().decompress(data)), allow_pickle=False))


class _Interner:
    """Numbers values in the order in which they come."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}

    def __call__(self, value: Any) -> int:
        if value is None:
            return ABSENT
        # copied, because the bytes that orjson makes hold on to the 4 KB that they were written into
        return self._numbers.setdefault(bytes(memoryview(canonical_json(value))), len(self._numbers))

    def finish(self) -> tuple[InternedValues, np.ndarray]:
        """The values, and for each number so far (and for :data:`ABSENT`, the last) the id that it has among them."""
        ids = np.full(len(self._numbers) + 1, ABSENT, np.int32)
        for index, written in enumerate(sorted(self._numbers)):
            ids[self._numbers[written]] = index
        return InternedValues.of(self._numbers), ids


def compile_records(records: Iterable[Record], tools: ToolSet, links: Iterable[Link]) -> Compiled:
    """Evaluates all output expressions on all recorded successes.

    Args:
        records: the recorded calls, in the order of rows.
        tools: the snapshot's tools.
        links: the ways in which values can flow; their expressions are the output expressions.

    Raises:
        WorkflowError: an expression is not valid JMESPath, or a link names an unknown tool.
    """
    links = tuple(sorted(set(links)))
    intern = _Interner()
    builders = {name: _TableBuilder(tuple(tools.signature(name).parameters), intern) for name in tools}
    for link in links:
        if link.tool not in builders:
            raise WorkflowError(f"a link refers to the tool {link.tool!r}, which is not in the snapshot")
        builders[link.tool].add_select(link.select)
    for name in tools:  # defaults may be passed, too
        for parameter in tools.signature(name).parameters.values():
            intern(parameter.default)
    states: dict[bytes, int] = {b"": 0}
    for record in records:
        response = record.response
        if response.success and response.row is not None:
            after = state_after(record, response, record.tool not in tools.state_changing)
            numbers = tuple(states.setdefault(state, len(states)) for state in (record.state, after))
            builders[record.tool].add(response.row, orjson.loads(record.arguments), response, numbers)
    stateful = len(states) > 1
    values, ids = intern.finish()
    return Compiled(values, links, {name: builder.build(ids, stateful) for name, builder in builders.items()})


class _TableBuilder:
    def __init__(self, parameters: tuple[str, ...], intern: _Interner) -> None:
        self._parameters = parameters
        self._intern = intern
        self._selectors: list[Selector] = []
        self._rows = array("q")
        self._arguments = array("i")  # those of one row after the other, as all that follows
        self._outputs = array("i")
        self._states = array("i")

    def add_select(self, select: str) -> None:
        if select not in [selector.select for selector in self._selectors]:
            self._selectors.append(Selector(select))

    def add(self, row: int, arguments: dict[str, Any], response: Response, states: tuple[int, ...]) -> None:
        if not arguments.keys() <= set(self._parameters):
            return  # a call with parameters that the tool does not declare is no part of any workflow
        self._rows.append(row)
        self._arguments.extend([self._intern(arguments.get(name)) for name in self._parameters])
        self._outputs.extend([self._output(selector(response.body), response) for selector in self._selectors])
        self._states.extend(states)

    def _output(self, selected: Any, response: Response) -> int:
        """A value that was computed rather than found in the response cannot be seen there, and is no link."""
        return self._intern(selected) if all(response.holds(text) for text in tokens(selected)) else ABSENT

    def build(self, ids: np.ndarray, stateful: bool) -> ToolTable:
        """The table, numbers of values replaced by their ids."""
        count = len(self._rows)
        rows = np.array(self._rows, np.int64)
        order = np.argsort(rows)
        before, after = np.array(self._states, np.int32).reshape(count, 2)[order].T.copy()
        return ToolTable(
            rows[order],
            self._parameters,
            ids[np.array(self._arguments, np.int32)].reshape(count, len(self._parameters))[order],
            tuple(selector.select for selector in self._selectors),
            ids[np.array(self._outputs, np.int32)].reshape(count, len(self._selectors))[order],
            before if stateful else None,
            after if stateful else None,
        )


def same_compiled(left: Compiled, right: Compiled) -> bool:
    """Whether two compiled forms are equal."""

    def parts(compiled: Compiled) -> Iterator[Sequence[Any]]:
        yield [compiled.values.text, compiled.values.ends.tobytes(), compiled.rounded_ids.tobytes()]
        yield compiled.links
        for name, table in compiled.tables.items():
            yield (name, table.parameters, table.selects)
            arrays = (table.rows, table.arguments, table.outputs, table.before, table.after)
            yield [None if array is None else array.tobytes() for array in arrays]

    return [list(part) for part in parts(left)] == [list(part) for part in parts(right)]
