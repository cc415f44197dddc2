"""A store of recorded calls: what is added stays, once, as it was; whatever kind of database holds it."""

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import postgres
import pytest
from hypothesis import given, settings
from recordings import ANY, OTHER, TOOLS, contents, random_records, record, records

from toolorch_env.core.errors import (
    RecordingError,
    SnapshotError,
    SnapshotFormatError,
    SnapshotNotFoundError,
    SnapshotWriteError,
    ToolSchemaError,
    WorkflowError,
)
from toolorch_env.core.tools import Tool
from toolorch_env.store.compiled import Link
from toolorch_env.store.record_store import RecordStore
from toolorch_env.store.records import Record
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.writer import SnapshotWriter


def opened(where: Any, **options: Any) -> RecordStore:
    """A store that holds the tools of the tests."""
    store = RecordStore(where)
    store.declare(TOOLS.values(), name="test", **options)
    return store


def expected(added: list[Record]) -> list[Record]:
    """What a store holds of these: the first of each call, in the order of rows."""
    first: dict[bytes, Record] = {}
    for one in added:
        first.setdefault(one.key, one)
    return sorted(first.values(), key=lambda r: r.response.row or 0)


def check_round_trip(where: Any, batches: list[list[Record]]) -> None:
    with opened(where) as store:
        seen: set[bytes] = set()
        for batch in batches:
            keys = {r.key for r in batch}
            assert store.add(batch) == len(keys - seen)
            seen |= keys
        held = expected([r for batch in batches for r in batch])
        assert contents(list(store.records())) == contents(held)
        assert len(store) == len(held)
        for tool in TOOLS:
            assert contents(list(store.records(tool))) == contents([r for r in held if r.tool == tool])
        assert list(store.records("no such tool")) == []
        absent = record("absent", tool="other", state=b"z" * 16).key
        assert store.held([*seen, absent]) == seen
        assert contents([store.find([r.key, absent])[r.key] for r in held]) == contents(held)


@settings(max_examples=30)
@given(random_records(), random_records())
def test_what_was_added_is_there_once_and_as_it_was(first: list[Record], second: list[Record]) -> None:
    check_round_trip(None, [first, second, first])


@settings(max_examples=10)
@given(random_records(), random_records())
def test_what_was_added_to_a_server_is_there_once_and_as_it_was(
    server: postgres.Server, first: list[Record], second: list[Record]
) -> None:
    check_round_trip(server.new_database(), [first, second, first])


def test_many_at_once(place: str) -> None:
    check_round_trip(place, [records(0, 2500), records(2000, 5000), []])


def test_a_store_is_there_when_it_is_opened_again(place: str) -> None:
    links = [Link("value", "any", "number")]
    with opened(place, description="d", source="s", licence="l", workflows={"domain": "d"}, links=links) as store:
        store.add(records(0, 3))
    for create, new in ((False, 1), (True, 0)):
        with RecordStore(place, create=create) as again:
            assert dict(again.tools) == dict(TOOLS)
            assert list(again.tools) == list(TOOLS)
            assert again.meta == {"name": "test", "description": "d", "source": "s", "licence": "l"}
            assert again.workflows == b'{"domain":"d"}'
            assert again.links == tuple(links)
            assert contents(list(again.records())) == contents(expected(records(0, 4 - new)))
            assert again.add(records(0, 4)) == new


def test_a_later_declaration_updates_what_is_known(place: str) -> None:
    opened(place, source="old", workflows={"a": 1}).close()
    described = [replace(tool, description="new", miss_status=410, miss_body=["gone"]) for tool in TOOLS.values()]
    with RecordStore(place) as store:
        store.declare(described, name="other", source="new")
        assert list(store.tools.values()) == described
        assert store.meta["name"] == "other"
        assert store.meta["source"] == "new"
        assert store.workflows == b'{"a":1}'
    with RecordStore(place) as store:
        assert list(store.tools.values()) == described


@pytest.mark.parametrize(
    ("tools", "named"),
    [
        ([ANY], "other"),
        ([ANY, OTHER, replace(ANY, name="third")], "third"),
        ([ANY, replace(OTHER, read_only=True)], "other"),
        ([replace(ANY, parameters={"type": "object", "properties": {"value": {"type": "string"}}}), OTHER], "any"),
    ],
)
def test_other_tools_are_refused_and_named(place: str, tools: list[Tool], named: str) -> None:
    with opened(place) as store:
        store.add(records(0, 3))
        with pytest.raises(RecordingError, match=rf"'{named}'.*another file"):
            store.declare(tools, name="new name")
        assert dict(store.tools) == dict(TOOLS)
        assert store.meta["name"] == "test"
        assert store.add(records(0, 4)) == 1


def test_what_cannot_be_declared_changes_nothing(place: str) -> None:
    with RecordStore(place) as store:
        with pytest.raises(ToolSchemaError):
            store.declare([Tool("t", "", {"properties": {"a": {"type": "no type"}}})], name="test")
        with pytest.raises(WorkflowError, match="not JSON"):
            store.declare([ANY], name="test", workflows={1, 2})
        assert len(store.tools) == 0
        assert store.meta == {}


