"""Reading a snapshot: read-only, opened lazily in each process and thread, safe under fork, spawn and pickling."""

import os
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from toolorch_env.core.calls import CanonicalCall, ToolSet
from toolorch_env.core.errors import SnapshotCorruptError, SnapshotFormatError, SnapshotNotFoundError
from toolorch_env.core.responses import Response, Source
from toolorch_env.core.tasks import Task
from toolorch_env.store.compiled import Compiled, Link, compile_records
from toolorch_env.store.content import Unpacker
from toolorch_env.store.format import APPLICATION_ID, FORMAT_VERSION, RECORDING_APPLICATION_ID
from toolorch_env.store.keys import join_key, split_key
from toolorch_env.store.records import COLUMNS, Record, from_row, response_of
from toolorch_env.store.stored_tasks import unpack_tasks
from toolorch_env.store.tool_rows import TOOL_COLUMNS, tools_from_rows

RESPONSE_CACHE = 512
"""Number of decoded responses that a process keeps."""

COMPILED_CACHE = 2
"""Number of compiled forms that it keeps beside the snapshot's own."""

_MMAP_BYTES = 2**30
_SELECT = "SELECT key_rest, status, digest, latency_us, recorded_at, content FROM responses WHERE id = ?"


class _Handle:
    """One open connection of one thread in one process."""

    def __init__(self, path: Path) -> None:
        self.process = os.getpid()
        # `immutable` keeps SQLite from locking, so that read-only folders and many processes are no matter
        uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        self.connection = sqlite3.connect(uri, uri=True, check_same_thread=False, cached_statements=16)
        self.cursor = self.connection.cursor()
        self.connection.execute(f"PRAGMA mmap_size = {_MMAP_BYTES}")
        row = self.connection.execute("SELECT data FROM blobs WHERE name = 'dictionary'").fetchone()
        self.unpacker = Unpacker(row[0] if row else b"")


