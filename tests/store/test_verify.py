"""Verification: a sound file passes; whatever was damaged or tampered with is told, and never as a foreign error."""

import contextlib
import random
import sqlite3
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from small_world import TOOLS, answers, workflow_set, write_small_world

from toolorch_env.core.errors import SnapshotCorruptError, SnapshotError, ToolOrchError
from toolorch_env.store import transfer
from toolorch_env.store.compiled import compile_records
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.verify import verify_snapshot
from toolorch_env.store.writer import SnapshotWriter


@pytest.fixture
def copy(library: Path, tmp_path: Path) -> Path:
    """A copy of the small snapshot that may be damaged."""
    path = tmp_path / "copy.sqlite"
    path.write_bytes(library.read_bytes())
    return path


def test_a_sound_file_passes(library: Path) -> None:
    verification = verify_snapshot(library)
    assert verification.ok
    assert verification.problems == ()
    assert verification.responses == len(answers())


def test_a_file_without_workflows_or_links_passes(tmp_path: Path) -> None:
    with SnapshotWriter(tmp_path / "s.sqlite", TOOLS, name="bare"):
        pass
    assert verify_snapshot(str(tmp_path / "s.sqlite")).ok


def test_a_dropped_compiled_form_is_no_problem(copy: Path) -> None:
    edit(copy, "DELETE FROM blobs WHERE name = 'compiled'")
    assert verify_snapshot(copy).ok
    assert Snapshot(copy).compiled is None


def edit(path: Path, statement: str, *parameters: object) -> None:
    with sqlite3.connect(path) as connection:
        assert connection.execute(statement, parameters).rowcount != 0
    connection.close()


FIRST = "id = (SELECT min(id) FROM responses WHERE status = 200)"
TAMPERING = {
    "status": f"UPDATE responses SET status = 404 WHERE {FIRST}",
    "status of an error": "UPDATE responses SET status = 400 WHERE status = 404",
    "status of a success": f"UPDATE responses SET status = 201 WHERE {FIRST}",
    "status is text": f"UPDATE responses SET status = 'x' WHERE {FIRST}",
    "second half of the key": f"UPDATE responses SET key_rest = key_rest + 1 WHERE {FIRST}",
    "first half of the key": f"UPDATE responses SET id = id + 1 WHERE {FIRST}",
    "digest": f"UPDATE responses SET digest = digest + 1 WHERE {FIRST}",
    "digest is text": f"UPDATE responses SET digest = 'x' WHERE {FIRST}",
    "state is text": f"UPDATE responses SET state = 'x' WHERE {FIRST}",
    "state is a number": f"UPDATE responses SET state = 1.5 WHERE {FIRST}",
    "state is no key": f"UPDATE responses SET state = x'00ff' WHERE {FIRST}",
    "latency is text": f"UPDATE responses SET latency_us = 'x' WHERE {FIRST}",
    "time is a blob": f"UPDATE responses SET recorded_at = x'00' WHERE {FIRST}",
    "digest is gone": f"UPDATE responses SET digest = 0 WHERE {FIRST}",
    "tool": f"UPDATE responses SET tool_id = (tool_id + 1) % 9 WHERE {FIRST}",
    "no tool": f"UPDATE responses SET tool_id = 99 WHERE {FIRST}",
    "deleted row": f"DELETE FROM responses WHERE {FIRST}",
    "deleted rows": "DELETE FROM responses",
    "bodies swapped": f"UPDATE responses SET content = (SELECT content FROM responses WHERE not {FIRST}) WHERE {FIRST}",
    "body is garbage": f"UPDATE responses SET content = x'00112233' WHERE {FIRST}",
    "body is nothing": f"UPDATE responses SET content = x'' WHERE {FIRST}",
    "tool description": "UPDATE tools SET description = 'other' WHERE id = 3",
    "tool schema": """UPDATE tools SET parameters = replace(parameters, 'integer', 'string') WHERE id = 3""",
    "tool schema is not JSON": "UPDATE tools SET parameters = '{' WHERE id = 3",
    "tool schema is no schema": """UPDATE tools SET parameters = '{"properties":{"a":{"type":"x"}}}' WHERE id = 3""",
    "tool schema is a list": "UPDATE tools SET parameters = '[]' WHERE id = 3",
    "tool name": "UPDATE tools SET name = 'other' WHERE id = 3",
    "tool without a name": "UPDATE tools SET name = '' WHERE id = 3",
    "tool order": "UPDATE tools SET id = 77 WHERE id = 3",
    "added tool": "INSERT INTO tools VALUES (50, 'x', '', '{}', 404, 'null', 1)",
    "tool description is a blob": "UPDATE tools SET description = x'00' WHERE id = 3",
    "error status is a blob": "UPDATE tools SET miss_status = x'00' WHERE id = 3",
    "provenance is a blob": "UPDATE meta SET value = x'00'",
    "error body": "UPDATE tools SET miss_body = '{}' WHERE id = 3",
    "error status": "UPDATE tools SET miss_status = 400 WHERE id = 3",
    "content hash": "UPDATE meta SET value = 'x' WHERE name = 'content_hash'",
    "no content hash": "DELETE FROM meta WHERE name = 'content_hash'",
    "dictionary": "UPDATE blobs SET data = x'01020304' WHERE name = 'dictionary'",
    "no dictionary": "DELETE FROM blobs WHERE name = 'dictionary'",
    "compiled is garbage": "UPDATE blobs SET data = x'01020304' WHERE name = 'compiled'",
    "compiled is nothing": "UPDATE blobs SET data = x'' WHERE name = 'compiled'",
    "dropped table": "DROP TABLE responses",
    "dropped tools": "DROP TABLE tools",
    "dropped blobs": "DROP TABLE blobs",
    "dropped meta": "DROP TABLE meta",
    "rounded key of another row": "UPDATE rounded_keys SET response_id = (SELECT max(response_id) FROM rounded_keys)",
    "rounded key of text": "UPDATE rounded_keys SET response_id = 'x'",
    "rounded key of no row": "UPDATE rounded_keys SET response_id = 1",
    "deleted rounded key": "DELETE FROM rounded_keys WHERE id = (SELECT min(id) FROM rounded_keys)",
    "dropped rounded keys": "DROP TABLE rounded_keys",
    "workflows": "UPDATE blobs SET data = CAST('{}' AS BLOB) WHERE name = 'workflows'",
    "workflows are not JSON": "UPDATE blobs SET data = x'7b' WHERE name = 'workflows'",
}


