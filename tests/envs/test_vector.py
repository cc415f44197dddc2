"""Gymnasium's vector environments give what single environments give, in this process and in others."""

import sys
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from envs.driving import ENVIRONMENT_IDS, TEXT, make, maker, random_act, same
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv
from worlds import snapshot_path

COPIES = 2
STEPS = 24
SEED = 11

Vector = VectorEnv[Any, Any, Any]
every_env = pytest.mark.parametrize("env_id", ENVIRONMENT_IDS)
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def agrees_with_single_environments(env_id: str, build: Callable[..., Vector]) -> None:
    """Drives a vector environment and single ones with the same actions through several episodes."""
    singles = [make(env_id, max_calls=5) for _ in range(COPIES)]
    vector = build([maker(env_id, max_calls=5)] * COPIES)
    rng = np.random.default_rng(SEED)
    try:
        seen, _ = vector.reset(seed=SEED)
        expected = [env.reset(seed=SEED + index)[0] for index, env in enumerate(singles)]
        ended = [False] * COPIES
        assert_same_observations(seen, expected)
        for _ in range(STEPS):
            actions = [random_act(env, rng, 0.1) if not done else "" for env, done in zip(singles, ended, strict=True)]
            seen, rewards, terminated, truncated, _ = vector.step(batch(env_id, actions, singles))
            for index, env in enumerate(singles):
                if ended[index]:  # the vector environment resets on the next step
                    expected[index], result = env.reset()[0], (0.0, False, False)
                else:
                    expected[index], *rest = env.step(actions[index])
                    result = tuple(rest[:3])
                assert (rewards[index], terminated[index], truncated[index]) == result
                ended[index] = bool(terminated[index] or truncated[index])
            assert_same_observations(seen, expected)
    finally:
        vector.close()


def batch(env_id: str, actions: list[Any], singles: list[Any]) -> Any:
    """Actions as the vector environment takes them."""
    if env_id == TEXT:
        return tuple(actions)
    nothing = np.zeros(len(singles[0].vocabulary.sizes), np.int64)
    return np.stack([nothing if isinstance(action, str) else action for action in actions])


def assert_same_observations(seen: Any, expected: list[Any]) -> None:
    """Compares a batch with single observations."""
    for index, single in enumerate(expected):
        if isinstance(single, str):
            assert seen[index] == single
        else:
            assert same({name: array[index] for name, array in seen.items()}, single)


@every_env
def test_sync_vector_agrees(env_id: str) -> None:
    agrees_with_single_environments(env_id, SyncVectorEnv)


@every_env
@pytest.mark.parametrize("shared_memory", [True, False])
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_async_vector_agrees(env_id: str, shared_memory: bool, context: str) -> None:
    if context == "fork" and sys.platform in ("win32", "darwin"):
        pytest.skip("fork is not safe here")
    agrees_with_single_environments(
        env_id, lambda makers: AsyncVectorEnv(makers, shared_memory=shared_memory, context=context)
    )


@every_env
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_make_vec_works(env_id: str, mode: str) -> None:
    vector = gym.make_vec(env_id, num_envs=2, vectorization_mode=mode, snapshot=snapshot_path("library"))
    try:
        vector.reset(seed=1)
        vector.step(vector.action_space.sample())
    finally:
        vector.close()
