"""Fixed tasks in snapshots: kept wherever recorded calls are kept, part of the content hash, checked."""

import io
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson
import postgres
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from json_values import json_objects, json_values, texts
from recordings import ANY, OTHER, records
from test_transfer import KINDS, content_hash, place_of, stored
from worlds import TRAVEL

from toolorch_env.core.calls import Call
from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.errors import SnapshotCorruptError, SnapshotError, SnapshotFormatError, TaskError
from toolorch_env.core.tasks import Binding, Mention, ReferenceCall, Task
from toolorch_env.store.content import MAX_CONTENT_BYTES
from toolorch_env.store.record_store import RecordStore
from toolorch_env.store.sealing import seal
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.stored_tasks import pack_tasks, unpack_tasks
from toolorch_env.store.transfer import copy, diff, merge, open_source
from toolorch_env.store.verify import verify_snapshot
from toolorch_env.store.writer import SnapshotWriter

CALL = ReferenceCall("any", {"value": 1})


def task_of(name: str, **options: Any) -> Task:
    """A task that fits the tools of the tests of stores."""
    return Task(**{"id": name, "query": "Do it.", "tools": ("any", "other"), "reference": (CALL,), **options})


FULL = task_of(
    "full",
    query="Über 7, 東京 \u2028 and\nso on",
    reference=(
        replace(CALL, optional=True, turn=0),
        ReferenceCall("other", {"value": {"a": [1.5, None, True]}}, (Binding("value", 0, "a.b"),), (0,), turn=1),
    ),
    mentions=(Mention(7, "number", 5, 6), Mention([1, 2], "list", 0, 0)),
    workflow="w",
    split="test",
    setup=(ReferenceCall("other", {"value": "s"}),),
    answer=("T0", 7, {"a": 2.5}),
)
TASKS = (FULL, task_of("second"), task_of("ünï/côde 1"))


@st.composite
def random_tasks(draw: st.DrawFn) -> list[Task]:
    """Tasks with all kinds of values in all places, their ids different."""
    names = draw(st.lists(texts, unique=True, max_size=4))
    calls = st.builds(
        ReferenceCall, st.sampled_from(["any", "other"]), json_objects, turn=st.none() | st.integers(0, 9)
    )
    return [
        task_of(
            name,
            query=draw(texts),
            reference=(*draw(st.lists(calls, max_size=2).map(lambda c: [replace(x, tool="any") for x in c])), CALL),
            mentions=tuple(Mention(value, draw(texts), 0, 0) for value in draw(st.lists(json_values, max_size=2))),
            split=draw(st.sampled_from(["", "train", "test"])),
            setup=tuple(draw(st.lists(calls, max_size=2))),
            answer=tuple(draw(st.lists(json_values, max_size=2))),
        )
        for name in names
    ]


@given(random_tasks())
def test_packed_and_unpacked_they_are_the_same_byte_for_byte(found: list[Task]) -> None:
    back = unpack_tasks(pack_tasks(found))
    assert list(back) == found
    assert [task.to_json() for task in back] == [task.to_json() for task in found]
    assert pack_tasks(back) == pack_tasks(found)


