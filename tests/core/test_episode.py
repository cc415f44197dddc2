"""The episode: turns, limits, forks, and agents that send nonsense."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_objects, texts

from toolorch_env.core.calls import Call, Malformed
from toolorch_env.core.episode import Episode
from toolorch_env.core.errors import EpisodeError, MissError
from toolorch_env.core.responses import Source
from toolorch_env.core.scoring import Step
from toolorch_env.core.tasks import Mention, Task
from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.rewards import make_reward
from toolorch_env.store.replay import SnapshotReplay
from toolorch_env.store.snapshot import Snapshot

CALLS = [
    Call("get_author", {"author_id": "A3"}),
    Call("get_author", {"author_id": "A4"}),
    Call("get_town", {"town_id": "T0"}),
    Call("towns_near", {"latitude": 47.1235, "longitude": -8.7654}),
    Call("get_book", {"book_id": "104"}),
    Call("no such tool", {}),
    Call("get_author", {}),
    Malformed("{", "this is no call"),
]
moves = st.lists(st.lists(st.sampled_from(CALLS), min_size=1, max_size=3), max_size=5)


@pytest.fixture(scope="module")
def task(library_snapshot: Snapshot) -> Task:
    return WorkflowGenerator(library_snapshot).task("town_neighbours/3/0/7/0")


@pytest.fixture(scope="module")
def replay(library_snapshot: Snapshot) -> SnapshotReplay:
    return SnapshotReplay(library_snapshot)


def start(task: Task, replay: SnapshotReplay, max_calls: int = 10) -> Episode:
    return Episode(task, replay, make_reward("graduated"), max_calls)


def solution(task: Task) -> list[Call]:
    return [Call(call.tool, call.arguments) for call in task.reference]


def log(steps: list[Step]) -> list[tuple[Any, ...]]:
    return [(s.call, s.canonical, s.response.raw, s.response.status, s.match, s.score, s.turn) for s in steps]


def test_the_solution_followed_by_finish_is_a_success(task: Task, replay: SnapshotReplay) -> None:
    episode = start(task, replay)
    for call in solution(task):
        assert not episode.done
        episode.send([call])
    assert not episode.success
    episode.finish()
    assert episode.success
    assert episode.done
    assert not episode.truncated
    assert episode.total == 1.0
    assert [step.turn for step in episode.steps] == [0, 1, 2]


def test_finishing_early_is_no_success(task: Task, replay: SnapshotReplay) -> None:
    episode = start(task, replay)
    episode.send(solution(task)[:1])
    episode.finish()
    assert episode.finished
    assert not episode.success


def test_completing_everything_at_the_limit_is_truncation(task: Task, replay: SnapshotReplay) -> None:
    episode = start(task, replay, max_calls=3)
    for call in solution(task):
        episode.send([call])
    assert episode.done
    assert episode.truncated
    assert not episode.success


@pytest.mark.parametrize("max_calls", [1, 2, 3])
def test_calls_beyond_the_limit_are_not_made(task: Task, replay: SnapshotReplay, max_calls: int) -> None:
    episode = start(task, replay, max_calls)
    assert len(episode.send(CALLS[:5])) == max_calls
    assert len(episode.steps) == max_calls
    assert episode.truncated


def test_an_ended_episode_takes_no_more(task: Task, replay: SnapshotReplay) -> None:
    finished, truncated = start(task, replay), start(task, replay, 1)
    finished.finish()
    truncated.send(CALLS[:1])
    for episode in (finished, truncated):
        steps = log(episode.steps)
        with pytest.raises(EpisodeError, match=r"ended"):
            episode.send(CALLS[:1])
        with pytest.raises(EpisodeError, match=r"ended"):
            episode.finish()
        assert log(episode.steps) == steps


def test_a_turn_needs_a_call(task: Task, replay: SnapshotReplay) -> None:
    episode = start(task, replay)
    with pytest.raises(EpisodeError, match=r"at least one call"):
        episode.send([])
    assert episode.turns == 0


@given(moves, moves, moves)
def test_forks_are_independent(
    task: Task, replay: SnapshotReplay, before: list[list[Call]], left: list[list[Call]], right: list[list[Call]]
) -> None:
    def run(episode: Episode, turns: list[list[Call]]) -> None:
        for turn in turns:
            episode.send(turn)

    def fresh(*parts: list[list[Call]]) -> Episode:
        episode = start(task, replay, 100)
        for part in parts:
            run(episode, part)
        return episode

    trunk = fresh(before)
    branch = trunk.fork()
    run(branch, left)
    run(trunk, right)
    second = branch.fork()
    branch.finish()
    assert not second.done
    assert not trunk.done
    assert log(branch.steps) == log(second.steps) == log(fresh(before, left).steps)
    assert log(trunk.steps) == log(fresh(before, right).steps)
    assert trunk.progress.complete == fresh(before, right).progress.complete


@given(moves)
def test_every_call_is_answered_and_scored(task: Task, replay: SnapshotReplay, turns: list[list[Call]]) -> None:
    episode = start(task, replay, 100)
    for number, turn in enumerate(turns):
        steps = episode.send(turn)
        assert [step.call for step in steps] == turn
        assert {step.turn for step in steps} == {number}
    assert episode.turns == len(turns)
    assert episode.total == sum(step.score.reward for step in episode.steps)


def test_several_calls_in_one_turn_do_not_see_each_other(task: Task, replay: SnapshotReplay) -> None:
    together, apart = start(task, replay), start(task, replay)
    together.send(solution(task))
    for call in solution(task):
        apart.send([call])
    assert together.progress.complete == apart.progress.complete == [True] * 3
    assert apart.progress.ordered == [True] * 3
    assert together.progress.ordered == [True, False, False]
    assert together.total < apart.total == 1.0


def test_a_tool_that_is_not_on_offer_is_unknown(task: Task, replay: SnapshotReplay) -> None:
    narrow = replace(task, tools=tuple(call.tool for call in task.reference))
    for tool, arguments in (("get_book", {"book_id": 104}), ("no such tool", {"x": 1}), ("", {}), ("\ud800", {})):
        [step] = start(narrow, replay).send([Call(tool, arguments)])
        assert (step.response.status, step.response.source) == (404, Source.UNKNOWN_TOOL)
        assert step.score.reward < 0
        assert not step.response.success
    [offered] = start(task, replay).send([Call("get_book", {"book_id": 104})])
    assert offered.response.success


def nest(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


NOT_JSON = [math.nan, math.inf, -math.inf, 10**30, -(10**30), "\ud800", {"\ud800": 1}, {1: 2}, object(), {1}, b"x"]


@pytest.mark.parametrize("tool", ["get_author", "get_book", "towns_near", "no such tool"])
@pytest.mark.parametrize("value", NOT_JSON, ids=lambda value: f"{type(value).__name__}")
def test_values_that_are_not_json_are_refused_and_scored(
    task: Task, replay: SnapshotReplay, tool: str, value: Any
) -> None:
    for arguments in ({"author_id": value}, {"book_id": [value]}, {"latitude": value, "longitude": {"x": value}}):
        [step] = start(task, replay).send([Call(tool, arguments)])
        assert (step.response.status, step.response.source) == (400, Source.MALFORMED)
        assert step.response.body["detail"]
        assert step.canonical is None
        assert step.score.reward < 0


@pytest.mark.parametrize("depth", [100, 250, 990])
@pytest.mark.parametrize("tool", ["get_author", "no such tool"])
def test_deeply_nested_values_are_refused_and_scored(task: Task, replay: SnapshotReplay, tool: str, depth: int) -> None:
    [step] = start(task, replay).send([Call(tool, {"author_id": nest(depth)})])
    assert not step.response.success
    assert -1 <= step.score.reward <= 0.1


NAMES = ["author_id", "latitude", "longitude", "book_id", "price", "currency"]


@given(
    st.sampled_from(["get_author", "towns_near", "get_book", "convert_price", "x"]),
    json_objects | st.dictionaries(st.sampled_from(NAMES), texts | st.floats()),
)
def test_no_arguments_raise(task: Task, replay: SnapshotReplay, tool: str, arguments: dict[str, Any]) -> None:
    [step] = start(task, replay).send([Call(tool, arguments)])
    assert step.response.body is not None
    assert -1 <= step.score.reward <= 1


@given(st.builds(Malformed, st.text(), st.text()))
def test_what_is_no_call_is_answered_with_its_problem(task: Task, replay: SnapshotReplay, malformed: Malformed) -> None:
    [step] = start(task, replay).send([malformed])
    assert (step.response.status, step.response.source) == (400, Source.MALFORMED)
    assert step.response.body == {"detail": malformed.problem.encode("utf-8", "replace").decode()}
    assert step.score.reward < 0


def test_a_miss_that_raises_leaves_the_episode_as_it_was(task: Task, library_snapshot: Snapshot) -> None:
    episode = start(task, SnapshotReplay(library_snapshot, "raise"))
    with pytest.raises(MissError):
        episode.send([*solution(task)[:1], Call("get_author", {"author_id": "A77"})])
    assert (episode.steps, episode.turns, any(episode.progress.complete)) == ([], 0, False)
    assert len(episode.send(solution(task)[:1])) == 1


def test_a_task_may_mention_a_number_beyond_64_bits(task: Task, replay: SnapshotReplay) -> None:
    episode = start(replace(task, mentions=(*task.mentions, Mention(10**30, "n", 0, 1))), replay)
    for call in solution(task):
        episode.send([call])
    assert episode.progress.all_complete
