"""Nothing that an agent sees depends on the reference solution: swapping it changes rewards only."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, permutations
from typing import Any

import numpy as np
import pytest
from envs.driving import NUMERIC, TEXT, make, random_act, reference_actions, same, texts_for
from hypothesis import given
from hypothesis import strategies as st
from worlds import TASK_SEEDS, WORLD_NAMES, World, world

from toolorch_env.core.tasks import ReferenceCall, Task

every_world = pytest.mark.parametrize("name", WORLD_NAMES)


def other_references(here: World, task: Task) -> Iterator[tuple[ReferenceCall, ...]]:
    """Other solutions under the same query: none of them may be noticed."""
    plain = [ReferenceCall(call.tool, call.arguments) for call in task.reference]
    yield tuple(reversed(plain))
    yield from (tuple(order) for order, _ in zip(permutations(plain), range(4), strict=False))
    yield tuple(plain[:1])
    yield tuple(plain[-1:])
    yield (*plain, *plain)
    yield tuple(ReferenceCall(call.tool, {}) for call in plain)
    yield tuple(ReferenceCall(call.tool, dict.fromkeys(call.arguments, "other")) for call in plain)
    yield (ReferenceCall(task.tools[0], {}),)
    yield tuple(replace(call, turn=0) for call in task.reference)
    for seed in range(6):
        other = here.task("train", seed).reference
        if all(call.tool in task.tools for call in other):
            yield other


@st.composite
def twin_tasks(draw: st.DrawFn, here: World) -> tuple[Task, Task]:
    """A task, and the same one with another solution."""
    task = here.task(draw(st.sampled_from(here.splits)), draw(st.integers(0, TASK_SEEDS - 1)))
    reference = draw(st.sampled_from(list(other_references(here, task))))
    return task, replace(task, reference=reference)


def without_rewards(info: dict[str, Any]) -> dict[str, Any]:
    """What may not depend on the solution."""
    return {name: value for name, value in info.items() if name not in ("reward", "is_success", "is_clean_success")}


ENVS: dict[tuple[str, str], tuple[Any, Any]] = {}


def twin_envs(env_id: str, name: str) -> tuple[Any, Any]:
    """Two environments with a low limit, so that truncation is met."""
    if (env_id, name) not in ENVS:
        ENVS[env_id, name] = (make(env_id, name, max_calls=6), make(env_id, name, max_calls=6))
    return ENVS[env_id, name]


def assert_indistinguishable(env: Any, other: Any, tasks: tuple[Task, Task], actions: Iterator[Any]) -> None:
    """Plays both tasks with the same actions."""
    assert same(env.reset(options={"task": tasks[0]}), other.reset(options={"task": tasks[1]}))
    assert env.episode.max_calls == other.episode.max_calls
    for action in actions:
        if hasattr(env, "action_masks"):
            assert same(env.action_masks(), other.action_masks())
        left, right = env.step(action), other.step(action)
        assert same(left[0], right[0])
        assert left[2:4] == right[2:4]
        assert same(without_rewards(left[4]), without_rewards(right[4]))
        if left[2] or left[3]:
            return


@every_world
@given(data=st.data())
def test_numbers_do_not_depend_on_the_solution(name: str, data: st.DataObject) -> None:
    env, other = twin_envs(NUMERIC, name)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    tasks = data.draw(twin_tasks(world(name)))
    assert_indistinguishable(env, other, tasks, (random_act(env, rng) for _ in range(10)))


@every_world
@given(data=st.data())
def test_numbers_do_not_depend_on_the_solution_while_it_is_played(name: str, data: st.DataObject) -> None:
    env, other = twin_envs(NUMERIC, name)
    tasks = data.draw(twin_tasks(world(name)))
    assert_indistinguishable(env, other, tasks, _solution_and_more(env, data))


def _solution_and_more(env: Any, data: st.DataObject) -> Iterator[Any]:
    """Right calls up to some point, the latest of them again, then anything."""
    action = env.action_for(None)
    for action in islice(reference_actions(env), data.draw(st.integers(0, 6))):
        yield action
    yield action
    while True:
        yield env.action_space.sample()


@every_world
@given(data=st.data())
def test_words_do_not_depend_on_the_solution(name: str, data: st.DataObject) -> None:
    env, other = twin_envs(TEXT, name)
    tasks = data.draw(twin_tasks(world(name)))
    messages = data.draw(st.lists(texts_for(tasks[0]), max_size=5))
    assert_indistinguishable(env, other, tasks, iter([*messages, "That is all."]))


@every_world
@given(data=st.data())
def test_actions_for_calls_do_not_depend_on_the_solution(name: str, data: st.DataObject) -> None:
    env, other = twin_envs(NUMERIC, name)
    task, twin = data.draw(twin_tasks(world(name)))
    env.reset(options={"task": task})
    other.reset(options={"task": twin})
    for call in task.reference[: env.max_calls]:
        action = env.action_for(call)
        assert same(action, other.action_for(call))
        env.step(action)
        other.step(action)
