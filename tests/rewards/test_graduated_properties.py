"""The five promises of the graduated reward, on generated tasks and generated call sequences."""

from itertools import chain

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rewards.seen_model import leaves, stands_in_query, was_allowed
from rewards.strategies import (
    AnyCall,
    Turns,
    play,
    reference_call,
    reference_turns,
    states_of,
    tasks,
    turns,
    valid_orders,
)
from worlds import WORLD_NAMES, World, world

from toolorch_env.core.calls import Call
from toolorch_env.core.progress import Reference
from toolorch_env.core.tasks import Task
from toolorch_env.rewards import GraduatedReward

REWARD = GraduatedReward()
every_world = pytest.mark.parametrize("name", WORLD_NAMES)


@every_world
@given(data=st.data())
def test_rewards_add_up_exactly_to_final_potential_minus_penalties(name: str, data: st.DataObject) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    scores = [step.score for step in play(here, task, data.draw(turns(here, task, 1)), REWARD).steps]
    assert sum(score.reward for score in scores) == scores[-1].potential - sum(score.penalty for score in scores)


@every_world
@given(data=st.data())
def test_reference_calls_in_any_valid_order_and_grouping_return_exactly_one(name: str, data: st.DataObject) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    order = data.draw(valid_orders(task))
    episode = play(here, task, [[reference_call(task, index) for index in group] for group in order], REWARD)
    assert episode.total == 1.0
    assert episode.success


@every_world
@given(data=st.data())
def test_reference_calls_by_dependency_level_return_exactly_one(name: str, data: st.DataObject) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    levels: Turns = [[] for _ in range(task.depth)]
    for index, level in enumerate(task.levels):
        levels[level].append(reference_call(task, index))
    assert play(here, task, levels, REWARD).total == 1.0


@every_world
@given(data=st.data())
def test_nothing_returns_more_than_one(name: str, data: st.DataObject) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    episode = play(here, task, data.draw(turns(here, task)), REWARD)
    assert episode.total <= 1.0
    assert episode.total < 1.0 or (episode.success and all(episode.progress.ordered))


@every_world
@given(data=st.data())
def test_a_prefix_of_the_reference_returns_less_than_one(name: str, data: st.DataObject) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    length = data.draw(st.integers(0, len(task.reference) - 1))
    assert play(here, task, reference_turns(task)[:length], REWARD).total < 1.0


@every_world
@given(data=st.data())
def test_the_reference_without_one_call_returns_less_than_one(name: str, data: st.DataObject) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    sequence = reference_turns(task)
    del sequence[data.draw(st.integers(0, len(sequence) - 1))]
    assert play(here, task, sequence, REWARD).total < 1.0


@every_world
@given(data=st.data())
def test_a_shuffle_of_the_reference_returns_one_exactly_when_every_value_was_seen_in_time(
    name: str, data: st.DataObject
) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    order = data.draw(st.permutations(range(len(task.reference))))
    episode = play(here, task, _in_groups(data, [reference_call(task, index) for index in order]), REWARD)
    broken = [s for s in episode.steps if s.match.step is None or not was_allowed(episode, s.match.step, s)]
    assert (episode.total < 1.0) if broken else (episode.total == 1.0)


@every_world
@given(data=st.data())
def test_calls_are_ordered_exactly_when_every_value_was_seen_before(name: str, data: st.DataObject) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    episode = play(here, task, data.draw(turns(here, task, 1)), REWARD)
    for step in episode.steps:
        if not step.match.completes:
            assert not step.match.ordered
            continue
        assert step.match.step is not None
        assert step.canonical is not None
        allowed = was_allowed(episode, step.match.step, step)
        if step.canonical.same_as(episode.reference.calls[step.match.step]):
            assert step.match.ordered == allowed
        else:  # another way to ask has to account for more
            assert allowed or not step.match.ordered