@settings(max_examples=12)
@given(random_tasks(), st.lists(st.sampled_from(KINDS), min_size=1, max_size=3))
def test_copied_around_they_stay_the_same(
    server: postgres.Server, tmp_path_factory: pytest.TempPathFactory, found: list[Task], kinds: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("around")
    with stored(records(0, 3), tasks=found) as store:
        assert list(store.tasks) == found
        first = content_hash(store, folder)
        places = [place_of(kind, folder, server, number) for number, kind in enumerate(kinds)]
        for source, target in zip([store, *places], places, strict=False):
            copy(source, target)
        with open_source(places[-1]) as last:
            assert [task.to_json() for task in last.tasks] == [task.to_json() for task in found]
        assert content_hash(places[-1], folder) == first
        assert diff(store, places[-1]).same


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back_a_snapshot_with_tasks_is_the_same(tmp_path: Path, server: postgres.Server, kind: str) -> None:
    path = written(tmp_path / "s.sqlite")
    there = place_of(kind, tmp_path, server)
    copy(path, there)
    copy(there, tmp_path / "back.sqlite")
    before, after = Snapshot(path), Snapshot(tmp_path / "back.sqlite")
    assert after.tasks == before.tasks == TASKS
    assert after.blob("tasks") == before.blob("tasks")
    assert after.meta["content_hash"] == before.meta["content_hash"]
    assert verify_snapshot(after.path).ok


def written(path: Path, tasks: Any = TASKS, **options: Any) -> Path:
    """A small snapshot with tasks."""
    with SnapshotWriter(path, [ANY, OTHER], name="test", tasks=tasks, **options) as writer:
        for number in range(3):
            writer.add(Call("any", {"value": number}), 200, {"number": number})
    return path


def test_a_writer_stores_what_it_is_given(tmp_path: Path) -> None:
    snapshot = Snapshot(written(tmp_path / "s.sqlite", (task for task in TASKS)))
    assert snapshot.tasks == TASKS
    assert verify_snapshot(snapshot.path).ok


def test_most_snapshots_hold_none_and_no_blob(library_snapshot: Snapshot, tmp_path: Path) -> None:
    assert library_snapshot.tasks == ()
    assert library_snapshot.blob("tasks") is None
    assert Snapshot(written(tmp_path / "s.sqlite", ())).blob("tasks") is None


def documented_hash(snapshot: Snapshot) -> str:
    """The content hash as ``docs/snapshot-format.md`` says how to make it."""
    state = blake2b(digest_size=16)
    for tool in snapshot.tools.values():
        told = [tool.name, tool.description, tool.parameters, tool.miss_status, tool.miss_body, tool.read_only]
        state.update(canonical_json(told) + b"\n")
    workflows = snapshot.workflows or b""
    state.update(f"{len(workflows)}\n".encode() + workflows)
    tasks = snapshot.blob("tasks")
    state.update(b"" if tasks is None else zstandard.ZstdDecompressor().decompress(tasks))
    for record in snapshot.records():
        body = record.response.raw
        told = [record.tool, record.response.status, len(body), record.state.hex()]
        state.update(canonical_json(told) + b"\n" + record.arguments + b"\n" + body + b"\n")
    return state.hexdigest()


def test_the_content_hash_is_as_documented_with_and_without_tasks(library: Path, tmp_path: Path) -> None:
    with_tasks = written(tmp_path / "s.sqlite")
    for path in (library, with_tasks, *([TRAVEL] if TRAVEL.exists() else [])):
        assert documented_hash(Snapshot(path)) == Snapshot(path).meta["content_hash"]


def test_the_content_hash_covers_tasks_and_their_order(tmp_path: Path) -> None:
    variants: list[tuple[Task, ...]] = [
        (),
        TASKS,
        TASKS[::-1],
        TASKS[:2],
        (replace(FULL, answer=("T1", 7, {"a": 2.5})), *TASKS[1:]),
        (replace(FULL, setup=()), *TASKS[1:]),
        (replace(FULL, answer=(*FULL.answer, 1)), *TASKS[1:]),
        (replace(FULL, answer=(*FULL.answer, True)), *TASKS[1:]),
    ]
    hashes = set()
    for tasks in variants:
        with stored(records(0, 3), tasks=tasks) as store:
            hashes.add(content_hash(store, tmp_path))
    assert len(hashes) == len(variants)


@settings(max_examples=15)
@given(random_tasks(), random_tasks(), st.booleans())
def test_there_is_a_difference_where_the_content_hashes_differ(
    tmp_path_factory: pytest.TempPathFactory, first: list[Task], second: list[Task], alike: bool
) -> None:
    folder = tmp_path_factory.mktemp("differing")
    with stored([], tasks=first) as one, stored([], tasks=first if alike else second) as two:
        same = content_hash(one, folder) == content_hash(two, folder)
        found = diff(one, two)
        assert (found.same, found.tasks_changed) == (same, not same)


def test_true_is_another_value_than_one() -> None:
    """They are equal in Python, and other tasks all the same."""
    one, true = (task_of("t", answer=(value,)) for value in (1, True))
    assert one == true
    with stored([], tasks=[one]) as left, stored([], tasks=[true]) as right:
        assert diff(left, right).tasks_changed
        with pytest.raises(SnapshotError, match="different tasks of the id 't'"):
            merge([left, right], io.BytesIO())


def test_a_second_declaration_replaces_them_or_leaves_them(tmp_path: Path) -> None:
    with RecordStore(tmp_path / "s.recording") as store:
        store.declare([ANY, OTHER], name="test", tasks=TASKS)
        store.declare([ANY, OTHER], name="test")
        assert store.tasks == TASKS
        store.declare([ANY, OTHER], name="test", tasks=TASKS[1:])
        assert store.tasks == TASKS[1:]
        store.declare([ANY, OTHER], name="test", tasks=[])
        assert store.tasks == ()
        seal(store, tmp_path / "s.sqlite")
    assert Snapshot(tmp_path / "s.sqlite").blob("tasks") is None


def test_overwriting_takes_the_older_ones_away(tmp_path: Path, server: postgres.Server) -> None:
    for kind in KINDS:
        place = place_of(kind, tmp_path, server)
        with stored([], tasks=TASKS) as older, stored([]) as newer:
            copy(older, place)
            copy(newer, place, overwrite=True)
        with open_source(place) as opened:
            assert opened.tasks == ()


def test_merged_are_the_tasks_of_all_in_their_order(tmp_path: Path) -> None:
    other = task_of("other")
    with stored([], tasks=TASKS[:2]) as one, stored([]) as two, stored([], tasks=(other, FULL, TASKS[2])) as three:
        merge([one, two, three], tmp_path / "s.sqlite")
    assert Snapshot(tmp_path / "s.sqlite").tasks == (*TASKS[:2], other, TASKS[2])
    assert verify_snapshot(tmp_path / "s.sqlite").ok


@pytest.mark.parametrize("on_conflict", ["error", "first", "last"])
def test_tasks_that_contradict_each_other_are_not_merged(tmp_path: Path, on_conflict: Any) -> None:
    target = tmp_path / "s.sqlite"
    with (
        stored([], tasks=TASKS) as one,
        stored([], tasks=[replace(FULL, query=FULL.query + "!")]) as two,
        pytest.raises(SnapshotError, match="different tasks of the id 'full'"),
    ):
        merge([one, two], target, on_conflict=on_conflict)
    assert not target.exists()


def test_a_difference_of_tasks_is_told() -> None:
    with stored(records(0, 3), tasks=TASKS) as one, stored(records(0, 3), tasks=TASKS[:2]) as two:
        found = diff(one, two)
    assert (found.same, found.tasks_changed, found.workflows_changed) == (False, True, False)
    assert (found.only_left, found.only_right, found.changed) == ({}, {}, {})


BAD_TASKS = [
    ([task_of("a"), task_of("a")], "two tasks 'a'"),
    ([task_of("a", tools=("any", "third"))], "'a' names a tool 'third'"),
    ([task_of("a", setup=(ReferenceCall("fourth", {}),))], "'a' names a tool 'fourth'"),
    ([task_of("a", reference=(CALL, ReferenceCall("other", {}, optional=True)))], "'other' changes the state"),
]
NOT_JSON = [float("nan"), float("inf"), object(), {1: 2}, {"x"}, 2**70, "\ud800", b"bytes"]


@pytest.mark.parametrize(("tasks", "told"), BAD_TASKS)
def test_tasks_that_do_not_fit_are_refused_before_anything_is_recorded(
    tmp_path: Path, tasks: list[Task], told: str
) -> None:
    with pytest.raises(TaskError, match=told):
        SnapshotWriter(tmp_path / "s.sqlite", [ANY, OTHER], name="test", tasks=tasks)
    assert list(tmp_path.iterdir()) == []
    with stored([], tasks=tasks) as store, pytest.raises(TaskError, match=told):
        seal(store, tmp_path / "s.sqlite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", NOT_JSON, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(
    "place",
    [
        lambda value: {"reference": (ReferenceCall("any", {"value": value}),)},
        lambda value: {"setup": (ReferenceCall("any", {"value": [value]}),)},
        lambda value: {"answer": (value,)},
        lambda value: {"mentions": (Mention(value, "kind", 0, 0),)},
    ],
    ids=["reference", "setup", "answer", "mention"],
)
def test_what_is_no_json_is_refused_rather_than_changed(
    tmp_path: Path, place: Callable[[Any], dict[str, Any]], value: Any
) -> None:
    with pytest.raises(TaskError, match="'a' cannot be stored"):
        SnapshotWriter(tmp_path / "s.sqlite", [ANY, OTHER], name="test", tasks=[task_of("a", **place(value))])
    assert list(tmp_path.iterdir()) == []


def test_a_query_that_is_no_text_is_refused() -> None:
    with pytest.raises(TaskError, match="cannot be stored"):
        pack_tasks([task_of("a", query="\ud800")])


def with_blob(path: Path, data: Any) -> Path:
    """A snapshot whose tasks were replaced, without a word to its content hash."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE blobs SET data = ? WHERE name = 'tasks'", (data,))
        connection.commit()
    return path


def bomb() -> bytes:
    """A frame of a few kilobytes that claims to hold more than any tasks do."""
    compressor = zstandard.ZstdCompressor(level=19).compressobj(size=MAX_CONTENT_BYTES + 2**20)
    blocks = [compressor.compress(bytes(2**20)) for _ in range(MAX_CONTENT_BYTES // 2**20 + 1)]
    return b"".join([*blocks, compressor.flush()])


DAMAGED = {
    "nothing": b"",
    "no frame": b"these are no tasks",
    "a text": "these are no tasks",
    "half a frame": pack_tasks(TASKS)[:-20],
    "a frame without its size": zstandard.ZstdCompressor(write_content_size=False).compress(FULL.to_json() * 50),
    "no JSON": zstandard.ZstdCompressor().compress(b"{"),
    "no task": zstandard.ZstdCompressor().compress(b'{"id": "t"}\n'),
    "a task without calls": zstandard.ZstdCompressor().compress(
        b'{"id": "t", "query": "", "tools": ["any"], "reference": []}'
    ),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED.keys())
def test_damage_is_told_and_nothing_else_breaks(tmp_path: Path, data: Any) -> None:
    path = with_blob(written(tmp_path / "s.sqlite"), data)
    with pytest.raises(SnapshotCorruptError, match=r"s\.sqlite is damaged: the tasks"):
        Snapshot(path).tasks  # noqa: B018
    assert len(list(Snapshot(path).records())) == 3
    [problem] = verify_snapshot(path).problems
    assert "the tasks" in problem
    with pytest.raises(SnapshotCorruptError):
        copy(path, tmp_path / "copy.sqlite")
    assert not (tmp_path / "copy.sqlite").exists()


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED.keys())
def test_damage_in_a_recording_is_told_with_its_name(tmp_path: Path, data: Any) -> None:
    path = tmp_path / "s.recording"
    with RecordStore(path) as store:
        store.declare([ANY, OTHER], name="test", tasks=TASKS)
    with_blob(path, data)
    with RecordStore(path, create=False) as store, pytest.raises(SnapshotCorruptError, match=r"s\.recording"):
        store.tasks  # noqa: B018


def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path) -> None:
    data = bomb()
    assert len(data) < 2**20
    path = with_blob(written(tmp_path / "s.sqlite"), data)
    with pytest.raises(SnapshotCorruptError, match="claim to be larger"):
        Snapshot(path).tasks  # noqa: B018
    assert "claim to be larger" in verify_snapshot(path).problems[0]


@pytest.mark.parametrize(("tasks", "told"), BAD_TASKS)
def test_verifying_finds_tasks_that_do_not_fit(tmp_path: Path, tasks: list[Task], told: str) -> None:
    path = with_blob(written(tmp_path / "s.sqlite"), pack_tasks(tasks))
    [problem] = verify_snapshot(path).problems
    assert told in problem


@pytest.mark.parametrize("tasks", [TASKS[:2], TASKS[::-1], (replace(FULL, workflow="v"), *TASKS[1:])])
def test_verifying_finds_tasks_that_were_exchanged(tmp_path: Path, tasks: tuple[Task, ...]) -> None:
    path = with_blob(written(tmp_path / "s.sqlite"), pack_tasks(tasks))
    [problem] = verify_snapshot(path).problems
    assert "content hash" in problem


def head_line(**options: Any) -> bytes:
    """The first line of JSON lines, with other tasks."""
    file = io.BytesIO()
    with stored([], tasks=TASKS) as store:
        copy(store, file)
    return orjson.dumps({**orjson.loads(file.getvalue()), **options}) + b"\n"


def test_json_lines_can_be_edited() -> None:
    tasks = [{"id": "new", "query": "q", "tools": ["any"], "reference": [{"tool": "any", "arguments": {"value": 2}}]}]
    with open_source(io.BytesIO(head_line(tasks=tasks))) as source:
        assert source.tasks == (Task("new", "q", ("any",), (ReferenceCall("any", {"value": 2}),)),)
    for none in ([], None):
        with open_source(io.BytesIO(head_line(tasks=none))) as source:
            assert source.tasks == ()


@pytest.mark.parametrize("tasks", [7, [7], {}, [{}], [{"id": "t", "query": "", "tools": ["any"], "reference": []}]])
def test_json_lines_with_what_is_no_task_are_refused(tasks: Any) -> None:
    with pytest.raises(SnapshotFormatError, match="line 1"), open_source(io.BytesIO(head_line(tasks=tasks))):
        pass
