"""Sealing a store: a snapshot that is whole, the same as a writer's, compiled, with the errors that were recorded."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import ANY, OTHER, TOOLS, contents, record, records
from small_world import EXTRA_LINKS, WORKFLOWS, answers, workflow_set
from small_world import TOOLS as LIBRARY_TOOLS

from toolorch_env.core.calls import Call
from toolorch_env.core.errors import SnapshotWriteError, WorkflowError
from toolorch_env.core.tools import Tool
from toolorch_env.store.compiled import Link, same_compiled
from toolorch_env.store.record_store import RecordStore
from toolorch_env.store.records import Record, make_record
from toolorch_env.store.sealing import seal, with_learned_misses
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.verify import verify_snapshot
from toolorch_env.store.writer import SnapshotWriter


def library_store(where: Any) -> RecordStore:
    """The small world in a store."""
    store = RecordStore(where)
    store.declare(LIBRARY_TOOLS, name="library", workflows=WORKFLOWS)
    made = [make_record(store.tools, *answer, latency=0.001, recorded_at=1_700_000_000) for answer in answers()]
    for one in made:
        store.add([one])
    return store


def test_a_sealed_store_is_what_a_writer_writes(library: Path, place: str, tmp_path: Path) -> None:
    with library_store(place) as store:
        seal(store, tmp_path / "s.sqlite", links=EXTRA_LINKS)
    sealed, written = Snapshot(tmp_path / "s.sqlite"), Snapshot(library)
    assert verify_snapshot(sealed.path).ok
    assert contents(list(sealed.records())) == contents(list(written.records()))
    left, right = dict(sealed.meta), dict(written.meta)
    assert left.pop("created_at") >= right.pop("created_at")
    assert left == right
    assert sealed.compiled is not None
    assert written.compiled is not None
    assert same_compiled(sealed.compiled, written.compiled)
    for name in ("workflows", "dictionary"):
        assert sealed.blob(name) == written.blob(name)
    assert sealed.path.stat().st_size == library.stat().st_size


def test_a_snapshot_is_compiled_for_all_links(tmp_path: Path) -> None:
    with RecordStore(None) as store:
        declared = Link("book_id", "get_book", "book_id")
        store.declare(LIBRARY_TOOLS, name="library", workflows=WORKFLOWS, links=[declared])
        seal(store, tmp_path / "s.sqlite", links=EXTRA_LINKS)
    assert set(Snapshot(tmp_path / "s.sqlite").links) == workflow_set().links().union(EXTRA_LINKS, [declared])


@settings(max_examples=15)
@given(st.lists(st.floats(-1, 1, allow_nan=False), max_size=30))
def test_calls_with_rounded_fractions_are_found(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    """Verification works out the keys of rounded calls in another way."""
    values += [value + 1e-7 for value in values]
    path = tmp_path_factory.mktemp("rounded") / "s.sqlite"
    with RecordStore(None) as store:
        store.declare(TOOLS.values(), name="test")
        store.add([record(value) for value in values])
        seal(store, path)
    assert verify_snapshot(path).problems == ()


def test_an_error_leaves_nothing_behind_and_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    path.write_text("older")
    with RecordStore(None) as store:
        store.declare(TOOLS.values(), name="test", workflows={"no": "workflows"})
        store.add(records(0, 10))
        with pytest.raises(WorkflowError):
            seal(store, path)
        store.declare(TOOLS.values(), name="test", workflows=WORKFLOWS)
        with pytest.raises(WorkflowError, match="not in the snapshot"):
            seal(store, path)
        with pytest.raises(SnapshotWriteError, match="missing"):
            seal(store, tmp_path / "missing" / "s.sqlite")
    assert path.read_text() == "older"
    assert os.listdir(tmp_path) == ["s.sqlite"]


def learned(*found: Record) -> Tool:
    """The first tool with the error that it was recorded with most often."""
    with RecordStore(None) as store:
        store.declare([replace(ANY, miss_status=418, miss_body="before"), OTHER], name="test")
        store.add(found)
        tools = with_learned_misses(store)
        assert tools["other"] == OTHER
        return tools["any"]


def errors(status: int, *bodies: Any) -> list[Record]:
    return [record([status, number], body, status=status) for number, body in enumerate(bodies)]


@pytest.mark.parametrize(
    ("found", "status", "body"),
    [
        ([], 418, "before"),
        (errors(200, "fine", "fine"), 418, "before"),
        (errors(422, "bad", "bad"), 418, "before"),
        (errors(400, "x", "y", "y"), 400, "y"),
        (errors(400, "b", "a"), 400, "a"),
        (errors(404, "rare") + errors(400, "x", "x", "x"), 404, "rare"),
        (errors(404, "b", "a", "b", "a", "c") + errors(422, "z", "z", "z"), 404, "a"),
        (errors(409, {"n": 1}) + errors(400, {"n": 1}), 400, {"n": 1}),
    ],
)
def test_the_most_frequent_error_is_learned(found: list[Record], status: int, body: Any) -> None:
    tool = learned(*found)
    assert (tool.miss_status, tool.miss_body) == (status, body)


def test_of_errors_that_all_differ_only_so_many_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolorch_env.store.sealing.MAX_DIFFERENT_ERRORS", 3)
    found = sorted(errors(404, *map(str, range(20))), key=lambda one: one.response.row or 0)
    tool = learned(*found, *errors(400, *map(str, range(20)), "x", "x"))
    assert (tool.miss_status, tool.miss_body) == (404, min(one.response.body for one in found[:3]))


def test_learned_errors_are_in_the_snapshot_and_not_in_the_store(tmp_path: Path) -> None:
    with RecordStore(None) as store:
        store.declare(TOOLS.values(), name="test")
        store.add([*errors(404, {"detail": "gone"}), *records(0, 5)])
        seal(store, tmp_path / "learned.sqlite", learn_misses=True)
        seal(store, tmp_path / "plain.sqlite")
        assert dict(store.tools) == dict(TOOLS)
    assert Snapshot(tmp_path / "learned.sqlite").tools["any"].miss_body == {"detail": "gone"}
    assert dict(Snapshot(tmp_path / "plain.sqlite").tools) == dict(TOOLS)
    assert verify_snapshot(tmp_path / "learned.sqlite").ok


def test_one_call_in_two_states_is_two_calls(tmp_path: Path) -> None:
    call = TOOLS.canonical(Call("any", {"value": 1.23456789}))
    later = call.within(TOOLS.canonical(Call("other", {"value": 2})).key)
    with SnapshotWriter(tmp_path / "s.sqlite", TOOLS.values(), name="test") as writer:
        assert writer.add(call, 200, "before")
        assert call in writer
        assert later not in writer
        assert writer.add(later, 200, "after")
        assert not writer.add(later, 200, "again")
        assert not writer.add(Call("any", {"value": 1.23456789}), 200, "again")
    assert verify_snapshot(tmp_path / "s.sqlite").ok
    snapshot = Snapshot(tmp_path / "s.sqlite")
    rounded = TOOLS.canonical(Call("any", {"value": 1.2346}))
    found = [snapshot.look_up(asked) for asked in (call, later, rounded, rounded.within(later.state))]
    assert [response and response.body for response in found] == ["before", "after"] * 2
