"""Recorded calls from one place to another: whatever the places are, what was recorded stays the same."""

import io
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import postgres
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import ANY, OTHER, TOOLS, contents, random_records, record, records
from small_world import EXTRA_LINKS, WORKFLOWS, workflow_set
from small_world import TOOLS as LIBRARY_TOOLS

from toolorch_env.core.errors import (
    ConfigurationError,
    SnapshotError,
    SnapshotFormatError,
    SnapshotNotFoundError,
    SnapshotWriteError,
)
from toolorch_env.core.tools import Tool
from toolorch_env.store.record_store import RecordStore
from toolorch_env.store.records import Record
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.transfer import copy, diff, merge, open_source
from toolorch_env.store.verify import verify_snapshot

KINDS = ("snapshot", "recording", "lines", "compressed lines", "server")


def place_of(kind: str, folder: Path, server: postgres.Server, number: int = 0) -> str:
    """A free place of a kind."""
    if kind == "server":
        return server.new_database()
    names = {
        "snapshot": f"{folder}/{number}.sqlite",
        "recording": f"sqlite:///{folder}/{number}.recording",
        "lines": f"{folder}/{number}.jsonl",
        "compressed lines": f"{folder}/{number}.jsonl.zst",
    }
    return names[kind]


@contextmanager
def stored(found: list[Record], *, tools: tuple[Tool, ...] = (ANY, OTHER), **options: Any) -> Iterator[RecordStore]:
    """Records in a store of their own."""
    with RecordStore(None) as store:
        store.declare(tools, **{"name": "test", **options})
        store.add(found)
        yield store


def content_hash(source: Any, folder: Path) -> str:
    path = folder / "hashed.sqlite"
    copy(source, path, overwrite=True)
    return Snapshot(path).meta["content_hash"]


