"""Calls that are known to have been answered, but not with what: found again as such, and wherever they are kept."""

import copy as copying
import io
import pickle
from pathlib import Path
from typing import Any

import orjson
import postgres
import pytest
from envs.driving import message
from hypothesis import given, settings
from hypothesis import strategies as st
from json_values import json_values
from recordings import ANY, OTHER, contents, record
from test_transfer import KINDS, content_hash, place_of, stored

from toolorch_env.core.calls import Call, ToolSet
from toolorch_env.core.episode import Episode
from toolorch_env.core.errors import RecordingError, SnapshotCorruptError
from toolorch_env.core.responses import UNKNOWN_BODY, Response, Source
from toolorch_env.core.tasks import Binding, Mention, ReferenceCall, Task
from toolorch_env.core.tools import Tool
from toolorch_env.envs.observation import OUTCOMES
from toolorch_env.envs.tool_orch import ToolOrchEnv
from toolorch_env.envs.tool_orch_text import ToolOrchTextEnv
from toolorch_env.generation.fixed_tasks import FixedTasks
from toolorch_env.rewards import GraduatedReward, make_reward
from toolorch_env.store.compiled import Link
from toolorch_env.store.record_store import RecordStore
from toolorch_env.store.records import Record, make_record
from toolorch_env.store.replay import SnapshotReplay
from toolorch_env.store.sealing import seal
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.transfer import copy, diff, merge, open_source
from toolorch_env.store.verify import verify_snapshot
from toolorch_env.store.writer import SnapshotWriter

PLACE = {"type": "string"}
FIND = Tool(
    "find", "Finds a place.", {"type": "object", "properties": {"place": PLACE, "near": {"type": "number"}}},
    miss_body={"detail": "No such place"},
)  # fmt: skip
SHOW = Tool("show", "Shows a place.", {"type": "object", "properties": {"number": {"type": "integer"}}})
MOVE = Tool("move", "Moves on.", {"type": "object", "properties": {"place": PLACE}}, read_only=False)
LINK = Link("number", "find", "number")

KNOWN, UNKNOWN, NULL = Call("find", {"place": "Bern"}), Call("find", {"place": "Chur"}), Call("find", {"place": "Zug"})


def write(path: Path) -> Snapshot:
    """Places, some of whose answers are known."""
    with SnapshotWriter(path, [FIND, SHOW, MOVE], name="places", links=[LINK]) as writer:
        writer.add(KNOWN, 200, {"number": 7}, latency=0.5, recorded_at=1_700_000_000)
        writer.add(UNKNOWN, 201, UNKNOWN_BODY, latency=0.25, recorded_at=1_700_000_001)
        writer.add(NULL, 200, None)
        writer.add(Call("find", {"place": "Thun"}), 200, UNKNOWN_BODY)
        writer.add(Call("find", {"near": 46.94809876}), 200, UNKNOWN_BODY)
        writer.add(Call("find", {"place": "Atlantis"}), 404, UNKNOWN_BODY)
        writer.add(Call("show", {"number": 7}), 200, UNKNOWN_BODY)
        moved = writer.tools.canonical(Call("move", {"place": "Chur"}))
        writer.add(moved, 200, UNKNOWN_BODY)
        writer.add(writer.tools.canonical(KNOWN).within(moved.key), 200, {"number": 8})
    return Snapshot(path)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return write(tmp_path_factory.mktemp("places") / "places.sqlite")


def found(snapshot: Snapshot, call: Call) -> Response:
    response = snapshot.look_up(snapshot.tools.canonical(call))
    assert response is not None
    return response


def test_it_is_found_again_as_a_success_of_which_nothing_is_known(places: Snapshot) -> None:
    response = found(places, UNKNOWN)
    assert (response.status, response.source, response.source.value) == (201, Source.WITHOUT_BODY, "without_body")
    assert (response.success, response.informs, response.is_empty) == (True, True, True)
    assert (response.body, response.raw, response.digest, response.tokens) == (None, b"", 0, frozenset())
    assert (response.latency, response.recorded_at) == (0.25, 1_700_000_001)
    assert not any(response.holds(text) for text in ("", "Chur", "7", "null", ","))


def test_a_body_of_null_is_known(places: Snapshot) -> None:
    response = found(places, NULL)
    assert (response.source, response.raw, response.body, response.success) == (Source.RECORDED, b"null", None, True)


