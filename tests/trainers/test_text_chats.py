"""Chats that trainers play: the same seed is the same episode, and rewards are those of the environment."""

import gymnasium as gym
import pytest
from worlds import WORLD_NAMES, snapshot_path

from toolorch_env.core.errors import EpisodeError
from toolorch_env.integrations.text_chats import TextChat, chat_rows

ENV = {"snapshot": str(snapshot_path("library"))}


def solve(chat: TextChat) -> list[float]:
    """Plays the solution; returns the reward of each message."""
    rewards = []
    while (message := chat.solution()) is not None:
        rewards.append(chat.send(message).reward)
    rewards.append(chat.send("That is all.").reward)
    return rewards


@pytest.mark.parametrize("name", WORLD_NAMES)
def test_the_solution_returns_one_message_by_message(name: str) -> None:
    for seed in range(10):
        chat = TextChat({"snapshot": str(snapshot_path(name))}, seed=seed)
        rewards = solve(chat)
        assert sum(rewards) == pytest.approx(1.0)
        assert all(reward > 0 for reward in rewards[:-1])
        assert chat.metrics()["clean_success"] == 1.0
        roles = [message["role"] for message in chat.messages]
        assert roles == ["system", *["user", "assistant"] * len(rewards)]


def test_a_group_of_one_seed_plays_the_same_episode_each_on_its_own() -> None:
    group = [TextChat(ENV, seed=5) for _ in range(6)]
    assert len({str(chat.prompt) for chat in group}) == 1
    assert len({chat.task_id for chat in group}) == 1
    first = group[0].solution()
    assert first is not None
    group[0].send(first)
    assert [len(chat.messages) for chat in group] == [4] + [2] * 5
    assert group[0].prompt == group[1].prompt
    assert len({chat.send(first).reward for chat in group[1:]}) == 1


def test_rewards_and_answers_are_those_of_the_environment() -> None:
    env = gym.make("ToolOrchText-v0", **ENV)
    env.reset(seed=3)
    chat = TextChat(ENV, seed=3)
    for message in [chat.solution() or "", '{"name": "nothing", "arguments": {}}', "Done."]:
        observation, reward, terminated, truncated, info = env.step(message)
        reply = chat.send(message)
        assert (reply.reward, reply.done, reply.rewards) == (reward, terminated or truncated, info["reward"])
        assert reply.messages == ([] if reply.done else [{"role": "user", "content": observation}])
    with pytest.raises(EpisodeError):
        chat.send("More.")


def test_tools_are_told_in_the_prompt() -> None:
    chat = TextChat(ENV, seed=1)
    system, user = chat.prompt
    env = gym.make("ToolOrchText-v0", **ENV)
    query, info = env.reset(seed=1)
    assert user == {"role": "user", "content": query}
    for tool in info["tools"]:
        assert f'"name":"{tool["function"]["name"]}"' in system["content"]


def test_rows_of_a_data_set_are_what_chats_begin_with() -> None:
    rows = chat_rows(5, first_seed=7, env=ENV)
    assert [row["seed"] for row in rows] == [7, 8, 9, 10, 11]
    for row in rows:
        assert TextChat(row["env"], seed=row["seed"]).prompt == row["prompt"]
