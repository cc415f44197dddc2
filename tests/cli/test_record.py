"""The commands that record, against real servers."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import postgres
import pytest
import yaml
from command_line import Command, files_in, told_in_one_line
from fastapi import Request
from fresh_command import run_command
from fresh_python import ROOT
from mcp_servers import NOTES
from shop_server import CALLS, ITEMS, PLAN, SHELVES, Shop

from toolorch_env.cli import recording_display
from toolorch_env.core.calls import ToolSet
from toolorch_env.core.tools import Tool
from toolorch_env.recording.plans.plan import load_plan
from toolorch_env.recording.record import Forecast
from toolorch_env.store.record_store import RecordStore
from toolorch_env.store.records import Record
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.verify import verify_snapshot

ALL = 1 + SHELVES + SHELVES * ITEMS + 7
"""Calls that list and get everything in the shop."""


def write_plan(folder: Path, plan: object = PLAN) -> str:
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    return "plan.yaml"


def said(record: Record) -> tuple[bytes, int, bytes]:
    return record.key, record.response.status, record.response.raw


# ---------------------------------------------------------------------------------------------------------- openapi


def test_without_a_plan_everything_that_can_be_found_is_recorded(
    toolorch: Command, shop_url: str, folder: Path
) -> None:
    done = toolorch("record", "openapi", f"{shop_url}/openapi.json", "--out", "shop.sqlite", "--save-plan", "plan.yaml")
    assert (done.code, done.err) == (0, "")
    assert files_in(folder) == ["plan.yaml", "shop.sqlite"]
    assert verify_snapshot(folder / "shop.sqlite").ok
    snapshot = Snapshot(folder / "shop.sqlite")
    assert {record.tool for record in snapshot.records()} == set(snapshot.tools)
    assert f"responses {len(snapshot):,} " in done.words
    assert f"status 200 {ALL}" in done.words
    assert load_plan("plan.yaml").requests


def test_the_saved_plan_records_the_same(toolorch: Command, shop_url: str, folder: Path) -> None:
    record = ("record", "openapi", f"{shop_url}/openapi.json", "--quiet")
    toolorch(*record, "--out", "first.sqlite", "--save-plan", "plan.yaml")
    toolorch(*record, "--out", "second.sqlite", "--plan", "plan.yaml")
    assert toolorch("snapshot", "diff", "first.sqlite", "second.sqlite").code == 0


def test_with_a_plan(toolorch: Command, shop_url: str, folder: Path) -> None:
    done = toolorch(
        "record", "openapi", f"{shop_url}/openapi.json", "--out", "shop.sqlite", "--plan", write_plan(folder)
    )  # fmt: skip
    assert done.code == 0
    assert f"responses {CALLS} of these recorded now {CALLS} recorded before 0" in done.words
    assert "responses/s" in done.words
    assert "MB" in done.words
    assert "not reached" not in done.words


def test_a_second_time_nothing_is_asked(toolorch: Command, shop: Shop, shop_url: str, folder: Path) -> None:
    command = ("record", "openapi", f"{shop_url}/openapi.json", "--out", "shop.sqlite", "--plan", write_plan(folder))
    toolorch(*command)
    asked = len(shop.log)
    done = toolorch(*command)
    assert done.code == 0
    assert len(shop.log) == asked
    assert f"of these recorded now 0 recorded before {CALLS}" in done.words


def test_what_was_not_answered_is_told_and_asked_again(
    toolorch: Command, shop: Shop, shop_url: str, folder: Path
) -> None:
    command = ("record", "openapi", f"{shop_url}/openapi.json", "--out", "shop.sqlite", "--attempts", "1")
    shop.broken.add("/items/I3")
    shop.texts.add("/items/I4")
    done = toolorch(*command, "--plan", write_plan(folder))
    assert done.code == 1
    assert "not answered, server fault 1, such as: GET /items/{item_id}: status 500" in done.words
    assert "not answered, not JSON 1, such as: " in done.words
    assert "Run the same command again" in done.words
    shop.broken.clear()
    shop.texts.clear()
    shop.log.clear()
    again = toolorch(*command, "--plan", "plan.yaml")
    assert again.code == 0
    assert {"/items/I3", "/items/I4"} <= set(shop.log)
    assert len(shop.log) <= 4  # and what these lead to


def test_calls_that_cannot_be_sent_are_no_failure(toolorch: Command, shop_url: str, folder: Path) -> None:
    plan = {"requests": [{"tool": "get_item", "arguments": {"item_id": {"values": ["..", "I1"]}}}]}
    done = toolorch(
        "record", "openapi", f"{shop_url}/openapi.json", "--out", "shop.sqlite", "--plan", write_plan(folder, plan)
    )  # fmt: skip
    assert done.code == 0
    assert "not answered, unsendable 1" in done.words
    assert "the plan does not ask it: add `- tool: list_shelves` to its requests" in done.words


def test_settings_of_the_command_line_come_before_those_of_the_plan(
    toolorch: Command, shop_url: str, folder: Path
) -> None:
    given = ("--name", "store", "--licence", "CC0", "--description", "A shop.", "--source", "made up")
    toolorch("record", "openapi", f"{shop_url}/openapi.json", "--out", "a.sqlite", "--plan", write_plan(folder), *given)
    toolorch("record", "openapi", f"{shop_url}/openapi.json", "--out", "b.sqlite", *given)
    for path in ("a.sqlite", "b.sqlite"):
        meta = Snapshot(path).meta
        assert (meta["name"], meta["licence"], meta["description"], meta["source"]) == (
            "store", "CC0", "A shop.", "made up",
        )  # fmt: skip


def test_quiet_says_nothing(toolorch: Command, shop_url: str, folder: Path) -> None:
    done = toolorch("record", "openapi", f"{shop_url}/openapi.json", "--out", "shop.sqlite", "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert (folder / "shop.sqlite").exists()


def test_a_dry_run_asks_nothing(toolorch: Command, shop: Shop, shop_url: str, folder: Path) -> None:
    command = ("record", "openapi", f"{shop_url}/openapi.json", "--out", "shop.sqlite", "--plan", write_plan(folder))
    done = toolorch(*command, "--dry-run")
    assert (done.code, done.err) == (0, "")
    assert shop.log == []
    assert files_in(folder) == ["plan.yaml"]
    assert "list_shelves 1 0" in done.words
    assert "get_item 0 0 no limit" in done.words
    assert "all 1 0" in done.words
    toolorch(*command)
    asked = len(shop.log)
    assert f"all {CALLS} {CALLS}" in toolorch(*command, "--dry-run").words
    assert len(shop.log) == asked


def test_a_dry_run_without_a_plan_saves_what_it_begins_with(
    toolorch: Command, shop: Shop, shop_url: str, folder: Path
) -> None:
    done = toolorch(
        "record", "openapi", f"{shop_url}/openapi.json", "--out", "x.sqlite", "--dry-run", "--save-plan", "plan.yaml"
    )
    assert done.code == 0
    assert "further calls are proposed from what these answer" in done.words
    assert shop.log == []
    assert [request.tool for request in load_plan("plan.yaml").requests] == ["list_shelves"]


def test_a_document_in_a_file_and_the_api_elsewhere(toolorch: Command, shop: Shop, shop_url: str, folder: Path) -> None:
    (folder / "document.json").write_text(json.dumps(shop.app.openapi()))
    command = ("record", "openapi", "document.json", "--out", "shop.sqlite")
    missing = toolorch(*command)
    assert missing.code == 2
    assert "base_url" in missing.err
    assert toolorch(*command, "--base-url", shop_url).code == 0


@pytest.mark.long
def test_interrupted_it_tells_what_is_kept_and_goes_on_later(shop: Shop, shop_url: str, folder: Path) -> None:
    arguments = ["record", "openapi", f"{shop_url}/openapi.json", "--out", "shop.sqlite", "--plan", write_plan(folder)]
    process = subprocess.Popen(
        [sys.executable, "-m", "toolorch_env.cli", *arguments, "--rate", "15"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ, PYTHONPATH=str(ROOT)),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )  # fmt: skip
    while len(shop.log) < 20:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "responses kept in " in err
    assert "Run the same command again to go on" in err
    assert "toolorch snapshot copy" in err
    assert "Traceback" not in err
    assert files_in(folder) == ["plan.yaml", "shop.sqlite.recording"]
    done = run_command(*arguments, folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert files_in(folder) == ["plan.yaml", "shop.sqlite"]
    assert len(Snapshot(folder / "shop.sqlite")) == CALLS
    twice = [path for path, count in shop.asked.items() if count > 1]
    assert len(twice) <= 8  # those that were under way


def test_an_api_that_goes_away_leaves_what_it_answered(
    toolorch: Command, shop: Shop, shop_url: str, folder: Path
) -> None:
    shop.deaf_after = 30
    command = ("record", "openapi", f"{shop_url}/openapi.json", "--out", "shop.sqlite", "--plan", write_plan(folder))
    done = toolorch(*command, "--attempts", "1", "--timeout", "1.5")
    assert done.code == 2
    assert "responses kept in " in done.err
    assert "error: " in done.err
    assert "did not answer 16 calls in a row" in done.err
    assert (folder / "shop.sqlite.recording").exists()
    shop.deaf_after = None
    assert toolorch(*command).code == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on files")
def test_a_full_disk_leaves_what_was_answered(shop: Shop, shop_url: str, folder: Path) -> None:
    command = [
        sys.executable, "-m", "toolorch_env.cli", "record", "openapi", f"{shop_url}/openapi.json",
        "--out", "shop.sqlite", "--plan", write_plan(folder), "--quiet", "--rate", "400",
    ]  # fmt: skip
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    limited = ["sh", "-c", 'ulimit -f 240; exec "$@"', "sh", *command]  # files of 120 or 240 KB, as the shell counts
    done = subprocess.run(limited, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 2
    kept, _, error = done.stderr.partition("\n")
    assert int(kept.split()[0]) > 0
    assert told_in_one_line(error), done.stderr
    assert "cannot be written" in error
    before = len(shop.log)
    assert subprocess.run(command, env=environment, timeout=60).returncode == 0
    assert len(shop.log) - before == CALLS - int(kept.split()[0])
    assert verify_snapshot(folder / "shop.sqlite").ok


def test_the_second_recorder_of_a_file_is_told_so(toolorch: Command, shop_url: str, folder: Path) -> None:
    with RecordStore("shop.sqlite.recording"):
        done = toolorch("record", "openapi", f"{shop_url}/openapi.json", "--out", "shop.sqlite")
    assert done.code == 2
    assert told_in_one_line(done.err), done.err
    assert "is being written by" in done.err


def test_without_a_terminal_a_line_now_and_then_tells_how_far_it_is(
    toolorch: Command, shop_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording_display, "LINE_SECONDS", 0.02)
    done = toolorch(
        "record", "openapi", f"{shop_url}/openapi.json", "--out", "shop.sqlite", "--plan", write_plan(folder)
    )  # fmt: skip
    assert done.code == 0
    assert re.search(r"^\d+ of \d+ calls, [\d.,]+ responses/s, about \d+ s left$", done.err, re.MULTILINE)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_on_a_terminal_a_bar_tells_how_far_it_is(shop_url: str, folder: Path) -> None:
    terminal, end = os.openpty()
    command = ["record", "openapi", f"{shop_url}/openapi.json", "--out", "shop.sqlite", "--plan", write_plan(folder)]
    with subprocess.Popen(
        [sys.executable, "-m", "toolorch_env.cli", *command, "--rate", "200"],
        stdout=subprocess.DEVNULL, stderr=end, env=dict(os.environ, PYTHONPATH=str(ROOT), TERM="xterm", COLUMNS="120"),
    ) as process:  # fmt: skip
        os.close(end)
        shown = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while part := os.read(terminal, 4096):
                shown += part
    os.close(terminal)
    assert process.returncode == 0
    assert re.search(rf"\d+/{CALLS}\b".encode(), shown)
    assert b"responses/s" in shown


def test_names_of_tools_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    name = "[/bold]listing[red]"
    tools = ToolSet([Tool(name, "", {"type": "object", "properties": {}}, read_only=True)])
    recording_display.show_forecast(Forecast(1, 0, {name: 1}, {name: 0}, {}, 0, {}), tools)
    recording_display.show_unreached({name: "it is not asked"})
    assert capsys.readouterr().out.count(name) == 2


# --------------------------------------------------------------------------------------------------------- database


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """URL of an empty PostgreSQL database."""
    if reason := postgres.why_not():
        pytest.skip(reason)
    with postgres.running_server() as server:
        yield server.new_database()


def test_into_a_shared_database(toolorch: Command, shop: Shop, shop_url: str, folder: Path, database: str) -> None:
    record = ("record", "openapi", f"{shop_url}/openapi.json", "--plan", write_plan(folder))
    assert toolorch(*record, "--out", database, "--dry-run").code == 0
    assert toolorch("snapshot", "info", database).code == 2  # nothing was made
    done = toolorch(*record, "--out", database)
    assert (done.code, done.err) == (0, "")
    assert f"responses {CALLS}" in done.words
    assert f"responses {CALLS}" in toolorch("snapshot", "info", database).words
    asked = len(shop.log)
    assert f"of these recorded now 0 recorded before {CALLS}" in toolorch(*record, "--out", database).words
    assert len(shop.log) == asked
    assert toolorch(*record, "--out", "shop.sqlite").code == 0
    toolorch("snapshot", "copy", database, "copy.sqlite")
    assert [said(record) for record in Snapshot("copy.sqlite").records()] == [
        said(record) for record in Snapshot("shop.sqlite").records()
    ]


# -------------------------------------------------------------------------------------------------------------- mcp


def test_an_mcp_server_is_recorded(toolorch: Command, folder: Path) -> None:
    plan = {"requests": [{"tool": "read", "arguments": {"title": {"values": ["a", "b"]}}}, {"tool": "count"}]}
    done = toolorch(
        "record", "mcp", "--sessions", "2", "--out", "notes.sqlite", "--plan", write_plan(folder, plan), "--", *NOTES
    )
    assert (done.code, done.err) == (0, "")
    assert "status 200 1" in done.words
    assert "status 400 2" in done.words
    assert len(Snapshot("notes.sqlite")) == 3


def test_tools_that_change_state_are_not_asked_without_a_plan(toolorch: Command, folder: Path) -> None:
    done = toolorch("record", "mcp", "--sessions", "2", "--out", "notes.sqlite", "--", *NOTES)
    assert done.code == 0
    assert {record.tool for record in Snapshot("notes.sqlite").records()} == {"count"}
    assert "it changes the state of the API" in done.words


def test_variables_reach_an_mcp_server_and_secrets_do_not_leave_it(
    toolorch: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINE", "hunter22")
    plan = {
        "requests": [{"tool": "variable", "arguments": {"name": {"values": ["PLAIN", "NOTES_KEY", "OTHER_API_KEY"]}}}],
        "read_only": ["variable"],
    }
    given = ("--env", "PLAIN=to be seen", "--env", "OTHER_API_KEY=hunter33", "--credential", "NOTES_KEY=MINE")
    done = toolorch(
        "record", "mcp", "--sessions", "2", "--out", "notes.sqlite", "--plan", write_plan(folder, plan), *given,
        "--", *NOTES,
    )  # fmt: skip
    assert done.code == 0
    bodies = {record.arguments: record.response.raw for record in Snapshot("notes.sqlite").records()}
    assert b"to be seen" in bodies[b'{"name":"PLAIN"}']
    assert b"[redacted]" in bodies[b'{"name":"NOTES_KEY"}']
    assert b"[redacted]" in bodies[b'{"name":"OTHER_API_KEY"}']
    assert b"hunter" not in b"".join(bodies.values())


def test_each_session_has_a_folder_of_its_own(toolorch: Command, folder: Path) -> None:
    plan = {
        "requests": [
            {"tool": "entries", "arguments": {"folder": "."}},
            {"tool": "variable", "arguments": {"name": "PLACE"}},
        ]
    }
    within = "import os, runpy, sys; os.chdir(os.environ['PLACE']); runpy.run_path(sys.argv[1], run_name='__main__')"
    done = toolorch(
        "record", "mcp", "--sessions", "2", "--out", "notes.sqlite", "--plan", write_plan(folder, plan),
        "--env", "PLACE={session}", "--", sys.executable, "-c", within, NOTES[1],
    )  # fmt: skip
    assert done.code == 0
    bodies = {record.tool: record.response.body for record in Snapshot("notes.sqlite").records()}
    assert bodies["entries"] == {"result": []}
    assert not Path(bodies["variable"]["result"]).exists()


def test_an_mcp_server_over_http(toolorch: Command, notes_url: str, folder: Path) -> None:
    done = toolorch("record", "mcp", "--url", notes_url, "--out", "notes.sqlite", "--dry-run")
    assert done.code == 0
    assert files_in(folder) == []
    assert toolorch("record", "mcp", "--url", notes_url, "--out", "notes.sqlite").code == 0
    assert files_in(folder) == ["notes.sqlite"]


# ----------------------------------------------------------------------------------------------------------- python


def test_python_in_the_current_folder_is_recorded(folder: Path) -> None:
    (folder / "planets.py").write_text(
        '"""Planets."""\n\nfrom typing import Literal\n\n'
        'def moons(planet: Literal["Earth", "Mars"]) -> dict[str, int]:\n'
        '    """How many moons a planet has."""\n    return {"moons": {"Earth": 1, "Mars": 2}[planet]}\n'
    )
    done = run_command("record", "python", "planets", "--out", "planets.sqlite", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Python planets, 1 tool\n" in done.stdout
    bodies = {record.arguments: record.response.body for record in Snapshot(folder / "planets.sqlite").records()}
    assert bodies == {b'{"planet":"Earth"}': {"moons": 1}, b'{"planet":"Mars"}': {"moons": 2}}


# ------------------------------------------------------------------------------------------------------ credentials


def test_headers_and_credentials_come_from_the_environment_and_are_not_recorded(
    toolorch: Command, shop: Shop, shop_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @shop.app.get("/visits", operation_id="visits")
    async def visits(request: Request, api_key: str) -> dict[str, str]:
        return {"said": f"{request.headers['x-member']} came with {api_key}", "currency": "$"}

    monkeypatch.setenv("MEMBER", "member-4711")
    monkeypatch.setenv("KEY", "key-0815")
    command = ("record", "openapi", f"{shop_url}/openapi.json", "--out", "shop.sqlite")
    done = toolorch(*command, "--header", "X-Member: $MEMBER", "--credential", "api_key=KEY")
    assert done.code == 0
    bodies = [record.response.body for record in Snapshot("shop.sqlite").records() if record.tool == "visits"]
    assert bodies == [{"said": "[redacted] came with [redacted]", "currency": "$"}]
    exported = toolorch("snapshot", "export", "shop.sqlite", "shop.jsonl")
    everything = done.out + done.err + exported.out + Path("shop.jsonl").read_text()
    assert "member-4711" not in everything
    assert "key-0815" not in everything
