"""Servers of the Model Context Protocol that others wrote: recorded, verified, played by the oracle to exactly 1.0."""

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from mcp_servers import GIT, TIME, npm_server
from playing import assert_oracle_succeeds

from toolorch_env.recording.asking import Patience
from toolorch_env.recording.mcp import open_mcp
from toolorch_env.recording.plans.plan import parse_plan
from toolorch_env.recording.record import Recording, record
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.verify import verify_snapshot

__all__ = ["npm_server"]
pytestmark = pytest.mark.long
COMMITS = 12


def recorded(folder: Path, plan: dict[str, Any], workflows: dict[str, Any], **server: Any) -> tuple[Path, Recording]:
    """Records a server by a plan with workflows."""
    (folder / "workflows.yaml").write_text(yaml.safe_dump(workflows))
    plan = {**plan, "workflows": {"file": "workflows.yaml", **plan.get("workflows", {})}}
    path = folder / "recorded.sqlite"
    api = asyncio.run(open_mcp(**server))
    return path, record(api, path, parse_plan(plan, folder=folder), patience=Patience(sessions=2))


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A Git repository whose hashes are the same everywhere."""
    folder = tmp_path / "history"
    folder.mkdir()

    def git(*arguments: str, day: int = 1) -> None:
        person = {"NAME": "Ada", "EMAIL": "ada@example.org", "DATE": f"2020-02-{day:02d}T02:02:02+0000"}
        environment = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in person.items()}
        environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "PATH": os.environ["PATH"]}
        subprocess.run(["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True)

    git("init", "--initial-branch=main")
    for number in range(COMMITS):
        (folder / f"chapter{number}.txt").write_text(f"Chapter {number}\n")
        git("add", ".", day=number + 1)
        git("commit", "--message", f"Write chapter {number}", day=number + 1)
    return folder


GIT_WORKFLOWS: dict[str, Any] = {
    "domain": "history",
    "kinds": {"folder": "path of a repository", "count": "number of commits"},
    "workflows": [{
        "name": "oldest_of_latest",
        "literals": {"repository": "folder", "count": "count"},
        "steps": [
            {"id": "log", "tool": "git_log",
             "arguments": {"repo_path": {"query": "repository"}, "max_count": {"query": "count"}}},
            {"id": "show", "tool": "git_show", "arguments": {
                "repo_path": {"query": "repository"}, "revision": {"from": "log", "select": "matches[-1].revision"}}},
            {"id": "changes", "tool": "git_diff", "arguments": {
                "repo_path": {"query": "repository"}, "target": {"from": "log", "select": "matches[-1].revision"}}},
        ],
        "phrasings": ["Of the latest {count} commits in {repository}, show the oldest, and what changed since then."],
    }],
}  # fmt: skip


def test_git(history: Path, tmp_path: Path) -> None:
    """Hashes are carried from one call to the next; they stand in plain text."""
    hashes = {"from": "git_log", "select": "matches[].revision"}
    plan = {
        "extract": {"git_log": "^Commit: (?P<revision>[0-9a-f]{40})$"},
        "requests": [
            {"tool": "git_log", "arguments": {"repo_path": str(history),
                                              "max_count": {"range": {"start": 1, "stop": COMMITS}}}, "refusals": 3},
            {"tool": "git_show", "arguments": {"repo_path": str(history), "revision": hashes}, "refusals": 4},
            {"tool": "git_diff", "arguments": {"repo_path": str(history), "target": hashes}},
        ],
    }  # fmt: skip
    path, done = recorded(tmp_path, plan, GIT_WORKFLOWS, command=GIT)
    assert done.summary.failed == 0
    assert done.responses == 3 * COMMITS + 7
    assert done.summary.statuses[400] > 0
    assert verify_snapshot(path).ok
    assert_oracle_succeeds(path)


TIME_WORKFLOWS: dict[str, Any] = {
    "domain": "clock",
    "kinds": {"zone": "time zone", "time": "time of day"},
    "workflows": [{
        "name": "there_and_now",
        "literals": {"here": "zone", "there": "zone", "time": "time"},
        "steps": [
            {"id": "converted", "tool": "convert_time", "arguments": {
                "source_timezone": {"query": "here"}, "target_timezone": {"query": "there"},
                "time": {"query": "time"}}},
            {"id": "now", "tool": "get_current_time",
             "arguments": {"timezone": {"from": "converted", "select": "target.timezone"}}},
        ],
        "phrasings": ["When it is {time} in {here}, what time is it in {there}? And what time is it there now?"],
    }],
}  # fmt: skip


def test_time(tmp_path: Path) -> None:
    zones = {"values": ["Europe/Zurich", "Asia/Tokyo", "America/New_York", "Africa/Lagos", "Asia/Kolkata"]}
    arguments = {"source_timezone": zones, "target_timezone": zones,
                 "time": {"values": ["08:15", "12:00", "17:30", "23:45"]}}  # fmt: skip
    plan = {
        "requests": [
            {"tool": "convert_time", "arguments": arguments, "refusals": 6},
            {"tool": "get_current_time", "arguments": {"timezone": zones}},
        ]
    }
    path, done = recorded(tmp_path, plan, TIME_WORKFLOWS, command=TIME)
    assert (done.summary.failed, done.responses) == (0, 5 * 5 * 4 + 6 + 5)
    assert verify_snapshot(path).ok
    assert_oracle_succeeds(path)


MEMORY_WORKFLOWS: dict[str, Any] = {
    "domain": "memory",
    "kinds": {"entities": "entities"},
    "workflows": [
        {
            "name": "remember_and_search",
            "literals": {"entities": "entities"},
            "steps": [
                {"id": "made", "tool": "create_entities", "arguments": {"entities": {"query": "entities"}}},
                {"id": "found", "tool": "search_nodes",
                 "arguments": {"query": {"from": "made", "select": "entities[0].name"}}},
                {"id": "opened", "tool": "open_nodes",
                 "arguments": {"names": {"from": "made", "select": "entities[].name"}}},
            ],
            "phrasings": ["Remember {entities}; search for the first by its name, then open all of them."],
        },
        {
            "name": "remember_and_forget",
            "literals": {"entities": "entities", "others": "entities"},
            "steps": [
                {"id": "made", "tool": "create_entities", "arguments": {"entities": {"query": "entities"}}},
                {"id": "more", "tool": "create_entities", "arguments": {"entities": {"query": "others"}}},
                {"id": "gone", "tool": "delete_entities",
                 "arguments": {"entityNames": {"from": "made", "select": "entities[].name"}}},
                {"id": "left", "tool": "read_graph"},
            ],
            "phrasings": ["Remember {entities}, then {others}; forget the former again and read what is left."],
        },
    ],
}  # fmt: skip


def entities(number: int) -> list[dict[str, Any]]:
    names = ["Ada", "Ben", "Cleo", "Dora", "Emil", "Fred"]
    return [
        {"name": f"{names[index % 6]} {number}", "entityType": "person", "observations": [f"sits in room {index}"]}
        for index in range(number, number + 1 + number % 2)
    ]


def test_memory(tmp_path: Path, npm_server: Callable[[str], list[str]]) -> None:
    """It keeps its state in a file, of which each session has its own."""
    literals = {"entities": {"values": [entities(number) for number in range(6)]}}
    plan = {"requests": [{"tool": "read_graph"}], "workflows": {"runs": 5, "literals": literals}}
    server = {"command": npm_server("server-memory"), "environment": {"MEMORY_FILE_PATH": "{session}/memory.json"}}
    path, done = recorded(tmp_path, plan, MEMORY_WORKFLOWS, **server)
    assert (done.summary.failed, done.summary.changed) == (0, 0)
    assert (done.summary.runs, done.summary.complete_runs) == (10, 10)
    assert verify_snapshot(path).ok
    states = {record.state for record in Snapshot(path).records()}
    assert len(states) > 10
    assert_oracle_succeeds(path)
