"""Arguments of the environments and options of ``reset``: what is right works, what is wrong is told."""

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from envs.driving import ENVIRONMENT_IDS, NUMERIC, TEXT, make, reference_actions, same
from worlds import snapshot_path, world

from toolorch_env.core.errors import (
    ConfigurationError,
    ConstraintError,
    SnapshotNotFoundError,
    TaskError,
    ToolOrchError,
)
from toolorch_env.core.tasks import Mention, ReferenceCall
from toolorch_env.rewards import REWARDS, GraduatedReward
from toolorch_env.store.snapshot import Snapshot

every_env = pytest.mark.parametrize("env_id", ENVIRONMENT_IDS)


@every_env
@pytest.mark.parametrize(
    "options",
    [
        {"reward": "best"},
        {"max_calls": 0},
        {"max_calls": -1},
        {"max_calls": 2.5},
        {"max_calls": "many"},
        {"on_miss": "guess"},
    ],
)
def test_unknown_or_senseless_arguments_are_refused(env_id: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        make(env_id, **options)


@every_env
def test_an_unknown_render_mode_is_refused(env_id: str) -> None:
    with pytest.raises(ConfigurationError, match="ansi, rgb_array"):  # gym.make itself only warns
        type(make(env_id))(snapshot_path("library"), render_mode="video")


@every_env
def test_constraints_that_are_none_are_refused_when_the_environment_is_made(env_id: str) -> None:
    with pytest.raises(ConstraintError, match="split"):
        make(env_id, constraints={"split": "holiday"})


@every_env
def test_an_unknown_snapshot_is_refused(env_id: str) -> None:
    with pytest.raises(SnapshotNotFoundError):
        gym.make(env_id, snapshot="/no/such/snapshot.sqlite")


@pytest.mark.parametrize("limit", [0, 63, -1, 1.5, None])
def test_a_response_limit_too_small_for_any_json_is_refused(limit: Any) -> None:
    with pytest.raises(ConfigurationError, match="max_response_chars"):
        make(TEXT, max_response_chars=limit)


@every_env
@pytest.mark.parametrize("reward", REWARDS)
def test_rewards_are_taken_by_name_and_as_objects(env_id: str, reward: str) -> None:
    assert make(env_id, reward=reward).reward.name == reward
    assert make(env_id, reward=REWARDS[reward]()).reward.name == reward


@every_env
def test_an_open_snapshot_is_taken(env_id: str) -> None:
    snapshot = Snapshot(snapshot_path("library"))
    assert gym.make(env_id, snapshot=snapshot).unwrapped.snapshot is snapshot  # type: ignore[attr-defined]


@every_env
def test_constraints_of_reset_win_for_that_episode_only(env_id: str) -> None:
    env = make(env_id, constraints={"workflows": ["author_town"]})
    for seed in range(5):
        env.reset(seed=seed, options={"constraints": {"workflows": ["compare_authors"]}})
        assert env.episode.task.workflow == "compare_authors"
        env.reset(seed=seed)
        assert env.episode.task.workflow == "author_town"


@every_env
def test_a_task_is_taken_as_an_object_as_json_and_by_its_id(env_id: str) -> None:
    env = make(env_id)
    task = world("library").task("test_workflows", 3)
    for options in ({"task": task}, {"task": task.to_json()}, {"task": task.to_json().decode()}, {"task_id": task.id}):
        _, info = env.reset(options=options)
        assert env.episode.task == task
        assert info["task_id"] == task.id


@every_env
def test_a_seed_makes_no_difference_to_a_given_task(env_id: str) -> None:
    env = make(env_id)
    task = world("library").task("train", 3)
    assert same(env.reset(seed=1, options={"task": task}), env.reset(seed=2, options={"task": task}))


@every_env
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"level": 3}, ConfigurationError),
        ({"task_id": "a", "constraints": {}}, ConfigurationError),
        ({"constraints": {"split": "holiday"}}, ConstraintError),
        ({"constraints": {"colour": "red"}}, ConstraintError),
        ({"constraints": {"min_steps": 60}}, ConstraintError),
        ({"constraints": {"include_tools": ["no_such_tool"]}}, ConstraintError),
        ({"constraints": 5}, ConstraintError),
        ({"task_id": "no such task"}, TaskError),
        ({"task_id": "author_town/99999/aa/7/2"}, TaskError),
        ({"task_id": 5}, TaskError),
        ({"task": {"id": "incomplete"}}, TaskError),
        ({"task": "no JSON"}, TaskError),
        ({"task": None}, TaskError),
    ],
)
def test_wrong_reset_options_are_refused_and_the_environment_stays_usable(
    env_id: str, options: Any, error: type[ToolOrchError]
) -> None:
    env = make(env_id)
    with pytest.raises(error):
        env.reset(seed=1, options=options)
    env.reset(seed=1)
    assert same(env.reset(seed=1), make(env_id).reset(seed=1))


