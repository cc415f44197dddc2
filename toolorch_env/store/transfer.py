"""Recorded calls from one place to another: copied, merged and compared, whatever they are kept in."""

import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import orjson

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.errors import ConfigurationError, SnapshotError, SnapshotFormatError, SnapshotWriteError
from toolorch_env.core.tasks import Task
from toolorch_env.core.tools import Tool
from toolorch_env.store.bundled import bundled_snapshots, open_snapshot
from toolorch_env.store.compiled import Link
from toolorch_env.store.databases import Where, is_url
from toolorch_env.store.declaring import same_calls
from toolorch_env.store.difference import Difference, difference, grouped_calls, same_answer
from toolorch_env.store.files import replacing
from toolorch_env.store.format import RECORDING_APPLICATION_ID
from toolorch_env.store.json_lines import read_json_lines, write_json_lines
from toolorch_env.store.record_store import RecordStore
from toolorch_env.store.records import Record, in_batches
from toolorch_env.store.sealing import all_links, write_snapshot
from toolorch_env.store.sources import PROVENANCE, Source
from toolorch_env.store.stored_tasks import same_tasks
from toolorch_env.store.workflows import WorkflowSet

Place = Where | BinaryIO
"""A bundled snapshot, a file, the URL of a database, or an open file of JSON lines."""

OnConflict = Literal["error", "first", "last"]
_log = logging.getLogger(__name__)


@contextmanager
def open_source(where: Place | Source) -> Iterator[Source]:
    """Opens recorded calls for reading, and closes them again.

    Args:
        where: name of a bundled snapshot; path of a snapshot, of a recording that is not finished, or of JSON lines
            (compressed or not); URL of a database; an open binary file of JSON lines; or calls that are open already,
            which are left open.

    Raises:
        SnapshotNotFoundError: there is nothing.
        SnapshotFormatError: there is something else.
        SnapshotCorruptError: what there is is damaged.
        SnapshotError: the database cannot be read.
    """
    with ExitStack() as stack:
        yield _open(where, stack)


def _open(where: Any, stack: ExitStack) -> Source:
    if hasattr(where, "records"):
        source: Source = where
        return source
    if hasattr(where, "read"):
        return stack.enter_context(read_json_lines(where, getattr(where, "name", "the input")))
    if is_url(where):
        return stack.enter_context(RecordStore(where, create=False))
    path = Path(where)
    if str(where) in bundled_snapshots() or not path.is_file():
        return open_snapshot(where)
    application = _application_id(path)
    if application == RECORDING_APPLICATION_ID:
        return stack.enter_context(RecordStore(path, create=False))
    if application is not None:
        return open_snapshot(path)
    try:
        return stack.enter_context(read_json_lines(stack.enter_context(path.open("rb")), str(path)))
    except OSError as error:
        raise SnapshotFormatError(f"{path} cannot be read: {error.strerror or error}") from None


def _application_id(path: Path) -> int | None:
    """What kind of SQLite file it is, ``None`` if it is none.

    SQLite reads it, not we: closing a file takes away the locks that this process may hold on it.
    """
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            return int(connection.execute("PRAGMA application_id").fetchone()[0])
    except sqlite3.OperationalError as error:
        raise SnapshotError(f"{path} cannot be read: {error}") from None
    except sqlite3.DatabaseError:  # "file is not a database"
        return None


def copy(source: Place | Source, target: Place, *, overwrite: bool = False) -> int:
    """Copies recorded calls; returns their number. The target is there whole or not at all.

    Args:
        source: as :func:`open_source` takes it.
        target: the URL of a database; an open binary file or a path that ends in ``.jsonl`` or ``.jsonl.zst``, for JSON
            lines; any other path, for a snapshot.
        overwrite: whether to replace what is there.

    Raises:
        SnapshotWriteError: there is something already, or the target cannot be written.
        SnapshotError: the source cannot be read.
        WorkflowError: the workflows are not valid.
        TaskError: a stored task does not fit the tools.
    """
    _check_target(target, overwrite)
    with open_source(source) as opened:
        if not isinstance(target, str | Path) and hasattr(target, "write"):
            return write_json_lines(opened, target)  # type: ignore[arg-type]
        links = all_links(opened)
        if is_url(target):
            return _fill(target, opened, links, overwrite)
        path = Path(target)  # type: ignore[arg-type]
        with replacing(path) as temporary:
            if path.name.endswith((".jsonl", ".jsonl.zst")):
                with temporary.open("wb") as file:
                    return write_json_lines(opened, file, compress=path.suffix == ".zst")
            return write_snapshot(opened, temporary, links=links)


def _check_target(target: Any, overwrite: bool) -> None:
    if hasattr(target, "write") or is_url(target) or overwrite or not Path(target).exists():
        return
    raise SnapshotWriteError(f"there is a file at {target} already: name another, or say that it is to be overwritten")


def _fill(target: Any, source: Source, links: Iterable[Link], overwrite: bool) -> int:
    with RecordStore(target) as store:
        if (store.tools or len(store)) and not overwrite:
            raise SnapshotWriteError(
                f"{store.name} holds recorded calls already: name another, or say that it is to be overwritten"
            )
        return store.replace_all(source, links)


