"""What the commands that draw tasks share: an option for each constraint, and generators by name."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import gymnasium as gym
import numpy as np
import pytest
import typer
from command_line import Command, told_in_one_line
from small_world import TOOLS, WORKFLOWS, answers, workflow_set
from worlds import snapshot_path

from toolorch_env.cli import app
from toolorch_env.core.tasks import Task
from toolorch_env.evaluation.evaluations import evaluate_policy
from toolorch_env.evaluation.summary import summarize
from toolorch_env.generation.constraints import STYLES, TaskConstraints
from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.generation.graph_generator import GraphGenerator
from toolorch_env.generation.registry import generator_names
from toolorch_env.generation.task_files import read_tasks
from toolorch_env.policies.random import RandomPolicy
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.writer import SnapshotWriter

HARD: dict[str, Any] = {
    "split": "validation",
    "include_tools": ["get_author", "get_town"],
    "exclude_tools": ["book_by_title"],
    "min_steps": 3,
    "max_depth": 3,
    "distractor_tools": 1,
    "distractions": 0,
    "styles": ["terse", "chatty"],
    "values": "mixed",
}


def as_options(constraints: dict[str, Any]) -> list[str]:
    options = []
    for name, value in constraints.items():
        for entry in value if isinstance(value, list) else [value]:
            options += [f"--{name.replace('_', '-')}", str(entry)]
    return options


def allowed(annotation: Any) -> tuple[str, ...]:
    """The names that a constraint takes; none where it takes others."""
    if get_origin(annotation) is tuple:
        return allowed(get_args(annotation)[0])
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def task_of(snapshot: Path, seed: int, **chosen: Any) -> Task:
    """The task that ``play`` shows."""
    env = gym.make("ToolOrchText-v0", snapshot=snapshot, **chosen)
    env.reset(seed=seed)
    task: Task = env.unwrapped.episode.task  # type: ignore[attr-defined]
    return task


def figures(path: Path) -> dict[str, Any]:
    """What ``evaluate`` has written, but the speed."""
    found: dict[str, Any] = json.loads(path.read_text())
    del found["seconds"]
    return found


def measured(env: gym.Env[Any, Any], tasks: int, seed: int) -> dict[str, Any]:
    """The same of the random policy, without the command."""
    found: dict[str, Any] = json.loads(
        json.dumps(summarize(evaluate_policy(env, RandomPolicy(), tasks=tasks, seed=seed)).to_dict())
    )
    del found["seconds"]
    return found


def write_library(path: Path, workflows: dict[str, Any], tasks: Sequence[Task] = ()) -> Path:
    """The library with other workflows and stored tasks."""
    links = workflow_set().links()
    with SnapshotWriter(path, TOOLS, name="library", workflows=workflows, links=links, tasks=tasks) as writer:
        for call, status, body in answers():
            writer.add(call, status, body, latency=0.001, recorded_at=1_700_000_000)
    return path


@pytest.mark.parametrize("command", ["synthesize", "evaluate", "play"])
def test_every_constraint_is_an_option_that_names_what_it_takes(command: str) -> None:
    found = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    options = {option: item for item in found.params for option in item.opts}
    for name, field in TaskConstraints.model_fields.items():
        option = options["--" + name.replace("_", "-")]
        assert option.default is None
        assert option.help, name
        for value in allowed(field.annotation):
            assert value in option.help.lower(), (name, value)
    assert "--constraints" in options


@pytest.mark.parametrize("seed", [1, 2])
def test_a_task_is_played_that_satisfies_the_constraints(toolorch: Command, library: Path, seed: int) -> None:
    wanted = task_of(library, seed, constraints=HARD)
    done = toolorch("play", "--snapshot", str(library), "--seed", str(seed), *as_options(HARD))
    assert done.code == 0
    assert " ".join(wanted.query.split()) in done.words
    assert f"tools on offer: {', '.join(wanted.tools)}" in done.words


def test_a_policy_is_evaluated_under_all_constraints(toolorch: Command, library: Path, tmp_path: Path) -> None:
    env = gym.make("ToolOrch-v0", snapshot=library, constraints=HARD)
    expected = measured(env, tasks=20, seed=5)
    shared = ("evaluate", "--snapshot", str(library), "--policy", "random", "--tasks", "20", "--seed", "5")
    path = tmp_path / "m.json"
    assert toolorch(*shared, *as_options(HARD), "--json", str(path)).code == 0
    assert figures(path) == expected
    (tmp_path / "hard.json").write_text(json.dumps({**HARD, "min_steps": 1}))
    file = ("--constraints", str(tmp_path / "hard.json"), "--min-steps", "3", "--json", str(path))
    assert toolorch(*shared, *file).code == 0
    assert figures(path) == expected


def test_styles_are_told_one_by_one_or_with_commas(toolorch: Command, library: Path, folder: Path) -> None:
    shared = ("synthesize", str(library), "--n", "60", "--quiet")
    for file, options in (
        ("one.jsonl", ("--styles", "plain", "--styles", "chatty", "--styles", "terse")),
        ("two.jsonl", ("--styles", "plain, chatty", "--styles", "terse")),
        ("all.jsonl", ("--styles", "plain,chatty,terse")),
        ("other.jsonl", ("--styles", "plain")),
    ):
        assert toolorch(*shared, "--out", file, *options).code == 0
    assert Path("one.jsonl").read_bytes() == Path("two.jsonl").read_bytes() == Path("all.jsonl").read_bytes()
    worded = {task.id.split("/")[4] for task in read_tasks("all.jsonl")}
    assert worded == {"2+plain+chatty+terse+explicit"}
    assert {task.id.split("/")[4] for task in read_tasks("other.jsonl")} == {"2+plain+explicit"}


def test_values_are_said_in_other_words_where_asked_for(toolorch: Command, folder: Path) -> None:
    words = {"paraphrases": {"author": [{"listed": {"the first": "A1", "the second": "A2"}}]}}
    path = write_library(folder / "words.sqlite", {**WORKFLOWS, **words})
    options = ("--n", "200", "--quiet", "--styles", ",".join(STYLES))
    said = {}
    for values in ("explicit", "mixed", "implicit"):
        assert toolorch("synthesize", str(path), "--out", f"{values}.jsonl", "--values", values, *options).code == 0
        mentions = [m for task in read_tasks(f"{values}.jsonl") for m in task.mentions if m.value in ("A1", "A2")]
        said[values] = sum(bool(mention.resolution) for mention in mentions) / len(mentions)
    assert said["explicit"] == 0 < said["mixed"] < said["implicit"] == 1


# ------------------------------------------------------------------------------------------------------- generators


def test_a_generator_by_its_name_is_played_and_evaluated(toolorch: Command, library: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    for generator in ("workflows", "graph"):
        chosen = ("--snapshot", str(library), "--generator", generator, "--min-steps", "3")
        wanted = task_of(library, 4, generator=generator, constraints={"min_steps": 3})
        done = toolorch("play", "--seed", "4", *chosen)
        assert " ".join(wanted.query.split()) in done.words
        assert "finished, solved, return +1.000" in done.words
        assert toolorch("evaluate", "--policy", "oracle", "--tasks", "20", *chosen, "--json", str(path)).code == 0
        assert figures(path)["success_rate"] == 1
        assert figures(path)["mean_calls"] >= 3


def test_in_numbers_the_graph_is_what_the_snapshot_is_compiled_for(
    toolorch: Command, library: Path, tmp_path: Path
) -> None:
    snapshot = Snapshot(library)
    graph = GraphGenerator(snapshot).graph.within(snapshot.links)
    env = gym.make(
        "ToolOrch-v0", snapshot=snapshot, generator=GraphGenerator(snapshot, graph), constraints={"split": "test"}
    )
    expected = measured(env, tasks=15, seed=2)
    options = ("--policy", "random", "--tasks", "15", "--seed", "2", "--generator", "graph")
    done = toolorch("evaluate", "--snapshot", str(library), *options, "--json", str(tmp_path / "m.json"))
    assert done.code == 0
    assert figures(tmp_path / "m.json") == expected


def test_stored_tasks_are_played_each_once_unless_others_are_asked_for(toolorch: Command, folder: Path) -> None:
    generator, rng = WorkflowGenerator(snapshot_path("library")), np.random.default_rng(0)
    stored = list({task.id: task for task in (generator.sample(rng) for _ in range(25))}.values())
    path = write_library(folder / "stored.sqlite", WORKFLOWS, stored)
    shared = ("evaluate", "--snapshot", str(path), "--policy", "random", "--seed", "3", "--json", "m.json")
    assert toolorch(*shared).code == 0
    assert figures(Path("m.json"))["tasks"] == len(stored)
    assert toolorch(*shared, "--generator", "tasks", "--max-steps", "2").code == 0
    assert figures(Path("m.json"))["tasks"] == sum(len(task.reference) <= 2 for task in stored)
    env = gym.make("ToolOrch-v0", snapshot=path, generator="workflows", constraints={"split": "test"})
    assert toolorch(*shared, "--generator", "workflows", "--tasks", "15").code == 0
    assert figures(Path("m.json")) == measured(env, tasks=15, seed=3)


def test_a_generator_that_nobody_offers_is_told_with_those_there_are(toolorch: Command, library: Path) -> None:
    for command in (("evaluate", "--policy", "oracle"), ("play",)):
        done = toolorch(*command, "--snapshot", str(library), "--generator", "nobody")
        assert (done.code, done.out.strip()) == (2, "")
        assert told_in_one_line(done.err)
        assert ", ".join(generator_names()) in done.err


BAD = {
    "split": (("--split", "dev"), "'test_workflows'"),
    "values": (("--values", "vague"), "'implicit'"),
    "styles": (("--styles", "plain,rude"), "'chatty'"),
    "styles with a comma at the end": (("--styles", "plain,"), "'chatty'"),
    "a style twice": (("--styles", "plain,plain"), "named twice"),
    "bounds": (("--min-steps", "3", "--max-steps", "2"), "above max_steps"),
    "tool": (("--include-tools", "get_poet"), "get_poet"),
    "workflow": (("--workflows", "nothing"), "'nothing'"),
    "no stored tasks": (("--generator", "tasks"), "holds no tasks"),
    "file": (("--constraints", "absent.yaml"), "absent.yaml"),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("command", ["evaluate", "play"])
def test_bad_constraints_are_told_in_one_line(toolorch: Command, library: Path, command: str, what: str) -> None:
    options, said = BAD[what]
    policy = ("--policy", "random") if command == "evaluate" else ()
    done = toolorch(command, "--snapshot", str(library), *policy, *options)
    assert (done.code, done.out.strip()) == (2, "")
    assert told_in_one_line(done.err), done.err
    assert said in done.err
