"""verifiers: its own command evaluates a model behind a real endpoint, and traces keep the rewards of each call."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from chat_server import ChatServer
from fresh_python import ROOT
from trainers.solver import Solver
from worlds import snapshot_path

pytest.importorskip("verifiers", reason="verifiers is not installed: nox -s verifiers")

from toolorch_env.integrations.text_chats import TextChat
from toolorch_env.integrations.verifiers import ToolOrchConfig, ToolOrchTaskset

ENV = {"snapshot": str(snapshot_path("library"))}
TASKS = 4


def test_the_taskset_is_a_task_for_each_seed() -> None:
    taskset = ToolOrchTaskset(ToolOrchConfig(env=ENV, first_seed=2))
    for seed, task in zip(range(2, 6), taskset.take(4), strict=True):
        system, user = TextChat(ENV, seed=seed).prompt
        assert (task.data.prompt, task.data.system_prompt) == (user["content"], system["content"])
        assert TextChat(task.data.env, seed=task.data.seed).task_id == TextChat(ENV, seed=seed).task_id


@pytest.mark.long
def test_its_own_command_evaluates_a_model_as_the_documentation_says(tmp_path: Path) -> None:
    shown = re.search(r"^vf-eval .*$", (ROOT / "docs" / "trainers.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert shown
    name, *arguments = shlex.split(shown[0])
    env = json.loads(arguments[arguments.index("--env.taskset.env") + 1])
    with ChatServer(Solver(env, range(TASKS))).serve() as url:
        changes = {"--model": "rules", "--client.base-url": url, "--select.limit": str(TASKS)}
        for option, value in changes.items():
            arguments[arguments.index(option) + 1] = value
        command = [str(Path(sys.executable).with_name(name)), *arguments]
        environment = dict(os.environ, PYTHONPATH=str(ROOT), OPENAI_API_KEY="none", PRIME_API_KEY="none")
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (path,) = tmp_path.rglob("traces.jsonl")
    traces = [trace for line in path.read_text().splitlines() for trace in json.loads(line)["traces"]]
    assert len(traces) == TASKS
    for trace in traces:
        told = trace["info"]["toolorch"]
        assert told["metrics"]["clean_success"] == 1.0
        assert sum(call["total"] for turn in told["turns"] for call in turn) == pytest.approx(1.0)
        assert trace["rewards"]["episode_return"]["score"] == pytest.approx(1.0)
        assert trace["metrics"]["success"] == 1.0