def test_with_rounded_fractions_it_is_without_body_too(places: Snapshot) -> None:
    response = found(places, Call("find", {"near": 46.9481}))
    assert (response.source, response.body, response.success) == (Source.WITHOUT_BODY, None, True)
    assert response.recorded_key == places.tools.canonical(Call("find", {"near": 46.94809876})).key


def test_an_error_without_body_is_an_error(places: Snapshot) -> None:
    response = found(places, Call("find", {"place": "Atlantis"}))
    assert (response.status, response.success, response.body) == (404, False, None)


def test_a_change_without_body_moves_a_session_on(places: Snapshot) -> None:
    task = Task("t", "Move.", ("find", "move"), (ReferenceCall("find", dict(KNOWN.arguments)),))
    episode = Episode(task, SnapshotReplay(places), GraduatedReward(), max_calls=5)
    episode.send([Call("move", {"place": "Chur"}), KNOWN])
    assert [step.response.source for step in episode.steps] == [Source.WITHOUT_BODY, Source.RECORDED]
    assert episode.steps[-1].response.body == {"number": 8}


def test_the_snapshot_is_sound(places: Snapshot) -> None:
    assert verify_snapshot(places.path).ok
    assert len(places) == 9


def test_the_value_stays_itself_in_copies_and_other_processes() -> None:
    for same in (
        pickle.loads(pickle.dumps(UNKNOWN_BODY)), copying.copy(UNKNOWN_BODY), copying.deepcopy([UNKNOWN_BODY])[0]
    ):  # fmt: skip
        assert same is UNKNOWN_BODY


def test_only_a_whole_body_can_be_unknown() -> None:
    for body in ([UNKNOWN_BODY], {"data": UNKNOWN_BODY}):
        with pytest.raises(RecordingError):
            make_record(ToolSet([FIND]), KNOWN, 200, body)


@pytest.mark.parametrize("other", [UNKNOWN, Call("find", {"place": "Thun"})])
@pytest.mark.parametrize("reward", ["graduated", "binary", "atomic", "orchestration"])
def test_two_of_them_are_never_equivalent(places: Snapshot, other: Call, reward: str) -> None:
    reference = ReferenceCall("find", {"place": "Thun"})
    task = Task("t", "Chur or Thun?", ("find",), (reference,))
    episode = Episode(task, SnapshotReplay(places), make_reward(reward), max_calls=5)
    episode.send([other])
    assert episode.progress.all_complete == (other.arguments["place"] == "Thun")
    assert (episode.total == 1.0) == episode.progress.all_complete


def test_what_nobody_knows_was_not_seen(places: Snapshot) -> None:
    """The number stands in no body, so passing it is a guess; the call is complete all the same."""
    calls = (
        ReferenceCall("find", {"place": "Chur"}),
        ReferenceCall("show", {"number": 7}, (Binding("number", 0, "number"),)),
    )
    task = Task("t", "Chur?", ("find", "show"), calls)
    episode = Episode(task, SnapshotReplay(places), GraduatedReward(), max_calls=5)
    for call in calls:
        episode.send([Call(call.tool, call.arguments)])
    assert episode.progress.complete == [True, True]
    assert episode.progress.ordered == [True, False]
    assert episode.total < 1.0


def test_links_select_nothing_from_it(places: Snapshot) -> None:
    compiled = places.compiled
    assert compiled is not None
    table = compiled.tables["find"]
    selected = {int(row): int(value) for row, value in zip(table.rows, table.outputs[:, 0], strict=True)}
    known, unknown = (found(places, call).row for call in (KNOWN, UNKNOWN))
    assert known is not None
    assert unknown is not None
    assert compiled.values[selected[known]] == 7
    assert selected[unknown] == -1


def place_tasks() -> FixedTasks:
    """Shows of a place that is mentioned: first one whose answer is not known, then one that is."""
    query = "Chur, Bern, 7"
    mentions = (Mention("Chur", "place", 0, 4), Mention("Bern", "place", 6, 10), Mention(7, "number", 12, 13))
    calls = tuple(
        ReferenceCall(call.tool, dict(call.arguments)) for call in (UNKNOWN, KNOWN, Call("show", {"number": 7}))
    )
    return FixedTasks([Task("t", query, ("find", "show"), calls, mentions)])


