"""Opening what is no snapshot: an error class of its own for each case, and a message that names the path."""

import os
import sqlite3
import struct
from pathlib import Path

import pytest
from small_world import answers

from toolorch_env.core.errors import (
    SnapshotCorruptError,
    SnapshotError,
    SnapshotFormatError,
    SnapshotNotFoundError,
    ToolOrchError,
)
from toolorch_env.store.bundled import bundled_snapshots, open_snapshot
from toolorch_env.store.format import APPLICATION_ID, FORMAT_VERSION
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.verify import verify_snapshot


def assert_refused(path: Path, kind: type[SnapshotError], message: str) -> None:
    """Opening and verifying the path are both refused."""
    for use in (Snapshot, verify_snapshot, open_snapshot, lambda path: Snapshot(str(path))):
        with pytest.raises(SnapshotError) as caught:
            use(path)
        assert type(caught.value) is kind
        assert path.name in str(caught.value)
    for use in (Snapshot, verify_snapshot):
        with pytest.raises(kind, match=message) as caught:
            use(path)
        assert str(path) in str(caught.value)


def with_header(library: Path, path: Path, place: int, value: int) -> Path:
    """A copy of the small snapshot with another 32-bit number in its header."""
    data = bytearray(library.read_bytes())
    data[place : place + 4] = struct.pack(">I", value)
    path.write_bytes(data)
    return path


def test_a_missing_file(tmp_path: Path) -> None:
    assert_refused(tmp_path / "s.sqlite", SnapshotNotFoundError, "there is no snapshot at")


def test_a_file_in_a_missing_folder(tmp_path: Path) -> None:
    assert_refused(tmp_path / "no" / "s.sqlite", SnapshotNotFoundError, "there is no snapshot at")


def test_a_path_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SnapshotNotFoundError, match="cannot be read"):
        Snapshot(tmp_path / "file" / "s.sqlite")


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "s.sqlite").mkdir()
    assert_refused(tmp_path / "s.sqlite", SnapshotNotFoundError, "cannot be read")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(library: Path, tmp_path: Path) -> None:
    (tmp_path / "s.sqlite").write_bytes(library.read_bytes())
    (tmp_path / "s.sqlite").chmod(0)
    assert_refused(tmp_path / "s.sqlite", SnapshotNotFoundError, "cannot be read")


@pytest.mark.parametrize(
    "data", [b"", b"x", b"SQLite format 3\0", b"a text file\n" * 100, bytes(200), b"SQLite format 3\0" + bytes(83)]
)
def test_a_file_that_is_not_sqlite(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "s.sqlite").write_bytes(data)
    assert_refused(tmp_path / "s.sqlite", SnapshotFormatError, "not an SQLite file")


def test_a_foreign_sqlite_file(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "s.sqlite") as connection:
        connection.execute("CREATE TABLE tools (name TEXT)")
    connection.close()
    assert_refused(tmp_path / "s.sqlite", SnapshotFormatError, "not a ToolOrch snapshot")


def test_a_newer_format(library: Path, tmp_path: Path) -> None:
    path = with_header(library, tmp_path / "s.sqlite", 60, FORMAT_VERSION + 1)
    assert_refused(path, SnapshotFormatError, "newer than.*update toolorch-env")


@pytest.mark.parametrize("missing", [1, 100, 16_384, 50_000])
def test_a_truncated_file(library: Path, tmp_path: Path, missing: int) -> None:
    (tmp_path / "s.sqlite").write_bytes(library.read_bytes()[:-missing])
    assert_refused(tmp_path / "s.sqlite", SnapshotCorruptError, "truncated")


def test_an_empty_sqlite_file_that_says_it_is_a_snapshot(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "s.sqlite") as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("CREATE TABLE other (x)")
    connection.close()
    assert_refused(tmp_path / "s.sqlite", SnapshotCorruptError, "damaged: no such table")


def test_a_path_that_no_file_can_have() -> None:
    with pytest.raises(SnapshotNotFoundError):
        Snapshot("a\0b")


def test_no_bundled_snapshot_of_that_name() -> None:
    with pytest.raises(SnapshotNotFoundError, match=r"'no such name'.*bundled"):
        open_snapshot("no such name")
    assert issubclass(SnapshotNotFoundError, ToolOrchError)


def test_an_open_snapshot_a_path_and_a_name_can_all_be_opened(library: Path, library_snapshot: Snapshot) -> None:
    assert open_snapshot(library_snapshot) is library_snapshot
    assert len(open_snapshot(library)) == len(open_snapshot(str(library))) == len(answers())
    for name, path in bundled_snapshots().items():
        assert open_snapshot(name).path == path
