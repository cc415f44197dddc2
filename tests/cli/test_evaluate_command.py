"""``toolorch evaluate`` with language models and files, and ``toolorch rescore``."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import pytest
from chat_server import ChatServer, Messages, Silence
from command_line import Command, files_in, told_in_one_line
from evaluation.solver import Solver
from fresh_command import ROOT
from worlds import snapshot_path

from toolorch_env.evaluation.run_files import read_run
from toolorch_env.evaluation.runner import list_jobs
from toolorch_env.rewards import REWARDS

LIBRARY = str(snapshot_path("library"))


def solver(tasks: int, wrong: int = 0, tries: int = 1) -> Solver:
    """A model for the tasks of ``evaluate --snapshot LIBRARY --split train``."""
    env = gym.make("ToolOrchText-v0", snapshot=LIBRARY, constraints={"split": "train"})
    return Solver(env, list_jobs(tasks, 0, tries), wrong)


def options(url: str, *more: str) -> tuple[str, ...]:
    named = ("--policy", "openai:rules", "--base-url", url, "--snapshot", LIBRARY, "--split", "train")
    return ("evaluate", *named, *more)


def without_times(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text())
    del document["seconds"]
    return document


def test_a_model_is_evaluated_and_scored_anew(toolorch: Command, folder: Path) -> None:
    with ChatServer(solver(12, wrong=3)).serve() as url:
        done = toolorch(*options(url, "--tasks", "12", "--out", "run.jsonl", "--json", "m.json", "--prices", "1", "2"))
    assert (done.code, done.err) == (0, "")
    assert "12 episodes" in done.out
    assert "success 0.667" in done.words
    assert "95% interval" in done.out
    assert without_times(folder / "m.json")["success_rate"] == pytest.approx(8 / 12)
    assert files_in(folder) == ["m.json", "run.jsonl"]

    for reward in (*REWARDS, None):
        named = ("--reward", reward) if reward else ()
        assert toolorch("rescore", "run.jsonl", *named, "--out", "new.jsonl", "--json", "new.json").code == 0
        assert read_run(folder / "new.jsonl").header.reward == (reward or "graduated")
        if reward in ("graduated", None):
            assert without_times(folder / "new.json") == without_times(folder / "m.json")
            assert read_run(folder / "new.jsonl").episodes == read_run(folder / "run.jsonl").episodes
        (folder / "new.jsonl").unlink()


def test_what_was_not_answered_is_told(toolorch: Command, folder: Path) -> None:
    model = solver(9)
    unlucky = set(list(model.tasks)[:3])

    def answer(messages: Messages) -> Any:
        return Silence() if messages[1]["content"] in unlucky else model(messages)

    with ChatServer(answer).serve() as url:
        done = toolorch(*options(url, "--tasks", "9", "--timeout", "0.2", "--retries", "0"))
    assert done.code == 0
    assert "Not scored, as the model gave no answer: 3 episodes (timeout 3)" in done.words
    assert "success would be 0.667" in done.words
    done = toolorch(*options("http://127.0.0.1:9/v1", "--tasks", "2", "--retries", "0", "--out", "run.jsonl"))
    assert done.code == 2
    assert told_in_one_line(done.err)
    assert "unreachable 2). The last one: 127.0.0.1:9 cannot be reached" in done.err


@pytest.mark.long
def test_a_killed_evaluation_goes_on_and_comes_to_the_same(toolorch: Command, folder: Path) -> None:
    """Killed again and again at any moment; nothing is played twice that was written."""
    tasks, tries = 60, 2
    model = solver(tasks, wrong=4, tries=tries)
    server = ChatServer(model)
    arguments = ("--tasks", str(tasks), "--tries", str(tries), "--concurrency", "3")
    chance = random.Random(0)
    with server.serve() as url:
        assert toolorch(*options(url, *arguments, "--json", "whole.json")).code == 0
        whole = len(server.asked)
        command = [sys.executable, "-m", "toolorch_env.cli", *options(url, *arguments, "--out", "run.jsonl")]
        environment = dict(os.environ, PYTHONPATH=str(ROOT))
        killed = 0
        while killed < 5:
            process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            begun = (folder / "run.jsonl").stat().st_size if (folder / "run.jsonl").exists() else 0
            while process.poll() is None and not _has_grown(folder / "run.jsonl", begun):
                time.sleep(0.01)
            time.sleep(chance.random() * 0.1)
            if process.poll() is not None:
                break
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
        assert killed > 1
        assert toolorch(*options(url, *arguments, "--out", "run.jsonl", "--json", "parts.json")).code == 0
    assert without_times(folder / "parts.json") == without_times(folder / "whole.json")
    assert len(server.asked) < 2 * whole + 100
    assert len(read_run(folder / "run.jsonl").episodes) == tasks * tries


def _has_grown(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size > size


def test_a_policy_of_ones_own_is_evaluated(toolorch: Command, folder: Path) -> None:
    (folder / "my_policy.py").write_text(
        "class Quiet:\n    def act(self, observation, info):\n        return 'Done.'\n"
    )
    done = toolorch("evaluate", "--policy", "my_policy:Quiet", "--snapshot", LIBRARY, "--tasks", "3")
    assert (done.code, done.err) == (0, "")
    assert "my_policy:Quiet" in done.out
    sys.modules.pop("my_policy")


BAD_USE = {
    "another file": (("evaluate", "--policy", "oracle", "--tasks", "1", "--out", "notes.txt"), "notes.txt is no run"),
    "no run": (("rescore", "notes.txt"), "notes.txt is no run"),
    "nowhere": (("rescore", "nowhere.jsonl"), "nowhere.jsonl cannot be read"),
    "missing folder": (("evaluate", "--policy", "oracle", "--out", "no/such/run.jsonl"), "no/such/run.jsonl"),
    "blank words": (("evaluate", "--policy", "openai:m", "--base-url", "http://x/v1", "--blank-query"), "in words"),
    "no address": (("evaluate", "--policy", "openai:m", "--base-url", "x"), "'x' is no base URL"),
    "a tab": (("evaluate", "--policy", "openai:m", "--base-url", "http://x\t/v1"), "is no base URL"),
    "an address with ligatures": (("evaluate", "--policy", "openai:m", "--base-url", "http://ﬀ./v1"), "is no base URL"),
    "no endpoint": (("evaluate", "--policy", "random", "--tool-calls", "text"), "asks no endpoint"),
    "prices for nothing": (("evaluate", "--policy", "oracle", "--prices", "1", "2"), "asks no endpoint"),
    "prices": (("evaluate", "--policy", "openai:m", "--base-url", "http://x/v1", "--prices", "1", "nan"), "prices are"),
    "another environment": (("evaluate", "--policy", "test_policies:CartPole"), "'CartPole-v1'"),
    "no module": (("evaluate", "--policy", "nowhere_at_all:P"), "nowhere_at_all"),
}


class CartPole:
    """A policy for something else."""

    env_id = "CartPole-v1"

    def act(self, observation: Any, info: dict[str, Any]) -> int:
        return 0


@pytest.mark.parametrize("case", BAD_USE)
def test_bad_use_is_told_in_one_line(
    toolorch: Command, folder: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "test_policies", SimpleNamespace(CartPole=CartPole))
    (folder / "notes.txt").write_text("notes")
    arguments, said = BAD_USE[case]
    done = toolorch(*arguments)
    assert done.code == 2
    assert told_in_one_line(done.err)
    assert said in done.err
    assert (folder / "notes.txt").read_text() == "notes"
    assert files_in(folder) == ["notes.txt"]


def test_a_run_is_not_written_over(toolorch: Command, folder: Path) -> None:
    arguments = ("evaluate", "--policy", "oracle", "--snapshot", LIBRARY, "--split", "train", "--out", "run.jsonl")
    assert toolorch(*arguments, "--tasks", "2").code == 0
    before = (folder / "run.jsonl").read_bytes()
    done = toolorch(*arguments, "--tasks", "3")
    assert done.code == 2
    assert "its tasks is 2, not 3" in done.err
    assert toolorch("rescore", "run.jsonl", "--out", "run.jsonl").code == 2
    assert toolorch("report", "run.jsonl", "--out", "run.jsonl").code == 2
    assert toolorch(*arguments, "--tasks", "2", "--json", "run.jsonl").code == 2
    assert toolorch("rescore", "run.jsonl", "--json", "./run.jsonl").code == 2
    for wrong in (("--reward", "none"), ("--snapshot", "travel")):
        assert toolorch("rescore", "run.jsonl", "--out", "anew.jsonl", *wrong).code == 2
        assert files_in(folder) == ["run.jsonl"]
    assert (folder / "run.jsonl").read_bytes() == before
    assert toolorch(*arguments, "--tasks", "2").code == 0  # again: all is there already
    assert (folder / "run.jsonl").read_bytes() == before