def test_the_text_environment_shows_null(places: Snapshot) -> None:
    env = ToolOrchTextEnv(places, generator=place_tasks(), render_mode="ansi")
    env.reset(seed=0)
    shown, reward, _, _, info = env.step(message(UNKNOWN))
    assert shown == "<tool_response>\nnull\n</tool_response>"
    assert info["messages"][0]["content"] == "null"
    assert info["calls"] == [{"source": "without_body", "status": 201}]
    assert reward > 0
    assert "201 (without_body) null" in env.render()


def test_the_numeric_environment_sees_an_empty_success(places: Snapshot) -> None:
    env = ToolOrchEnv(places, generator=place_tasks())
    env.reset(seed=0)
    tools = len(places.tools)
    outcomes = []
    for call in (UNKNOWN, KNOWN, None):
        observation, _, terminated, _, info = env.step(env.action_for(call))
        if call is not None:
            seen = observation["calls"][tools : tools + len(OUTCOMES)]
            outcomes.append((info["source"], OUTCOMES[int(seen.argmax())], bool(observation["links"].any())))
    assert terminated
    assert outcomes == [("without_body", "empty", False), ("recorded", "success", True)]


def test_the_reference_returns_exactly_one(places: Snapshot) -> None:
    for env in (ToolOrchEnv(places, generator=place_tasks()), ToolOrchTextEnv(places, generator=place_tasks())):
        env.reset(seed=0)
        for call in env.episode.task.reference:
            env.step(env.action_for(Call(call.tool, call.arguments)))  # type: ignore[arg-type]
        env.step(env.action_for(None))  # type: ignore[arg-type]
        assert (env.episode.total, env.episode.clean_success) == (1.0, True)


def test_as_a_nearest_answer_it_says_nothing(places: Snapshot) -> None:
    env = ToolOrchTextEnv(places, generator=place_tasks(), on_miss="nearest")
    env.reset(seed=0)
    shown, _, _, _, info = env.step(message(Call("find", {"place": "CHUR"})))
    assert info["calls"] == [{"source": "nearest", "status": 201, "tier": "spelling"}]
    assert shown == "<tool_response>\nnull\n</tool_response>"
    response = env.episode.steps[0].response
    assert (response.success, response.informs, response.body, response.digest) == (False, True, None, 0)
    assert env.episode.progress.complete == [False] * 3
    numeric = ToolOrchEnv(places, generator=place_tasks(), on_miss="nearest")
    numeric.reset(seed=0)
    assert not numeric.step(numeric.action_for(UNKNOWN))[0]["links"].any()


def test_another_process_answers_alike(places: Snapshot) -> None:
    replay = pickle.loads(pickle.dumps(SnapshotReplay(places)))
    response = replay.answer(places.tools.canonical(UNKNOWN))
    assert (response.source, response.body) == (Source.WITHOUT_BODY, None)


def some_records() -> st.SearchStrategy[list[Record]]:
    """Records of different calls, some without a body."""
    bodies = st.just(UNKNOWN_BODY) | json_values
    made = st.builds(
        record, st.integers(0, 20), bodies, status=st.sampled_from([200, 201, 404, 500]),
        tool=st.sampled_from(["any", "other"]), state=st.sampled_from([b"", b"a" * 16]),
    )  # fmt: skip
    return st.lists(made, max_size=6, unique_by=lambda one: one.key)


