"""Masks are right: what is open resolves, what is closed does not, and they suffice to solve every task."""

from itertools import islice
from typing import Any

import jmespath
import numpy as np
import pytest
from envs.driving import NUMERIC, make, random_act, reference_actions
from hypothesis import given
from hypothesis import strategies as st
from worlds import TASK_SEEDS, WORLD_NAMES, world

from toolorch_env.core.calls import Call
from toolorch_env.core.errors import InvalidActionError
from toolorch_env.core.tasks import Mention, ReferenceCall, Task
from toolorch_env.envs.vocabulary import MAX_MENTIONS, RECENT_RESPONSES
from toolorch_env.policies.random import random_action
from toolorch_env.store.selection import Selector

every_world = pytest.mark.parametrize("name", WORLD_NAMES)
ENVS: dict[str, Any] = {}


def env_of(name: str) -> Any:
    """One environment a world."""
    if name not in ENVS:
        ENVS[name] = make(NUMERIC, name)
    return ENVS[name]


def some_state(env: Any, name: str, data: st.DataObject) -> np.random.Generator:
    """Brings the environment into a state that a random or a right episode passes through."""
    here = world(name)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    task = here.task(data.draw(st.sampled_from(here.splits)), data.draw(st.integers(0, TASK_SEEDS - 1)))
    env.reset(options={"task": task})
    for action in islice(reference_actions(env), data.draw(st.integers(0, len(task.reference)))):
        env.step(action)
    for _ in range(data.draw(st.integers(0, 4))):
        env.step(random_act(env, rng, finish=0))
    return rng


def components(env: Any) -> list[np.ndarray]:
    """The flat mask, one array a component."""
    return np.split(env.action_masks(), env.vocabulary.offsets[1:])


def link_value(env: Any, parameter: int, choice: int) -> Any:
    """What a link selects from the response that it refers to, worked out from the bodies; None for nothing."""
    links = [link for link in env.vocabulary.link_list if link.parameter == env.vocabulary.parameters[parameter]]
    number, age = divmod(choice - 1 - MAX_MENTIONS, RECENT_RESPONSES)
    answered = [step.response for step in env.episode.steps if step.call.tool == links[number].tool]
    successes = [response for response in answered if response.success]
    return Selector(links[number].select)(successes[-1 - age].body) if age < len(successes) else None


@every_world
@given(data=st.data())
def test_a_link_is_open_exactly_when_it_selects_something_from_a_recent_response(
    name: str, data: st.DataObject
) -> None:
    env = env_of(name)
    some_state(env, name, data)
    for parameter, mask in enumerate(components(env)[1:]):
        for choice in range(1 + MAX_MENTIONS, len(mask)):
            assert mask[choice] == (link_value(env, parameter, choice) is not None)


@every_world
@given(data=st.data())
def test_a_mention_is_open_exactly_where_its_form_fits_a_parameter_of_that_name(name: str, data: st.DataObject) -> None:
    env = env_of(name)
    some_state(env, name, data)
    mentions = env.episode.task.mentions
    tools = env.snapshot.tools
    for parameter, mask in zip(env.vocabulary.parameters, components(env)[1:], strict=True):
        owners = [tools.signature(tool).parameters[parameter] for tool in tools if parameter in tools[tool].properties]
        for index in range(MAX_MENTIONS):
            fits = index < len(mentions) and any(p.fits(p.read(mentions[index].value)) for p in owners)
            assert mask[1 + index] == fits


@every_world
@given(data=st.data())
def test_tools_are_open_exactly_when_on_offer_and_leaving_out_and_finishing_always_are(
    name: str, data: st.DataObject
) -> None:
    env = env_of(name)
    some_state(env, name, data)
    first, *others = components(env)
    assert first[0]
    offered = {tool for tool, is_open in zip(env.vocabulary.tools, first[1:], strict=True) if is_open}
    assert offered == set(env.episode.task.tools)
    assert all(mask[0] for mask in others)


@every_world
@given(data=st.data())
def test_open_choices_resolve_and_the_call_passes_what_they_stand_for(name: str, data: st.DataObject) -> None:
    env = env_of(name)
    rng = some_state(env, name, data)
    for _ in range(5):
        action = random_action(env, rng)
        if action[0] == 0 or env.episode.done:
            return
        tool = env.vocabulary.tools[action[0] - 1]
        mentions = env.episode.task.mentions
        expected = {}
        for parameter, choice in enumerate(action[1:].tolist()):
            label = env.vocabulary.parameters[parameter]
            if choice and label in env.snapshot.tools[tool].properties:
                is_mention = choice <= MAX_MENTIONS
                expected[label] = mentions[choice - 1].value if is_mention else link_value(env, parameter, choice)
        assert env.step(action)[4]["call"] == Call(tool, expected)