def problems_of(path: Path) -> tuple[str, ...]:
    """What opening and verifying a file tell about it."""
    try:
        return verify_snapshot(path).problems
    except SnapshotError as error:
        return (str(error),)


@pytest.mark.parametrize("what", TAMPERING)
def test_tampering_is_told(copy: Path, library: Path, tmp_path: Path, what: str) -> None:
    edit(copy, TAMPERING[what])
    problems = problems_of(copy)
    assert problems
    assert all(isinstance(problem, str) and problem for problem in problems)
    for use in (used_everything, lambda p: transfer.copy(p, tmp_path / "c.jsonl"), lambda p: transfer.diff(library, p)):
        with contextlib.suppress(ToolOrchError):
            use(copy)


CLAIMS_10_GB = b"\x28\xb5\x2f\xfd\xe0" + (10 * 2**30).to_bytes(8, "little") + b"\x01\x00\x00"
"""A whole zstd frame but for what it says of its length."""


def test_what_claims_to_be_10_gb_is_told_in_little_memory(copy: Path) -> None:
    assert zstandard.frame_content_size(CLAIMS_10_GB) == 10 * 2**30
    edit(copy, "UPDATE responses SET content = ?", CLAIMS_10_GB)
    edit(copy, "UPDATE blobs SET data = ? WHERE name = 'compiled'", CLAIMS_10_GB)
    snapshot = Snapshot(copy)
    call = snapshot.tools.canonical(answers()[0][0])
    for use in (lambda: snapshot.look_up(call), lambda: snapshot.compiled, lambda: list(snapshot.records())):
        tracemalloc.start()
        with pytest.raises(SnapshotCorruptError, match=r"copy\.sqlite is damaged: .*larger than any"):
            use()
        assert tracemalloc.get_traced_memory()[1] < 2**24
        tracemalloc.stop()
    assert "larger than any" in problems_of(copy)[0]


