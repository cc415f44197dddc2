"""Writing a snapshot and reading it back: round trip, all or nothing, and reading from anywhere."""

import multiprocessing
import os
import pickle
import sqlite3
import stat
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from json_values import json_objects, json_values, same_json, texts
from small_world import TOOLS, answers, write_small_world

from toolorch_env.core.calls import Call
from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.errors import RecordingError, SnapshotWriteError, WorkflowError
from toolorch_env.core.responses import Source
from toolorch_env.core.tools import Tool
from toolorch_env.store.compiled import Link
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.writer import SnapshotWriter

ANY = Tool("any", "Takes anything.", {"type": "object", "properties": {"value": {}}})


def write(path: Path, *records: tuple[Any, int, Any], tools: tuple[Tool, ...] = (ANY,), **options: Any) -> Snapshot:
    """A snapshot of calls of `any`."""
    with SnapshotWriter(path, tools, name="test", **options) as writer:
        for value, status, body in records:
            writer.add(Call("any", {"value": value}), status, body)
    return Snapshot(path)


def look_up(snapshot: Snapshot, value: Any) -> Any:
    return snapshot.look_up(snapshot.tools.canonical(Call("any", {"value": value})))


@settings(max_examples=30)
@given(st.lists(st.tuples(json_values, st.integers(100, 599), json_values), max_size=8))
def test_every_response_comes_back_as_it_was(records: list[tuple[Any, int, Any]]) -> None:
    first = {}
    for value, status, body in records:
        first.setdefault(canonical_json(value), (value, status, body))
    with tempfile.TemporaryDirectory() as folder:
        snapshot = write(Path(folder) / "s.sqlite", *records)
        assert len(snapshot) == len(first)
        for value, status, body in first.values():
            response = look_up(snapshot, value)
            assert response.status == status
            assert same_json(response.body, body)
            assert response.source is Source.RECORDED
            assert response.success == (200 <= status < 300)
        assert {record.arguments for record in snapshot.records()} == {
            canonical_json({"value": value}) for value, _, _ in first.values()
        }


