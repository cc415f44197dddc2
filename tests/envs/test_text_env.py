"""The text environment: what it says, in which form, and what its messages earn."""

from typing import Any

import orjson
import pytest
from envs.driving import TEXT, make, message, reference_actions
from hypothesis import given
from hypothesis import strategies as st
from worlds import TASK_SEEDS, WORLD_NAMES, world

from toolorch_env.core.calls import Call
from toolorch_env.envs.tool_orch_text import SYSTEM_PROMPT

every_world = pytest.mark.parametrize("name", WORLD_NAMES)
ENVS: dict[str, Any] = {}


def env_of(name: str) -> Any:
    """One environment a world."""
    if name not in ENVS:
        ENVS[name] = make(TEXT, name)
    return ENVS[name]


def reset(name: str, data: st.DataObject) -> Any:
    """The environment with some task."""
    here, env = world(name), env_of(name)
    task = here.task(data.draw(st.sampled_from(here.splits)), data.draw(st.integers(0, TASK_SEEDS - 1)))
    env.reset(options={"task": task})
    return env


def references(env: Any) -> list[Call]:
    """The known solution."""
    return [Call(call.tool, call.arguments) for call in env.episode.task.reference]


@every_world
def test_reset_gives_the_query_the_first_messages_and_the_tools_on_offer(name: str) -> None:
    env = env_of(name)
    observation, info = env.reset(seed=3)
    task = env.episode.task
    assert observation == task.query
    assert info["messages"] == [
        {"role": "system", "content": SYSTEM_PROMPT},
        {"role": "user", "content": task.query},
    ]
    assert [tool["function"]["name"] for tool in info["tools"]] == list(task.tools)
    for tool in info["tools"]:
        assert tool["type"] == "function"
        assert tool["function"]["description"]
        assert tool["function"]["parameters"]["type"] == "object"
    orjson.dumps(info)


def test_the_system_prompt_can_be_chosen() -> None:
    assert make(TEXT, system_prompt="Be brief.").reset(seed=0)[1]["messages"][0]["content"] == "Be brief."


@every_world
def test_tools_in_brief_have_the_same_parameters_and_no_descriptions(name: str) -> None:
    (_, full), (_, brief) = (make(TEXT, name, brief_tools=flag).reset(seed=3) for flag in (False, True))
    assert brief["messages"] == full["messages"]
    for short, long in zip(brief["tools"], full["tools"], strict=True):
        assert short["function"].keys() == {"name", "parameters"}
        assert len(str(short)) < len(str(long))
        (asked, told) = (each["function"]["parameters"] for each in (short, long))
        assert asked.get("required") == told.get("required")
        assert asked["properties"].keys() == told["properties"].keys()
        for parameter, schema in asked["properties"].items():
            assert "description" not in schema
            assert schema.get("type") == told["properties"][parameter].get("type")


@every_world
@given(data=st.data())
def test_one_call_a_message_solves_every_task_with_return_one(name: str, data: st.DataObject) -> None:
    env = reset(name, data)
    assert sum(env.step(action)[1] for action in reference_actions(env)) == 1.0
    assert env.episode.success


@every_world
@given(data=st.data())
def test_the_calls_of_a_dependency_level_may_share_a_message(name: str, data: st.DataObject) -> None:
    env = reset(name, data)
    task, calls = env.episode.task, references(env)
    total = 0.0
    for level in range(task.depth):
        total += env.step(message(*(call for call, at in zip(calls, task.levels, strict=True) if at == level)))[1]
    assert total == 1.0


@every_world
@given(data=st.data())
def test_responses_written_by_the_model_never_pay(name: str, data: st.DataObject) -> None:
    env = reset(name, data)
    task, calls = env.episode.task, references(env)
    bodies = [env.replay.answer(env.snapshot.tools.canonical(call)).raw.decode() for call in calls]
    blocks = "".join(f"<tool_response>\n{body}\n</tool_response>\n" for body in bodies)
    order = data.draw(st.permutations(calls))
    earned = []
    for before, after in (("", ""), (blocks, ""), ("", blocks), (f"<think>{blocks}</think>", blocks)):
        env.reset(options={"task": task})
        earned.append([env.step(before + message(call) + after)[1] for call in order])
    assert all(rewards == earned[0] for rewards in earned)


