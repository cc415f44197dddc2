"""Calls that are chosen in small steps are the same calls, with the same rewards and ends."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from envs.driving import NUMERIC, TEXT, make, random_act, reference_actions, same
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st
from worlds import TASK_SEEDS, WORLD_NAMES, world

from toolorch_env.core.errors import ConfigurationError, EpisodeError, InvalidActionError
from toolorch_env.envs.micro_steps import MicroSteps
from toolorch_env.envs.partial_call import PartialCall
from toolorch_env.envs.vocabulary import LEAVE_OUT, MAX_MENTIONS

every_world = pytest.mark.parametrize("name", WORLD_NAMES)
MAX_CALLS = 5
PAIRS: dict[str, tuple[Any, Any]] = {}
LONG: dict[str, Any] = {}


def pair_of(name: str) -> tuple[Any, Any]:
    """A plain environment and one in small steps, on one world."""
    if name not in PAIRS:
        PAIRS[name] = make(NUMERIC, name, max_calls=MAX_CALLS), MicroSteps(make(NUMERIC, name, max_calls=MAX_CALLS))
    return PAIRS[name]


def begin(name: str, data: st.DataObject) -> tuple[Any, Any, np.random.Generator]:
    """Both environments at the beginning of the same task."""
    plain, small = pair_of(name)
    here = world(name)
    task = here.task(data.draw(st.sampled_from(here.splits)), data.draw(st.integers(0, TASK_SEEDS - 1)))
    seen, expected = small.reset(options={"task": task}), plain.reset(options={"task": task})
    assert same(without_parts(seen[0]), expected[0])
    assert seen[1] == expected[1]
    return plain, small, np.random.default_rng(data.draw(st.integers(0, 2**32)))


def without_parts(observation: Any) -> dict[str, np.ndarray]:
    """The plain part of an observation."""
    return {name: array for name, array in observation.items() if name not in ("chosen", "component")}


def open_choice(small: Any, rng: np.random.Generator) -> int:
    """A random choice that is open."""
    return int(rng.choice(np.flatnonzero(small.action_masks())))


def component_of(small: Any, choice: int) -> int:
    """The component that a choice belongs to."""
    return int(np.searchsorted(small.unwrapped.vocabulary.offsets, choice, side="right")) - 1


def small_steps(env: Any, action: np.ndarray) -> list[int]:
    """The choices that make an action, for the parameters of its tool alone."""
    vocabulary = env.unwrapped.vocabulary
    components = [0]
    if action[0]:
        components += [1 + position for _, position in vocabulary.tool_parameters[action[0] - 1]]
    return [int(vocabulary.offsets[component] + action[component]) for component in components]


@every_world
@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version:UserWarning")
def test_gymnasium_checker_finds_nothing(name: str) -> None:
    check_env(MicroSteps(make(NUMERIC, name)), skip_render_check=True)


@every_world
@pytest.mark.parametrize("masked", [True, False])
@given(data=st.data())
def test_episodes_have_the_same_calls_rewards_and_ends(name: str, masked: bool, data: st.DataObject) -> None:
    plain, small, rng = begin(name, data)
    ended = False
    while not ended:
        action = np.zeros(len(plain.action_space.nvec), np.int64)
        choosing = True
        while choosing:
            choice = open_choice(small, rng) if masked else int(rng.integers(small.action_space.n))
            component = next_component(small)
            own = choice - int(plain.vocabulary.offsets[component])
            action[component] = own if 0 <= own < plain.vocabulary.sizes[component] else LEAVE_OUT
            seen, reward, terminated, truncated, info = small.step(choice)
            choosing = bool(next_component(small)) and not (terminated or truncated)
            if choosing:
                assert (reward, terminated, truncated, info) == (0.0, False, False, {})
        expected = plain.step(action)
        assert same(without_parts(seen), expected[0])
        assert (reward, terminated, truncated) == expected[1:4]
        assert info == expected[4]
        ended = terminated or truncated
    assert plain.episode.total == small.unwrapped.episode.total


def next_component(small: Any) -> int:
    """Which component is chosen next, as the masks say."""
    masks = small.action_masks()
    (component,) = {component_of(small, int(choice)) for choice in np.flatnonzero(masks)}
    return component


@every_world
@given(data=st.data())
def test_the_known_solution_is_open_at_every_step_and_returns_one(name: str, data: st.DataObject) -> None:
    here = world(name)
    task = here.task(data.draw(st.sampled_from(here.splits)), data.draw(st.integers(0, TASK_SEEDS - 1)))
    small = LONG.setdefault(name, MicroSteps(make(NUMERIC, name)))
    small.reset(options={"task": task})
    total, ended = 0.0, False
    for action in reference_actions(small.unwrapped):
        for choice in small_steps(small, action):
            assert small.action_masks()[choice]
            _, reward, ended, _, info = small.step(choice)
            total += reward
    assert ended
    assert (total, info["is_clean_success"]) == (1.0, True)


@every_world
@given(data=st.data())
def test_what_is_open_is_what_fits_the_tool(name: str, data: st.DataObject) -> None:
    plain, _, rng = begin(name, data)
    vocabulary = plain.vocabulary
    for _ in range(data.draw(st.integers(0, 3))):
        plain.step(random_act(plain, rng, finish=0))
    mentions = [mention.value for mention in plain.episode.task.mentions]
    call = PartialCall(vocabulary, plain.action_masks(), mentions)
    tool = data.draw(st.sampled_from(plain.episode.task.tools))
    call.choose(1 + vocabulary.tool_index[tool])
    masks = np.split(plain.action_masks(), vocabulary.offsets[1:])
    for parameter_name, position in vocabulary.tool_parameters[vocabulary.tool_index[tool]]:
        assert call.component == 1 + position
        found = np.split(call.mask(), vocabulary.offsets[1:])
        assert not any(mask.any() for index, mask in enumerate(found) if index != 1 + position)
        parameter = vocabulary.toolset.signature(tool).parameters[parameter_name]
        mine, loose = found[1 + position], masks[1 + position]
        assert (mine[1 + MAX_MENTIONS :] == loose[1 + MAX_MENTIONS :]).all()
        fits = [parameter.fits(parameter.read(value)) for value in mentions]
        assert mine[1 : 1 + MAX_MENTIONS].tolist() == fits + [False] * (MAX_MENTIONS - len(fits))
        needed = parameter.required and not parameter.has_default
        assert mine[LEAVE_OUT] == (not needed or not mine[1:].any())
        call.choose(int(rng.choice(np.flatnonzero(call.mask()))))
    assert call.component is None
    assert not call.mask().any()


@every_world
@given(data=st.data())
def test_the_observation_shows_what_is_chosen(name: str, data: st.DataObject) -> None:
    _, small, rng = begin(name, data)
    chosen: list[int] = []
    for _ in range(12):
        choice = open_choice(small, rng)
        component = component_of(small, choice)
        observation, _, terminated, truncated, info = small.step(choice)
        if terminated or truncated:
            return
        chosen = [*chosen, choice] if not info else []
        assert np.flatnonzero(observation["chosen"]).tolist() == sorted(chosen)
        assert np.flatnonzero(observation["component"]).tolist() == [next_component(small)]
        assert component != 0 or info or next_component(small) != 0
        assert small.observation_space.contains(observation)


def test_what_is_over_is_over_and_what_is_no_action_is_refused() -> None:
    small = MicroSteps(make(NUMERIC))
    for unplayed in (lambda: small.step(0), small.action_masks):
        with pytest.raises(EpisodeError):
            unplayed()
    small.reset(seed=0)
    for action in (-1, int(small.action_space.n), 0.5, "0", None):
        with pytest.raises(InvalidActionError):
            small.step(action)
    assert small.step(0)[2]
    with pytest.raises(EpisodeError, match="reset"):
        small.step(0)


def test_only_the_numeric_environment_has_small_steps() -> None:
    with pytest.raises(ConfigurationError, match="ToolOrch-v0"):
        MicroSteps(make(TEXT))


def test_it_can_be_made_again_from_its_spec(library: Any) -> None:
    small: Any = MicroSteps(gym.make(NUMERIC, snapshot=library))
    again = gym.make(small.spec)
    assert same(again.reset(seed=4)[0], small.reset(seed=4)[0])