@every_env
def test_a_refused_reset_leaves_the_running_episode_as_it_is(env_id: str) -> None:
    env, other = make(env_id), make(env_id)
    env.reset(seed=1)
    other.reset(seed=1)
    with pytest.raises(TaskError):
        env.reset(options={"task_id": "no such task"})
    action = next(reference_actions(other))
    assert same(env.step(action), other.step(action))


@every_env
def test_a_task_with_tools_that_the_snapshot_lacks_is_refused_by_name(env_id: str) -> None:
    task = world("library").task("train", 0)
    strange = replace(task, tools=(*task.tools, "rent_car"), reference=(ReferenceCall("rent_car", {}),))
    with pytest.raises(TaskError, match="rent_car"):
        make(env_id).reset(options={"task": strange})


def test_more_mentions_than_an_action_can_refer_to_are_refused_by_the_numeric_environment_only() -> None:
    task = world("library").task("train", 0)
    crowded = replace(task, mentions=tuple(Mention(f"A{n}", "author", 0, 0) for n in range(13)))
    make(TEXT).reset(options={"task": crowded})
    env = make(NUMERIC)
    with pytest.raises(TaskError, match="13 values"):
        env.reset(options={"task": crowded})
    env.reset(seed=0)


@every_env
def test_a_longer_or_shorter_limit_truncates_after_that_many_calls(env_id: str) -> None:
    for limit in (1, 3):
        env = make(env_id, max_calls=limit, reward=GraduatedReward())
        env.reset(seed=0)
        action = env.action_for(env.episode.task.reference[0])
        ends = [env.step(action)[2:4] for _ in range(limit)]
        assert ends == [(False, False)] * (limit - 1) + [(False, True)]


def test_auto_finish_ends_with_the_last_reference_call_and_is_off_by_default() -> None:
    for auto_finish in (True, False):
        options: dict[str, Any] = {"auto_finish": True} if auto_finish else {}
        env = make(NUMERIC, **options)
        env.reset(seed=2)
        steps = len(env.episode.task.reference)
        ends = []
        for number, action in enumerate(reference_actions(env)):
            if number < steps:
                *_, terminated, truncated, info = env.step(action)
                ends.append(terminated)
                assert not truncated
        assert ends == [False] * (steps - 1) + [auto_finish]
        assert ("is_success" in info) == auto_finish
        assert info.get("is_success", True)


@every_env
def test_the_same_limit_holds_for_all_tasks(env_id: str) -> None:
    env = make(env_id)
    limits = set()
    for seed in range(6):
        env.reset(seed=seed)
        limits.add(env.episode.max_calls)
    assert limits == {16}


@every_env
def test_rendering_tells_the_episode_or_draws_it(env_id: str) -> None:
    env = make(env_id, render_mode="ansi")
    env.reset(seed=0)
    assert env.episode.task.query in env.render()
    env.step(next(reference_actions(env)))
    assert env.episode.task.reference[0].tool in env.render()
    picture = make(env_id, render_mode="rgb_array")
    picture.reset(seed=0)
    drawn = picture.render()
    assert drawn.dtype == np.uint8
    assert drawn.ndim == 3
    assert drawn.shape[2] == 3