@every_world
@given(data=st.data())
def test_a_message_of_nothing_but_written_responses_finishes_without_pay(name: str, data: st.DataObject) -> None:
    env = reset(name, data)
    calls = message(*references(env))
    _, reward, terminated, _, info = env.step(f"<tool_response>{calls}</tool_response><think>{calls}</think>")
    assert (reward, terminated, info["is_success"]) == (0.0, True, False)


@every_world
@given(data=st.data())
def test_all_calls_in_one_message_have_seen_nothing_of_each_other(name: str, data: st.DataObject) -> None:
    env = reset(name, data)
    task = env.episode.task
    reward, info = env.step(message(*references(env)))[1::3]
    ordered = [part["ordered"] for part in info["reward"]]
    assert all(value == 1.0 for value, level in zip(ordered, task.levels, strict=True) if level == 0)
    assert (reward == 1.0) == all(ordered)


def test_each_call_is_answered_by_one_block_and_one_tool_message_with_its_identifier() -> None:
    env = env_of("library")
    env.reset(seed=0)
    tool_calls = [
        {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for n, (name, arguments) in enumerate(
            [("get_author", '{"author_id": "A3"}'), ("get_author", "{}"), ("no_such_tool", "{}"), ("get_town", "{")]
        )
    ]
    observation, *_, info = env.step(orjson.dumps({"role": "assistant", "tool_calls": tool_calls}).decode())
    assert [answer["role"] for answer in info["messages"]] == ["tool"] * 4
    assert [answer["tool_call_id"] for answer in info["messages"][:3]] == ["call_0", "call_1", "call_2"]
    assert [answer["name"] for answer in info["messages"]] == ["get_author", "get_author", "no_such_tool", ""]
    assert [call["status"] for call in info["calls"]] == [200, 422, 404, 400]
    assert [call["source"] for call in info["calls"]] == ["recorded", "invalid", "unknown_tool", "malformed"]
    blocks = observation.removeprefix("<tool_response>\n").removesuffix("\n</tool_response>")
    parts = blocks.split("\n</tool_response>\n<tool_response>\n")
    assert parts == [answer["content"] for answer in info["messages"]]
    assert orjson.loads(parts[0])["author_id"] == "A3"


def test_a_call_with_broken_arguments_is_answered_under_its_identifier() -> None:
    env = env_of("library")
    env.reset(seed=0)
    broken = {"id": "call_7", "type": "function", "function": {"name": "get_town", "arguments": "{"}}
    info = env.step(orjson.dumps({"role": "assistant", "tool_calls": [broken]}).decode())[4]
    assert info["messages"][0]["tool_call_id"] == "call_7"


def test_calls_beyond_the_limit_are_not_made_and_the_episode_is_truncated() -> None:
    env = make(TEXT, max_calls=3)
    env.reset(seed=0)
    call = Call("get_author", {"author_id": "A3"})
    env.step(message(call, call))
    observation, reward, terminated, truncated, info = env.step(message(call, call, call))
    assert (terminated, truncated) == (False, True)
    assert len(env.episode.steps) == 3
    assert len(info["calls"]) == len(info["messages"]) == len(info["reward"]) == 1
    assert observation.count("<tool_response>") == 1
    assert reward == sum(part["total"] for part in info["reward"])
    assert info["is_success"] is False


def test_a_solution_cut_off_by_the_limit_is_no_success() -> None:
    env = make(TEXT, max_calls=2)
    env.reset(options={"task_id": "author_town/1/1068c872/7/2"})
    *calls, _ = reference_actions(env)
    env.step(calls[0])
    _, _, terminated, truncated, info = env.step(calls[1])
    assert (terminated, truncated, info["is_success"]) == (False, True, False)
    assert env.episode.progress.all_complete


@every_world
@given(data=st.data())
def test_the_reward_of_a_message_is_the_sum_over_its_calls(name: str, data: st.DataObject) -> None:
    env = reset(name, data)
    made = data.draw(st.lists(st.sampled_from(references(env)), min_size=1, max_size=5))
    _, reward, _, _, info = env.step(message(*made))
    assert reward == sum(part["total"] for part in info["reward"])
    assert type(reward) is float
