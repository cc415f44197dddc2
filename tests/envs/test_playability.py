"""A task counts as playable in numbers exactly where the oracle can make its calls with actions."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from envs.driving import NUMERIC, make, reference_actions
from hypothesis import given
from hypothesis import strategies as st
from rewards.strategies import OTHER_VALUES, tasks
from worlds import WORLD_NAMES, World, world

from toolorch_env.core.errors import InvalidActionError, TaskError
from toolorch_env.core.tasks import Binding, Mention, ReferenceCall, Task
from toolorch_env.envs.playability import why_unplayable
from toolorch_env.envs.tool_orch import ToolOrchEnv
from toolorch_env.envs.vocabulary import MAX_MENTIONS

every_world = pytest.mark.parametrize("name", WORLD_NAMES)
KINDS = ("keep", "unbind", "unsay", "say other", "change value", "pass other", "select other", "repeat", "leave out")


@cache
def env_of(name: str, max_calls: int = 16) -> ToolOrchEnv:
    env: ToolOrchEnv = make(NUMERIC, name, max_calls=max_calls)
    return env


@st.composite
def changed_tasks(draw: st.DrawFn, here: World) -> Task:
    """A task with some of what makes it playable taken away, put elsewhere or replaced."""
    task = draw(tasks(here))
    for _ in range(draw(st.integers(1, 3))):
        task = draw(changed(here, task))
    return task


@st.composite
def changed(draw: st.DrawFn, here: World, task: Task) -> Task:
    kind = draw(st.sampled_from(KINDS))
    index = draw(st.integers(0, len(task.reference) - 1))
    mentions = list(task.mentions)
    if kind == "unsay" and mentions:
        del mentions[draw(st.integers(0, len(mentions) - 1))]
    elif kind == "say other" and mentions:
        place = draw(st.integers(0, len(mentions) - 1))
        mentions[place] = replace(mentions[place], value=draw(values_in(task)))
    elif kind == "repeat":
        return replace(task, reference=(*task.reference, unbound(task.reference[index])))
    elif kind == "leave out" and len(task.reference) > 1:
        kept = [unbound(call) for place, call in enumerate(task.reference) if place != index]
        return replace(task, reference=tuple(kept))
    elif kind != "keep":
        call = draw(changed_calls(here, task, task.reference[index], kind))
        return replace(task, reference=(*task.reference[:index], call, *task.reference[index + 1 :]))
    return replace(task, mentions=tuple(mentions))


@st.composite
def changed_calls(draw: st.DrawFn, here: World, task: Task, call: ReferenceCall, kind: str) -> ReferenceCall:
    names = sorted(here.snapshot.tools.signature(call.tool).parameters) or ["nothing"]
    if kind == "unbind":
        return unbound(call)
    if kind == "select other" and call.bindings:
        binding = draw(st.sampled_from(call.bindings))
        other = replace(binding, select=draw(st.sampled_from(["other", "[0]", "authors[0].author_id", "town_id"])))
        return replace(call, bindings=tuple(other if one == binding else one for one in call.bindings))
    if kind == "change value":
        return replace(call, arguments={**call.arguments, draw(st.sampled_from(names)): draw(values_in(task))})
    if kind == "pass other":
        name = draw(st.sampled_from([*names, "unheard_of"]))
        return replace(call, arguments={**call.arguments, name: draw(st.sampled_from(OTHER_VALUES))})
    return call


def unbound(call: ReferenceCall) -> ReferenceCall:
    return replace(call, bindings=(), after=())


def values_in(task: Task) -> st.SearchStrategy[Any]:
    used = [value for call in task.reference for value in call.arguments.values()]
    return st.sampled_from([*used, *(mention.value for mention in task.mentions), *OTHER_VALUES])


def is_played(env: ToolOrchEnv, task: Task) -> bool:
    """Whether the oracle's actions make all reference calls of a task, and finish."""
    try:
        env.reset(options={"task": task})
        terminated = truncated = False
        for action in reference_actions(env):
            if truncated:
                return False
            _, _, terminated, truncated, _ = env.step(action)
    except (InvalidActionError, TaskError):
        return False
    made = [step.canonical for step in env.episode.steps]
    assert [call and call.key for call in made] == [call.key for call in env.episode.reference.calls]
    return terminated


def judged(env: ToolOrchEnv, task: Task) -> str:
    return why_unplayable(task, env.vocabulary, env.max_calls)


@every_world
@given(data=st.data())
def test_every_generated_task_is_playable(name: str, data: st.DataObject) -> None:
    env, task = env_of(name), data.draw(tasks(world(name)))
    assert judged(env, task) == ""
    assert is_played(env, task)


@every_world
@given(data=st.data(), max_calls=st.sampled_from([16, 16, 3, 2]))
def test_a_task_is_playable_exactly_where_the_oracle_can_play_it(
    name: str, data: st.DataObject, max_calls: int
) -> None:
    env, task = env_of(name, max_calls), data.draw(changed_tasks(world(name)))
    why = judged(env, task)
    assert (why == "") == is_played(env, task), why


