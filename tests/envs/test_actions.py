"""Steps out of turn and actions outside the space: refused with the right error, and no harm is done."""

from typing import Any

import numpy as np
import pytest
from envs.driving import ENVIRONMENT_IDS, NUMERIC, TEXT, make, random_act, reference_actions, same

from toolorch_env.core.calls import Call
from toolorch_env.core.errors import EpisodeError, InvalidActionError

every_env = pytest.mark.parametrize("env_id", ENVIRONMENT_IDS)


def numeric_oddities(sizes: np.ndarray) -> dict[str, Any]:
    """Actions outside the numeric space."""
    zeros = np.zeros(len(sizes), np.int64)
    too_large = zeros.copy()
    too_large[-1] = sizes[-1]
    negative = zeros.copy()
    negative[0] = -1
    return {
        "too short": zeros[:-1],
        "too long": np.append(zeros, 0),
        "empty": zeros[:0],
        "two dimensions": zeros[None],
        "negative": negative,
        "too large": too_large,
        "largest integers": np.full(len(sizes), 2**63 - 1),
        "unsigned": np.full(len(sizes), 2**64 - 1, np.uint64),
        "floats": zeros.astype(np.float64),
        "NaN": np.full(len(sizes), np.nan),
        "booleans": zeros.astype(bool),
        "objects": np.array([None] * len(sizes)),
        "text": "call get_author",
        "None": None,
        "one number": 1,
        "ragged list": [[1], 2],
        "list of large numbers": [2**63] * len(sizes),
        "list of huge numbers": [2**70] * len(sizes),
        "list of texts": ["0"] * len(sizes),
        "list of floats": [0.5] * len(sizes),
        "dict": {"tool": 1},
    }


ODDITIES = sorted(numeric_oddities(np.array([2, 2])))


@pytest.mark.parametrize("oddity", ODDITIES)
def test_actions_outside_the_numeric_space_are_refused_and_the_episode_goes_on_unharmed(oddity: str) -> None:
    env, untouched = make(NUMERIC), make(NUMERIC)
    env.reset(seed=5)
    untouched.reset(seed=5)
    action = numeric_oddities(env.action_space.nvec)[oddity]
    for good in reference_actions(untouched):
        with pytest.raises(InvalidActionError, match="action_space"):
            env.step(action)
        assert same(env.step(good), untouched.step(good))


@pytest.mark.parametrize("action", [None, 5, b"text", ["text"], np.zeros(3), "x" * 1_000_001])
def test_actions_outside_the_text_space_are_refused_and_the_episode_goes_on_unharmed(action: Any) -> None:
    env, untouched = make(TEXT), make(TEXT)
    env.reset(seed=5)
    untouched.reset(seed=5)
    for good in reference_actions(untouched):
        with pytest.raises(InvalidActionError):
            env.step(action)
        assert same(env.step(good), untouched.step(good))


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint8, np.uint64, list, tuple])
def test_whole_numbers_of_any_width_and_plain_lists_are_actions(kind: Any) -> None:
    env, other = make(NUMERIC), make(NUMERIC)
    env.reset(seed=5)
    other.reset(seed=5)
    for action in reference_actions(other):
        given = kind(action.tolist()) if kind in (list, tuple) else action.astype(kind)
        assert same(env.step(given), other.step(action))


def test_a_step_does_not_change_its_action() -> None:
    env = make(NUMERIC)
    env.reset(seed=5)
    action = env.action_for(Call(env.episode.task.reference[0].tool, env.episode.task.reference[0].arguments))
    kept = action.copy()
    action.flags.writeable = False
    env.step(action)
    assert same(action, kept)


@every_env
def test_nothing_works_before_the_first_reset(env_id: str) -> None:
    env = make(env_id, render_mode="ansi")
    action = "hello" if env_id == TEXT else np.zeros(len(env.action_space.nvec), np.int64)
    with pytest.raises(EpisodeError, match="reset"):
        env.step(action)
    with pytest.raises(EpisodeError, match="reset"):
        env.render()
    if env_id == NUMERIC:
        with pytest.raises(EpisodeError, match="reset"):
            env.action_masks()


@every_env
@pytest.mark.parametrize("end", ["finish", "limit"])
def test_a_step_after_the_end_is_refused_until_the_next_reset(env_id: str, end: str) -> None:
    env = make(env_id, max_calls=1)
    env.reset(seed=0)
    call, finish = next(reference_actions(env)), env.action_for(None)
    env.step(finish if end == "finish" else call)
    for action in (call, finish):
        with pytest.raises(EpisodeError, match="reset"):
            env.step(action)
    env.reset(seed=0)
    env.step(call)


@every_env
def test_finishing_says_at_once_whether_it_was_a_success(env_id: str) -> None:
    env = make(env_id)
    env.reset(seed=0)
    *_, info = env.step(env.action_for(None))
    assert info["is_success"] is False
    assert info["is_clean_success"] is False
    env.reset(seed=0)
    *_, (_, reward, terminated, truncated, info) = [env.step(action) for action in reference_actions(env)]
    assert (reward, terminated, truncated) == (0.0, True, False)
    assert info["is_success"] is True
    assert info["is_clean_success"] is True


@every_env
def test_one_call_too_many_is_a_success_but_no_clean_one(env_id: str) -> None:
    env = make(env_id)
    env.reset(seed=0)
    *calls, finish = reference_actions_played(env)
    env.reset(seed=0)
    for action in (*calls, calls[-1], finish):
        *_, info = env.step(action)
    assert info["is_success"] is True
    assert info["is_clean_success"] is False


def reference_actions_played(env: Any) -> list[Any]:
    """The reference actions, found by playing them."""
    actions = []
    for action in reference_actions(env):
        actions.append(action)
        env.step(action)
    return actions


@every_env
def test_the_sum_of_rewards_is_the_total_of_the_episode(env_id: str) -> None:
    env = make(env_id)
    rng = np.random.default_rng(0)
    for seed in range(20):
        env.reset(seed=seed)
        total, ended = 0.0, False
        while not ended:
            _, reward, terminated, truncated, _ = env.step(random_act(env, rng))
            total += reward
            ended = terminated or truncated
        assert total == env.episode.total
        assert total <= 1.0