@settings(max_examples=15)
@given(random_records(), st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
def test_copied_around_everything_stays_the_same(
    server: postgres.Server, tmp_path_factory: pytest.TempPathFactory, found: list[Record], kinds: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("around")
    with stored(found, description="d", source="s", licence="l") as store:
        held = contents(list(store.records()))
        first = content_hash(store, folder)
        places = [place_of(kind, folder, server, number) for number, kind in enumerate(kinds)]
        for source, target in zip([store, *places], places, strict=False):
            assert copy(source, target) == len(store)
        with open_source(places[-1]) as last:
            assert contents(list(last.records())) == held
            assert {name: last.meta[name] for name in store.meta} == store.meta
        assert content_hash(places[-1], folder) == first
        assert diff(store, places[-1]).same


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back_a_snapshot_is_the_same(
    library: Path, tmp_path: Path, server: postgres.Server, kind: str
) -> None:
    there = place_of(kind, tmp_path, server)
    copy(library, there)
    copy(there, tmp_path / "back.sqlite")
    before, after = Snapshot(library), Snapshot(tmp_path / "back.sqlite")
    assert verify_snapshot(after.path).ok
    assert after.links == before.links
    assert set(EXTRA_LINKS) <= set(after.links)
    for name in ("compiled", "workflows", "dictionary"):
        assert after.blob(name) == before.blob(name)
    assert {**after.meta, "created_at": ""} == {**before.meta, "created_at": ""}


def test_an_open_file_takes_and_gives_lines(library: Path, tmp_path: Path) -> None:
    file = io.BytesIO()
    count = copy(library, file)
    assert copy(io.BytesIO(file.getvalue()), tmp_path / "s.sqlite") == count
    assert diff(library, tmp_path / "s.sqlite").same


def test_a_bundled_snapshot_is_named() -> None:
    with open_source("travel") as source:
        assert source.meta["name"] == "travel"


def test_an_unfinished_recording_is_read_while_it_is_recorded(tmp_path: Path) -> None:
    with RecordStore(tmp_path / "s.recording") as store:
        store.declare(TOOLS.values(), name="test")
        store.add(records(0, 10))
        copy(tmp_path / "s.recording", tmp_path / "s.sqlite")
        assert store.add(records(5, 20)) == 10
    assert len(Snapshot(tmp_path / "s.sqlite")) == 10


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_overwritten_unless_asked(tmp_path: Path, server: postgres.Server, kind: str) -> None:
    place = place_of(kind, tmp_path, server)
    with stored(records(0, 5)) as older, stored(records(3, 9), tools=(OTHER, ANY), source="new") as newer:
        copy(older, place)
        with pytest.raises(SnapshotWriteError, match="overwritten"):
            copy(newer, place)
        assert diff(older, place).same
        copy(newer, place, overwrite=True)
        assert content_hash(place, tmp_path) == content_hash(newer, tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_links_that_were_declared_do_not_hide_those_of_the_workflows(
    tmp_path: Path, server: postgres.Server, kind: str
) -> None:
    with RecordStore(tmp_path / "s.recording") as store:
        store.declare(LIBRARY_TOOLS, name="library", workflows=WORKFLOWS, links=EXTRA_LINKS)
    copy(tmp_path / "s.recording", there := place_of(kind, tmp_path, server))
    copy(there, tmp_path / "s.sqlite")
    merge([there], tmp_path / "merged.sqlite")
    for path in (tmp_path / "s.sqlite", tmp_path / "merged.sqlite"):
        assert set(Snapshot(path).links) == workflow_set().links().union(EXTRA_LINKS)


class Broken:
    """A source that breaks off."""

    def __init__(self, source: RecordStore) -> None:
        self.tools, self.meta, self.workflows, self.links = source.tools, source.meta, None, ()
        self.tasks = ()
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def records(self) -> Iterator[Record]:
        yield from list(self.source.records())[:3]
        raise SnapshotError("it broke off")


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_that_fails_changes_nothing(tmp_path: Path, server: postgres.Server, kind: str) -> None:
    place = place_of(kind, tmp_path, server)
    with stored(records(0, 5)) as older, stored(records(3, 9)) as newer:
        copy(older, place)
        before = sorted(os.listdir(tmp_path))
        with pytest.raises(SnapshotError, match="broke off"):
            copy(Broken(newer), place, overwrite=True)
        assert sorted(os.listdir(tmp_path)) == before
        assert diff(older, place).same


def test_what_is_no_source_is_told(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no calls\n")
    (tmp_path / "empty").write_text("")
    (tmp_path / "folder").mkdir()
    connection = sqlite3.connect(tmp_path / "foreign")
    connection.execute("CREATE TABLE t (x)")
    connection.commit()
    connection.close()
    for name, error in (
        ("missing", SnapshotNotFoundError), ("folder", SnapshotError), ("text", SnapshotFormatError),
        ("empty", SnapshotError), ("foreign", SnapshotFormatError),
    ):  # fmt: skip
        with pytest.raises(error, match=name), open_source(tmp_path / name):
            pass


def test_merged_is_all_that_any_source_holds(tmp_path: Path, server: postgres.Server) -> None:
    third = Tool("third", "", {"type": "object", "properties": {}})
    with (
        stored(records(0, 3000), tools=(ANY,), source="a", licence="l") as one,
        stored(records(1000, 4000), tools=(replace(ANY, miss_body="other"), OTHER), source="b", licence="l") as two,
        stored([], tools=(third,), name="") as three,
    ):
        url = server.new_database()
        copy(two, url)
        assert merge([one, url, three], tmp_path / "s.sqlite") == 4000
        with stored(records(0, 4000), tools=(ANY, OTHER, third)) as wanted:
            assert diff(wanted, tmp_path / "s.sqlite").same
    meta = Snapshot(tmp_path / "s.sqlite").meta
    assert (meta["name"], meta["source"], meta["licence"]) == ("test", "a; b", "l")
    assert verify_snapshot(tmp_path / "s.sqlite").ok


@settings(max_examples=8)
@given(random_records(), random_records(), random_records())
def test_merging_is_adding(
    tmp_path_factory: pytest.TempPathFactory, first: list[Record], second: list[Record], third: list[Record]
) -> None:
    folder = tmp_path_factory.mktemp("merged")
    with stored(first) as a, stored(second) as b, stored(third) as c:
        for on_conflict, order in (("first", [first, second, third]), ("last", [third, second, first])):
            merge([a, b, c], folder / f"{on_conflict}.jsonl", on_conflict=on_conflict)
            with stored([]) as wanted:
                for batch in order:
                    wanted.add(batch)
                assert content_hash(wanted, folder) == content_hash(folder / f"{on_conflict}.jsonl", folder)


def test_conflicts_are_counted_and_shown(tmp_path: Path) -> None:
    same = [record("same", at=number) for number in (1, 2)]
    left = [record("x", "left"), record("y", 1), same[0]]
    right = [record("x", "right"), record("y", 1, status=201), same[1]]
    target = tmp_path / "s.sqlite"
    with stored(left) as one, stored(right) as two:
        with pytest.raises(SnapshotError, match=r'2 calls were answered differently.* any with {"value":"[xy]"}'):
            merge([one, two], target)
        assert os.listdir(tmp_path) == []
        merge([one, two], target, on_conflict="last")
        assert diff(two, target).same
        with pytest.raises(SnapshotWriteError, match="overwritten"):
            merge([one, two], target, on_conflict="first")
        merge([one, two], target, on_conflict="first", overwrite=True)
        assert diff(one, target).same
        with pytest.raises(ConfigurationError, match="error, first or last"):
            merge([one, two], target, on_conflict="best")  # type: ignore[arg-type]


def test_different_tools_of_one_name_cannot_be_merged(tmp_path: Path) -> None:
    with (
        stored([]) as one,
        stored([], tools=(replace(ANY, read_only=False),)) as two,
        pytest.raises(SnapshotError, match="'any'"),
    ):
        merge([one, two], tmp_path / "s.sqlite")


def test_differences_are_counted_by_tool_and_shown(tmp_path: Path) -> None:
    left = [*records(0, 10), record("x", "left"), record(1, tool="other"), record(2, state=b"s" * 16)]
    right = [*records(4, 12), record("x", "right")]
    third = Tool("third", "", {"type": "object", "properties": {}})
    with stored(left) as one, stored(right, tools=(replace(ANY, description="new"), third)) as two:
        found = diff(one, two, max_examples=2)
        assert not found.same
        assert found.tools_added == ("third",)
        assert found.tools_removed == ("other",)
        assert found.tools_changed == ("any",)
        assert not found.workflows_changed
        assert found.only_left == {"any": 5, "other": 1}
        assert found.only_right == {"any": 2}
        assert found.changed == {"any": 1}
        assert len(found.examples) == 5
        [changed] = [call for call in found.examples if call.left and call.right]
        assert (changed.tool, changed.arguments) == ("any", {"value": "x"})
        assert changed.left is not None
        assert changed.right is not None
        assert (changed.left.response.body, changed.right.response.body) == ("left", "right")
        back = diff(two, one)
        assert (back.only_left, back.only_right, back.changed) == (found.only_right, found.only_left, found.changed)


@settings(max_examples=12)
@given(random_records(), random_records(), st.booleans())
def test_there_is_a_difference_where_the_content_hashes_differ(
    tmp_path_factory: pytest.TempPathFactory, first: list[Record], second: list[Record], alike: bool
) -> None:
    folder = tmp_path_factory.mktemp("differing")
    with stored(first) as one, stored(first if alike else second) as two:
        same = content_hash(one, folder) == content_hash(two, folder)
        assert diff(one, two).same == same
        assert same or not alike


@pytest.mark.parametrize(
    "options", [{"workflows": {"a": 1}}, {"tools": (replace(ANY, miss_status=410), OTHER)}], ids=["workflows", "tools"]
)
def test_workflows_and_tools_are_differences(options: dict[str, Any]) -> None:
    with stored(records(0, 3)) as one, stored(records(0, 3), **options) as two:
        found = diff(one, two)
        assert not found.same
        assert not found.only_left
