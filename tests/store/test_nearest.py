"""The nearest recorded call: which it is, and that taking it for an answer earns nothing that it should not."""

import pickle
import random
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from envs.driving import NUMERIC, TEXT, make, message
from hypothesis import given
from hypothesis import strategies as st
from rewards.strategies import reference_call, reference_turns, tasks, turns
from worlds import WORLD_NAMES, world

from toolorch_env.core.calls import Call, CanonicalCall, ToolSet
from toolorch_env.core.episode import Episode
from toolorch_env.core.errors import ConfigurationError
from toolorch_env.core.progress import Progress, Reference
from toolorch_env.core.responses import Response, Source
from toolorch_env.core.states import state_after
from toolorch_env.core.tasks import Binding, Mention, ReferenceCall, Task
from toolorch_env.core.tools import Tool
from toolorch_env.rewards import GraduatedReward
from toolorch_env.store.nearest import MIN_SIMILARITY
from toolorch_env.store.replay import SnapshotReplay
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.writer import SnapshotWriter

every_world = pytest.mark.parametrize("name", WORLD_NAMES)

FIND = Tool(
    "find",
    "Find places.",
    {
        "type": "object",
        "properties": {
            "place": {"type": "string"},
            "height": {"type": "number"},
            "order": {"type": "string", "enum": ["ascending", "descending"]},
            "limit": {"type": "integer", "default": 10},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["place"],
    },
)
FREE = Tool("free", "Requires nothing.", {"properties": {"a": {"type": "string"}, "b": {"type": "integer"}}})
CHANGE = Tool("change", "Changes something.", {"properties": {"a": {"type": "string"}}}, read_only=False)
TOOLS = [FIND, FREE, CHANGE]

PLACES = ["Zürich", "zurich", "Zurich West", "Bern", "Berne", "BERN  ", "Basel", "São Paulo", "Sao  Paulo", "Lausanne"]
MISSPELLED = st.builds(lambda place, end: place[:-1] + end, st.sampled_from(PLACES), st.sampled_from(["", "e", "xyz"]))
ARGUMENTS = st.fixed_dictionaries(
    {"place": st.sampled_from(PLACES) | MISSPELLED | MISSPELLED | st.text("abez ", max_size=4)},
    optional={
        "height": st.sampled_from([0, 400, 401.5, 500, -400, 0.12345]) | st.floats(-1000, 1000),
        "order": st.sampled_from(["ascending", "descending"]),
        "limit": st.sampled_from([1, 5, 6, 10]),
        "tags": st.lists(st.sampled_from(["lake", "Lake", "hill"]), max_size=2),
    },
)


def drawn_arguments(count: int) -> Iterator[dict[str, Any]]:
    """Many arguments, the same every time, with repeated and similar values."""
    rng = random.Random(5)
    for _ in range(count):
        arguments: dict[str, Any] = {"place": rng.choice(PLACES) + rng.choice(["", "", "", " Nord", "x"])}
        for name, values in (
            ("height", [0, 400, 402, rng.uniform(-1000, 1000)]), ("order", ["ascending", "descending"]),
            ("limit", [1, 5]), ("tags", [["lake"], ["hill", "lake"], []]),
        ):  # fmt: skip
            if rng.random() < 0.5:
                arguments[name] = rng.choice(values)
        yield arguments


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Many calls of one tool, in a fresh session and in the state after a change; every eighth is an error."""
    path = tmp_path_factory.mktemp("places") / "places.sqlite"
    with SnapshotWriter(path, TOOLS, name="places") as writer:
        tools = ToolSet(TOOLS)
        changed = tools.canonical(Call("change", {"a": "x"}))
        writer.add(changed, 200, {"done": True})
        keys = set()
        for number, arguments in enumerate(drawn_arguments(400)):
            call = tools.canonical(Call("find", arguments)).within(changed.key if number % 4 == 3 else b"")
            if call.key not in keys:
                keys.add(call.key)
                writer.add(call, 404 if number % 8 == 0 else 200, {"number": number})
    return Snapshot(path)


@pytest.fixture(scope="module")
def replay(places: Snapshot) -> SnapshotReplay:
    return SnapshotReplay(places, "nearest")


def ask(replay: SnapshotReplay, tool: str, state: bytes = b"", **arguments: Any) -> Response:
    return replay.answer(replay.tools.canonical(Call(tool, arguments)).within(state))


def written(folder: Path, *calls: tuple[str, dict[str, Any], int, Any]) -> SnapshotReplay:
    """A replay of a snapshot that holds these calls."""
    with SnapshotWriter(folder / "s.sqlite", TOOLS, name="test") as writer:
        for tool, arguments, status, body in calls:
            writer.add(Call(tool, arguments), status, body)
    return SnapshotReplay(Snapshot(folder / "s.sqlite"), "nearest")


class Plain:
    """The definition, in the plainest way: the independent side of the parity test."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.records = [
            (record.key, record.state, orjson.loads(record.arguments))
            for record in snapshot.records()
            if record.tool == "find" and record.response.success
        ]

    def find(self, arguments: dict[str, Any], state: bytes) -> tuple[bytes, str] | None:
        """Key and tier of the nearest recorded call."""
        left = [(key, recorded) for key, other_state, recorded in self.records if other_state == state]
        for key, recorded in left:
            if bare(recorded) == bare(arguments):
                return key, "spelling"
        ranks = [
            (-len([n for n in FIND.properties if bare(r.get(n)) != bare(arguments.get(n))]), -place)
            for place, (_, r) in enumerate(left)
            if bare(r["place"]) == bare(arguments["place"])
        ]
        if ranks:
            return left[-max(ranks)[1]][0], "optional"
        scored = []
        for place, (_, r) in enumerate(left):
            likeness = [alike(name, arguments[name], r[name]) for name in arguments if name in r]
            if r.keys() == arguments.keys() and min(likeness) >= MIN_SIMILARITY:
                equal = [bare(arguments[name]) == bare(r[name]) for name in arguments]
                scored.append((sum(equal), round(sum(likeness), 9), -place))
        return (left[-max(scored)[2]][0], "closest") if scored else None


