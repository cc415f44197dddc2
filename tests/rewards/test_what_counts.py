"""What counts as seen, and what as complete: cases that generated sequences seldom meet."""

import pytest
from rewards.strategies import play, reference_call, reference_turns
from worlds import world

from toolorch_env.core.calls import Call
from toolorch_env.core.episode import Episode
from toolorch_env.core.tasks import Binding, ReferenceCall, Task
from toolorch_env.core.tools import Tool
from toolorch_env.rewards import GraduatedReward
from toolorch_env.store.replay import SnapshotReplay
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.writer import SnapshotWriter

REWARD = GraduatedReward()


def tool(name: str, parameter: str) -> Tool:
    """A tool with one text parameter."""
    return Tool(name, name, {"type": "object", "properties": {parameter: {"type": "string"}}, "required": [parameter]})


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> SnapshotReplay:
    """People and cars; an unknown person is answered with an error that tells of a car."""
    path = tmp_path_factory.mktemp("cars") / "cars.sqlite"
    with SnapshotWriter(path, [tool("get_person", "person"), tool("get_car", "car")], name="cars") as writer:
        writer.add(Call("get_person", {"person": "Ada"}), 200, {"person": "Ada", "car": "ZH-1"})
        writer.add(Call("get_person", {"person": "Bob"}), 404, {"detail": "no Bob", "cars": ["ZH-1"]})
        writer.add(Call("get_person", {"person": "ZH-1"}), 200, {"person": "ZH-1", "car": None})
        writer.add(Call("get_car", {"car": "ZH-1"}), 200, {"car": "ZH-1", "colour": "red"})
    return SnapshotReplay(Snapshot(path))


@pytest.fixture
def task() -> Task:
    """Ada's car."""
    car = ReferenceCall("get_car", {"car": "ZH-1"}, (Binding("car", 0, "car"),))
    return Task(
        "car", "Which car has Ada?", ("get_person", "get_car"), (ReferenceCall("get_person", {"person": "Ada"}), car)
    )


@pytest.mark.parametrize(
    ("first", "seen"),
    [
        (Call("get_person", {"person": "Ada"}), True),
        (Call("get_person", {"person": "Bob"}), True),  # the API's own errors are responses, too
        (Call("get_person", {"person": "ZH-1"}), False),  # a response that repeats a guess tells nothing
        (Call("get_person", {"person": "Eve"}), False),
    ],
)
def test_a_value_is_seen_in_a_recorded_response_that_does_not_merely_repeat_it(
    replay: SnapshotReplay, task: Task, first: Call, seen: bool
) -> None:
    episode = Episode(task, replay, REWARD, max_calls=9)
    for call in (first, reference_call(task, 1)):
        episode.send([call])
    assert episode.progress.complete[1]
    assert episode.progress.ordered[1] == seen


def test_a_call_that_must_come_after_another_may_not_share_its_turn() -> None:
    here = world("library")
    task = next(task for task in here.tasks(40) if task.workflow == "compare_authors")
    (left,), (right,), (left_town,), (right_town,) = reference_turns(task)
    assert play(here, task, [[left, right], [left_town], [right_town]], REWARD).total == 1.0
    for broken in ([[left, right], [left_town, right_town]], [[left, right], [right_town], [left_town]]):
        episode = play(here, task, broken, REWARD)
        assert episode.success
        assert episode.progress.ordered == [True, True, True, False]


def test_another_way_to_ask_completes_one_reference_call_however_often_it_is_made() -> None:
    here = world("library")
    years = [Call("search_authors", {"born_from": year}) for year in (1898, 1899, 1900)]  # all have one answer
    reference = tuple(ReferenceCall(call.tool, dict(call.arguments)) for call in years[:2])
    task = Task("years", "1898, 1899 or 1900?", ("search_authors",), reference)
    assert sum(play(here, task, [[years[2]], [years[2]]], REWARD).progress.complete) == 1
    assert play(here, task, [[years[0]], [years[1]]], REWARD).total == 1.0


def test_a_call_that_the_reference_makes_twice_has_to_be_made_twice() -> None:
    here = world("library")
    call = Call("get_author", {"author_id": "A7"})
    task = Task("twice", "A7, A7", ("get_author",), (ReferenceCall(call.tool, dict(call.arguments)),) * 2)
    assert play(here, task, [[call]], REWARD).total == 0.5
    assert play(here, task, [[call], [call]], REWARD).total == 1.0
    assert play(here, task, [[call], [call], [call]], REWARD).total == 1.0 - REWARD.penalty