def merge(
    sources: Sequence[Place | Source], target: Place, *, on_conflict: OnConflict = "error", overwrite: bool = False
) -> int:
    """Writes the calls of several sources into one; returns their number.

    Tools have to agree, but for descriptions and answers to unknown input, which are those of the first source that has
    them. Workflows are those of the first source that has any; tasks are those of all sources.

    Args:
        sources: as :func:`open_source` takes them.
        target: as :func:`copy` takes it.
        on_conflict: what happens where one call was answered differently: an error, or the first or last source wins.
        overwrite: whether to replace what is there.

    Raises:
        ConfigurationError: ``on_conflict`` is none of these.
        SnapshotError: tools, tasks or answers do not agree; a source cannot be read.
        SnapshotWriteError: there is something already, or the target cannot be written.
    """
    if on_conflict not in ("error", "first", "last"):
        raise ConfigurationError(f"on_conflict is error, first or last, not {on_conflict!r}")
    _check_target(target, overwrite)
    with ExitStack() as stack:
        opened = [stack.enter_context(open_source(source)) for source in sources]
        merged = stack.enter_context(RecordStore(None))
        merged.declare(
            _merged_tools(opened).values(),
            **_merged_provenance(opened),
            workflows=_merged_workflows(opened),
            tasks=_merged_tasks(opened),
            links={link for source in opened for link in all_links(source)},
        )
        for batch in in_batches(_merged_records(opened, on_conflict)):
            merged.add(batch)
        return copy(merged, target, overwrite=overwrite)


def _merged_tools(sources: Sequence[Source]) -> ToolSet:
    found: dict[str, Tool] = {}
    for source in sources:
        for name, tool in source.tools.items():
            if not same_calls(found.setdefault(name, tool), tool):
                raise SnapshotError(f"these cannot be merged: they hold different tools of the name {name!r}")
    return ToolSet(found.values())


def _merged_provenance(sources: Sequence[Source]) -> dict[str, str]:
    """The first name and description, and every source and licence."""
    metas = [source.meta for source in sources]
    listed = {name: list(dict.fromkeys(filter(None, (meta.get(name) for meta in metas)))) for name in PROVENANCE}
    joined = {name: "; ".join(listed[name]) for name in ("source", "licence")}
    return {name: "".join(listed[name][:1]) for name in PROVENANCE} | joined


def _merged_workflows(sources: Sequence[Source]) -> bytes | None:
    found = [document for source in sources if (document := source.workflows) is not None]
    if len(set(found)) > 1:
        _log.warning("the sources have different workflows: those of the first one are taken")
    return found[0] if found else None


def _merged_tasks(sources: Sequence[Source]) -> list[Task]:
    found: dict[str, Task] = {}
    for source in sources:
        for task in source.tasks:
            if not same_tasks([found.setdefault(task.id, task)], [task]):
                raise SnapshotError(f"these cannot be merged: they hold different tasks of the id {task.id!r}")
    return list(found.values())


def _merged_records(sources: Sequence[Source], on_conflict: OnConflict) -> Iterator[Record]:
    conflicts = 0
    example: Record | None = None
    for group in grouped_calls(sources):
        answers = [record for record in group if record is not None]
        if not all(same_answer(answers[0], answer) for answer in answers[1:]):
            conflicts += 1
            example = example or answers[0]
        yield answers[-1 if on_conflict == "last" else 0]
    if example is not None and on_conflict == "error":
        raise SnapshotError(
            f"these cannot be merged: {conflicts:,} calls were answered differently, the first of them {example.tool}"
            f" with {example.arguments.decode()}; say whether the first or the last source is to win"
        )


def diff(left: Place | Source, right: Place | Source, *, max_examples: int = 5) -> Difference:
    """Compares two recordings, in memory that does not grow with them.

    Args:
        left, right: as :func:`open_source` takes them.
        max_examples: how many calls to show of each kind of difference.

    Raises:
        SnapshotError: one of them cannot be read.
    """
    with open_source(left) as first, open_source(right) as second:
        return difference(first, second, max_examples)


@dataclass(frozen=True)
class _WithWorkflows:
    """Recorded calls with other workflows."""

    source: Source
    workflows: bytes

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)

    def __len__(self) -> int:
        return len(self.source)


def with_workflows(source: Place | Source, workflows: WorkflowSet, target: Place, *, overwrite: bool = False) -> int:
    """Copies recorded calls, with other workflows in place of their own; returns their number.

    Args:
        source, target, overwrite: as for :func:`copy`. Both may be the same file.
        workflows: the workflows, which the target is compiled for.

    Raises:
        WorkflowError: the workflows do not fit the tools.
        SnapshotError: as :func:`copy`.
    """
    with open_source(source) as opened:
        workflows.check_tools(opened.tools)
        document = workflows.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return copy(_WithWorkflows(opened, orjson.dumps(document)), target, overwrite=overwrite)