def bare(value: Any) -> Any:
    """A value without case, accents and white space that does not matter."""
    if isinstance(value, str):
        return " ".join(value.lower().translate(str.maketrans("üã", "ua")).split())
    if isinstance(value, list):
        return [bare(item) for item in value]
    if isinstance(value, dict):
        return {name: bare(item) for name, item in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def alike(name: str, left: Any, right: Any) -> float:
    """Similarity of two values of a parameter."""
    left, right = bare(left), bare(right)
    if left == right:
        return 1.0
    if name == "order":
        return 0.0
    if isinstance(left, (int, float)):
        return float(1 - abs(left - right) / max(abs(left), abs(right)))
    if isinstance(left, list):
        left, right = orjson.dumps(left).decode(), orjson.dumps(right).decode()
    return 2 * common(left, right) / (len(left) + len(right))


def common(left: str, right: str) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(right) + 1)
    for char in left:
        before = row
        row = [0]
        for place, other in enumerate(right):
            row.append(before[place] + 1 if char == other else max(row[-1], before[place + 1]))
    return row[-1]


@given(arguments=ARGUMENTS, changed=st.booleans())
def test_the_nearest_call_is_the_one_that_the_definition_says(
    replay: SnapshotReplay, places: Snapshot, arguments: dict[str, Any], changed: bool
) -> None:
    state = places.tools.canonical(Call("change", {"a": "x"})).key if changed else b""
    call = places.tools.canonical(Call("find", arguments)).within(state)
    response = replay.answer(call)
    recorded = places.look_up(call)
    if recorded is not None:
        assert (response.source, response.raw) == (recorded.source, recorded.raw)
        return
    found = Plain(places).find(call.arguments, state)
    if found is None:
        assert response.source is (Source.UNRECORDED_STATE if state else Source.MISS)
        return
    key, tier = found
    nearest = next(record for record in places.records() if record.key == key)
    assert (response.source, response.tier) == (Source.NEAREST, tier)
    assert response.recorded_arguments == orjson.loads(nearest.arguments)
    assert (response.status, response.raw, response.row) == (200, nearest.response.raw, nearest.response.row)


def test_all_tiers_are_met(replay: SnapshotReplay) -> None:
    """The parity test would prove little if its calls were all alike."""
    asked = [ask(replay, "find", **{**arguments, "height": 399.5}) for arguments in drawn_arguments(60)]
    asked += [ask(replay, "find", place=place.upper()) for place in PLACES]
    asked += [ask(replay, "find", place=f"{place}z", height=390) for place in PLACES]
    asked.append(ask(replay, "find", place="Luzern am See"))
    assert {response.tier for response in asked} == {"spelling", "optional", "closest", None}


