"""Sealing: from recorded calls to a finished snapshot, in memory that does not grow with their number."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
from sqlalchemy import URL, Connection, NullPool, create_engine, insert, text
from sqlalchemy.exc import SQLAlchemyError

from toolorch_env.core.calls import Call, ToolSet
from toolorch_env.core.errors import SnapshotWriteError
from toolorch_env.core.version import VERSION
from toolorch_env.store import schema
from toolorch_env.store.compiled import Link, compile_records
from toolorch_env.store.content import Packer, joined, train_dictionary
from toolorch_env.store.databases import reason
from toolorch_env.store.files import replacing
from toolorch_env.store.format import APPLICATION_ID, FORMAT_VERSION, PAGE_SIZE, SMALL_PAGE_SIZE, SMALL_SNAPSHOT
from toolorch_env.store.hashing import ContentHash
from toolorch_env.store.keys import split_key
from toolorch_env.store.records import Record, as_row, in_batches
from toolorch_env.store.sources import Source, provenance
from toolorch_env.store.stored_tasks import check_tasks, pack_tasks
from toolorch_env.store.tool_rows import tool_row
from toolorch_env.store.workflows import parse_workflows

MAX_DIFFERENT_ERRORS = 1000
"""Those of one tool and status that are counted; rows are ordered by a hash, so the first are as good as any."""


def seal(source: Source, path: str | Path, *, links: Iterable[Link] = (), learn_misses: bool = False) -> None:
    """Writes recorded calls as a finished snapshot, which replaces an older one when it is whole.

    Args:
        source: the recorded calls; they stay as they are.
        path: where the snapshot goes.
        links: ways in which values can flow. The snapshot is compiled for them, for those that the source declares, and
            for those of its workflows.
        learn_misses: whether a tool's error for unknown input becomes the one that it was recorded with most often.

    Raises:
        SnapshotWriteError: the snapshot cannot be written where it was asked for.
        SnapshotError: the source cannot be read.
        WorkflowError: the workflows or a link are not valid.
        TaskError: a stored task does not fit the tools.
    """
    path = Path(path)
    with replacing(path) as temporary:
        write_snapshot(source, temporary, links=all_links(source).union(links), learn_misses=learn_misses)


def all_links(source: Source) -> set[Link]:
    """The links of a source and of its workflows.

    Raises:
        WorkflowError: the workflows are not valid.
    """
    workflows = source.workflows
    links = set(source.links)
    return links if workflows is None else links | parse_workflows(workflows).links()


def write_snapshot(source: Source, path: Path, *, links: Iterable[Link], learn_misses: bool = False) -> int:
    """Writes recorded calls into an empty file, compiled for ``links`` and no others; returns their number.

    Raises:
        SnapshotWriteError, SnapshotError, WorkflowError, TaskError: as :func:`seal`.
    """
    tools = with_learned_misses(source) if learn_misses else source.tools
    engine = create_engine(URL.create("sqlite", database=str(path)), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            for pragma in (
                f"page_size = {PAGE_SIZE if len(source) > SMALL_SNAPSHOT else SMALL_PAGE_SIZE}",
                f"application_id = {APPLICATION_ID}",
                f"user_version = {FORMAT_VERSION}",
                "journal_mode = OFF",
            ):
                connection.execute(text(f"PRAGMA {pragma}"))
            schema.metadata.create_all(connection)
            count = _write(connection, source, tools, links)
            connection.commit()
            return count
    except SQLAlchemyError as error:
        raise SnapshotWriteError(f"the snapshot {path} cannot be written: {reason(error)}") from None


def _write(connection: Connection, source: Source, tools: ToolSet, links: Iterable[Link]) -> int:
    workflows = source.workflows
    dictionary = train_dictionary(joined(record.arguments, record.response.raw) for record in source.records())
    tasks = source.tasks
    check_tasks(tasks, tools)
    content_hash = ContentHash(tools.values(), workflows, tasks)
    rows = _Rows(connection, tools, dictionary)
    compiled = compile_records(rows.through(content_hash.through(source.records())), tools, links)
    rows.finish()
    meta = {
        **provenance(source),
        "content_hash": content_hash.hexdigest(),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "responses": str(rows.count),
        "toolorch_version": VERSION,
    }
    blobs = {"dictionary": dictionary, "compiled": compiled.to_bytes()}
    if workflows is not None:
        blobs["workflows"] = workflows
    if tasks:
        blobs["tasks"] = pack_tasks(tasks)
    connection.execute(insert(schema.meta), [{"name": name, "value": value} for name, value in meta.items()])
    connection.execute(insert(schema.blobs), [{"name": name, "data": data} for name, data in blobs.items()])
    if tools:
        connection.execute(insert(schema.tools), [tool_row(index, tool) for index, tool in enumerate(tools.values())])
    return rows.count


class _Rows:
    """Writes records as rows while they pass through."""

    def __init__(self, connection: Connection, tools: ToolSet, dictionary: bytes) -> None:
        self.count = 0
        self._connection = connection
        self._tools = tools
        self._tool_ids = {name: index for index, name in enumerate(tools)}
        self._packer = Packer(dictionary)
        # of several calls that round alike the first is kept; put in order by SQLite, on disk if they are many
        connection.execute(text("CREATE TEMP TABLE collected (id INTEGER PRIMARY KEY, key_rest, response_id)"))

    def through(self, records: Iterable[Record]) -> Iterator[Record]:
        """Hands records on, in the order of rows, and writes them."""
        for batch in in_batches(records):
            self._write(batch)
            yield from batch

    def _write(self, batch: list[Record]) -> None:
        self.count += len(batch)
        contents = self._packer.pack_all([joined(record.arguments, record.response.raw) for record in batch])
        rows = [as_row(r, self._tool_ids[r.tool], content) for r, content in zip(batch, contents, strict=True)]
        self._connection.execute(insert(schema.responses), rows)
        rounded = [row for record in batch if (row := _rounded_row(self._tools, record)) is not None]
        if rounded:
            self._connection.execute(
                text("INSERT OR IGNORE INTO collected VALUES (:id, :key_rest, :response_id)"), rounded
            )

    def finish(self) -> None:
        """Writes what is derived from all records together."""
        self._connection.execute(text("INSERT INTO rounded_keys SELECT * FROM collected ORDER BY id"))
        self._connection.execute(text("DROP TABLE collected"))


def _rounded_row(tools: ToolSet, record: Record) -> dict[str, int] | None:
    call = tools.canonical(Call(record.tool, orjson.loads(record.arguments))).within(record.state)
    if call.key == call.rounded_key:
        return None
    row, rest = split_key(call.rounded_key)
    return {"id": row, "key_rest": rest, "response_id": split_key(record.key)[0]}


def with_learned_misses(source: Source) -> ToolSet:
    """The tools with the error that each gives for unknown input: the one that was recorded most often.

    Not found (404) comes before other errors, however frequent; 422 says that arguments are invalid, not that they are
    unknown. A tool that was recorded with no such error keeps what it has. Where an API says what was not found, hardly
    any error is like another: no more than :data:`MAX_DIFFERENT_ERRORS` of a tool and status are told apart.
    """
    counts: defaultdict[str, defaultdict[int, Counter[bytes]]] = defaultdict(lambda: defaultdict(Counter))
    for record in source.records():
        status, raw = record.response.status, record.response.raw
        if raw and status >= 400 and status != 422:
            counted = counts[record.tool][status]
            if raw in counted or len(counted) < MAX_DIFFERENT_ERRORS:
                counted[raw] += 1

    def learned(name: str) -> tuple[int, bytes] | None:
        every = ((status, raw, count) for status, counted in counts[name].items() for raw, count in counted.items())
        best = min(((status != 404, -count, raw, status) for status, raw, count in every), default=None)
        return None if best is None else (best[3], best[2])

    return ToolSet(
        tool if (found := learned(name)) is None
        else replace(tool, miss_status=found[0], miss_body=orjson.loads(found[1]))
        for name, tool in source.tools.items()
    )  # fmt: skip