@every_world
@given(data=st.data())
def test_repeating_any_call_later_costs_the_penalty_and_changes_nothing_else(name: str, data: st.DataObject) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    sequence = data.draw(turns(here, task, 1))
    states = states_of(here, task, sequence)
    places = [  # to repeat a call is to make it again before anything has changed
        (call, later)
        for first, turn in enumerate(sequence)
        for later in range(first, len(sequence))
        for call in turn
        if states[first] == states[later + 1]
    ]
    assume(places)
    call, later = data.draw(st.sampled_from(places))
    longer = [list(turn) for turn in sequence]
    if data.draw(st.booleans()):
        longer.insert(later + 1, [call])
    else:
        longer[later].append(call)
    _assert_only_penalty_added(here, task, sequence, longer, 1)


@every_world
@given(data=st.data())
def test_calls_of_unneeded_tools_cost_the_penalty_and_change_nothing_else(name: str, data: st.DataObject) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    sequence = data.draw(st.just(reference_turns(task)) | turns(here, task, 1))
    calls = [call for call in here.recorded if _is_of_no_use(here, task, call)]
    assume(calls)
    added = data.draw(st.lists(st.sampled_from(calls), min_size=1, max_size=3))
    longer = [list(turn) for turn in sequence]
    for call in added:
        longer.insert(data.draw(st.integers(0, len(longer))), [call])
    _assert_only_penalty_added(here, task, sequence, longer, len(added))


@every_world
@given(data=st.data())
def test_a_call_made_with_guessed_values_never_gets_the_ordered_credit(name: str, data: st.DataObject) -> None:
    here = world(name)
    task = data.draw(tasks(here).filter(lambda task: any(_must_be_seen(task, i) for i in range(len(task.reference)))))
    guessed = data.draw(st.sampled_from([i for i in range(len(task.reference)) if _must_be_seen(task, i)]))
    sequence = [[reference_call(task, guessed)], *reference_turns(task)]
    again = data.draw(st.booleans())
    if not again:
        del sequence[1 + guessed]
    episode = play(here, task, sequence, REWARD)
    assert not episode.steps[0].match.ordered
    if episode.steps[0].match.step != guessed:  # there was nothing yet in this state that it could have been made on
        assert episode.reference.calls[guessed].state
        return
    assert episode.success
    assert not episode.progress.ordered[guessed]
    assert episode.total <= 1.0 - (1 - REWARD.alpha) / len(task.reference) - again * REWARD.penalty + 1e-9


def _assert_only_penalty_added(here: World, task: Task, shorter: Turns, longer: Turns, count: int) -> None:
    before, after = play(here, task, shorter, REWARD), play(here, task, longer, REWARD)
    assert after.total == before.total - count * REWARD.penalty
    assert after.progress.complete == before.progress.complete
    assert after.progress.ordered == before.progress.ordered


def _in_groups(data: st.DataObject, calls: list[Call]) -> Turns:
    """The calls in their order, split into turns anywhere."""
    groups: Turns = [[]]
    for call in calls:
        if groups[-1] and data.draw(st.booleans()):
            groups.append([])
        groups[-1].append(call)
    return groups


def _is_of_no_use(here: World, task: Task, call: AnyCall) -> bool:
    """Whether a call changes nothing, nor is its tool needed, its response another way, or source of a needed value."""
    assert isinstance(call, Call)
    needed = Reference(task, here.snapshot.tools, here.replay.look_up)
    if call.tool in {reference.tool for reference in needed.calls} | here.snapshot.tools.state_changing:
        return False
    responses = here.responses[here.snapshot.tools.canonical(call).key]
    used = set(chain.from_iterable(leaves(reference.arguments) for reference in needed.calls))
    same = {response.digest for response in responses if response.digest}.intersection(needed.digests)
    return not same and not any(used & leaves(response.body) for response in responses)


def _must_be_seen(task: Task, index: int) -> bool:
    """Whether a reference call takes a value from a response that stands nowhere in the query."""
    call = task.reference[index]
    values = [leaf for binding in call.bindings for leaf in leaves(call.arguments.get(binding.parameter))]
    return any(not stands_in_query(task, leaf) for leaf in values)