@pytest.mark.parametrize(
    ("arguments", "tier", "body"),
    [
        ({"place": " LAUSANNE "}, "spelling", "lausanne"),
        ({"place": "Lausänne"}, "spelling", "lausanne"),
        ({"place": "Lausanne", "limit": 3}, "optional", "lausanne"),
        ({"place": "lausanne", "height": 500, "limit": 3}, "optional", "lausanne at 500"),
        ({"place": "Lausane"}, "closest", "lausanne"),
        ({"place": "Lausane", "height": 510}, "closest", "lausanne at 500"),
        ({"place": "Lausane", "height": 300}, None, None),
        ({"place": "Lugano"}, None, None),
        ({"place": "Lausane", "limit": 3}, None, None),
        ({"place": "Chur", "order": "ascending"}, "optional", "chur descending"),
        ({"place": "Chura", "order": "ascending"}, None, None),
    ],
)
def test_what_is_near_and_what_is_not(tmp_path: Path, arguments: dict[str, Any], tier: str | None, body: Any) -> None:
    replay = written(
        tmp_path,
        ("find", {"place": "Lausanne"}, 200, "lausanne"),
        ("find", {"place": "Lausanne", "height": 500}, 200, "lausanne at 500"),
        ("find", {"place": "Chur", "order": "descending"}, 200, "chur descending"),
        ("find", {"place": "lausane"}, 404, "not known"),
    )
    response = ask(replay, "find", **arguments)
    assert response.tier == tier
    assert response.source is (Source.NEAREST if tier else Source.MISS)
    if tier:
        assert response.body == body


def test_a_tool_that_requires_nothing_is_not_answered_with_what_contradicts(tmp_path: Path) -> None:
    replay = written(tmp_path, ("free", {"a": "lake"}, 200, "lake"), ("free", {"a": "hill", "b": 1}, 200, "hill"))
    assert ask(replay, "free", a="lake", b=2).body == "lake"
    assert ask(replay, "free", b=1).body == "hill"
    assert ask(replay, "free", a="house").source is Source.MISS
    assert ask(replay, "free", a="lakes").tier == "closest"


def test_nothing_is_near_where_nothing_was_recorded(tmp_path: Path) -> None:
    replay = written(tmp_path, ("free", {}, 404, "no"))
    assert ask(replay, "find", place="Bern").source is Source.MISS
    assert ask(replay, "free", a="x").source is Source.MISS


def test_what_is_not_valid_is_refused_and_not_compared(replay: SnapshotReplay) -> None:
    assert ask(replay, "find", height=400).source is Source.INVALID


def test_changes_are_never_taken_for_each_other(replay: SnapshotReplay) -> None:
    """What the nearest change did was not done."""
    assert ask(replay, "change", a="X").source is Source.MISS


def test_only_calls_in_the_same_state_are_near(replay: SnapshotReplay, places: Snapshot) -> None:
    changed = places.tools.canonical(Call("change", {"a": "x"})).key
    states = {record.response.row: record.state for record in places.records()}
    for state in (b"", changed):
        found = [ask(replay, "find", state, place=place, height=77) for place in PLACES]
        rows = [response.row for response in found if response.source is Source.NEAREST]
        assert rows
        assert {states[row] for row in rows if row is not None} == {state}
    assert ask(replay, "find", b"?" * 16, place="bern", height=77).source is Source.UNRECORDED_STATE


def test_without_a_compiled_form_the_answers_are_the_same(
    replay: SnapshotReplay, places: Snapshot, tmp_path: Path
) -> None:
    (tmp_path / "s.sqlite").write_bytes(places.path.read_bytes())
    with closing(sqlite3.connect(tmp_path / "s.sqlite")) as connection, connection:
        connection.execute("DELETE FROM blobs WHERE name = 'compiled'")
    bare = SnapshotReplay(Snapshot(tmp_path / "s.sqlite"), "nearest")
    changed = places.tools.canonical(Call("change", {"a": "x"}))
    answered = 0
    for state in (b"", changed.key, b"?" * 16):
        for place in PLACES:
            wanted, found = (ask(one, "find", state, place=f"{place}s") for one in (replay, bare))
            assert (wanted.raw, wanted.tier, wanted.source) == (found.raw, found.tier, found.source)
            answered += wanted.source is Source.NEAREST and bool(state)
    assert answered


