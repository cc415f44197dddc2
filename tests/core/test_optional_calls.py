"""Optional reference calls: they earn nothing, cost nothing, and nothing depends on them."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rewards.strategies import (
    POTENTIALS,
    Turns,
    any_reward,
    near_misses,
    play,
    reference_call,
    reference_turns,
    tasks,
    valid_orders,
)
from worlds import WORLD_NAMES, World, world

from toolorch_env.core.calls import Call
from toolorch_env.core.episode import Episode
from toolorch_env.core.errors import TaskError
from toolorch_env.core.tasks import Binding, Mention, ReferenceCall, Task
from toolorch_env.evaluation.metrics import episode_result
from toolorch_env.generation.checking import task_problems
from toolorch_env.rewards import GraduatedReward, PotentialReward

every_world = pytest.mark.parametrize("name", WORLD_NAMES)
every_reward = pytest.mark.parametrize("reward", [make() for make in POTENTIALS.values()], ids=list(POTENTIALS))


@st.composite
def tasks_with_optional_calls(draw: st.DrawFn, here: World) -> Task:
    """A task with some of its read-only calls optional, at least one of them, and at least one call required."""
    reads = set(here.snapshot.tools) - here.snapshot.tools.state_changing
    task = draw(tasks(here).filter(lambda task: len(task.reference) > 1 and any_reads(task, reads)))
    candidates = [index for index, call in enumerate(task.reference) if call.tool in reads]
    most = min(len(candidates), len(task.reference) - 1)
    chosen = draw(st.sets(st.sampled_from(candidates), min_size=1, max_size=most))
    reference = [replace(call, optional=index in chosen) for index, call in enumerate(task.reference)]
    return replace(task, reference=tuple(reference))


def any_reads(task: Task, reads: set[str]) -> bool:
    return any(call.tool in reads for call in task.reference)


def optional_calls(task: Task) -> list[int]:
    return [index for index, call in enumerate(task.reference) if call.optional]


@st.composite
def solutions(draw: st.DrawFn, task: Task) -> Turns:
    """The known solution in an order that respects its dependencies, with some optional calls left out."""
    made = {*task.required, *draw(st.sets(st.sampled_from(optional_calls(task))))}
    kept = [[index for index in group if index in made] for group in draw(valid_orders(task))]
    return [[reference_call(task, index) for index in group] for group in kept if group]


@every_world
@given(data=st.data(), reward=any_reward())
def test_solutions_with_and_without_them_return_exactly_one(
    name: str, data: st.DataObject, reward: PotentialReward
) -> None:
    here = world(name)
    task = data.draw(tasks_with_optional_calls(here))
    episode = play(here, task, data.draw(solutions(task)), reward)
    assert episode.total == 1.0
    assert episode.success
    assert episode.clean_success
    assert not any(step.score.penalty for step in episode.steps)


@every_world
@given(data=st.data(), reward=any_reward())
def test_none_of_them_earns_or_costs_anything(name: str, data: st.DataObject, reward: PotentialReward) -> None:
    here = world(name)
    task = data.draw(tasks_with_optional_calls(here))
    for step in play(here, task, data.draw(solutions(task)), reward).steps:
        if step.match.step in optional_calls(task):
            assert step.score.reward == step.score.penalty == 0.0


@every_world
@given(data=st.data(), reward=any_reward())
def test_a_required_call_that_is_dropped_returns_less(name: str, data: st.DataObject, reward: PotentialReward) -> None:
    here = world(name)
    task = data.draw(tasks_with_optional_calls(here))
    dropped = data.draw(st.sampled_from(task.required))
    calls = [reference_call(task, index) for index in range(len(task.reference)) if index != dropped]
    episode = play(here, task, [[call] for call in calls], reward)
    assert episode.total < 1.0
    assert not episode.success
    assert not episode.clean_success


@every_world
@given(data=st.data(), reward=any_reward())
def test_made_again_they_cost_what_any_repetition_costs(
    name: str, data: st.DataObject, reward: PotentialReward
) -> None:
    here = world(name)
    task = data.draw(tasks_with_optional_calls(here))
    index = data.draw(st.sampled_from(optional_calls(task)))
    turns = [[reference_call(task, step)] for step in range(index + 1)]
    before, after = (play(here, task, [*turns, *turns[-1:] * again], reward) for again in (0, 1))
    assert after.total == before.total - reward.penalty


@every_world
@given(data=st.data())
def test_metrics_do_not_count_them(name: str, data: st.DataObject) -> None:
    here = world(name)
    task = data.draw(tasks_with_optional_calls(here))
    turns = data.draw(solutions(task))
    result = episode_result(play(here, task, turns, GraduatedReward()))
    assert result.complete_calls == result.reference_calls == len(task.required)
    assert result.complete_turns == result.reference_turns == len({task.turns[index] for index in task.required})
    assert (result.success, result.clean_success, result.total, result.errors) == (True, True, 1.0, {})
    assert result.calls == sum(map(len, turns))
    nothing = episode_result(play(here, task, [], GraduatedReward()))
    assert (nothing.complete_calls, nothing.reference_calls) == (0, len(task.required))


@every_world
@given(data=st.data(), reward=any_reward())
def test_a_call_too_many_is_not_clean_however_many_were_left_out(
    name: str, data: st.DataObject, reward: PotentialReward
) -> None:
    here = world(name)
    task = data.draw(tasks_with_optional_calls(here))
    turns = data.draw(solutions(task))
    episode = play(here, task, [*turns, [Call("no_such_tool", {})]], reward)
    assert episode.success
    assert not episode.clean_success
    assert episode.total == 1.0 - reward.penalty


@every_world
@given(data=st.data(), reward=any_reward())
def test_a_fork_goes_on_by_itself(name: str, data: st.DataObject, reward: PotentialReward) -> None:
    here = world(name)
    task = data.draw(tasks_with_optional_calls(here))
    turns = data.draw(solutions(task))
    place = data.draw(st.integers(0, len(turns)))
    episode = Episode(task, here.replay, reward, max_calls=100)
    for turn in turns[:place]:
        episode.send(turn)
    fork = episode.fork()
    fork.send([data.draw(near_misses(task)) for _ in range(3)])
    for turn in turns[place:]:
        episode.send(turn)
    episode.finish()
    assert episode.total == 1.0
    assert len(fork.steps) == sum(map(len, turns[:place])) + 3


@given(data=st.data())
def test_nearly_made_they_earn_nothing(data: st.DataObject) -> None:
    """Whatever is tried with a tool that only optional calls use, the potential stays."""
    here = world("library")
    task = data.draw(tasks_with_optional_calls(here))
    needed = {task.reference[index].tool for index in task.required}
    calls = data.draw(st.lists(near_misses(task), min_size=1, max_size=5))
    for step in play(here, task, [[call] for call in calls], GraduatedReward()).steps:
        if isinstance(step.call, Call) and step.call.tool not in needed and step.match.step is None:
            assert step.score.reward == -step.score.penalty


GET_AUTHOR = ReferenceCall("get_author", {"author_id": "A3"})
GET_TOWN = ReferenceCall("get_town", {"town_id": "T0"}, (Binding("town_id", 0, "town_id"),))
BOOK = ReferenceCall("get_book", {"book_id": 103})


def optional(call: ReferenceCall) -> ReferenceCall:
    return replace(call, optional=True)


def library_task(*reference: ReferenceCall, query: str = "Author A3, please.") -> Task:
    place = query.find("A3")
    mentions = (Mention("A3", "author", place, place + 2),) if place >= 0 else ()
    return Task("t", query, tuple(world("library").snapshot.tools), reference, mentions)


def total(task: Task, *turns: list[int], reward: PotentialReward | None = None) -> float:
    """The return of reference calls by number, turn by turn."""
    calls = [[reference_call(task, index) for index in turn] for turn in turns]
    return play(world("library"), task, calls, reward or GraduatedReward()).total


def test_what_comes_from_an_optional_call_may_be_known_already() -> None:
    task = library_task(optional(GET_AUTHOR), GET_TOWN)
    assert total(task, [1]) == total(task, [0], [1]) == total(task, [1], [0]) == total(task, [0, 1]) == 1.0
    assert total(replace(task, reference=(GET_AUTHOR, GET_TOWN)), [1]) < 1.0


def test_what_comes_from_a_required_call_must_be_seen_also_beside_optional_ones() -> None:
    other = ReferenceCall("get_town", {"town_id": "T1"})
    task = library_task(GET_AUTHOR, GET_TOWN, optional(other))
    assert total(task, [0], [1]) == total(task, [2], [0], [1]) == 1.0
    assert total(task, [1], [0]) < 1.0
    assert total(task, [2], [1], [0]) < 1.0


def test_an_order_after_an_optional_call_does_not_bind() -> None:
    later = replace(BOOK, after=(0,))
    assert total(library_task(optional(GET_AUTHOR), later), [1], [0]) == 1.0
    assert total(library_task(GET_AUTHOR, later), [1], [0]) < 1.0


@every_reward
@pytest.mark.parametrize("first", [0, 1], ids=["the optional one first", "the required one first"])
def test_a_call_that_is_both_optional_and_required_counts_where_it_is_required(
    reward: PotentialReward, first: int
) -> None:
    pair = [optional(BOOK), BOOK] if first == 0 else [BOOK, optional(BOOK)]
    task = library_task(GET_AUTHOR, *pair)
    assert total(task, [0], [1], reward=reward) == 1.0  # made once
    assert total(task, [0], [1], [2], reward=reward) == 1.0
    assert total(task, [0, 1, 2], reward=reward) == 1.0
    assert total(task, [1], [2], [1], [0], reward=reward) == 1.0 - reward.penalty


@every_reward
def test_an_optional_call_whose_turn_it_is_does_not_spoil_the_same_call_later(reward: PotentialReward) -> None:
    task = library_task(optional(BOOK), GET_AUTHOR, replace(BOOK, after=(1,)))
    assert total(task, [0], [1], [2], reward=reward) == 1.0
    assert total(task, [1], [2], reward=reward) == 1.0
    assert total(task, [1], [2], [0], reward=reward) == 1.0


@every_reward
def test_of_two_equal_required_calls_the_one_whose_turn_it_is_is_made(reward: PotentialReward) -> None:
    task = library_task(GET_AUTHOR, replace(BOOK, after=(0,)), BOOK)
    assert total(task, [2], [0], [1], reward=reward) == total(task, [0], [1], [2], reward=reward) == 1.0


def test_out_of_order_it_is_the_optional_one_that_is_made() -> None:
    """So the required one can still be made when it is its turn; the call out of order costs the penalty."""
    bound = replace(GET_TOWN, after=(0,))
    task = library_task(GET_AUTHOR, bound, optional(bound), query="Where does A3 live?")
    assert total(task, [1], [0], [2]) == 1.0 - GraduatedReward().penalty
    assert total(task, [1], [0]) < 1.0 - GraduatedReward().penalty
    reference = (GET_AUTHOR, bound, bound)
    assert total(replace(task, reference=reference), [1], [0], [2]) < 1.0 - GraduatedReward().penalty


def test_a_near_miss_counts_for_the_required_call_of_the_tool() -> None:
    other = ReferenceCall("get_author", {"author_id": "A7"})
    for task in (library_task(optional(GET_AUTHOR), other), library_task(other, optional(GET_AUTHOR))):
        episode = play(world("library"), task, [[Call("get_author", {"author_id": "A5"})]], GraduatedReward())
        required = task.required[0]
        assert episode.steps[0].score.matched == required
        assert episode.steps[0].score.reward > 0
        done = play(world("library"), task, [[Call(c.tool, c.arguments)] for c in task.reference], GraduatedReward())
        assert done.total == 1.0


def test_a_guess_that_an_optional_call_completes_costs_the_penalty_and_spoils_nothing() -> None:
    """Its own values have to be seen, too: it is not made as the reference makes it."""
    town = replace(GET_TOWN, optional=True)
    task = library_task(GET_AUTHOR, town, query="The one author, please, who has 3 after an A.")
    assert total(task, [0], [1]) == total(task, [0]) == 1.0
    assert total(task, [1], [0]) == 1.0 - GraduatedReward().penalty


def test_a_task_with_optional_calls_only_is_refused() -> None:
    with pytest.raises(TaskError, match="'t' has no reference calls but optional ones"):
        library_task(optional(GET_AUTHOR), optional(BOOK))


def test_an_optional_change_of_the_state_is_refused() -> None:
    bank = world("bank")
    opened = ReferenceCall("open_account", {"owner": "Cleo"}, optional=True)
    task = Task("t", "Cleo", tuple(bank.snapshot.tools), (opened, ReferenceCall("list_accounts", {}, after=(0,))))
    with pytest.raises(TaskError, match="'open_account' changes the state"):
        Episode(task, bank.replay, GraduatedReward(), max_calls=5)
    assert any("'open_account' changes the state" in problem for problem in task_problems(task, bank.replay))


def test_a_change_that_is_ordered_by_an_optional_call_only_is_told() -> None:
    """Where the call between two others is left out, nothing keeps them in their order."""
    bank = world("bank")
    opened, listed = ReferenceCall("open_account", {"owner": "Cleo"}), ReferenceCall("list_accounts", {}, after=(0,))
    got = ReferenceCall("get_account", {"account_id": "AC3"}, (Binding("account_id", 1, "accounts[2].account_id"),))
    mentions = (Mention("Cleo", "person", 0, 4),)
    task = Task("t", "Cleo", tuple(bank.snapshot.tools), (opened, listed, got), mentions)
    assert list(task_problems(task, bank.replay)) == []
    loose = replace(task, reference=(opened, optional(listed), got))
    [problem] = task_problems(loose, bank.replay)
    assert "call 2 (get_account) must come after call 0" in problem


@every_world
@given(data=st.data())
def test_they_stay_optional_as_json(name: str, data: st.DataObject) -> None:
    task = data.draw(tasks_with_optional_calls(world(name)))
    back: Any = Task.from_json(task.to_json())
    assert back == task
    assert back.required == task.required
    assert reference_turns(back) == reference_turns(task)