def changed_body(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Changes the body of the first response, packed as a writer would."""
    snapshot = Snapshot(path)
    record = next(record for record in snapshot.records() if record.response.status == 200)
    dictionary = zstandard.ZstdCompressionDict(snapshot.blob("dictionary") or b"")
    content = record.arguments + b"\n" + change(record.response.raw)
    packed = zstandard.ZstdCompressor(dict_data=dictionary).compress(content)
    edit(path, "UPDATE responses SET content = ? WHERE id = ?", packed, record.response.row)


@pytest.mark.parametrize(
    "change",
    [lambda raw: raw.replace(b"1", b"2"), lambda raw: raw + b" ", lambda _: b"{}", lambda raw: raw[:-1], lambda _: b""],
    ids=["digit", "space", "empty object", "cut", "nothing"],
)
def test_a_changed_body_is_told(copy: Path, change: Callable[[bytes], bytes]) -> None:
    changed_body(copy, change)
    assert problems_of(copy)


def test_another_snapshots_compiled_form_is_told(copy: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite"
    write_small_world(other)
    edit(other, f"DELETE FROM responses WHERE {FIRST}")
    smaller = Snapshot(other)
    blob = compile_records(smaller.records(), smaller.tools, workflow_set().links()).to_bytes()
    edit(copy, "UPDATE blobs SET data = ? WHERE name = 'compiled'", blob)
    assert "compiled" in problems_of(copy)[0]


def test_verification_stops_after_some_problems(copy: Path) -> None:
    edit(copy, "UPDATE responses SET digest = 5")
    assert len(verify_snapshot(copy, max_problems=3).problems) == 3


def used_everything(path: Path) -> list[object]:
    """All that a reader could get out of a file."""
    snapshot = Snapshot(path)
    compiled = snapshot.compiled
    found: list[object] = [snapshot.look_up(snapshot.tools.canonical(call)) for call, _, _ in answers()]
    bodies = [(r.status, r.body) for r in found if r is not None]  # type: ignore[attr-defined]
    return [bodies, dict(snapshot.tools), compiled and list(compiled.values), snapshot.blob("workflows")]


def assert_told_or_harmless(path: Path, sound: list[object], what: str) -> None:
    try:
        if verify_snapshot(path).ok:
            assert used_everything(path) == sound, what
    except SnapshotError:
        pass
    except AssertionError:
        raise
    except BaseException as error:
        raise AssertionError(f"{what}: {error!r} is no SnapshotError") from error


def corruptions(data: bytes, count: int, seed: int) -> list[tuple[str, bytes]]:
    """Copies of a file with a byte changed, a stretch overwritten, or cut short."""
    draw = random.Random(seed)
    found = []
    used = [i for i, byte in enumerate(data) if byte]
    for number in range(count):
        place = draw.choice(used) if number % 2 else draw.randrange(len(data))
        kind = draw.randrange(10)
        damaged = bytearray(data)
        if kind == 0:
            damaged = damaged[:place]
        elif kind == 1:
            length = draw.randrange(2, 5000)
            damaged[place : place + length] = draw.randbytes(len(damaged[place : place + length]))
        else:
            damaged[place] ^= 1 << draw.randrange(8) if kind < 6 else draw.randrange(1, 256)
        found.append((f"seed {seed}, number {number}: kind {kind} at byte {place:,}", bytes(damaged)))
    return found


def check_corruptions(library: Path, path: Path, count: int, seed: int) -> None:
    sound = used_everything(library)
    for what, damaged in corruptions(library.read_bytes(), count, seed):
        path.write_bytes(damaged)
        assert_told_or_harmless(path, sound, what)


@pytest.mark.parametrize("seed", range(4))
def test_random_damage_is_told_or_harmless(library: Path, tmp_path: Path, seed: int) -> None:
    check_corruptions(library, tmp_path / "s.sqlite", 60, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4, 8))
def test_much_random_damage_is_told_or_harmless(library: Path, tmp_path: Path, seed: int) -> None:
    check_corruptions(library, tmp_path / "s.sqlite", 300, seed)


def test_damage_to_the_first_page_is_told_or_harmless(library: Path, tmp_path: Path) -> None:
    sound, data = used_everything(library), library.read_bytes()
    path = tmp_path / "s.sqlite"
    for place in range(120):
        damaged = bytearray(data)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        assert_told_or_harmless(path, sound, f"byte {place}")


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_told_on_opening(library: Path, tmp_path: Path, share: float) -> None:
    data = library.read_bytes()
    (tmp_path / "s.sqlite").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(SnapshotError, match="truncated"):
        Snapshot(tmp_path / "s.sqlite")