def test_a_nearest_answer_is_no_success_and_changes_no_state(replay: SnapshotReplay) -> None:
    call = replay.tools.canonical(Call("find", {"place": "BASEL", "height": 399}))
    response = replay.answer(call)
    assert response.source is Source.NEAREST
    assert (response.status, response.success, response.digest) == (200, False, 0)
    assert state_after(call, response, read_only=False) == b""
    nearest = replay.tools.canonical(Call("find", response.recorded_arguments))
    recorded = replay.answer(nearest)
    assert (recorded.source, recorded.tier, recorded.raw) == (Source.RECORDED, None, response.raw)
    assert replay.look_up(call) is None


def test_a_pickled_replay_says_the_same_and_carries_no_index(places: Snapshot) -> None:
    replay = SnapshotReplay(places, "nearest")
    before = len(pickle.dumps(replay))
    told = ask(replay, "find", place="BASEL", height=399)
    again = pickle.dumps(replay)
    assert len(again) == before
    assert ask(pickle.loads(again), "find", place="BASEL", height=399).raw == told.raw


@pytest.mark.parametrize("missing", ["rapidfuzz", "rapidfuzz.process"])
def test_without_rapidfuzz_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, places: Snapshot, missing: str) -> None:
    for name in [name for name in sys.modules if name.startswith(missing)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigurationError, match=r"toolorch-env\[nearest\]"):
        SnapshotReplay(places, "nearest")
    SnapshotReplay(places)


GET_BOOKS = ReferenceCall("books_of_author", {"author_id": "A3"})
GET_BOOK = ReferenceCall("get_book", {"book_id": 139}, (Binding("book_id", 0, "books[-1].book_id"),))
BY_TITLE = ReferenceCall("book_by_title", {"title": "Book 39"}, (Binding("title", 0, "books[-1].title"),))


def answered(replay: SnapshotReplay, tool: str, **arguments: Any) -> tuple[CanonicalCall, Response]:
    call = replay.tools.canonical(Call(tool, arguments))
    return call, replay.answer(call)


def test_what_a_nearest_answer_holds_is_seen_but_not_what_it_was_asked_with(library_snapshot: Snapshot) -> None:
    """Else a guess would only have to be near: the answer would spell it out, and it would count as read there."""
    replay = SnapshotReplay(library_snapshot, "nearest")
    task = Task("t", "A3?", tuple(replay.tools), (GET_BOOKS, GET_BOOK, BY_TITLE))
    progress = Progress(Reference(task, replay.tools, replay.look_up))
    guess = answered(replay, "get_book", book_id=140)
    assert (guess[1].source, guess[1].tier, guess[1].body["book_id"]) == (Source.NEAREST, "closest", 139)
    match = progress.update([guess])[0]
    assert (match.step, match.completes) == (None, False)
    assert progress.has_seen("Book 39")
    assert not progress.has_seen(139)
    assert not progress.has_seen(140)
    assert progress.update([answered(replay, "get_book", book_id=139)])[0].ordered is False
    assert progress.update([answered(replay, "book_by_title", title="Book 39")])[0].ordered is True


def test_a_nearest_answer_is_no_other_way_to_ask(library_snapshot: Snapshot) -> None:
    """The body is that of a reference call; asked in the recorded way, it would complete it."""
    replay = SnapshotReplay(library_snapshot, "nearest")
    task = Task("t", "Book 39", tuple(replay.tools), (ReferenceCall("get_book", {"book_id": 139}),))
    progress = Progress(Reference(task, replay.tools, replay.look_up))
    nearest = answered(replay, "book_by_title", title="book 39")
    assert (nearest[1].source, nearest[1].tier) == (Source.NEAREST, "spelling")
    assert not progress.update([nearest])[0].completes
    assert progress.update([answered(replay, "book_by_title", title="Book 39")])[0].completes


def play(name: str, task: Task, sequence: Any) -> Episode:
    replay = SnapshotReplay(world(name).snapshot, "nearest")
    episode = Episode(task, replay, GraduatedReward(), max_calls=max(1, sum(map(len, sequence)) + 1))
    for turn in sequence:
        episode.send(turn)
    return episode