@every_world
@given(data=st.data())
def test_closed_links_and_mentions_that_are_not_there_are_left_out(name: str, data: st.DataObject) -> None:
    env = env_of(name)
    some_state(env, name, data)
    if env.episode.done:
        return
    action = np.zeros(len(env.action_space.nvec), np.int64)
    action[0] = 1 + env.vocabulary.tool_index[data.draw(st.sampled_from(env.episode.task.tools))]
    for parameter, mask in enumerate(components(env)[1:]):
        closed = [int(c) for c in np.flatnonzero(~mask) if c > len(env.episode.task.mentions)]
        if closed:
            action[1 + parameter] = data.draw(st.sampled_from(closed))
    assert env.step(action)[4]["call"].arguments == {}


@every_world
@given(data=st.data())
def test_random_masked_actions_lie_in_the_space_and_in_the_mask(name: str, data: st.DataObject) -> None:
    env = env_of(name)
    rng = some_state(env, name, data)
    for _ in range(20):
        action = random_action(env, rng)
        assert env.action_space.contains(action)
        assert all(mask[choice] for mask, choice in zip(components(env), action, strict=True))


@every_world
def test_random_masked_actions_reach_every_open_choice(name: str) -> None:
    env = env_of(name)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    reached = np.zeros(env.vocabulary.mask_size, bool)
    for _ in range(2000):
        reached[env.vocabulary.offsets + random_action(env, rng)] = True
    assert (reached == env.action_masks()).all()


@every_world
@given(data=st.data())
def test_the_observation_shows_the_links_of_the_mask(name: str, data: st.DataObject) -> None:
    env = env_of(name)
    some_state(env, name, data)
    if env.episode.done:
        return
    observation = env.step(env.action_for(None))[0]
    links = np.concatenate([mask[1 + MAX_MENTIONS :] for mask in components(env)[1:]])
    assert (observation["links"] == links).all()


@every_world
@given(data=st.data())
def test_the_action_for_a_call_makes_an_equal_call_and_is_open(name: str, data: st.DataObject) -> None:
    env, here = env_of(name), world(name)
    task = here.task(data.draw(st.sampled_from(here.splits)), data.draw(st.integers(0, TASK_SEEDS - 1)))
    env.reset(options={"task": task})
    for reference in task.reference:
        wanted = Call(reference.tool, reference.arguments)
        action = env.action_for(wanted)
        assert all(mask[choice] for mask, choice in zip(components(env), action, strict=True))
        made = env.step(action)[4]["call"]
        assert env.snapshot.tools.canonical(made).same_as(env.snapshot.tools.canonical(wanted))


@every_world
@given(data=st.data())
def test_every_task_is_solved_from_its_masks_with_return_one(name: str, data: st.DataObject) -> None:
    env, here = env_of(name), world(name)
    task = here.task(data.draw(st.sampled_from(here.splits)), data.draw(st.integers(0, TASK_SEEDS - 1)))
    env.reset(options={"task": task})
    for action in reference_actions(env):
        env.step(action)
    assert env.episode.success
    assert env.episode.total == 1.0


def test_a_link_closes_when_the_response_that_it_refers_to_has_moved_on() -> None:
    env = env_of("library")
    years = [Mention(year, "year", 5 * n, 5 * n + 4) for n, year in enumerate((1898, 1912, 1913))]
    reference = (ReferenceCall("search_authors", {"born_from": 1898}),)
    env.reset(options={"task": Task("years", "1898 1912 1913", ("search_authors",), reference, tuple(years))})
    parameter = env.vocabulary.parameters.index("author_id")
    links = [link for link in env.vocabulary.link_list if link.parameter == "author_id"]
    latest = 1 + MAX_MENTIONS + RECENT_RESPONSES * [link.tool for link in links].index("search_authors")
    seen = []
    for year in years:  # the first search finds authors, the others none
        env.step(env.action_for(Call("search_authors", {"born_from": year.value})))
        seen.append(components(env)[1 + parameter][latest : latest + RECENT_RESPONSES].tolist())
    assert seen == [[True, False], [False, True], [False, False]]


def test_an_argument_at_its_default_needs_no_value() -> None:
    env = env_of("library")
    env.reset(options={"task_id": "author_town/1/1068c872/7/2"})
    action = env.action_for(Call("books_of_author", {"author_id": "A7", "sort": "title"}))
    assert env.step(action)[4]["status"] == 200


@pytest.mark.parametrize(
    "call",
    [Call("no_such_tool", {}), Call("get_author", {"author_id": "A11"}), Call("get_author", {"colour": "A7"})],
)
def test_a_call_that_cannot_be_made_now_has_no_action(call: Call) -> None:
    env = env_of("library")
    env.reset(options={"task_id": "author_town/1/1068c872/7/2"})
    with pytest.raises(InvalidActionError):
        env.action_for(call)


def test_masks_have_the_length_of_all_choices() -> None:
    env = env_of("library")
    env.reset(seed=0)
    assert env.action_masks().shape == (env.action_space.nvec.sum(),)
    assert env.action_masks().dtype == bool
    assert all(jmespath.compile(link.select) for link in env.vocabulary.link_list)
