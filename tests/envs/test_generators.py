"""Environments and their generators: by name, in mixtures, and curricula that are told how episodes end."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from envs.driving import ENVIRONMENT_IDS, NUMERIC
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from small_world import WORKFLOWS
from worlds import snapshot_path, world

from toolorch_env.core.errors import ConfigurationError, TaskError
from toolorch_env.core.tasks import ReferenceCall, Task
from toolorch_env.generation.curriculum import Curriculum
from toolorch_env.generation.fixed_tasks import FixedTasks
from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.generation.mixture import Mixture
from toolorch_env.policies.oracle import next_reference_call
from toolorch_env.store.workflows import parse_workflows

every_env = pytest.mark.parametrize("env_id", ENVIRONMENT_IDS)
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

LEVELS: list[dict[str, Any]] = [{"max_steps": 2}, {"min_steps": 3, "max_steps": 3}, {"min_steps": 4}]
UNSAID = Task("unsaid", "Who is it?", ("get_author", "get_town"), (ReferenceCall("get_author", {"author_id": "A3"}),))
"""A task whose value can only be guessed."""


def curriculum(**settings: Any) -> Curriculum:
    return Curriculum(world("library").generator, LEVELS, **{"window": 3, "review": 0.0, **settings})


def make(env_id: str, generator: Any, **options: Any) -> Any:
    return gym.make(env_id, snapshot=snapshot_path("library"), generator=generator, **options)


def play(env: Any, seed: int | None = None, solve: bool = True, **options: Any) -> str:
    """Plays an episode, with the known solution or with nothing; returns the task's id."""
    _, info = env.reset(seed=seed, options=options or None)
    inner, ended = env.unwrapped, False
    while not ended:
        call = next_reference_call(inner.episode) if solve else None
        _, _, terminated, truncated, _ = env.step(inner.action_for(call))
        ended = terminated or truncated
    return str(info["task_id"])


@every_env
def test_a_curriculum_is_told_how_each_episode_ended(env_id: str) -> None:
    given = curriculum(down=0.5)
    env = make(env_id, given)
    ids = [play(env, seed) for seed in range(6)]
    assert [task_id[0] for task_id in ids] == ["0"] * 3 + ["1"] * 3
    assert given.state.level == 2
    for seed in range(3):
        play(env, seed, solve=False)
    assert given.state.level == 1
    play(env, 0)
    play(env, 1, solve=False)
    assert given.state.results == (True, False)
    env.close()


@every_env
def test_an_episode_that_is_cut_short_is_a_failure_and_one_that_is_left_is_nothing(env_id: str) -> None:
    given = curriculum()
    env = make(env_id, given, max_calls=1)
    env.reset(seed=0)
    env.step(env.unwrapped.action_for(next_reference_call(env.unwrapped.episode)))
    assert given.state.results == (False,)
    env.reset(seed=1)
    env.reset(seed=2)
    assert given.state.results == (False,)
    env.close()


@every_env
def test_only_episodes_of_tasks_that_were_drawn_are_told(env_id: str) -> None:
    given = curriculum()
    env = make(env_id, given)
    task_id = play(env, 0)
    assert given.state.results == (True,)
    play(env, task_id=task_id)
    play(env, task=given.task(task_id))
    assert given.state.results == (True,)
    play(env, constraints={"distractions": 0})
    assert given.state.results == (True, True)
    env.close()


def finish_all(envs: Any, episodes: int) -> list[str]:
    """Ends that many episodes of each copy at once, without a call; the ids of the tasks, copy by copy."""
    _, info = envs.reset(seed=0)
    ids = list(info["task_id"])
    for _ in range(episodes):
        envs.step(np.zeros((envs.num_envs, *envs.single_action_space.shape), np.int64))
        _, _, _, _, info = envs.step(np.zeros((envs.num_envs, *envs.single_action_space.shape), np.int64))  # resets
        ids += list(info["task_id"])
    return ids


def test_copies_in_one_process_share_a_curriculum_or_have_their_own() -> None:
    shared = curriculum()
    envs: Any = gym.make_vec(
        NUMERIC, num_envs=2, vectorization_mode="sync", snapshot=snapshot_path("library"), generator=shared
    )
    finish_all(envs, 1)
    envs.close()
    assert shared.state.results == (False, False)
    own = [curriculum() for _ in range(2)]
    makers: list[Callable[[], Any]] = [lambda given=given: make(NUMERIC, given) for given in own]  # type: ignore[misc]
    sync = SyncVectorEnv(makers)
    finish_all(sync, 1)
    sync.close()
    assert [given.state.results for given in own] == [(False,), (False,)]


def test_copies_in_processes_have_their_own_curriculum() -> None:
    given = curriculum(window=2, up=1e-9)
    envs = AsyncVectorEnv([lambda: make(NUMERIC, given)] * 2)
    try:
        finish_all(envs, 1)
        assert given.state.results == ()
        generators = envs.get_attr("generator")
        assert [copy.state.results for copy in generators] == [(False,), (False,)]
    finally:
        envs.close()


@every_env
def test_a_generator_is_given_by_name(env_id: str) -> None:
    env = make(env_id, "workflows")
    assert (
        env.reset(seed=1)[1]["task_id"]
        == gym.make(env_id, snapshot=snapshot_path("library")).reset(seed=1)[1]["task_id"]
    )
    for name, error in (("tasks", TaskError), ("unknown", ConfigurationError)):
        with pytest.raises(error):
            make(env_id, name)


def test_what_cannot_be_played_in_numbers_is_told_inside_a_mixture_too() -> None:
    drawn = world("library").generator
    with pytest.raises(TaskError, match=r"'unsaid'.*cannot be played in numbers"):
        make(NUMERIC, curriculum_of(Mixture([(drawn, 1), (FixedTasks([UNSAID]), 1)])))
    document = {**WORKFLOWS, "workflows": [dict(WORKFLOWS["workflows"][0])]}
    first, second = document["workflows"][0]["steps"]
    other = {"town_id": {"from": "author", "select": "town_id | @"}}
    document["workflows"][0]["steps"] = [first, {**second, "arguments": other}]
    unlinked = WorkflowGenerator(snapshot_path("library"), parse_workflows(document))
    with pytest.raises(ConfigurationError, match="not compiled for"):
        make(NUMERIC, Mixture([(drawn, 1), (unlinked, 1)]))


def curriculum_of(generator: Any) -> Curriculum:
    return Curriculum(generator, LEVELS)