@settings(max_examples=12)
@given(some_records(), st.lists(st.sampled_from(KINDS), min_size=1, max_size=3))
def test_copied_around_it_stays_without_body(
    server: postgres.Server, tmp_path_factory: pytest.TempPathFactory, records: list[Record], kinds: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("around")
    with stored(records) as store:
        held, first = contents(list(store.records())), content_hash(store, folder)
        assert {one[2:] for one in held} == {one[2:] for one in contents(records)}
        places = [place_of(kind, folder, server, number) for number, kind in enumerate(kinds)]
        for source, target in zip([store, *places], places, strict=False):
            copy(source, target)
        with open_source(places[-1]) as last:
            assert contents(list(last.records())) == held
            assert [r.response.source for r in last.records()] == [r.response.source for r in store.records()]
        assert content_hash(places[-1], folder) == first
        assert diff(store, places[-1]).same
        assert verify_snapshot(folder / "hashed.sqlite").ok


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back_the_snapshot_is_the_same(
    places: Snapshot, tmp_path: Path, server: postgres.Server, kind: str
) -> None:
    there = place_of(kind, tmp_path, server)
    copy(places.path, there)
    copy(there, tmp_path / "back.sqlite")
    back = Snapshot(tmp_path / "back.sqlite")
    assert back.meta["content_hash"] == places.meta["content_hash"]
    assert back.blob("compiled") == places.blob("compiled")
    assert contents(list(back.records())) == contents(list(places.records()))


def test_no_body_is_neither_null_nor_empty(tmp_path: Path) -> None:
    hashes = set()
    for body in (UNKNOWN_BODY, None, "", [], {}):
        with stored([record(1, body)]) as store:
            hashes.add(content_hash(store, tmp_path))
    assert len(hashes) == 5
    with stored([record(1, UNKNOWN_BODY)]) as one, stored([record(1, None)]) as two:
        assert diff(one, two).changed == {"any": 1}
        with pytest.raises(Exception, match="answered differently"):
            merge([one, two], io.BytesIO())
        merge([two, one], tmp_path / "merged.sqlite", on_conflict="last")
    [merged] = Snapshot(tmp_path / "merged.sqlite").records()
    assert merged.response.source is Source.WITHOUT_BODY


def test_what_came_first_stays(tmp_path: Path) -> None:
    with RecordStore(tmp_path / "s.recording") as store:
        store.declare([ANY, OTHER], name="test")
        assert store.add([record(1, UNKNOWN_BODY)]) == 1
        assert store.add([record(1, "known")]) == 0
        [kept] = store.find([record(1).key]).values()
        assert kept.response.source is Source.WITHOUT_BODY


def test_errors_without_body_teach_nothing_about_misses(tmp_path: Path) -> None:
    bodies = [*[UNKNOWN_BODY] * 3, {"detail": "gone"}]
    with stored([record(number, body, status=404) for number, body in enumerate(bodies)]) as store:
        seal(store, tmp_path / "s.sqlite", learn_misses=True)
    assert Snapshot(tmp_path / "s.sqlite").tools["any"].miss_body == {"detail": "gone"}
    with stored([record(1, UNKNOWN_BODY, status=404)]) as store:
        seal(store, tmp_path / "t.sqlite", learn_misses=True)
    assert Snapshot(tmp_path / "t.sqlite").tools["any"] == ANY
    assert verify_snapshot(tmp_path / "t.sqlite").ok


def lines_of(*records: Record) -> list[dict[str, Any]]:
    file = io.BytesIO()
    with stored(list(records)) as store:
        copy(store, file)
    return [orjson.loads(line) for line in file.getvalue().splitlines()]


def test_its_line_says_so() -> None:
    unknown, null = lines_of(record(1, UNKNOWN_BODY))[1], lines_of(record(1, None))[1]
    assert (unknown.get("without_body"), "body" in unknown) == (True, False)
    assert ("without_body" in null, null["body"]) == (False, None)


@pytest.mark.parametrize(
    "change", [{"body": None}, {"body": {}}, {"without_body": False}, {"without_body": None}, {"without_body": "yes"}]
)
def test_a_line_that_says_both_or_neither_is_refused(change: dict[str, Any]) -> None:
    head, line = lines_of(record(1, UNKNOWN_BODY))
    file = io.BytesIO(b"".join(orjson.dumps(one) + b"\n" for one in (head, line | change)))
    with pytest.raises(SnapshotCorruptError, match=r"line 2: .*without_body"), open_source(file):
        pass


@pytest.fixture(scope="module")
def all_known(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """The same places, every body known: nothing is marked there."""
    path = tmp_path_factory.mktemp("known") / "places.sqlite"
    with SnapshotWriter(path, [FIND], name="places") as writer:
        writer.add(KNOWN, 200, {"number": 7})
        writer.add(NULL, 200, None)
        writer.add(UNKNOWN, 200, "")
    return Snapshot(path)


def test_nothing_else_is_marked(all_known: Snapshot) -> None:
    assert {one.response.source for one in all_known.records()} == {Source.RECORDED}
    assert found(all_known, UNKNOWN).source is Source.RECORDED