@settings(max_examples=30)
@given(texts.filter(bool), texts, json_objects, st.integers(100, 599), json_values, st.booleans())
def test_every_tool_comes_back_as_it_was(
    name: str, description: str, extra: dict[str, Any], status: int, body: Any, read_only: bool
) -> None:
    parameters = {**extra, "type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    tool = Tool(name, description, parameters, status, body, read_only)
    with tempfile.TemporaryDirectory() as folder:
        snapshot = write(Path(folder) / "s.sqlite", tools=(tool, *(() if name == "any" else (ANY,))))
        assert snapshot.tools[name] == tool
        assert same_json(snapshot.tools[name].miss_body, body)
        assert next(iter(snapshot.tools)) == name


def test_provenance_comes_back(library_snapshot: Snapshot, tmp_path: Path) -> None:
    given_meta = {"description": "d", "source": "https://example.org", "licence": "CC0"}
    snapshot = write(tmp_path / "s.sqlite", (1, 200, "x"), workflows={"domain": "d"}, **given_meta)
    assert snapshot.name == "test"
    assert {name: snapshot.meta[name] for name in given_meta} == given_meta
    assert snapshot.meta["responses"] == "1"
    assert {"content_hash", "created_at", "toolorch_version"} <= snapshot.meta.keys()
    assert snapshot.blob("workflows") == b'{"domain":"d"}'
    assert snapshot.blob("no such blob") is None
    assert len(library_snapshot) == len(answers())


def test_when_and_how_fast_comes_back(tmp_path: Path) -> None:
    with SnapshotWriter(tmp_path / "s.sqlite", [ANY], name="test") as writer:
        writer.add(Call("any", {}), 200, "x", latency=0.123456, recorded_at=2_000_000_000)
    response = (
        look_up(Snapshot(tmp_path / "s.sqlite"), None) or next(Snapshot(tmp_path / "s.sqlite").records()).response
    )
    assert response.latency == pytest.approx(0.123456, abs=1e-6)
    assert response.recorded_at == 2_000_000_000


def test_the_first_answer_stays(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with SnapshotWriter(path, TOOLS, name="test") as writer:
        assert writer.add(Call("get_book", {"book_id": 1}), 200, "first")
        assert not writer.add(Call("get_book", {"book_id": "1"}), 404, "second")
        assert Call("get_book", {"book_id": 1.0}) in writer
        assert Call("get_book", {"book_id": 2}) not in writer
        assert len(writer) == 1
    [record] = Snapshot(path).records()
    assert (record.response.status, record.response.body) == (200, "first")


def test_the_same_recording_gives_the_same_content_hash(library: Path, tmp_path: Path) -> None:
    again = Snapshot(write_small_world(tmp_path / "again.sqlite"))
    assert again.meta["content_hash"] == Snapshot(library).meta["content_hash"]
    other = write(tmp_path / "a.sqlite", (1, 200, "x")).meta["content_hash"]
    assert other != write(tmp_path / "b.sqlite", (1, 200, "y")).meta["content_hash"]
    assert other != write(tmp_path / "c.sqlite", (1, 201, "x")).meta["content_hash"]
    assert other == write(tmp_path / "d.sqlite", (1, 200, "x")).meta["content_hash"]


@pytest.mark.parametrize("name", ["a b.sqlite", "ü.sqlite", "a#b.sqlite", "a'b.sqlite", "no suffix"])
def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    assert look_up(write(tmp_path / name, (1, 200, "x")), 1).body == "x"
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["a?b.sqlite", "a%20b.sqlite", "a%3Fb.sqlite"])
def test_file_names_that_look_like_parts_of_a_url_will_do(tmp_path: Path, name: str) -> None:
    assert look_up(write(tmp_path / name, (1, 200, "x")), 1).body == "x"
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, RecordingError])
def test_an_error_inside_the_block_leaves_no_file(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), SnapshotWriter(tmp_path / "s.sqlite", [ANY], name="test") as writer:  # noqa: PT012
        writer.add(Call("any", {}), 200, 1)
        raise error
    assert os.listdir(tmp_path) == []


def test_an_error_inside_the_block_keeps_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    write(path, (1, 200, "old"))
    before = path.read_bytes()
    with pytest.raises(RuntimeError), SnapshotWriter(path, [ANY], name="new") as writer:  # noqa: PT012
        writer.add(Call("any", {"value": 1}), 200, "new")
        raise RuntimeError
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["s.sqlite"]


def test_an_error_on_writing_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    write(path, (1, 200, "old"))
    with pytest.raises(WorkflowError, match="no_tool"):
        write(path, (1, 200, "new"), links=[Link("p", "no_tool", "x")])
    assert look_up(Snapshot(path), 1).body == "old"
    assert os.listdir(tmp_path) == ["s.sqlite"]