def test_a_batch_is_added_whole_or_not_at_all(place: str) -> None:
    with opened(place) as store:
        stranger = replace(record(9), tool="stranger")
        with pytest.raises(RecordingError, match="stranger"):
            store.add([*records(0, 3), stranger])
        too_large = record(8)
        too_large.response.recorded_at = 2**70
        with pytest.raises(SnapshotWriteError, match="cannot be written"):
            store.add([*records(0, 3), too_large])
        assert len(store) == 0
        assert store.add(records(0, 3)) == 3


def test_calls_can_be_added_while_they_are_read(place: str) -> None:
    with opened(place) as store:
        store.add(records(0, 2000))
        read = 0
        for _ in store.records():
            read += 1
            if read % 500 == 0:
                store.add([record(f"new {read}")])
                assert len(store) == 2000 + read // 500
        assert 2000 <= read <= 2004


def test_a_temporary_store_can_be_asked_while_it_is_read() -> None:
    with opened(None) as store:
        store.add(records(0, 2000))
        for number, _ in enumerate(store.records()):
            if number % 500 == 0:
                assert len(store) == 2000
                assert store.meta["name"] == "test"
        assert number == 1999


def test_nothing_can_be_done_with_a_closed_store(place: str) -> None:
    store = opened(place)
    store.close()
    store.close()
    for use in (lambda: len(store), lambda: store.add(records(0, 1)), lambda: list(store.records())):
        with pytest.raises(SnapshotError, match="closed"):
            use()


def test_a_closed_file_leaves_nothing_beside_it(tmp_path: Path) -> None:
    with opened(tmp_path / "a?b.recording") as store:
        store.add(records(0, 100))
    assert [path.name for path in tmp_path.iterdir()] == ["a?b.recording"]


def test_a_url_of_a_file_is_that_file(tmp_path: Path) -> None:
    with opened(f"sqlite:///{tmp_path / 'x.recording'}") as store:
        store.add(records(0, 2))
    with RecordStore(tmp_path / "x.recording") as store:
        assert len(store) == 2


def test_there_has_to_be_a_store_where_none_is_to_be_made(tmp_path: Path, server: postgres.Server) -> None:
    with pytest.raises(SnapshotNotFoundError, match=r"none\.recording"):
        RecordStore(tmp_path / "none.recording", create=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SnapshotNotFoundError, match="no recording"):
        RecordStore(server.new_database(), create=False)


def test_a_snapshot_is_no_store(tmp_path: Path) -> None:
    with SnapshotWriter(tmp_path / "s.sqlite", [ANY], name="test"):
        pass
    before = (tmp_path / "s.sqlite").read_bytes()
    with pytest.raises(SnapshotFormatError, match="finished snapshot"):
        RecordStore(tmp_path / "s.sqlite")
    assert (tmp_path / "s.sqlite").read_bytes() == before


def test_a_store_is_no_snapshot(tmp_path: Path) -> None:
    opened(tmp_path / "s.recording").close()
    with pytest.raises(SnapshotFormatError, match=r"not finished.*record command again.*toolorch snapshot copy"):
        Snapshot(tmp_path / "s.recording")


def test_other_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("Not a database, but a text that is long enough to look like something. " * 20)
    connection = sqlite3.connect(tmp_path / "foreign")
    connection.execute("CREATE TABLE t (x)")
    connection.commit()
    connection.close()
    (tmp_path / "folder").mkdir()
    for name in ("text", "foreign", "folder"):
        path = tmp_path / name
        before = path.read_bytes() if path.is_file() else b""
        with pytest.raises(SnapshotError, match=name):
            RecordStore(path)
        assert (path.read_bytes() if path.is_file() else b"") == before


@pytest.mark.parametrize("name", ["missing/s.recording", "file/s.recording", "s\0.recording"])
def test_a_place_that_cannot_be_written_is_told_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SnapshotWriteError, match="cannot be written"):
        RecordStore(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("postgresql://bob:secret@127.0.0.1:1/none?password=secret", "connection"),
        ("mysql://bob:secret@127.0.0.1/none", "not supported"),
        ("postgresql://bob:secret@127.0.0.1:port/none", "cannot be read"),
        ("sqlite://", "path"),
        ("sqlite:///:memory:", "path"),
        ("sqlite:///file:secret?mode=memory&uri=true", "path"),
    ],
)
def test_a_database_that_cannot_be_used_is_told_without_its_password(url: str, word: str) -> None:
    with pytest.raises(SnapshotError, match=word) as caught:
        RecordStore(url)
    assert "secret" not in str(caught.value)


def test_a_damaged_row_is_told(tmp_path: Path) -> None:
    with opened(tmp_path / "s.recording") as store:
        store.add(records(0, 3))
    connection = sqlite3.connect(tmp_path / "s.recording")
    connection.execute("UPDATE responses SET content = x'0011'")
    connection.commit()
    connection.close()
    with RecordStore(tmp_path / "s.recording") as store, pytest.raises(SnapshotError, match=r"s\.recording is damaged"):
        list(store.records())