@given(data=st.data())
def test_optional_calls_and_setups_are_followed_as_they_are_played(data: st.DataObject) -> None:
    here, env = world("bank"), env_of("bank")
    changing = here.snapshot.tools.state_changing
    task = data.draw(tasks(here).filter(lambda task: len(task.reference) > 2))
    begun = data.draw(st.integers(0, 2))
    reference = [
        replace(call, bindings=(), after=(), optional=call.tool not in changing and index > begun)
        for index, call in enumerate(task.reference)
    ]
    later = replace(task, setup=tuple(reference[:begun]), reference=tuple(reference[begun:]))
    assert (judged(env, later) == "") == is_played(env, later)


def test_both_kinds_of_tasks_are_met() -> None:
    """The property above would say nothing if all changed tasks were of one kind."""
    counts = {True: 0, False: 0}

    @given(data=st.data())
    def count(data: st.DataObject) -> None:
        counts[judged(env_of("library"), data.draw(changed_tasks(world("library")))) == ""] += 1

    count()
    assert min(counts.values()) >= 20


GET_AUTHOR = ReferenceCall("get_author", {"author_id": "A3"})
GET_TOWN = ReferenceCall("get_town", {"town_id": "T0"}, (Binding("town_id", 0, "town_id"),))
TOOLS = ("get_author", "get_town", "books_of_author", "book_by_title", "opening_hours", "convert_price")


def task_of(*reference: ReferenceCall, said: tuple[Any, ...] = ("A3",), **options: Any) -> Task:
    mentions = tuple(Mention(value, "kind", 0, 0) for value in said)
    return Task("t", "A3", options.pop("tools", TOOLS), reference, mentions, **options)


HOURS = ReferenceCall("opening_hours", {"weekday": "Monday"})
TITLE = "Book 15"
BY_TITLE = ReferenceCall("book_by_title", {"title": TITLE})
BOOKS = ReferenceCall("books_of_author", {"author_id": "A3"})


@pytest.mark.parametrize(
    ("task", "why"),
    [
        (task_of(GET_AUTHOR, GET_TOWN), ""),
        (task_of(GET_AUTHOR, unbound(GET_TOWN)), ""),  # a link gives it, whether the solution says so or not
        (task_of(BOOKS, BY_TITLE), ""),
        (task_of(GET_AUTHOR, GET_TOWN, said=()), "call 0 (get_author): neither the query nor a recent response says"),
        (task_of(GET_AUTHOR, HOURS), "call 1 (opening_hours): neither the query nor a recent response says weekday"),
        (task_of(GET_AUTHOR, replace(GET_TOWN, arguments={"town_id": "T1"})), "is not what town_id gives on one of"),
        (
            task_of(GET_AUTHOR, replace(HOURS, bindings=(Binding("weekday", 0, "name"),))),
            "call 1 (opening_hours): the snapshot is not compiled for weekday from get_author: name",
        ),
        (task_of(*[HOURS] * 16, said=("Monday",)), "16 calls, and an episode at most 16"),
        (task_of(HOURS, said=("Monday",) * (MAX_MENTIONS + 1)), f"mentions {MAX_MENTIONS + 1} values"),
        (task_of(HOURS, said=("Monday",), tools=(*TOOLS, "teleport")), "'teleport', which is not in the snapshot"),
        (task_of(HOURS, said=("Monday",), setup=(GET_TOWN,)), ""),
        (
            task_of(HOURS, said=("Monday",), setup=(ReferenceCall("get_town", {"town_id": "T9"}),)),
            "nothing is recorded for get_town of its setup",
        ),
        # a mention whose form fits no tool is masked, even where the solution would pass it
        (task_of(ReferenceCall("get_author", {"author_id": "3"}), said=("3",)), "neither the query nor a recent"),
        (task_of(ReferenceCall("get_author", {"author": "A3"})), "there is no parameter 'author'"),
    ],
)  # fmt: skip
def test_why_a_task_is_not_playable(task: Task, why: str) -> None:
    env = env_of("library")
    told = judged(env, task)
    assert why in told
    assert bool(why) == bool(told)
    assert is_played(env, task) == (not told)


def test_only_the_latest_two_responses_of_a_tool_can_be_used() -> None:
    """A3 lives in T0, A4 in T1, A5 in T2: the third last is out of reach."""
    authors = [ReferenceCall("get_author", {"author_id": f"A{number}"}) for number in (3, 4, 5)]
    env = env_of("library")
    for count, reach in ((2, True), (3, False)):
        task = task_of(*authors[:count], GET_TOWN, said=("A3", "A4", "A5"))
        assert (judged(env, task) == "") == reach == is_played(env, task)
    assert "is not what town_id gives on one of the latest 2 responses of get_author" in judged(env, task)


def test_long_values_are_told_in_short() -> None:
    why = judged(env_of("library"), task_of(ReferenceCall("opening_hours", {"weekday": "Monday" * 100})))
    assert len(why) < 200
    assert why.endswith("...")


def test_an_error_takes_no_place_among_the_latest_responses() -> None:
    """Links refer to what the API answered with success: an error between two look-ups is passed over."""
    authors = [ReferenceCall("get_author", {"author_id": name}) for name in ("A3", "A999", "A4")]
    task = task_of(*authors, GET_TOWN, said=("A3", "A999", "A4"))
    env = env_of("library")
    assert judged(env, task) == ""
    assert is_played(env, task)
    assert env.episode.steps[1].response.status == 404
