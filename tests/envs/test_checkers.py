"""The environment checkers of Gymnasium and Stable-Baselines3, on every registered id and every reward."""

import gymnasium as gym
import pytest
from envs.driving import ENVIRONMENT_IDS, NUMERIC, make
from gymnasium.utils.env_checker import check_env
from worlds import WORLD_NAMES, snapshot_path

from toolorch_env.rewards import REWARDS


@pytest.mark.parametrize("name", WORLD_NAMES)
@pytest.mark.parametrize("reward", REWARDS)
@pytest.mark.parametrize("env_id", ENVIRONMENT_IDS)
def test_gymnasium_checker_finds_nothing(env_id: str, reward: str, name: str) -> None:
    check_env(make(env_id, name, reward=reward))


@pytest.mark.parametrize("name", WORLD_NAMES)
@pytest.mark.parametrize("env_id", ENVIRONMENT_IDS)
def test_every_id_is_made_without_importing_the_package_first(env_id: str, name: str) -> None:
    env = gym.make(f"toolorch_env:{env_id}", snapshot=snapshot_path(name))
    assert env.spec is not None
    assert env.spec.id == env_id
    env.reset(seed=0)
    env.step(env.action_space.sample())


@pytest.mark.parametrize("name", WORLD_NAMES)
@pytest.mark.parametrize("reward", REWARDS)
def test_stable_baselines3_checker_finds_nothing(reward: str, name: str) -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    checker.check_env(make(NUMERIC, name, reward=reward))


@pytest.mark.parametrize("env_id", ENVIRONMENT_IDS)
def test_observations_and_actions_lie_in_their_spaces(env_id: str) -> None:
    env = make(env_id)
    observation, _ = env.reset(seed=1)
    for _ in range(30):
        assert env.observation_space.contains(observation)
        action = env.action_space.sample()
        assert env.action_space.contains(action)
        observation, reward, terminated, truncated, _ = env.step(action)
        assert type(reward) is float
        assert type(terminated) is bool
        assert type(truncated) is bool
        assert env.observation_space.contains(observation)
        if terminated or truncated:
            observation, _ = env.reset()
