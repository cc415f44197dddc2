"""Writing a snapshot: all at once, into a temporary file that takes the final name when it is whole."""

import os
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
from sqlalchemy import URL, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from toolorch_env.core.calls import Call, ToolSet
from toolorch_env.core.errors import SnapshotWriteError, WorkflowError
from toolorch_env.core.tools import Tool
from toolorch_env.core.version import VERSION
from toolorch_env.store import schema
from toolorch_env.store.compiled import Link, compile_records
from toolorch_env.store.content import Packer, train_dictionary
from toolorch_env.store.format import APPLICATION_ID, FORMAT_VERSION, PAGE_SIZE
from toolorch_env.store.hashing import content_hash
from toolorch_env.store.keys import split_key
from toolorch_env.store.records import Record, make_record


class SnapshotWriter:
    """Collects recorded calls and writes them as one snapshot::

        with SnapshotWriter(path, tools, name="travel", source="...", licence="...") as writer:
            writer.add(Call("get_airport", {"iata": "ZRH"}), 200, body, latency=0.002, recorded_at=1700000000)

    The file appears, replacing an older one, when the block ends without an error; else nothing changes.

    Args:
        path: where the snapshot goes.
        tools: the recorded tools.
        name, description, source, licence: provenance.
        workflows: the workflow document, as JSON.
        links: the ways in which values can flow; the snapshot is compiled for them.

    Raises:
        SnapshotWriteError: the folder is missing or read-only, or the path is a folder.
        ToolSchemaError: a tool's schema is not valid.
        WorkflowError: the workflows are not JSON, or a link is not valid.
            All of these are told at once, before anything is recorded.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        tools: Iterable[Tool],
        *,
        name: str,
        description: str = "",
        source: str = "",
        licence: str = "",
        workflows: Any = None,
        links: Iterable[Link] = (),
    ) -> None:
        self.path = Path(path)
        self.tools = ToolSet(tools)
        self._meta = {"name": name, "description": description, "source": source, "licence": licence}
        self._workflows = _as_json(workflows)
        self._links = tuple(links)
        for tool in self.tools:
            self.tools.signature(tool).check()
        compile_records([], self.tools, self._links)  # tells at once what is wrong with the links
        self._records: dict[bytes, Record] = {}
        self._temporary = self._reserve()

    def _reserve(self) -> Path:
        if self.path.is_dir():
            raise SnapshotWriteError(f"the snapshot {self.path} cannot be written: there is a folder of that name")
        try:
            descriptor, name = tempfile.mkstemp(prefix=f".{self.path.name}.", suffix=".partial", dir=self.path.parent)
        except OSError as error:
            raise SnapshotWriteError(f"the snapshot {self.path} cannot be written: {error.strerror}") from None
        os.close(descriptor)
        return Path(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._write()
                self._temporary.chmod(0o644)
                self._temporary.replace(self.path)
        except (OSError, SQLAlchemyError) as problem:
            raise SnapshotWriteError(f"the snapshot {self.path} cannot be written: {problem}") from problem
        finally:
            self._temporary.unlink(missing_ok=True)

    def __len__(self) -> int:
        """Number of calls recorded so far."""
        return len(self._records)

    def __contains__(self, call: Call) -> bool:
        """Whether a call was recorded."""
        return self.tools.canonical(call).key in self._records

    def add(self, call: Call, status: int, body: Any, *, latency: float = 0.0, recorded_at: int = 0) -> bool:
        """Records the response to a call. The first one stays: returns whether this was it.

        Args:
            call: the call; its tool must be one of the snapshot's.
            status: HTTP status or its nearest equivalent.
            body: the JSON body, parsed.
            latency: seconds.
            recorded_at: Unix time in seconds.

        Raises:
            RecordingError: the tool is unknown, or arguments or body are not JSON.
        """
        record = make_record(self.tools, call, status, body, latency=latency, recorded_at=recorded_at)
        if record.key in self._records:
            return False
        self._records[record.key] = record
        return True

    def _write(self) -> None:
        engine = create_engine(URL.create("sqlite", database=str(self._temporary)))
        try:
            with engine.connect() as connection:
                for pragma in (
                    f"page_size = {PAGE_SIZE}",
                    f"application_id = {APPLICATION_ID}",
                    f"user_version = {FORMAT_VERSION}",
                    "journal_mode = OFF",
                ):
                    connection.execute(text(f"PRAGMA {pragma}"))
                schema.metadata.create_all(connection)
                self._insert_all(connection)
                connection.commit()
                connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM"))
        finally:
            engine.dispose()

    def _insert_all(self, connection: Any) -> None:
        listed = sorted(self._records.values(), key=lambda record: split_key(record.key)[0])
        dictionary = train_dictionary([record.arguments + b"\n" + record.response.raw for record in listed])
        blobs = {"dictionary": dictionary, "compiled": compile_records(listed, self.tools, self._links).to_bytes()}
        if self._workflows is not None:
            blobs["workflows"] = self._workflows
        meta = {
            **self._meta,
            "content_hash": content_hash(self.tools.values(), listed, blobs.get("workflows")),
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "responses": str(len(listed)),
            "toolorch_version": VERSION,
        }
        identifiers = {name: index for index, name in enumerate(self.tools)}
        packer = Packer(dictionary)
        rounded = {
            row["id"]: row for record in reversed(listed) if (row := _rounded_row(self.tools, record)) is not None
        }
        for table, rows in (
            (schema.meta, [{"name": name, "value": value} for name, value in meta.items()]),
            (schema.tools, [_tool_row(index, tool) for index, tool in enumerate(self.tools.values())]),
            (schema.blobs, [{"name": name, "data": data} for name, data in blobs.items()]),
            (schema.responses, [_response_row(record, identifiers, packer) for record in listed]),
            (schema.rounded_keys, list(rounded.values())),
        ):
            if rows:
                connection.execute(table.insert(), rows)


def _as_json(workflows: Any) -> bytes | None:
    try:
        return None if workflows is None else orjson.dumps(workflows)
    except TypeError as error:
        raise WorkflowError(f"the workflows are not JSON: {error}") from None


def _tool_row(index: int, tool: Tool) -> dict[str, Any]:
    return {
        "id": index,
        "name": tool.name,
        "description": tool.description,
        "parameters": orjson.dumps(dict(tool.parameters)).decode(),
        "miss_status": tool.miss_status,
        "miss_body": orjson.dumps(tool.miss_body).decode(),
        "read_only": int(tool.read_only),
    }


def _response_row(record: Record, identifiers: dict[str, int], packer: Packer) -> dict[str, Any]:
    row, rest = split_key(record.key)
    return {
        "id": row,
        "key_rest": rest,
        "tool_id": identifiers[record.tool],
        "state": record.state or None,
        "status": record.response.status,
        "digest": record.response.digest,
        "latency_us": round(record.response.latency * 1e6),
        "recorded_at": record.response.recorded_at,
        "content": packer.pack(record.arguments, record.response.raw),
    }


def _rounded_row(tools: ToolSet, record: Record) -> dict[str, Any] | None:
    call = tools.canonical(Call(record.tool, orjson.loads(record.arguments))).within(record.state)
    if call.key == call.rounded_key:
        return None
    row, rest = split_key(call.rounded_key)
    return {"id": row, "key_rest": rest, "response_id": split_key(call.key)[0]}