@every_world
@given(data=st.data())
def test_the_reference_still_returns_exactly_one(name: str, data: st.DataObject) -> None:
    task = data.draw(tasks(world(name)))
    episode = play(name, task, reference_turns(task))
    assert episode.total == 1.0
    assert {step.response.source for step in episode.steps} <= {Source.RECORDED, Source.ROUNDED}


@every_world
@given(data=st.data())
def test_nothing_returns_more_than_one_and_only_the_solution_that_much(name: str, data: st.DataObject) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    extra = data.draw(st.lists(vague_calls(task), max_size=4))
    sequence = [[call] for call in extra] + data.draw(turns(here, task) | st.just(reference_turns(task)))
    episode = play(name, task, sequence)
    assert episode.total <= 1.0
    assert episode.total < 1.0 or all(episode.progress.complete)
    assert episode.total == pytest.approx(
        episode.steps[-1].score.potential - sum(step.score.penalty for step in episode.steps) if episode.steps else 0.0
    )


@every_world
@given(data=st.data())
def test_an_episode_of_nearest_answers_completes_nothing_and_earns_less(name: str, data: st.DataObject) -> None:
    task = data.draw(tasks(world(name)))
    sequence = [[call] for call in data.draw(st.lists(vague_calls(task), min_size=1, max_size=8))]
    replay = SnapshotReplay(world(name).snapshot, "nearest")
    kept = [turn for turn in sequence if replay.answer(replay.tools.canonical(turn[0])).source is Source.NEAREST]
    episode = play(name, task, kept)
    assert not any(step.response.success or step.match.completes for step in episode.steps)
    assert not any(episode.progress.complete)
    assert episode.total < 1.0 - GraduatedReward().alpha


@st.composite
def vague_calls(draw: st.DrawFn, task: Task) -> Call:
    """A reference call with its values spelled otherwise, slightly changed, or with a parameter too few."""
    call = reference_call(task, draw(st.integers(0, len(task.reference) - 1)))
    arguments = dict(call.arguments)
    for name, value in arguments.items():
        if isinstance(value, str):
            arguments[name] = draw(st.sampled_from([value, value.upper(), value.lower(), f"{value}x", f" {value}"]))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            arguments[name] = draw(st.sampled_from([value, value + 1, value * 2]))
    if arguments and draw(st.booleans()):
        del arguments[draw(st.sampled_from(sorted(arguments)))]
    return Call(call.tool, arguments)


def test_the_vague_calls_of_these_tests_are_answered() -> None:
    found: Counter[str | None] = Counter()
    for name in WORLD_NAMES:
        replay = SnapshotReplay(world(name).snapshot, "nearest")
        for task in world(name).tasks(20):
            for call in (reference_call(task, index) for index in range(len(task.reference))):
                changed = {key: value + 1 if type(value) is int else value for key, value in call.arguments.items()}
                found[ask(replay, call.tool, **changed).tier] += 1
    assert found["closest"] >= 5


def test_environments_tell_the_tier_of_nearest_answers_only() -> None:
    env = make(TEXT, on_miss="nearest")
    wanted = ReferenceCall("book_by_title", {"title": "Book 39"})
    env.reset(options={"task": Task("t", "Book 39?", ("get_book", "book_by_title"), (wanted,))})
    nearest = Call("book_by_title", {"title": "BOOK 39"})
    info = env.step(message(nearest, Call("get_book", {"book_id": 139})))[4]
    assert info["calls"] == [
        {"source": "nearest", "status": 200, "tier": "spelling"}, {"source": "recorded", "status": 200}
    ]  # fmt: skip


def test_links_resolve_on_nearest_answers_in_the_numeric_environment() -> None:
    """The agent has the values: it sees the answer."""
    env = make(NUMERIC, on_miss="nearest")
    mentions = (Mention(1890, "year", 0, 4),)
    env.reset(options={"task": Task("t", "1890", ("search_authors", "books_of_author"), (GET_BOOKS,), mentions)})
    before = env.action_masks().sum()
    info = env.step(env.action_for(Call("search_authors", {"born_from": 1890})))[4]
    assert (info["source"], info["tier"]) == ("nearest", "closest")
    assert env.action_masks().sum() > before
    nearest = env.episode.steps[0].response.body["authors"][0]["author_id"]
    assert env.step(env.action_for(Call("books_of_author", {"author_id": nearest})))[4]["source"] == "recorded"