def test_a_whole_block_replaces_the_older_file_while_readers_keep_theirs(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    reader = write(path, (1, 200, "old"), (2, 200, "old too"))
    assert look_up(reader, 1).body == "old"
    assert look_up(write(path, (1, 200, "new")), 1).body == "new"
    assert look_up(reader, 2).body == "old too"


def test_others_may_read_the_file(tmp_path: Path) -> None:
    write(tmp_path / "s.sqlite")
    assert stat.S_IMODE((tmp_path / "s.sqlite").stat().st_mode) == 0o644


def unwritable_places(tmp_path: Path) -> list[Path]:
    (tmp_path / "file").write_text("x")
    places = [tmp_path / "missing" / "s.sqlite", tmp_path / "file" / "s.sqlite", Path("/proc/s.sqlite")]
    if os.geteuid():  # for root every folder is writable
        (tmp_path / "closed").mkdir(mode=0o500)
        places.append(tmp_path / "closed" / "s.sqlite")
    return places


def test_a_place_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    for path in unwritable_places(tmp_path):
        with pytest.raises(SnapshotWriteError) as caught:
            SnapshotWriter(path, [ANY], name="test")
        assert str(path) in str(caught.value)


def test_a_path_that_no_file_can_have_is_a_write_error(tmp_path: Path) -> None:
    with pytest.raises(SnapshotWriteError, match="cannot be written"):
        write(tmp_path / "s\0.sqlite")


def test_a_folder_in_the_place_of_the_file_is_a_write_error(tmp_path: Path) -> None:
    (tmp_path / "s.sqlite").mkdir()
    with pytest.raises(SnapshotWriteError, match=r"s\.sqlite"):
        write(tmp_path / "s.sqlite")
    assert os.listdir(tmp_path) == ["s.sqlite"]


@pytest.mark.parametrize(
    ("call", "body"),
    [
        (Call("no such tool", {}), 1),
        (Call("any", {"value": float("nan")}), 1),
        (Call("any", {"value": 2**70}), 1),
        (Call("any", {}), 2**70),
        (Call("any", {}), {1: 2}),
        (Call("any", {}), {"x": {1, 2}}),
        (Call("any", {}), "\ud800"),
    ],
)
def test_what_is_not_json_cannot_be_recorded(tmp_path: Path, call: Call, body: Any) -> None:
    with SnapshotWriter(tmp_path / "s.sqlite", [ANY], name="test") as writer:
        with pytest.raises(RecordingError, match=call.tool):
            writer.add(call, 200, body)
        assert len(writer) == 0


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("status", {"status": "200"}),
        ("status", {"status": 200.0}),
        ("status", {"status": True}),
        ("status", {"status": None}),
        ("status", {"status": -1}),
        ("status", {"status": 2**15}),
        ("latency", {"latency": "0"}),
        ("latency", {"latency": -1e-9}),
        ("latency", {"latency": float("nan")}),
        ("latency", {"latency": 1e30}),
        ("time", {"recorded_at": 1.5}),
        ("time", {"recorded_at": -1}),
        ("time", {"recorded_at": 2**63}),
    ],
)
def test_numbers_that_no_snapshot_can_hold_are_refused_at_once(tmp_path: Path, what: str, told: dict[str, Any]) -> None:
    with SnapshotWriter(tmp_path / "s.sqlite", [ANY], name="test") as writer:
        with pytest.raises(RecordingError, match=f"call of any cannot be recorded: its {what} is"):
            writer.add(Call("any", {}), body=1, **{"status": 200, **told})
        assert writer.add(Call("any", {}), HTTPStatus.OK, 1)
    assert [record.response.status for record in Snapshot(tmp_path / "s.sqlite").records()] == [200]


@pytest.mark.parametrize("state", [b"x", b"x" * 15, b"x" * 17])
def test_a_state_that_is_no_key_is_refused(tmp_path: Path, state: bytes) -> None:
    with SnapshotWriter(tmp_path / "s.sqlite", [ANY], name="test") as writer:
        call = writer.tools.canonical(Call("any", {})).within(state)
        with pytest.raises(RecordingError, match=r"state .* is no key"):
            writer.add(call, 200, 1)


def test_what_could_not_be_read_again_is_not_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("records", "content"):
        monkeypatch.setattr(f"toolorch_env.store.{module}.MAX_CONTENT_BYTES", 1000)
    largest = "x" * (1000 - len(b'{}\n""'))
    with SnapshotWriter(tmp_path / "s.sqlite", [ANY], name="test") as writer:
        with pytest.raises(RecordingError, match="larger than 1,000 bytes"):
            writer.add(Call("any", {}), 200, largest + "x")
        writer.add(Call("any", {}), 200, largest)
    assert [record.response.body for record in Snapshot(tmp_path / "s.sqlite").records()] == [largest]


