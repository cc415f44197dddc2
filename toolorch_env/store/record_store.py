"""Recorded calls as they come in, kept in an SQL database: an SQLite file, or a server that several recorders share."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from types import TracebackType
from typing import Any, Self

import orjson
from sqlalchemy import Connection, Insert, delete, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.errors import (
    RecordingError,
    SnapshotCorruptError,
    SnapshotError,
    SnapshotNotFoundError,
    SnapshotWriteError,
)
from toolorch_env.core.tasks import Task
from toolorch_env.core.tools import Tool
from toolorch_env.store import schema
from toolorch_env.store.compiled import Link
from toolorch_env.store.content import FAST_LEVEL, Packer, Unpacker
from toolorch_env.store.databases import (
    Where,
    as_url,
    check_recording,
    create_tables,
    describe,
    open_database,
    open_temporary_database,
    reason,
    recording_path,
    take_turn,
)
from toolorch_env.store.declaring import check_same, declared_blobs, put, update_tools
from toolorch_env.store.keys import join_key, split_key
from toolorch_env.store.locks import WritingLock
from toolorch_env.store.records import COLUMNS, Record, as_row, from_row, in_batches
from toolorch_env.store.sources import Source, provenance
from toolorch_env.store.stored_tasks import unpack_tasks
from toolorch_env.store.tool_rows import TOOL_COLUMNS, tool_row, tools_from_rows

_KEYS_AT_ONCE = 500
_ROWS_AT_ONCE = 200
_COLUMNS = [schema.responses.c[name] for name in COLUMNS]


class RecordStore:
    """Recorded calls, added one by one or in batches, each batch whole or not at all::

        with RecordStore("travel.sqlite.recording") as store:
            store.declare(tools, name="travel")
            store.add([make_record(store.tools, call, 200, body)])

    What was added stays, also when the process is killed right after. An SQLite file has one writer at a time, a
    PostgreSQL database any number.

    Args:
        where: path of an SQLite file, a database URL (``postgresql://...``; one store a database), or ``None`` for a
            store that goes away when it is closed.
        create: whether to open for writing, and to make the store where there is none; else it is opened for reading,
            and locked against other writers when it is first written.

    Raises:
        SnapshotNotFoundError: there is no store, and none is to be made.
        SnapshotFormatError: there is something else.
        SnapshotWriteError: another process writes the file, or it cannot be written.
        SnapshotError: the database cannot be reached, or is of a kind that is not supported.
    """

    def __init__(self, where: Where | None, *, create: bool = True) -> None:
        url = None if where is None else as_url(where)
        self.name = "a temporary store" if url is None else describe(url)
        self._path = None if url is None else recording_path(url)
        self._engine = open_temporary_database() if url is None else open_database(url)
        self._lock: WritingLock | None = None
        self._closed = False
        self._packer = Packer(level=FAST_LEVEL)
        self._unpacker = Unpacker()
        self.tools = ToolSet([])
        """The tools that were declared."""
        try:
            self._open(create)
        except BaseException:
            self.close()
            raise

    def _open(self, create: bool) -> None:
        if self._path is not None and self._path.is_dir():
            raise SnapshotWriteError(f"{self.name} cannot be written: there is a folder of that name")
        if create:
            with self._writing() as connection:
                take_turn(connection)
                if not check_recording(connection, self.name):
                    create_tables(connection)
        elif self._path is not None and not self._path.exists():
            raise SnapshotNotFoundError(f"there is no recording at {self.name}")
        with self._reading() as connection:
            if not create and not check_recording(connection, self.name):
                raise SnapshotNotFoundError(f"{self.name} holds no recording")
            self._load_tools(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"RecordStore({self.name!r})"

    def close(self) -> None:
        """Closes the database. A second time does nothing."""
        self._closed = True
        self._engine.dispose()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        self._check_open()
        try:
            with self._engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise SnapshotError(f"{self.name} cannot be read: {reason(error)}") from None

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """A transaction: all that is done within happens, or nothing."""
        self._check_open()
        if self._lock is None and self._path is not None:
            self._lock = WritingLock(self._path)
        try:
            with self._engine.begin() as connection:
                yield connection
        except (SQLAlchemyError, OverflowError) as error:
            raise SnapshotWriteError(
                f"{self.name} cannot be written: {reason(error)}; what was recorded before is safe"
            ) from None

    def _check_open(self) -> None:
        if self._closed:
            raise SnapshotError(f"{self.name} is closed")

    def declare(
        self,
        tools: Iterable[Tool],
        *,
        name: str,
        description: str = "",
        source: str = "",
        licence: str = "",
        workflows: Any = None,
        links: Iterable[Link] | None = None,
        tasks: Iterable[Task] | None = None,
    ) -> None:
        """Says what is recorded. A second time, it has to be the same tools.

        Args:
            tools: the tools. Later on, their names, parameters and whether they are read-only have to be the same;
                descriptions and the answers to unknown input are updated.
            name, description, source, licence: provenance; the latest declaration stands.
            workflows: the workflow document, as JSON, or the bytes of it; ``None`` leaves what there is.
            links: ways in which values can flow, besides those of the workflows; ``None`` leaves what there is.
            tasks: fixed problems, to be stored with the calls; ``None`` leaves what there is.

        Raises:
            RecordingError: the store holds other tools.
            ToolSchemaError: a tool's schema is not valid.
            WorkflowError: the workflows are not JSON.
            TaskError: a task is not JSON.
            SnapshotWriteError: the store cannot be written.
        """
        declared = ToolSet(tools)
        for tool in declared:
            declared.signature(tool).check()
        meta = {"name": name, "description": description, "source": source, "licence": licence}
        blobs = declared_blobs(workflows, links, tasks)
        with self._writing() as connection:
            take_turn(connection)
            self._declare(connection, declared, meta, blobs)

    def _declare(self, connection: Connection, tools: ToolSet, meta: dict[str, str], blobs: dict[str, bytes]) -> None:
        self._load_tools(connection)
        if self.tools:
            check_same(self.name, self.tools, tools)
            update_tools(connection, tools)
        elif tools:
            connection.execute(insert(schema.tools), [tool_row(index, t) for index, t in enumerate(tools.values())])
        put(connection, schema.meta, "value", meta)
        put(connection, schema.blobs, "data", blobs)
        self._load_tools(connection)

    def _load_tools(self, connection: Connection) -> None:
        columns = [schema.tools.c.id, *(schema.tools.c[name] for name in TOOL_COLUMNS)]
        rows = connection.execute(select(*columns).order_by(schema.tools.c.id)).all()
        self.tools = tools_from_rows([row[1:] for row in rows])
        self._tool_ids: dict[str, int] = {row[1]: row[0] for row in rows}

    @property
    def meta(self) -> dict[str, str]:
        """Provenance by name: ``name``, ``description``, ``source``, ``licence``."""
        with self._reading() as connection:
            rows = connection.execute(select(schema.meta.c.name, schema.meta.c.value).order_by(schema.meta.c.name))
            return {row.name: row.value for row in rows}

    def blob(self, name: str) -> bytes | None:
        """A named piece of data (see :data:`toolorch_env.store.schema.blobs`), ``None`` if absent."""
        with self._reading() as connection:
            data = connection.execute(select(schema.blobs.c.data).where(schema.blobs.c.name == name)).scalar()
        if isinstance(data, str):
            raise SnapshotCorruptError(f"{self.name} is damaged: its {name} are a text")
        return None if data is None else bytes(data)

    @property
    def workflows(self) -> bytes | None:
        """The workflow document as it is stored, ``None`` if there is none."""
        return self.blob("workflows")

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The stored tasks: the fixed problems of a data set."""
        data = self.blob("tasks")
        try:
            return unpack_tasks(data)
        except SnapshotCorruptError as error:
            raise SnapshotCorruptError(f"{self.name} is damaged: {error}") from None

    @property
    def links(self) -> tuple[Link, ...]:
        """The links that were declared, without those of the workflows."""
        return tuple(Link(*link) for link in orjson.loads(self.blob("links") or b"[]"))

    def add(self, records: Sequence[Record]) -> int:
        """Adds recorded calls: all of them, or none if an error is raised. A call that is there already stays.

        Args:
            records: the calls, of declared tools. Many at once are much faster than one by one.

        Returns:
            The number of calls that were new.

        Raises:
            RecordingError: a tool was not declared.
            SnapshotWriteError: the store cannot be written, as when the disk is full.
        """
        if not records:
            return 0
        rows = self._rows(records)
        with self._writing() as connection:
            return connection.execute(_insert_new(connection), rows).rowcount

    def replace_all(self, source: Source, links: Iterable[Link]) -> int:
        """Takes over all that ``source`` holds, in place of what is there; returns the number of calls.

        Args:
            source: the recorded calls.
            links: ways in which values can flow.

        Raises:
            SnapshotWriteError: the store cannot be written; it is as it was.
            SnapshotError: the source cannot be read; the store is as it was.
        """
        count = 0
        with self._writing() as connection:
            take_turn(connection)
            for table in (schema.responses, schema.tools, schema.meta, schema.blobs):
                connection.execute(delete(table))
            self._declare(
                connection, source.tools, provenance(source), declared_blobs(source.workflows, links, source.tasks)
            )
            for batch in in_batches(source.records()):
                count += connection.execute(_insert_new(connection), self._rows(batch)).rowcount
        return count

    def _rows(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        first = {record.key: record for record in reversed(records)}
        for record in first.values():
            if record.tool not in self._tool_ids:
                raise RecordingError(f"{self.name} holds no tool {record.tool!r}: declare it first")
        # in the order of keys: two processes that add the same calls wait for each other, but never in a circle
        return [
            as_row(record, self._tool_ids[record.tool], self._packer.pack(record.arguments, record.response.raw))
            for _, record in sorted(first.items())
        ]

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Record]:
        """The recorded calls under these keys, as far as there are any."""
        names = {number: name for name, number in self._tool_ids.items()}
        return {join_key(row[0], row[1]): from_row(row, names, self._unpacker) for row in self._look_up(keys, _COLUMNS)}

    def held(self, keys: Sequence[bytes]) -> set[bytes]:
        """Those of the keys under which a call is recorded."""
        return {join_key(row[0], row[1]) for row in self._look_up(keys, _COLUMNS[:2])}

    def _look_up(self, keys: Sequence[bytes], columns: list[Any]) -> Iterator[Any]:
        wanted = dict(split_key(key) for key in keys)
        remaining = iter(wanted)
        with self._reading() as connection:
            while chunk := list(islice(remaining, _KEYS_AT_ONCE)):
                query = select(*columns).where(schema.responses.c.id.in_(chunk))
                yield from (row for row in connection.execute(query) if wanted[row[0]] == row[1])

    def records(self, tool: str | None = None) -> Iterator[Record]:
        """All recorded calls, or those of one tool, in the order of their rows. Read as they are asked for.

        Raises:
            SnapshotCorruptError: a row is damaged.
        """
        query = select(*_COLUMNS).order_by(schema.responses.c.id)
        if tool is not None:
            query = query.where(schema.responses.c.tool_id == self._tool_ids.get(tool, -1))
        names = {number: name for name, number in self._tool_ids.items()}
        with self._reading() as connection:
            for row in connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(query):
                try:
                    yield from_row(row, names, self._unpacker)
                except SnapshotCorruptError as error:
                    raise SnapshotCorruptError(f"{self.name} is damaged: {error}") from None

    def __len__(self) -> int:
        """Number of recorded calls."""
        with self._reading() as connection:
            return connection.execute(select(func.count()).select_from(schema.responses)).scalar_one()


def _insert_new(connection: Connection) -> Insert:
    on_server = connection.dialect.name == "postgresql"
    statement = (postgresql.insert if on_server else sqlite.insert)(schema.responses)
    return statement.on_conflict_do_nothing().execution_options(preserve_rowcount=True)
