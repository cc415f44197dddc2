"""SkyRL-gym: rollouts with a reward for each message."""

import pytest
from trainers.solver import Solver, run_example
from worlds import snapshot_path

skyrl_gym = pytest.importorskip("skyrl_gym", reason="SkyRL-gym is not installed: nox -s skyrl")

from omegaconf import OmegaConf  # noqa: E402

from toolorch_env.core.errors import ConfigurationError  # noqa: E402
from toolorch_env.integrations.skyrl import dataset, register  # noqa: E402
from toolorch_env.integrations.text_chats import TextChat  # noqa: E402

CONFIG = {"snapshot": str(snapshot_path("library"))}


def make(row: dict, **config: object) -> object:  # type: ignore[type-arg]
    """An environment as SkyRL's generator makes it of a row."""
    register()
    extras = {name: value for name, value in row.items() if name not in ("prompt", "env_class")}
    return skyrl_gym.make(row["env_class"], extras={**extras, "max_turns": 5}, **config)


def test_rollouts_have_a_reward_for_each_message() -> None:
    for row in dataset(8, env=CONFIG):
        env = make(row)
        prompt, info = env.init(row["prompt"])
        assert prompt == row["prompt"]
        chat = TextChat(CONFIG, seed=row["seed"])
        rewards = []
        done = False
        while not done:
            message = chat.solution() or "Done."
            reply, output = chat.send(message), env.step(message)
            assert output["reward"] == reply.reward
            assert output["observations"] == reply.messages
            assert output["metadata"]["rewards"] == reply.rewards
            rewards.append(output["reward"])
            done = output["done"]
        assert sum(rewards) == pytest.approx(1.0)
        assert env.get_metrics()["success"] == 1.0
        assert info["task_id"] == chat.task_id


def test_a_group_plays_the_same_episode() -> None:
    (row,) = dataset(1, first_seed=4, env=CONFIG)
    group = [make(row) for _ in range(4)]
    assert len({str(env.init(row["prompt"])) for env in group}) == 1
    assert type(group[0]).aggregate_metrics([env.get_metrics() for env in group])["success"] == 0.0


def test_a_configuration_counts_for_rows_without_one() -> None:
    (row,) = dataset(1, first_seed=4, env={**CONFIG, "constraints": {"max_steps": 2}})
    config = OmegaConf.create(row.pop("env"))
    assert make(row, env_config=config).init(row["prompt"])[0] == row["prompt"]


def test_a_row_without_a_seed_is_refused() -> None:
    (row,) = dataset(1, env=CONFIG)
    del row["seed"]
    with pytest.raises(ConfigurationError, match="no seed"):
        make(row)


def test_the_example_plays_groups() -> None:
    told = run_example("skyrl_rollouts.py", "--snapshot", CONFIG["snapshot"], model=Solver(CONFIG, range(2)))
    assert [line.partition(":")[0] for line in told] == [f"row {r}, sample {s}" for r in range(2) for s in range(2)]
    assert all(line.endswith("success 1") for line in told)