@pytest.mark.parametrize("body", [float("nan"), {"x": [float("inf")]}])
def test_a_body_with_nan_is_not_recorded_as_null(tmp_path: Path, body: Any) -> None:
    with SnapshotWriter(tmp_path / "s.sqlite", [ANY], name="test") as writer, pytest.raises(RecordingError):
        writer.add(Call("any", {}), 200, body)


def test_a_snapshot_may_hold_no_tools(tmp_path: Path) -> None:
    assert len(write(tmp_path / "s.sqlite", tools=())) == 0


def test_a_snapshot_may_hold_no_responses(tmp_path: Path) -> None:
    snapshot = write(tmp_path / "s.sqlite")
    assert len(snapshot) == 0
    assert list(snapshot.records()) == []
    assert look_up(snapshot, 1) is None


def test_a_large_body_comes_back(tmp_path: Path) -> None:
    body = [{"index": index, "text": "x" * 50} for index in range(20_000)]
    assert look_up(write(tmp_path / "s.sqlite", (1, 200, body)), 1).body == body


def test_the_file_is_plain_sqlite(library: Path) -> None:
    connection = sqlite3.connect(f"file:{library}?mode=ro", uri=True)
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == {"meta", "tools", "responses", "rounded_keys", "blobs"}
    assert connection.execute("SELECT count(*) FROM tools").fetchone() == (len(TOOLS),)
    connection.close()


def read_everything(snapshot: Snapshot) -> int:
    """Number of the small world's calls that are answered as they were recorded."""
    found = 0
    for call, status, body in answers():
        response = snapshot.look_up(snapshot.tools.canonical(call))
        found += response is not None and (response.status, response.body) == (status, body)
    return found


def test_reading_changes_nothing_in_the_folder(library: Path) -> None:
    before = (library.read_bytes(), os.listdir(library.parent))
    assert read_everything(Snapshot(library)) == len(answers())
    assert (library.read_bytes(), os.listdir(library.parent)) == before


def test_reading_where_nothing_can_be_written(library: Path) -> None:
    """A path below /proc leads to the file through a folder in which not even root can write."""
    with library.open("rb") as file:
        path = Path(f"/proc/self/fd/{file.fileno()}")
        with pytest.raises(SnapshotWriteError):
            SnapshotWriter(path.with_name("s.sqlite"), [ANY], name="test")
        assert read_everything(Snapshot(path)) == len(answers())


def test_reading_a_file_without_write_permission(library: Path, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "s.sqlite").write_bytes(library.read_bytes())
    (folder / "s.sqlite").chmod(0o444)
    folder.chmod(0o555)
    found = read_everything(Snapshot(folder / "s.sqlite"))
    folder.chmod(0o755)  # so that the folder can be removed
    assert found == len(answers())


def test_a_used_snapshot_can_be_pickled(library: Path) -> None:
    snapshot = Snapshot(library)
    read_everything(snapshot)
    again = pickle.loads(pickle.dumps(snapshot))
    assert again.path == library
    assert read_everything(again) == len(answers())


def test_many_threads_read_one_snapshot(library: Path) -> None:
    snapshot = Snapshot(library)
    barrier = threading.Barrier(8)

    def work(_: int) -> int:
        barrier.wait()
        return read_everything(snapshot)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [len(answers())] * 8


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_other_processes_read_a_snapshot_that_this_one_has_used(library: Path, method: str) -> None:
    snapshot = Snapshot(library)
    read_everything(snapshot)
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(read_everything, [snapshot] * 4) == [len(answers())] * 4
    assert read_everything(snapshot) == len(answers())


def test_a_forked_child_opens_its_own_connection(library: Path) -> None:
    snapshot = Snapshot(library)
    connection = snapshot._handle.connection
    assert snapshot._handle.connection is connection
    child = os.fork()
    if not child:
        fresh = snapshot._handle.connection is not connection and read_everything(snapshot) == len(answers())
        os._exit(0 if fresh else 1)
    assert os.waitpid(child, 0)[1] == 0
