"""Checking a whole snapshot: is everything there, and as it was recorded?"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from toolorch_env.core.calls import Call, call_key
from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.errors import SnapshotCorruptError, TaskError, ToolSchemaError
from toolorch_env.store.compiled import compile_records, same_compiled
from toolorch_env.store.hashing import ContentHash
from toolorch_env.store.keys import body_digest, split_key
from toolorch_env.store.records import Record
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.stored_tasks import check_tasks


@dataclass(frozen=True)
class Verification:
    """What a verification found.

    Attributes:
        responses: number of recorded responses that were read.
        problems: what is wrong, in words; empty for a sound snapshot.
    """

    responses: int
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify_snapshot(path: str | Path, max_problems: int = 20) -> Verification:
    """Reads everything in a snapshot and checks it.

    SQLite's own integrity check; each key against its arguments, each digest against its body; the tools' schemas; the
    stored tasks against the tools; the content hash over all; the compiled form against one made anew.

    Args:
        path: the SQLite file.
        max_problems: stop after that many problems.

    Raises:
        SnapshotError: the file cannot be opened as a snapshot at all.
    """
    snapshot = Snapshot(path)
    problems: list[str] = []
    responses = 0
    try:
        problems += _integrity_problems(Path(path))
        for name in snapshot.tools:
            problems += _schema_problems(snapshot, name)
        problems += _task_problems(snapshot)
        if not problems:
            content_hash, rounded = _content_hash(snapshot), _RoundedKeys(snapshot)
            for record in content_hash.through(snapshot.records()):
                responses += 1
                problems += [*_record_problems(snapshot, record), *rounded.problems(record)]
                if len(problems) >= max_problems:
                    break
        if not problems:
            problems += [*_hash_problems(snapshot, content_hash), *rounded.left_over(), *_compiled_problems(snapshot)]
    except SnapshotCorruptError as error:
        problems.append(str(error))
    return Verification(responses, tuple(problems[:max_problems]))


def _integrity_problems(path: Path) -> list[str]:
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        found = [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]
    except sqlite3.DatabaseError as error:
        found = [str(error)]
    finally:
        connection.close()
    return [] if found == ["ok"] else [f"SQLite: {line}" for line in found]


def _schema_problems(snapshot: Snapshot, name: str) -> Iterator[str]:
    try:
        snapshot.tools.signature(name).check()
    except ToolSchemaError as error:
        yield f"tool {name}: {error}"


def _task_problems(snapshot: Snapshot) -> Iterator[str]:
    try:
        check_tasks(snapshot.tasks, snapshot.tools)
    except TaskError as error:
        yield str(error)


def _content_hash(snapshot: Snapshot) -> ContentHash:
    return ContentHash(snapshot.tools.values(), snapshot.workflows, snapshot.tasks)


def _record_problems(snapshot: Snapshot, record: Record) -> Iterator[str]:
    response, row = record.response, record.response.row
    if record.key != call_key(record.tool, record.arguments, record.state):
        yield f"row {row}: the key does not belong to {record.tool} with these arguments"
    try:
        call = Call(record.tool, orjson.loads(record.arguments))
        if canonical_json(snapshot.tools.canonical(call).arguments) != record.arguments:
            yield f"row {row}: the arguments are not in canonical form"
        if body_digest(response) != response.digest:
            yield f"row {row}: the digest does not belong to the body"
    except ValueError as error:
        yield f"row {row}: not JSON: {error}"


def _hash_problems(snapshot: Snapshot, content_hash: ContentHash) -> Iterator[str]:
    if content_hash.hexdigest() != snapshot.meta.get("content_hash"):
        yield "the content hash does not match: something was changed, added or removed"


def _compiled_problems(snapshot: Snapshot) -> Iterator[str]:
    compiled = snapshot.compiled
    if compiled is None:
        return
    if not same_compiled(compiled, compile_records(snapshot.records(), snapshot.tools, compiled.links)):
        yield "the compiled form does not belong to these responses: build it anew"


class _RoundedKeys:
    """Checks the keys of calls with rounded fractions against the calls, which come in the order of rows.

    Each key has to lead to the first call that rounds to it, and there have to be no other keys.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._first = 0

    def problems(self, record: Record) -> Iterator[str]:
        try:
            call = self._snapshot.tools.canonical(Call(record.tool, orjson.loads(record.arguments)))
        except ValueError:
            return  # told elsewhere
        call = call.within(record.state)
        if call.rounded_key == call.key:
            return
        row, found = split_key(record.key)[0], self._snapshot.rounded_row(call.rounded_key)
        if found is None or found > row:
            yield f"row {row}: the call is not found with its fractions rounded"
        self._first += found == row

    def left_over(self) -> Iterator[str]:
        if self._first != self._snapshot.rounded_count():
            yield "the keys of calls with rounded fractions do not belong to these calls"
