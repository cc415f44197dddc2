"""NeMo Gym: its own command starts the servers and collects rollouts."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from shutil import copytree
from types import SimpleNamespace
from typing import Any

import pytest
from chat_server import ChatServer
from trainers.solver import Solver, run_script
from worlds import snapshot_path

pytest.importorskip("nemo_gym", reason="NeMo Gym is not installed: nox -s nemo_gym")

from nemo_gym.base_resources_server import BaseResourcesServerConfig
from nemo_gym.openai_utils import NeMoGymResponse
from nemo_gym.server_utils import ServerClient

from toolorch_env.core.errors import ConfigurationError, EpisodeError
from toolorch_env.core.tasks import Task
from toolorch_env.integrations import nemo_gym
from toolorch_env.integrations.nemo_gym import ToolOrchServer, dataset
from toolorch_env.integrations.text_chats import text_env

PROJECT = Path(__file__).parents[2] / "examples" / "nemo_gym"
CONFIG = {"snapshot": str(snapshot_path("library"))}
SERVERS = ("resources_servers/toolorch", "responses_api_agents/gymnasium_agent", "responses_api_models/vllm_model")


def make_server() -> ToolOrchServer:
    client = ServerClient.model_construct()
    return ToolOrchServer(
        config=BaseResourcesServerConfig(host="", port=0, entrypoint="", name=""), server_client=client
    )


def response(*output: dict[str, Any]) -> NeMoGymResponse:
    return NeMoGymResponse(
        id="r", created_at=0, model="m", object="response", output=list(output),
        parallel_tool_calls=True, tool_choice="auto", tools=[],
    )  # fmt: skip


def said(text: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": content}


def called(call: Any, number: int) -> dict[str, Any]:
    arguments = json.dumps(call.arguments)
    return {"type": "function_call", "call_id": f"call_{number}", "name": call.tool, "arguments": arguments}


def task_of(row: dict[str, Any]) -> Task:
    env = text_env(row["env"])
    env.reset(seed=row["seed"])
    return env.episode.task


def test_a_reward_for_each_message() -> None:
    server = make_server()
    for row in dataset(8, env=CONFIG):
        rewards = []
        _, info = asyncio.run(server.reset(row, "one"))
        task = task_of(row)
        assert info == {"task_id": task.id}
        for number, call in enumerate(task.reference):
            _, reward, terminated, truncated, told = asyncio.run(
                server.step(response(called(call, number)), row, "one")
            )
            assert not terminated
            assert not truncated
            assert [output["call_id"] for output in told["tool_outputs"]] == [f"call_{number}"]
            assert sum(each["total"] for each in told["rewards"]) == pytest.approx(reward)
            rewards.append(reward)
        observation, reward, terminated, _, told = asyncio.run(server.step(response(said("Done.")), row, "one"))
        assert observation is None
        assert terminated
        assert sum([*rewards, reward]) == pytest.approx(1.0)
        assert told["clean_success"] == 1.0


def test_calls_in_text_and_several_at_once() -> None:
    (row,) = dataset(1, env={**CONFIG, "constraints": {"min_steps": 2}})
    calls = task_of(row).reference
    server = make_server()
    asyncio.run(server.reset(row, "one"))
    body = json.dumps({"name": calls[0].tool, "arguments": calls[0].arguments})
    observation, reward, *_, told = asyncio.run(
        server.step(response(said(f"<tool_call>{body}</tool_call>")), row, "one")
    )
    assert observation is not None
    assert reward > 0
    assert "tool_outputs" not in told
    both = response(said("Both."), called(calls[1], 0), called(SimpleNamespace(tool="nothing", arguments={}), 1))
    *_, told = asyncio.run(server.step(both, row, "one"))
    assert [output["call_id"] for output in told["tool_outputs"]] == ["call_0", "call_1"]
    assert len(told["rewards"]) == 2


def test_a_group_plays_the_same_episode_each_on_its_own() -> None:
    (row,) = dataset(1, first_seed=4, env=CONFIG)
    server = make_server()
    begun = [asyncio.run(server.reset(row, name)) for name in ("one", "two")]
    assert begun[0] == begun[1]
    asyncio.run(server.step(response(said("Done.")), row, "one"))
    asyncio.run(server.close_session("one"))
    call = called(task_of(row).reference[0], 0)
    assert asyncio.run(server.step(response(call), row, "two"))[1] > 0
    with pytest.raises(EpisodeError, match="no episode"):
        asyncio.run(server.step(response(call), row, "one"))


def test_rollouts_that_are_given_up_are_told_of_and_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent has a limit of its own, and a model may not answer: then no last message comes."""
    (row,) = dataset(1, env=CONFIG)
    server = make_server()
    for number in range(50):
        asyncio.run(server.reset(row, str(number)))
    *_, told = asyncio.run(server.step(response(called(task_of(row).reference[0], 0)), row, "0"))
    assert (told["success"], told["calls"]) == (0.0, 1.0)
    monkeypatch.setattr(nemo_gym, "IDLE_SECONDS", 0.0)
    asyncio.run(server.reset(row, "another"))
    assert list(server.session_state) == ["another"]


def test_a_row_without_a_seed_is_refused() -> None:
    (row,) = dataset(1, env=CONFIG)
    del row["seed"]
    with pytest.raises(ConfigurationError, match="no seed"):
        asyncio.run(make_server().reset(row, "one"))


@pytest.mark.long
def test_its_command_collects_rollouts(tmp_path: Path) -> None:
    project = copytree(PROJECT, tmp_path / "project")
    for server in SERVERS:  # in place of an environment that it would install for each of them
        (tmp_path / "venvs" / server).mkdir(parents=True)
        (tmp_path / "venvs" / server / ".venv").symlink_to(sys.prefix)
    run_script(project / "write_tasks.py", "data", "--count", "3", "--snapshot", CONFIG["snapshot"], cwd=project)
    model = Solver({**CONFIG, "constraints": {"split": "validation"}}, range(3), native=True)
    out = tmp_path / "rollouts.jsonl"
    with ChatServer(model).serve() as url:
        command = [
            str(Path(sys.prefix) / "bin" / "gym"), "eval", "run",
            "--config", "resources_servers/toolorch/configs/toolorch.yaml", "--model-type", "vllm_model",
            "--model", "rules", "--model-url", url, "--model-api-key", "none", "--agent", "toolorch_agent",
            "--split", "validation", "--output", str(out), "--num-repeats", "2",
            f"+uv_venv_dir={tmp_path / 'venvs'}", "+skip_venv_if_present=true",
        ]  # fmt: skip
        done = subprocess.run(
            command, cwd=project, capture_output=True, text=True, timeout=400, env={**os.environ, "NO_COLOR": "1"}
        )
    assert out.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    rollouts = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rollouts) == 6
    for rollout in rollouts:
        assert rollout["reward"] == pytest.approx(1.0)
        assert rollout["info"]["clean_success"] == 1.0
        assert rollout["terminated"]
