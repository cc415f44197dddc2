"""The documents keep their word: what they show runs, prints what they say, and leads somewhere."""

import contextlib
import io
import pkgutil
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from chat_server import ChatServer
from fresh_command import run_command
from fresh_python import ROOT

from toolorch_env.cli import app
from toolorch_env.rewards import GraduatedReward
from toolorch_env.store.bundled import open_snapshot

README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TABLE_COMMAND = re.compile(r"^\| `(toolorch [^`]+)` \|", re.MULTILINE)
FEW_TASKS = "2"


def blocks(path: Path) -> list[tuple[str, str, int]]:
    """Language, text and line number of each fenced block."""
    text = path.read_text(encoding="utf-8")
    return [(m.group(1), m.group(2), text.count("\n", 0, m.start(2))) for m in FENCE.finditer(text)]


def commands(path: Path) -> list[str]:
    """The ``toolorch`` commands in shell blocks and in the first column of tables."""
    found = TABLE_COMMAND.findall(path.read_text(encoding="utf-8"))
    for language, text, _ in blocks(path):
        if language == "shell":
            found += [line for line in text.splitlines() if line.startswith("toolorch ")]
    return found


def printed_by(code: str, path: Path, line: int, namespace: dict[str, Any]) -> str:
    """What a block prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile("\n" * line + code, str(path), "exec"), namespace)
    return out.getvalue()


WITH_PYTHON = [path for path in DOCUMENTS if any(language == "python" for language, _, _ in blocks(path))]


@pytest.mark.parametrize("path", WITH_PYTHON, ids=lambda path: path.name)
def test_python_blocks_run_and_print_what_is_shown(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of one file share a namespace. A text block is what the Python block before it prints."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "document"}
    printed = ""
    for language, text, line in blocks(path):
        if language == "python":
            printed = printed_by(text, path, line, namespace)
        elif language == "text":
            assert printed == text, f"{path.name}, line {line}"


def test_the_readme_shows_the_text_environment() -> None:
    shown = [text for language, text, _ in blocks(README) if language == "text"]
    assert any(text.startswith("<tool_response>\n{") for text in shown)
    assert any(text.endswith("0.0 True True\n") for text in shown)


# these need an API or a data set, or go on until they are ended: tests/cli checks that they exist
ELSEWHERE = re.compile(" (record|import|workflows|serve) ")
# what stands in several documents runs once
RUNNABLE = {command: path for path in DOCUMENTS for command in commands(path) if not ELSEWHERE.search(command)}


@pytest.mark.parametrize("command", RUNNABLE)
def test_commands_run(command: str, tmp_path: Path) -> None:
    arguments = shlex.split(command)[1:]
    if "run.jsonl" in arguments and arguments[0] != "evaluate":
        run_command("evaluate", "--policy", "random", "--out", "run.jsonl", "--tasks", FEW_TASKS, folder=tmp_path)
    few = {"demo": ["--tasks", FEW_TASKS], "evaluate": ["--tasks", FEW_TASKS], "train": ["--steps", "256"]}
    arguments += few.get(arguments[0], [])  # the last one counts
    with contextlib.ExitStack() as stack:
        if " openai:" in command:
            arguments += ["--base-url", stack.enter_context(ChatServer(lambda _: "That is all.").serve())]
        done = run_command(*arguments, folder=tmp_path)
    assert done.returncode == 0, f"{RUNNABLE[command].name}: {command}\n{done.stderr}"
    assert done.stdout
    assert done.stderr == ""
    if "--json" in arguments:
        assert (tmp_path / arguments[arguments.index("--json") + 1]).exists()


def test_the_readme_tells_of_every_command() -> None:
    told = {" ".join(re.findall(r"[a-z]+", command)[1:]) for command in commands(README)}
    root: Any = typer.main.get_command(app)
    for name, command in root.commands.items():
        for full in [f"{name} {inner}" for inner in getattr(command, "commands", ())] or [name]:
            assert any(words.startswith(full) for words in told), full


def test_the_readme_tells_the_size_of_the_snapshot() -> None:
    snapshot = open_snapshot("travel")
    size = f"{snapshot.path.stat().st_size / 1e6:.2f} MB"
    said = f"{len(snapshot):,} recorded responses of {len(snapshot.tools)} tools in {size}"
    assert said in " ".join(README.read_text(encoding="utf-8").split())


def test_the_readme_tells_the_weights_of_the_reward() -> None:
    text, reward = README.read_text(encoding="utf-8"), GraduatedReward()
    for name in ("name", "structure", "values", "execution"):
        assert re.search(rf"^\| `{name}` \|.*\| {getattr(reward.weights, name)} of atomic \|$", text, re.MULTILINE)
    assert re.search(rf"^\| atomic \|.*\| alpha = {reward.alpha} of the potential \|$", text, re.MULTILINE)
    assert re.search(rf"^\| `ordered` \|.*\| 1 - alpha = {1 - reward.alpha} of the potential \|$", text, re.MULTILINE)
    assert re.search(rf"^\| `penalty` \|.*\| {reward.penalty:.2f} off the reward \|$", text, re.MULTILINE)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_files_and_names_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (path.parent / target).exists(), target
    for target in re.findall(r"`((?:toolorch_env|tests|cache_snapshots|docs|benchmarks)/[\w./]+)`", text):
        assert (ROOT / target).exists(), target
    for name in re.findall(r"`(toolorch_env(?:\.\w+)+)`", text):
        assert pkgutil.resolve_name(name)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_prose_has_lines_of_at_most_120_characters(path: Path) -> None:
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    assert [line for line in text.splitlines() if len(line) > 120 and not line.startswith(("|", "    "))] == []
