"""Writing a snapshot: all at once, into a temporary file that takes the final name when it is whole."""

import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from toolorch_env.core.calls import Call, CanonicalCall
from toolorch_env.core.tasks import Task
from toolorch_env.core.tools import Tool
from toolorch_env.store.compiled import Link, compile_records
from toolorch_env.store.files import replacing
from toolorch_env.store.record_store import RecordStore
from toolorch_env.store.records import BATCH_BYTES, BATCH_RECORDS, Record, make_record
from toolorch_env.store.sealing import write_snapshot
from toolorch_env.store.stored_tasks import check_tasks


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
        tasks: fixed problems, to be stored with the calls.

    Raises:
        SnapshotWriteError: the folder is missing or read-only, or the path is a folder.
        ToolSchemaError: a tool's schema is not valid.
        WorkflowError: the workflows are not JSON, or a link is not valid.
        TaskError: a task does not fit the tools.
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
        tasks: Iterable[Task] = (),
    ) -> None:
        self.path = Path(path)
        self._links = tuple(links)
        self._keys: set[bytes] = set()
        self._batch: list[Record] = []
        self._batch_bytes = 0
        with ExitStack() as stack:
            self._store = stack.enter_context(RecordStore(None))
            self._store.declare(
                tools,
                name=name,
                description=description,
                source=source,
                licence=licence,
                workflows=workflows,
                tasks=tasks,
            )
            check_tasks(self._store.tasks, self._store.tools)
            self.tools = self._store.tools
            compile_records([], self.tools, self._links)  # tells at once what is wrong with the links
            self._temporary = stack.enter_context(replacing(self.path))
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._stack:
            if error is not None:
                raise error  # for the temporary file to go, and not to take the place of an older one
            self._flush()
            write_snapshot(self._store, self._temporary, links=self._links)

    def __len__(self) -> int:
        """Number of calls recorded so far."""
        return len(self._keys)

    def __contains__(self, call: Call | CanonicalCall) -> bool:
        """Whether a call was recorded."""
        canonical = call if isinstance(call, CanonicalCall) else self.tools.canonical(call)
        return canonical.key in self._keys

    def add(
        self, call: Call | CanonicalCall, status: int, body: Any, *, latency: float = 0.0, recorded_at: int = 0
    ) -> bool:
        """Records the response to a call. The first one stays: returns whether this was it.

        Args:
            call: the call; its tool must be one of the snapshot's. In its state if it is canonical, else in that of a
                fresh session.
            status: HTTP status or its nearest equivalent.
            body: the JSON body, parsed.
            latency: seconds.
            recorded_at: Unix time in seconds.

        Raises:
            RecordingError: the tool is unknown, or arguments or body are not JSON.
            SnapshotWriteError: there is no space left for temporary files.
        """
        record = make_record(self.tools, call, status, body, latency=latency, recorded_at=recorded_at)
        if record.key in self._keys:
            return False
        self._keys.add(record.key)
        self._batch.append(record)
        self._batch_bytes += len(record.response.raw)
        if len(self._batch) >= BATCH_RECORDS or self._batch_bytes > BATCH_BYTES:
            self._flush()
        return True

    def _flush(self) -> None:
        self._store.add(self._batch)
        self._batch, self._batch_bytes = [], 0
