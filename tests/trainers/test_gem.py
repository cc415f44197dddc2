"""GEM: rollouts, also of its own vector environment."""

import pytest
from trainers.solver import Solver, run_example
from worlds import snapshot_path

gem = pytest.importorskip("gem", reason="GEM is not installed: nox -s gem")

from toolorch_env.integrations.gem import ENV_ID, register  # noqa: E402

CONFIG = {"snapshot": str(snapshot_path("library"))}


def test_rollouts_have_a_reward_for_each_message() -> None:
    register()
    env = gem.make(ENV_ID, **CONFIG)
    for seed in range(8):
        prompt, _ = env.reset(seed=seed)
        assert env.reset(seed=seed)[0] == prompt
        rewards, ended = [], False
        while not ended:
            _, reward, terminated, truncated, info = env.step(env.sample_random_action())
            assert sum(each["total"] for each in info["rewards"]) == pytest.approx(reward)
            rewards.append(reward)
            ended = terminated or truncated
        assert sum(rewards) == pytest.approx(1.0)
        assert info["clean_success"] == 1.0


def test_many_at_once() -> None:
    register()
    env = gem.make_vec([ENV_ID] * 3, seed=5, **CONFIG)
    observations, _ = env.reset(seed=[1, 1, 2])
    assert observations[0] == observations[1] != observations[2]
    _, rewards, terminated, truncated, _ = env.step(["Done."] * 3)
    assert list(rewards) == [0.0] * 3
    assert all(terminated)
    assert not any(truncated)


def test_spawned_environments_are_of_the_same_kind() -> None:
    register()
    env = gem.make(ENV_ID, **CONFIG)
    assert env.spawn().reset(seed=3)[0] == env.reset(seed=3)[0]
    with pytest.raises(NotImplementedError, match="same seed"):
        env.spawn(same_state=True)


def test_the_example_plays_a_group() -> None:
    told = run_example("gem_rollouts.py", "--snapshot", CONFIG["snapshot"], "--seed", "3", model=Solver(CONFIG, [3]))
    assert len(told) == 4
    assert all(line.endswith("success 1") for line in told)
    assert len({line.partition(": ")[2] for line in told}) == 1