class Snapshot:
    """A recorded API.

    Args:
        path: the SQLite file.

    Raises:
        SnapshotNotFoundError: there is no such file.
        SnapshotFormatError: it is no snapshot, or of a newer format.
        SnapshotCorruptError: it is damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()  # processes that were started elsewhere find it, too
        check_header(self.path)
        self._local = threading.local()
        self._read_response = lru_cache(RESPONSE_CACHE)(self._read_response_uncached)
        self._compile = lru_cache(COMPILED_CACHE)(self._compile_uncached)
        self.tools  # noqa: B018  reads the tools now, so that a damaged file is told at once

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"Snapshot({str(self.path)!r})"

    @property
    def _handle(self) -> _Handle:
        handle: _Handle | None = getattr(self._local, "handle", None)
        if handle is None or handle.process != os.getpid():  # a connection must not cross a fork
            try:
                handle = _Handle(self.path)
            except (sqlite3.DatabaseError, zstandard.ZstdError, TypeError) as error:
                if not self.path.exists():
                    raise SnapshotNotFoundError(f"there is no snapshot at {self.path} any more") from None
                raise SnapshotCorruptError(f"{self.path} is damaged: {error}") from None
            self._local.handle = handle
        return handle

    def _rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        try:
            return self._handle.connection.execute(statement, parameters).fetchall()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise SnapshotCorruptError(f"{self.path} is damaged: {error}") from None

    @cached_property
    def meta(self) -> dict[str, str]:
        """Provenance by name (see :data:`toolorch_env.store.schema.meta`)."""
        rows = self._rows("SELECT name, value FROM meta ORDER BY name")
        if not all(type(text) is str for row in rows for text in row):
            raise SnapshotCorruptError(f"{self.path} is damaged: its provenance is not text")
        return dict(rows)

    @property
    def content_hash(self) -> str:
        """What tells its rows from those of other snapshots."""
        return self.meta.get("content_hash", "")

    @property
    def name(self) -> str:
        """Name of the snapshot."""
        return self.meta.get("name", self.path.stem)

    @cached_property
    def tools(self) -> ToolSet:
        """The recorded tools."""
        rows = self._rows(f"SELECT {', '.join(TOOL_COLUMNS)} FROM tools ORDER BY id")  # noqa: S608
        try:
            return tools_from_rows(rows)
        except SnapshotCorruptError as error:
            raise SnapshotCorruptError(f"{self.path} is damaged: {error}") from None

    def __len__(self) -> int:
        """Number of recorded responses."""
        return int(self._rows("SELECT count(*) FROM responses")[0][0])

    def blob(self, name: str) -> bytes | None:
        """A named piece of data (see :data:`toolorch_env.store.schema.blobs`), ``None`` if absent."""
        rows = self._rows("SELECT data FROM blobs WHERE name = ?", name)
        return rows[0][0] if rows else None

    @cached_property
    def compiled(self) -> Compiled | None:
        """The compiled form, ``None`` if this snapshot was not compiled."""
        data = self.blob("compiled")
        try:
            return None if data is None else Compiled.from_bytes(data)
        except SnapshotCorruptError as error:
            raise SnapshotCorruptError(f"{self.path} is damaged: {error}") from None

    def compiled_for(self, links: Iterable[Link]) -> Compiled:
        """A compiled form that holds these links: the snapshot's own, else one made in memory.

        That takes seconds; the latest are kept.

        Raises:
            WorkflowError: an expression is not valid JMESPath, or a link names an unknown tool.
        """
        links, compiled = frozenset(links), self.compiled
        if compiled is None or not links <= set(compiled.links):
            return self._compile(links)
        return compiled

    def _compile_uncached(self, links: frozenset[Link]) -> Compiled:
        return compile_records(self.records(), self.tools, links)

    @property
    def workflows(self) -> bytes | None:
        """The workflow document as it is stored, ``None`` if there is none."""
        return self.blob("workflows")

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """The stored tasks: the fixed problems of a data set. None in most snapshots."""
        try:
            return unpack_tasks(self.blob("tasks"))
        except SnapshotCorruptError as error:
            raise SnapshotCorruptError(f"{self.path} is damaged: {error}") from None

    @property
    def links(self) -> tuple[Link, ...]:
        """The ways in which values can flow that the snapshot was compiled for."""
        return () if self.compiled is None else self.compiled.links

    def look_up(self, call: CanonicalCall) -> Response | None:
        """The recorded response to a call: under its exact key first, then with fractions compared as rounded."""
        response = self._read_response(call.key)
        if response is not None:
            return response
        if all(type(value) is str for value in call.arguments.values()):
            return None  # no number, no fraction
        return self._read_rounded(call)

    def _read_response_uncached(self, key: bytes) -> Response | None:
        row, rest = split_key(key)
        return self._response(row, rest, Source.RECORDED)

    def _response(self, row: int, rest: int | None, source: Source) -> Response | None:
        handle = self._handle
        try:
            found = handle.cursor.execute(_SELECT, (row,)).fetchone()
            if found is None or (rest is not None and found[0] != rest):
                return None
            response = response_of(row, found[1:-1], handle.unpacker.unpack(found[-1])[1], source)
            response.recorded_key = join_key(row, found[0]) if source is Source.ROUNDED else b""
        except (sqlite3.DatabaseError, SnapshotCorruptError) as error:
            raise SnapshotCorruptError(f"{self.path} is damaged: {error}") from None
        return response

    def _read_rounded(self, call: CanonicalCall) -> Response | None:
        row, rest = split_key(call.rounded_key)
        found = self.rounded_row(call.rounded_key)
        if found is not None:
            return self._response(found, None, Source.ROUNDED)
        # what was recorded may itself be the rounded call
        return None if call.rounded_key == call.key else self._response(row, rest, Source.ROUNDED)

    def rounded_row(self, rounded_key: bytes) -> int | None:
        """Row of the response that is kept under the key of a call with rounded fractions."""
        found = self._rows(
            "SELECT response_id FROM rounded_keys WHERE id = ? AND key_rest = ?", *split_key(rounded_key)
        )
        if found and type(found[0][0]) is not int:
            raise SnapshotCorruptError(f"{self.path} is damaged: a rounded key leads to no row")
        return found[0][0] if found else None

    def rounded_count(self) -> int:
        """Number of calls that are found under a key with rounded fractions."""
        return int(self._rows("SELECT count(*) FROM rounded_keys")[0][0])

    def digests(self) -> tuple[np.ndarray, np.ndarray]:
        """Row identifiers of all responses, ascending, and their digests; int64, shape (n,) each."""
        rows = self._rows("SELECT id, digest FROM responses ORDER BY id")
        found = np.array(rows, np.int64).reshape(-1, 2)
        return found[:, 0], found[:, 1]

    def failures(self) -> Iterator[Record]:
        """Recorded calls that were not answered with a 2xx status, in the order of their keys.

        Raises:
            SnapshotCorruptError: a row is damaged.
        """
        return self._records("WHERE status NOT BETWEEN 200 AND 299", ())

    def records(self, tools: Collection[str] | None = None) -> Iterator[Record]:
        """Recorded calls with their responses, in the order of their keys.

        Args:
            tools: names of those tools whose calls are asked for; by default all.

        Raises:
            SnapshotCorruptError: a row is damaged.
        """
        if tools is None:
            return self._records("", ())
        wanted = [number for number, name in self._tool_names().items() if name in tools]
        return self._records(f"WHERE tool_id IN ({', '.join('?' * len(wanted))})", wanted)

    def _tool_names(self) -> dict[int, str]:
        return dict(self._rows("SELECT id, name FROM tools"))

    def _records(self, among: str, parameters: Sequence[Any]) -> Iterator[Record]:
        handle, names = self._handle, self._tool_names()
        statement = f"SELECT {', '.join(COLUMNS)} FROM responses {among} ORDER BY id"  # noqa: S608
        try:
            for row in handle.connection.execute(statement, parameters):
                yield from_row(row, names, handle.unpacker)
        except (sqlite3.DatabaseError, SnapshotCorruptError) as error:
            raise SnapshotCorruptError(f"{self.path} is damaged: {error}") from None


def check_header(path: Path) -> None:
    """Reads the first 100 bytes of a file: is it a whole snapshot of a format that is known here?

    Raises:
        SnapshotNotFoundError, SnapshotFormatError, SnapshotCorruptError: as :class:`Snapshot`.
    """
    try:
        with path.open("rb") as file:
            header = file.read(100)
        size = path.stat().st_size
    except FileNotFoundError:
        raise SnapshotNotFoundError(f"there is no snapshot at {path}") from None
    except (OSError, ValueError) as error:  # ValueError: the path holds a null byte
        raise SnapshotNotFoundError(f"the snapshot {path} cannot be read: {error}") from None
    if header[:16] != b"SQLite format 3\0" or len(header) < 100:
        raise SnapshotFormatError(f"{path} is not a snapshot: it is not an SQLite file")
    application = int.from_bytes(header[68:72], "big")
    if application == RECORDING_APPLICATION_ID:
        raise SnapshotFormatError(
            f"{path} is a recording that is not finished: run the same record command again to finish it, or make a"
            " snapshot of what is there with `toolorch snapshot copy`"
        )
    if application != APPLICATION_ID:
        raise SnapshotFormatError(f"{path} is an SQLite file, but not a ToolOrch snapshot")
    version = int.from_bytes(header[60:64], "big")
    if version > FORMAT_VERSION:
        raise SnapshotFormatError(
            f"{path} has snapshot format {version}, newer than {FORMAT_VERSION}: update toolorch-env to read it"
        )
    if 0 < version < FORMAT_VERSION:
        raise SnapshotFormatError(
            f"{path} has snapshot format {version}, but only {FORMAT_VERSION} is read: record it anew"
        )
    page_size = int.from_bytes(header[16:18], "big")
    page_size = 65_536 if page_size == 1 else page_size
    pages = int.from_bytes(header[28:32], "big")
    if size < pages * page_size:
        raise SnapshotCorruptError(f"{path} is truncated: {size:,} of {pages * page_size:,} bytes are there")
