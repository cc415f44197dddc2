"""Checking a whole snapshot: is everything there, and as it was recorded?"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from toolorch_env.core.calls import Call, call_key
from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.errors import SnapshotCorruptError, ToolSchemaError
from toolorch_env.store.compiled import compile_records, same_compiled
from toolorch_env.store.hashing import content_hash
from toolorch_env.store.keys import body_digest, split_key
from toolorch_env.store.records import Record
from toolorch_env.store.snapshot import Snapshot


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
    content hash over all; the compiled form against one made anew.

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
        records = list(snapshot.records()) if not problems else []
        responses = len(records)
        for record in records:
            problems += _record_problems(snapshot, record)
            if len(problems) >= max_problems:
                break
        if not problems:
            problems += _whole_problems(snapshot, records)
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


def _whole_problems(snapshot: Snapshot, records: list[Record]) -> Iterator[str]:
    expected = content_hash(snapshot.tools.values(), records, snapshot.blob("workflows"))
    if expected != snapshot.meta.get("content_hash"):
        yield "the content hash does not match: something was changed, added or removed"
    if snapshot.rounded_keys() != _expected_rounded_keys(snapshot, records):
        yield "the keys of calls with rounded fractions do not belong to these calls"
    compiled = snapshot.compiled
    if compiled is not None and not same_compiled(compiled, compile_records(records, snapshot.tools, compiled.links)):
        yield "the compiled form does not belong to these responses: build it anew"


def _expected_rounded_keys(snapshot: Snapshot, records: list[Record]) -> dict[tuple[int, int], int]:
    expected: dict[tuple[int, int], int] = {}
    for record in records:  # in the order of rows: the first one of several that round alike is found
        call = snapshot.tools.canonical(Call(record.tool, orjson.loads(record.arguments))).within(record.state)
        if call.rounded_key != call.key:
            expected.setdefault(split_key(call.rounded_key), split_key(record.key)[0])
    return expected
