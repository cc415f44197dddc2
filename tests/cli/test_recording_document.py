"""The guide to recording keeps its word: its plans are valid, its commands exist, and the ones that can run here do.

Commands of the guide to importing exist, too; tests/cli/test_import_commands.py runs them.
"""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from command_line import Command, files_in
from fresh_python import ROOT
from mcp_servers import GIT, TIME

from toolorch_env.cli import app
from toolorch_env.recording.plans.plan import ForEach, Plan, Request, load_plan, parse_plan
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.workflows import parse_workflows

GUIDE = (ROOT / "docs" / "recording.md").read_text(encoding="utf-8")
IMPORTING = (ROOT / "docs" / "importing.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"^\$ toolorch (.+)$", re.MULTILINE)
IN_TABLE = re.compile(r"^\| `toolorch ([^`]+)` \|", re.MULTILINE)
COMMANDS = [*(shown for text in (GUIDE, IMPORTING, README) for shown in SHOWN.findall(text)), *IN_TABLE.findall(README)]
"""What is shown of the command line, without ``toolorch``."""


def blocks(language: str) -> list[str]:
    return [text for found, text in FENCE.findall(GUIDE) if found == language]


PLANS = [text for text in blocks("yaml") if not text.startswith("# workflows")]
WORKFLOWS = [text for text in blocks("yaml") if text.startswith("# workflows")]


@pytest.mark.parametrize("text", PLANS)
def test_plans_are_valid(text: str) -> None:
    assert parse_plan(yaml.safe_load(text)) != Plan()


@pytest.mark.parametrize("text", WORKFLOWS)
def test_workflows_are_valid(text: str) -> None:
    assert parse_workflows(yaml.safe_load(text)).workflows


def test_every_key_of_a_plan_is_told() -> None:
    for model in (Plan, Request, ForEach):
        for name, field in model.model_fields.items():
            assert f"`{field.alias or name}`" in GUIDE or name == "folder", name


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_and_their_options_exist(command: str) -> None:
    found: Any = typer.main.get_command(app)
    words = shlex.split(command)
    while hasattr(found, "commands"):
        found = found.commands[words.pop(0)]
    found.make_context("toolorch", words)


def test_every_option_of_recording_is_told() -> None:
    root: Any = typer.main.get_command(app)
    for command in root.commands["record"].commands.values():
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("--") and option not in ("--help", "--quiet"):
                    assert option in GUIDE, option


def test_the_quick_start_over_http(toolorch: Command, shop_url: str, folder: Path) -> None:
    start = GUIDE[GUIDE.index("### HTTP") : GUIDE.index("### MCP")]
    assert len(SHOWN.findall(start)) == 4
    for command in SHOWN.findall(start):
        arguments = shlex.split(command.replace("https://api.example.org", shop_url).replace("--rate 5", "--rate 500"))
        assert toolorch(*arguments).code == 0
    assert files_in(folder) == ["example.sqlite", "plan.yaml"]


def test_the_quick_start_in_python(toolorch: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(folder)
    (folder / "notebook.py").write_text(next(text for text in blocks("python") if "class Notebook" in text))
    command = next(command for command in COMMANDS if "notebook:Notebook" in command)
    assert toolorch(*shlex.split(command)).code == 0
    assert {record.tool for record in Snapshot("notebook.sqlite").records()} == {"list_notes", "read_note"}


def test_the_stateful_plan(toolorch: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(folder)
    (folder / "notebook.py").write_text(next(text for text in blocks("python") if "class Notebook" in text))
    (folder / "workflows.yaml").write_text(WORKFLOWS[0])
    (folder / "plan.yaml").write_text(next(text for text in PLANS if "runs: 3" in text))
    command = ("record", "python", "notebook:Notebook", "--out", "notebook.sqlite", "--plan", "plan.yaml")
    forecast = toolorch(*command, "--dry-run")
    assert "Runs of workflows make at most 6 further calls" in forecast.words
    assert "write_note" not in forecast.words
    done = toolorch(*command)
    assert done.code == 0
    assert "runs of workflows 3 of 3 complete" in done.words
    assert "not reached" not in done.out
    states = {record.state for record in Snapshot("notebook.sqlite").records() if record.tool == "read_note"}
    assert len(states) == 3
    assert b"" not in states


def test_the_plan_that_marks_the_tools_of_an_mcp_server(toolorch: Command, folder: Path) -> None:
    pytest.importorskip("mcp_server_time")
    (folder / "plan.yaml").write_text(PLANS[0])
    done = toolorch("record", "mcp", "--out", "time.sqlite", "--plan", "plan.yaml", "--dry-run", "--", *TIME)
    assert done.code == 0
    assert load_plan("plan.yaml").read_only == {"get_current_time", "convert_time"}
    assert "changes the state" not in done.words


def test_the_plan_that_reads_texts(
    toolorch: Command, repository: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mcp_server_git")
    monkeypatch.chdir(repository)
    (folder / "plan.yaml").write_text(next(text for text in PLANS if "extract:" in text))
    command = ("record", "mcp", "--sessions", "1", "--plan", f"{folder}/plan.yaml", "--out", f"{folder}/git.sqlite")
    assert toolorch(*command, "--", *GIT).code == 0
    calls = [record.tool for record in Snapshot(folder / "git.sqlite").records()]
    assert sorted(calls) == ["git_log", "git_show", "git_show"]
