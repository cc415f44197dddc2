"""The commands that have workflows worded by a language model, and that store workflows in a snapshot."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from chat_server import ChatServer, Messages, Silence, reworded
from command_line import Command, files_in, told_in_one_line
from small_world import workflow_set
from starlette.responses import Response

from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.store.difference import Difference
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.transfer import diff
from toolorch_env.store.verify import verify_snapshot
from toolorch_env.store.workflow_yaml import workflows_to_yaml
from toolorch_env.store.workflows import WorkflowSet, load_workflows, snapshot_workflows

WRITTEN = {text for workflow in workflow_set().workflows for text in workflow.phrasings}
NOWHERE = "http://127.0.0.1:9/v1"


@pytest.fixture
def server() -> ChatServer:
    return ChatServer(reworded)


@pytest.fixture
def url(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the model that follows rules is served."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with server.serve() as address:
        yield address


@pytest.fixture
def mine(folder: Path, library: Path) -> str:
    """A copy of the small library, to be changed."""
    shutil.copy(library, "mine.sqlite")
    return "mine.sqlite"


def workflows_in(path: str) -> WorkflowSet:
    return snapshot_workflows(Snapshot(path))


def same_responses(left: str | Path, right: str | Path) -> bool:
    found: Difference = diff(left, right)
    return not (found.only_left or found.only_right or found.changed)


def test_a_snapshot_is_rewritten_in_place_once_and_then_needs_no_model(
    toolorch: Command, mine: str, library: Path, server: ChatServer, url: str
) -> None:
    done = toolorch("workflows", "rewrite", mine, "--model", "rules", "--base-url", url, "--versions", "2")
    assert (done.code, done.err) == (0, "")
    assert f"accepted {2 * len(WRITTEN)}" in done.words
    assert f"mine.sqlite: {len(WRITTEN)} phrasings with other versions" in done.words
    rewritten = workflows_in(mine)
    assert set(rewritten.rewrites) == WRITTEN
    assert not verify_snapshot(mine).problems
    assert same_responses(library, mine)
    asked, written = len(server.asked), Path(mine).stat().st_mtime_ns

    again = toolorch("workflows", "rewrite", mine, "--model", "rules", "--base-url", NOWHERE, "--versions", "2")
    assert (again.code, again.err) == (0, "")
    assert "versions asked for 0" in again.words
    assert (len(server.asked), Path(mine).stat().st_mtime_ns) == (asked, written)

    generator, rng = WorkflowGenerator(mine), np.random.default_rng(0)
    tasks = [generator.sample(rng, {"styles": ["rewritten"], "distractions": 0}) for _ in range(20)]
    openings = {version.split(":")[0] for versions in rewritten.rewrites.values() for version in versions}
    assert {task.query.split(":")[0] for task in tasks} <= openings


def test_another_snapshot_is_written_where_that_is_said(toolorch: Command, mine: str, library: Path, url: str) -> None:
    before = Path(mine).read_bytes()
    done = toolorch("workflows", "rewrite", mine, "--model", "rules", "--base-url", url, "--out", "other.sqlite")
    assert done.code == 0
    assert Path(mine).read_bytes() == before
    assert set(workflows_in("other.sqlite").rewrites) == WRITTEN
    copied = toolorch(
        "workflows", "rewrite", "other.sqlite", "--model", "rules", "--base-url", NOWHERE, "--out", "copy.sqlite"
    )
    assert copied.code == 0
    assert workflows_in("copy.sqlite") == workflows_in("other.sqlite")


def test_a_workflow_file_becomes_a_workflow_file(toolorch: Command, folder: Path, url: str) -> None:
    text = "# by hand\n" + workflows_to_yaml(workflow_set())
    Path("flows.yaml").write_text(text)
    command = ("workflows", "rewrite", "flows.yaml", "--model", "rules", "--base-url", url)
    refused = toolorch(*command)
    assert (refused.code, Path("flows.yaml").read_text()) == (2, text)
    assert "comments" in refused.err
    assert toolorch(*command, "--out", "worded.yaml").code == 0
    assert Path("flows.yaml").read_text() == text
    assert set(load_workflows("worded.yaml").rewrites) == WRITTEN
    assert toolorch(*command, "--overwrite").code == 0
    assert load_workflows("flows.yaml") == load_workflows("worded.yaml")


def test_a_workflow_file_is_stored_in_a_snapshot(toolorch: Command, mine: str, library: Path) -> None:
    only = workflow_set().model_copy(update={"workflows": workflow_set().workflows[:2]})
    Path("flows.yaml").write_text(workflows_to_yaml(only))
    done = toolorch("workflows", "store", "flows.yaml", mine, "--out", "new.sqlite")
    assert (done.code, done.err) == (0, "")
    assert f"new.sqlite: 2 workflows, {len(Snapshot(library))} responses" in done.words
    assert workflows_in("new.sqlite") == only
    assert workflows_in(mine) == workflow_set()
    assert same_responses(library, "new.sqlite")
    assert not verify_snapshot("new.sqlite").problems
    assert "--overwrite" in toolorch("workflows", "store", "flows.yaml", str(library), "--out", mine).err
    assert toolorch("workflows", "store", "flows.yaml", mine, "--out", mine, "--overwrite").code == 0
    assert workflows_in(mine) == only


def test_requests_without_an_answer_are_told_by_the_exit_code_and_the_rest_is_kept(
    toolorch: Command, mine: str, server: ChatServer, url: str
) -> None:
    lucky = sorted(WRITTEN)[0]
    server.answer = lambda messages: (
        reworded(messages) if messages[-1]["content"] == lucky else Response(status_code=404)
    )
    done = toolorch("workflows", "rewrite", mine, "--model", "rules", "--base-url", url)
    assert done.code == 1
    assert f"failed {len(WRITTEN) - 1}" in done.words
    assert "status 404: check the name of the model" in done.words
    assert set(workflows_in(mine).rewrites) == {lucky}


def test_interrupted_it_keeps_what_was_accepted_and_goes_on(
    toolorch: Command, mine: str, server: ChatServer, url: str
) -> None:
    def answer(messages: Messages) -> str | Response:
        if len(server.asked) == 3:
            os.kill(os.getpid(), signal.SIGINT)
            return Silence()
        return reworded(messages)

    server.answer = answer
    command = ("workflows", "rewrite", mine, "--model", "rules", "--base-url", url, "--concurrency", "1")
    done = toolorch(*command)
    assert (done.code, len(workflows_in(mine).rewrites)) == (130, 2)
    assert "what was accepted is kept" in done.err
    server.answer = reworded
    assert toolorch(*command).code == 0
    assert set(workflows_in(mine).rewrites) == WRITTEN
    assert len(server.asked) == 3 + len(WRITTEN) - 2


def test_interrupted_on_the_way_to_another_file_it_goes_on_there(
    toolorch: Command, mine: str, server: ChatServer, url: str
) -> None:
    def answer(messages: Messages) -> str | Response:
        if len(server.asked) == 3:
            os.kill(os.getpid(), signal.SIGINT)
            return Silence()
        return reworded(messages)

    server.answer = answer
    rewriting = ("--model", "rules", "--base-url", url, "--concurrency", "1")
    done = toolorch("workflows", "rewrite", mine, *rewriting, "--out", "other.sqlite")
    assert done.code == 130
    assert "rewrite other.sqlite, in place" in " ".join(done.err.split())
    server.answer = reworded
    assert toolorch("workflows", "rewrite", "other.sqlite", *rewriting).code == 0
    assert set(workflows_in("other.sqlite").rewrites) == WRITTEN
    assert not workflows_in(mine).rewrites
    assert len(server.asked) == 3 + len(WRITTEN) - 2


def test_bad_use_is_told_in_one_line_and_nothing_is_written(
    toolorch: Command, mine: str, folder: Path, url: str
) -> None:
    Path("flows.yaml").write_text(workflows_to_yaml(workflow_set()))
    Path("broken.yaml").write_text("domain: [")
    Path("there.sqlite").write_text("something")
    before = {name: Path(name).read_bytes() for name in files_in(folder)}
    rewriting = ("--model", "rules", "--base-url", url)
    for said, arguments in [
        ("answered none of", ("rewrite", mine, "--model", "rules", "--base-url", NOWHERE)),
        ("OPENAI_API_KEY", ("rewrite", mine, "--model", "rules")),
        ("no base URL", ("rewrite", mine, "--model", "rules", "--base-url", "localhost")),
        ("--overwrite", ("rewrite", mine, *rewriting, "--out", "there.sqlite")),
        ("cannot be written", ("rewrite", mine, *rewriting, "--out", "absent/new.sqlite")),
        ("part of this package", ("rewrite", "travel", *rewriting)),
        ("no snapshot", ("rewrite", "absent.sqlite", *rewriting)),
        ("broken.yaml", ("rewrite", "broken.yaml", *rewriting, "--out", "new.yaml")),
        ("broken.yaml", ("store", "broken.yaml", mine, "--out", "new.sqlite")),
        ("absent.yaml", ("store", "absent.yaml", mine, "--out", "new.sqlite")),
        ("no snapshot", ("store", "flows.yaml", "absent.sqlite", "--out", "new.sqlite")),
        ("exists", ("store", "flows.yaml", mine, "--out", "there.sqlite")),
    ]:
        done = toolorch("workflows", *arguments)
        assert done.code == 2, arguments
        assert said in done.err, arguments
        assert told_in_one_line(done.err)
    assert {name: Path(name).read_bytes() for name in files_in(folder)} == before
