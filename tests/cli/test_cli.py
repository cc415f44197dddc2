"""The command ``toolorch``, as a person or a script uses it."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from command_line import Command, Outcome, told_in_one_line
from fresh_command import run_command

import toolorch_env
from toolorch_env.cli.policies import POLICY_NAMES
from toolorch_env.core.tasks import Task
from toolorch_env.evaluation.metrics import ERROR_KINDS
from toolorch_env.generation.constraints import SPLITS
from toolorch_env.rewards import REWARDS

KEYS = {
    "success_rate", "clean_success_rate", "call_accuracy", "turn_accuracy", "mean_return", "mean_calls", "intervals",
    "episodes", "tasks", "pass_hat", "pass_hat_tasks", "errors", "by_workflow", "by_depth", "failures", "tokens",
    "seconds",
}  # fmt: skip
COMMANDS = [
    (), ("demo",), ("evaluate",), ("import",), ("play",), ("record",), ("rescore",), ("snapshot",), ("workflows",),
    *(("import", name) for name in ("booking", "complexfuncbench", "bfcl")),
    *(("record", name) for name in ("openapi", "mcp", "python")),
    *(("snapshot", name) for name in ("info", "verify", "copy", "merge", "diff", "export")),
    ("workflows", "mine"),
]  # fmt: skip


# ------------------------------------------------------------------------------------------------- help and version


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_says_what_every_option_does(toolorch: Command, command: tuple[str, ...]) -> None:
    done = toolorch(*command, "--help")
    assert done.code == 0
    assert "Usage: " in done.out
    assert done.err == ""


def test_version(toolorch: Command) -> None:
    done = toolorch("--version")
    assert (done.code, done.out) == (0, f"{toolorch_env.__version__}\n")


# ------------------------------------------------------------------------------------------------------------- demo


def test_demo_shows_an_episode_and_both_policies() -> None:
    done = run_command("demo", "--tasks", "3", "--seed", "1")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "tools on offer: " in done.stdout
    assert "finished, solved, return +1.000" in done.stdout
    assert "3 tasks with each policy" in done.stdout
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.strip()}
    assert rows["oracle"][:4] == ["oracle", "3", "1.000", "1.000"]
    assert "random" in rows


# --------------------------------------------------------------------------------------------------------- evaluate


def metrics_of(run: Callable[..., Any], path: Path, *arguments: str) -> dict[str, Any]:
    """The metrics that ``evaluate`` writes as JSON."""
    run("evaluate", "--json", str(path), *arguments)
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def test_evaluate_writes_all_metrics_and_the_oracle_solves_all(tmp_path: Path) -> None:
    done = run_command("evaluate", "--policy", "oracle", "--tasks", "8", "--json", "metrics.json", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Failed calls: none" in done.stdout
    metrics = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert metrics.keys() == KEYS
    assert metrics["tasks"] == 8
    for name in ("success_rate", "clean_success_rate", "call_accuracy", "turn_accuracy", "mean_return"):
        assert (metrics[name], metrics["intervals"][name][1]) == (1.0, 1.0)
        assert (metrics["intervals"][name][0] == 1.0) == (name == "mean_return")  # 8 tasks do not make a share sure
    assert metrics["mean_calls"] >= 1
    assert metrics["seconds"] > 0
    assert metrics["errors"] == dict.fromkeys(ERROR_KINDS, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def test_evaluate_is_deterministic_by_seed(toolorch: Command, tmp_path: Path) -> None:
    def played(seed: int) -> dict[str, Any]:
        path = tmp_path / "metrics.json"
        metrics = metrics_of(toolorch, path, "--policy", "random", "--tasks", "30", "--seed", str(seed))
        del metrics["seconds"]
        return metrics

    assert played(3) == played(3)
    assert played(3) != played(4)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("reward", sorted(REWARDS.keys() - {"published"}))  # which some solutions do not satisfy
def test_the_oracle_returns_one_in_every_split_with_every_reward(
    toolorch: Command, tmp_path: Path, split: str, reward: str
) -> None:
    options = ("--policy", "oracle", "--tasks", "3", "--split", split, "--reward", reward)
    assert metrics_of(toolorch, tmp_path / "m.json", *options)["mean_return"] == 1.0


def test_evaluate_replaces_an_older_file(toolorch: Command, tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text("old")
    assert metrics_of(toolorch, path, "--policy", "oracle", "--tasks", "1").keys() == KEYS


# ------------------------------------------------------------------------------------------------------------- play


@pytest.fixture(scope="session")
def library_task(library: Path) -> Task:
    """The task that ``play --seed 0`` takes from the small snapshot."""
    env = gym.make("ToolOrchText-v0", snapshot=library, constraints={"split": "train"})
    env.reset(seed=0)
    task: Task = env.unwrapped.episode.task  # type: ignore[attr-defined]
    return task


def typed_solution(task: Task) -> list[str]:
    return [f"{call.tool} {json.dumps(call.arguments)}" for call in task.reference]


@pytest.fixture
def play(toolorch: Command, library: Path) -> Command:
    """Plays on the small snapshot, typing lines: ``play("first line", "second line")``."""

    def run(*lines: str) -> Outcome:
        arguments = ("play", "--snapshot", str(library), "--seed", "0", "--interactive")
        return toolorch(*arguments, typed="".join(f"{line}\n" for line in lines))

    return run


def test_play_shows_the_known_solution(library_task: Task, library: Path) -> None:
    done = run_command("play", "--snapshot", str(library), "--seed", "0")
    assert (done.returncode, done.stderr) == (0, "")
    assert library_task.query in " ".join(done.stdout.replace("│", " ").split())
    for number, call in enumerate(library_task.reference, 1):
        assert f"{number}. {call.tool}(" in done.stdout
    assert f"finished, solved, return +1.000, {len(library_task.reference)} calls" in done.stdout


def test_play_takes_a_task_by_its_id(toolorch: Command, library_task: Task, library: Path) -> None:
    done = toolorch("play", "--snapshot", str(library), "--seed", "9", "--task-id", library_task.id)
    assert library_task.query in done.words


def test_play_with_the_right_calls_typed(play: Command, library_task: Task) -> None:
    done = play(*typed_solution(library_task), "")
    assert done.code == 0
    assert "finished, solved, return +1.000" in done.words
    assert "That is no call" not in done.words


def test_play_with_calls_typed_as_a_model_writes_them(play: Command, library_task: Task) -> None:
    lines = [json.dumps({"name": call.tool, "arguments": call.arguments}) for call in library_task.reference]
    assert "finished, solved, return +1.000" in play(*lines, "").words


def test_play_with_a_wrong_call_typed(play: Command, library_task: Task) -> None:
    needed = {call.tool for call in library_task.reference}
    other = next(name for name in library_task.tools if name not in needed)
    done = play(f'{other} {{"nothing": 1}}', *typed_solution(library_task), "")
    assert "422 invalid" in done.words
    assert "reward -0.050" in done.words
    assert "finished, solved, return +0.950" in done.words


def test_play_with_nonsense_typed_asks_again(play: Command, library_task: Task) -> None:
    done = play("what shall I do?", *typed_solution(library_task), "")
    assert "That is no call" in done.words
    assert "finished, solved, return +1.000" in done.words


def test_play_with_broken_json_typed_is_a_wasted_call(play: Command, library_task: Task) -> None:
    done = play(f"{library_task.tools[0]} {{oh", "")
    assert "400 malformed" in done.words
    assert "finished, not solved, return -0.050, 1 calls" in done.words


def test_play_finishes_at_an_empty_line(play: Command) -> None:
    done = play("")
    assert done.code == 0
    assert "finished, not solved, return +0.000, 0 calls" in done.words


def test_play_stops_at_the_call_limit(play: Command, library_task: Task) -> None:
    done = play(*[f"{library_task.tools[0]} {{}}"] * 20)
    assert done.code == 0
    assert "stopped at the call limit, not solved" in done.words


def test_the_end_of_typed_input_is_no_crash() -> None:
    done = run_command("play", "--interactive")
    assert "Traceback" not in done.stdout + done.stderr


# --------------------------------------------------------------------------------------------------------- snapshot


def test_snapshot_info_tells_what_is_there(toolorch: Command) -> None:
    done = toolorch("snapshot", "info", "travel")
    assert done.code == 0
    for word in ("travel.sqlite", "content_hash", "licence", "responses", "search_flights", "iata*"):
        assert word in done.words


def test_snapshot_info_takes_a_path(toolorch: Command, library: Path) -> None:
    done = toolorch("snapshot", "info", str(library))
    assert done.code == 0
    assert "9 tools" in done.words


def test_verify_finds_the_bundled_snapshot_sound() -> None:
    done = run_command("snapshot", "verify", "travel")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("responses, sound\n")


def test_verify_finds_a_tampered_copy(toolorch: Command, library: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite"
    shutil.copy(library, copy)
    assert toolorch("snapshot", "verify", str(copy)).code == 0
    with sqlite3.connect(copy) as connection:
        connection.execute("DELETE FROM responses WHERE id = (SELECT min(id) FROM responses)")
    connection.close()
    done = toolorch("snapshot", "verify", str(copy))
    assert done.code == 1
    assert "the content hash does not match" in done.words
    assert done.words.endswith("not sound")


# ---------------------------------------------------------------------------------------------------------- bad use


BAD_USE = {
    "policy": (("evaluate", "--policy", "nobody"), "nobody"),
    "snapshot": (("evaluate", "--policy", "random", "--snapshot", "nowhere"), "nowhere"),
    "snapshot of the demo": (("demo", "--snapshot", "nowhere"), "nowhere"),
    "snapshot to show": (("snapshot", "info", "nowhere"), "nowhere"),
    "snapshot to verify": (("snapshot", "verify", "nowhere"), "nowhere"),
    "file that is no snapshot": (("snapshot", "verify", __file__), "not an SQLite file"),
    "folder": (("snapshot", "info", str(Path(__file__).parent)), "cannot be read"),
    "split": (("evaluate", "--policy", "random", "--split", "dev"), "'test_workflows'"),
    "reward": (("evaluate", "--policy", "random", "--reward", "gold"), "graduated"),
    "reward to play": (("play", "--reward", "gold"), "graduated"),
    "task": (("play", "--task-id", "nothing"), "'nothing'"),
    "name with markup": (("play", "--task-id", "[red]x[/]"), "[red]x[/]"),
    "JSON in a missing folder": (("evaluate", "--policy", "random", "--json", "no/such/m.json"), "no/such/m.json"),
}


@pytest.mark.parametrize("what", BAD_USE)
def test_bad_use_is_told_in_one_line(toolorch: Command, what: str) -> None:
    arguments, word = BAD_USE[what]
    done = toolorch(*arguments)
    assert done.code == 2
    assert told_in_one_line(done.err), done.err
    assert word in done.err
    assert done.out.strip() == ""


def test_bad_use_is_told_in_one_line_of_a_real_terminal() -> None:
    done = run_command("evaluate", "--policy", "nobody")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: there is no policy 'nobody'; choose one of {POLICY_NAMES}\n"


def test_a_json_path_that_is_a_folder_is_told(toolorch: Command, tmp_path: Path) -> None:
    done = toolorch("evaluate", "--policy", "oracle", "--tasks", "1", "--json", str(tmp_path))
    assert done.code == 2
    assert told_in_one_line(done.err)
    assert list(tmp_path.iterdir()) == []


BAD_OPTIONS = {
    "no tasks": (("evaluate", "--policy", "random", "--tasks", "0"), "--tasks"),
    "tasks are no number": (("demo", "--tasks", "many"), "--tasks"),
    "negative seed": (("play", "--seed", "-1"), "--seed"),
    "no policy": (("evaluate",), "--policy"),
    "unknown command": (("train",), "train"),
    "unknown option": (("play", "--loud"), "--loud"),
    "no snapshot": (("snapshot", "info"), "snapshot"),
}


@pytest.mark.parametrize("what", BAD_OPTIONS)
def test_bad_options_are_told_with_the_usage(toolorch: Command, what: str) -> None:
    arguments, word = BAD_OPTIONS[what]
    done = toolorch(*arguments)
    assert done.code == 2
    assert "Usage: " in done.err
    assert word in done.err
    assert done.out == ""
