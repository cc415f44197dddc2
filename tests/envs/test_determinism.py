"""Same seed and actions, same everything: in twins, after pickling, in other processes."""

import os
import pickle
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from envs.driving import ENVIRONMENT_IDS, NUMERIC, make, random_act, rollout, same
from worlds import WORLD_NAMES

SEEDS = range(4)
every_env = pytest.mark.parametrize("env_id", ENVIRONMENT_IDS)
every_world = pytest.mark.parametrize("name", WORLD_NAMES)

PRINT_ROLLOUT = """
from envs.driving import make, rollout
from envs.test_determinism import checksum
print(checksum(rollout(make({env_id!r}, {name!r}), 3)))
"""


def checksum(records: Any) -> str:
    """A checksum of everything in a record."""
    state = blake2b(digest_size=8)
    pending = [records]
    while pending:
        item = pending.pop()
        if isinstance(item, np.ndarray):
            state.update(f"{item.dtype} {item.shape}".encode() + item.tobytes())
        elif isinstance(item, dict):
            pending += [list(item.values()), list(item)]
        elif isinstance(item, (str, int, float)) or item is None:
            state.update(repr(item).encode())
        elif hasattr(item, "tool"):
            pending += [item.tool, dict(item.arguments)]
        else:
            pending += list(item)
    return state.hexdigest()


@every_world
@every_env
def test_twins_agree_on_everything(env_id: str, name: str) -> None:
    left, right = make(env_id, name), make(env_id, name)
    for seed in SEEDS:
        assert same(list(rollout(left, seed)), list(rollout(right, seed)))


@every_world
@every_env
def test_an_episode_depends_on_its_seed_alone_not_on_what_was_played_before(env_id: str, name: str) -> None:
    used, fresh = make(env_id, name), make(env_id, name)
    list(rollout(used, 77))
    assert same(list(rollout(used, 5)), list(rollout(fresh, 5)))


@every_world
@every_env
def test_resets_without_a_seed_go_on_from_the_last_one(env_id: str, name: str) -> None:
    left, right = make(env_id, name), make(env_id, name)
    seen = []
    for env in (left, right):
        env.reset(seed=9)
        seen.append([env.reset()[1]["task_id"] for _ in range(8)])
    assert seen[0] == seen[1]
    assert len(set(seen[0])) > 1


@every_env
def test_returned_objects_are_fresh_so_that_changing_them_changes_nothing_later(env_id: str) -> None:
    careful, careless = make(env_id), make(env_id)
    actions = [record[0] for record in rollout(careful, 2, episodes=1) if len(record) == 6]
    careful_results, careless_results = [careful.reset(seed=2)], [careless.reset(seed=2)]
    _deface(careless_results[-1])
    for action in actions:
        careful_results.append(careful.step(action))
        result = careless.step(action)
        careless_results.append(pickle.loads(pickle.dumps(result)))
        assert same(careful_results[-1], careless_results[-1])
        _deface(result)
        if env_id == NUMERIC:
            careless.action_masks()[:] = False
            assert same(careful.action_masks(), careless.action_masks())


def _deface(value: Any) -> None:
    if isinstance(value, np.ndarray):
        value[...] = 99
    elif isinstance(value, (list, tuple)):
        for item in value:
            _deface(item)
    elif isinstance(value, dict):
        for item in value.values():
            _deface(item)
        value.clear()


@every_world
@every_env
def test_an_environment_pickled_in_mid_episode_goes_on_the_same(env_id: str, name: str) -> None:
    env = make(env_id, name)
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        env.reset(seed=seed)
        for _ in range(2):
            env.step(random_act(env, rng, finish=0))
        twin = pickle.loads(pickle.dumps(env))
        ended = False
        while not ended:
            action = random_act(env, rng)
            result = env.step(action)
            assert same(result, twin.step(action))
            ended = result[2] or result[3]
        assert same(env.reset(), twin.reset())


@every_env
def test_an_environment_can_be_pickled_before_its_first_reset(env_id: str) -> None:
    env = make(env_id)
    assert same(pickle.loads(pickle.dumps(env)).reset(seed=4), env.reset(seed=4))


@every_world
@every_env
def test_other_processes_with_other_hash_seeds_agree(env_id: str, name: str) -> None:
    here = checksum(rollout(make(env_id, name), 3))
    tests = Path(__file__).parents[1]
    code = PRINT_ROLLOUT.format(env_id=env_id, name=name)
    for hash_seed in ("0", "4711"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": f"{tests.parent}:{tests}"}
        printed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
        assert printed.stdout.decode().strip() == here
