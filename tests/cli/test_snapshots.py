"""The commands that move and compare recorded calls."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Command, files_in, told_in_one_line
from fresh_python import ROOT

from toolorch_env.core.calls import Call
from toolorch_env.core.tools import Tool
from toolorch_env.store.record_store import RecordStore
from toolorch_env.store.records import make_record
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.verify import verify_snapshot
from toolorch_env.store.writer import SnapshotWriter

LAKE = Tool("get_lake", "Get a lake.", {"type": "object", "properties": {"lake": {"type": "string"}}})


def write_lakes(path: Path, depths: dict[str, int]) -> str:
    """A snapshot that says how deep lakes are."""
    with SnapshotWriter(path, [LAKE], name="lakes") as writer:
        for lake, depth in depths.items():
            writer.add(Call("get_lake", {"lake": lake}), 200, {"depth": depth})
    return str(path)


@pytest.fixture
def recording(folder: Path) -> str:
    """A recording that is not finished."""
    with RecordStore(folder / "lakes.sqlite.recording") as store:
        store.declare([LAKE], name="lakes")
        store.add([make_record(store.tools, Call("get_lake", {"lake": "Leman"}), 200, {"depth": 310})])
    return "lakes.sqlite.recording"


@pytest.mark.parametrize("form", ["copy.sqlite", "copy.jsonl", "copy.jsonl.zst", "sqlite:///copy.db"])
def test_there_and_back_nothing_is_lost(toolorch: Command, library: Path, folder: Path, form: str) -> None:
    there = toolorch("snapshot", "copy", str(library), form)
    assert (there.code, there.err) == (0, "")
    assert f"{len(Snapshot(library)):,} responses" in there.words
    assert toolorch("snapshot", "copy", form, "back.sqlite").code == 0
    assert Snapshot("back.sqlite").meta["content_hash"] == Snapshot(library).meta["content_hash"]
    assert verify_snapshot("back.sqlite").ok
    same = toolorch("snapshot", "diff", str(library), form)
    assert (same.code, same.out) == (0, "no difference\n")


def test_nothing_is_overwritten_by_accident(toolorch: Command, folder: Path) -> None:
    lakes, other = write_lakes(folder / "lakes.sqlite", {"Leman": 310}), write_lakes(folder / "other.sqlite", {})
    before = Path(other).read_bytes()
    for command in (("copy", lakes, other), ("merge", lakes, "--out", other)):
        done = toolorch("snapshot", *command)
        assert done.code == 2
        assert told_in_one_line(done.err)
        assert Path(other).read_bytes() == before
    assert toolorch("snapshot", "copy", lakes, other, "--overwrite").code == 0
    assert len(Snapshot(other)) == 1


def test_an_unfinished_recording_can_be_shown_and_made_a_snapshot(toolorch: Command, recording: str) -> None:
    shown = toolorch("snapshot", "info", recording)
    assert shown.code == 0
    for words in ("name lakes", "responses 1", "not finished", "get_lake"):
        assert words in shown.words
    told = toolorch("snapshot", "verify", recording)
    assert told.code == 2
    assert "not finished" in told.err
    assert toolorch("snapshot", "copy", recording, "lakes.sqlite").code == 0
    assert toolorch("snapshot", "verify", "lakes.sqlite").code == 0


def test_info_of_json_lines_and_of_a_database(toolorch: Command, recording: str) -> None:
    toolorch("snapshot", "export", recording, "lakes.jsonl")
    for place in ("lakes.jsonl", f"sqlite:///{recording}"):
        shown = toolorch("snapshot", "info", place)
        assert shown.code == 0
        assert "responses 1" in shown.words


def test_info_tells_of_tools_that_change_state_and_of_workflows_that_cannot_be_used(
    toolorch: Command, folder: Path
) -> None:
    tool = Tool("set_depth", "Set it.", LAKE.parameters, read_only=False)
    with SnapshotWriter(folder / "lakes.sqlite", [LAKE, tool], name="lakes") as writer:
        writer.add(Call("get_lake", {"lake": "Leman"}), 200, {"depth": 310})
    assert "set_depth lake changes state Set it." in toolorch("snapshot", "info", "lakes.sqlite").words
    connection = sqlite3.connect("lakes.sqlite")
    with connection:
        connection.execute("INSERT INTO blobs (name, data) VALUES ('workflows', ?)", (b'{"workflows": 1}',))
    connection.close()
    shown = toolorch("snapshot", "info", "lakes.sqlite")
    assert shown.code == 0
    assert "workflows none that can be used" in shown.words


def test_diff_tells_what_differs(toolorch: Command, folder: Path) -> None:
    left = write_lakes(folder / "left.sqlite", {"Leman": 310, "Walen": 151, "Uri": 200})
    right = write_lakes(folder / "right.sqlite", {"Leman": 310, "Walen": 150, "Zug": 198, "Sempach": 87})
    done = toolorch("snapshot", "diff", left, right, "--json", "difference.json")
    assert done.code == 1
    assert "get_lake 1 2 1" in done.words
    assert '{"lake":"Walen"} left 200 {"depth":151} right 200 {"depth":150}' in done.words
    document = json.loads(Path("difference.json").read_text())
    assert (document["same"], document["only_left"], document["changed"]) == (False, {"get_lake": 1}, {"get_lake": 1})
    assert len(document["examples"]) == 4
    assert {"tool": "get_lake", "arguments": {"lake": "Uri"}, "left": {"status": 200, "body": {"depth": 200}},
            "right": None} in document["examples"]  # fmt: skip
    assert "Walen" not in toolorch("snapshot", "diff", left, right, "--examples", "0").out


def test_diff_tells_of_tools(toolorch: Command, folder: Path, library: Path) -> None:
    done = toolorch("snapshot", "diff", write_lakes(folder / "lakes.sqlite", {}), str(library))
    assert done.code == 1
    assert "tools removed: get_lake" in done.words
    assert "tools added: " in done.words


def test_merge(toolorch: Command, folder: Path) -> None:
    first = write_lakes(folder / "first.sqlite", {"Leman": 310, "Walen": 151})
    second = write_lakes(folder / "second.sqlite", {"Leman": 310, "Zug": 198})
    third = write_lakes(folder / "third.sqlite", {"Leman": 309})
    done = toolorch("snapshot", "merge", first, second, "--out", "all.sqlite")
    assert (done.code, done.words) == (0, "all.sqlite: 3 responses")
    conflict = toolorch("snapshot", "merge", first, third, "--out", "no.sqlite")
    assert conflict.code == 2
    assert told_in_one_line(conflict.err)
    assert "Leman" in conflict.err
    assert not Path("no.sqlite").exists()
    for wins, depth in (("first", 310), ("last", 309)):
        done = toolorch("snapshot", "merge", first, third, "--out", f"{wins}_wins.sqlite", "--on-conflict", wins)
        assert done.code == 0
        said = {record.arguments: record.response.body for record in Snapshot(f"{wins}_wins.sqlite").records()}
        assert said[b'{"lake":"Leman"}'] == {"depth": depth}


def test_json_lines_through_standard_streams(folder: Path) -> None:
    write_lakes(folder / "lakes.sqlite", {"Leman": 310})
    command = [sys.executable, "-m", "toolorch_env.cli", "snapshot"]
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    written = subprocess.run([*command, "export", "lakes.sqlite", "-"], capture_output=True, env=environment)
    assert (written.returncode, written.stderr) == (0, b"")
    assert [json.loads(line).get("tool") for line in written.stdout.splitlines()] == [None, "get_lake"]
    read = subprocess.run(
        [*command, "copy", "-", "back.sqlite"], capture_output=True, env=environment, input=written.stdout
    )
    assert (read.returncode, read.stderr) == (0, b"")
    assert Snapshot("back.sqlite").meta["content_hash"] == Snapshot("lakes.sqlite").meta["content_hash"]


BAD_USE = {
    "copy of nothing": (("copy", "nowhere", "x.sqlite"), "nowhere"),
    "copy of what is no snapshot": (("copy", "text.txt", "x.sqlite"), "text.txt"),
    "copy into a missing folder": (("copy", "lakes.sqlite", "no/x.sqlite"), "no/x.sqlite"),
    "copy over itself": (("copy", "lakes.sqlite", "lakes.sqlite"), "lakes.sqlite"),
    "copy into another kind of database": (("copy", "lakes.sqlite", "mysql://u:secret@h/d"), "not supported"),
    "broken lines": (("copy", "broken.jsonl", "x.sqlite"), "broken.jsonl"),
    "diff with nothing": (("diff", "lakes.sqlite", "nowhere"), "nowhere"),
    "diff into a missing folder": (("diff", "lakes.sqlite", "lakes.sqlite", "--json", "no/x.json"), "no/x.json"),
    "merge with nothing": (("merge", "lakes.sqlite", "nowhere", "--out", "x.sqlite"), "nowhere"),
    "export under another name": (("export", "lakes.sqlite", "x.json"), ".jsonl"),
    "export of nothing": (("export", "nowhere", "-"), "nowhere"),
    "info of a database that is not there": (("info", "sqlite:///no.db"), "no.db"),
}


@pytest.mark.parametrize("what", BAD_USE)
def test_bad_use_is_told_in_one_line_and_leaves_nothing(toolorch: Command, folder: Path, what: str) -> None:
    write_lakes(folder / "lakes.sqlite", {"Leman": 310})
    (folder / "text.txt").write_text("no snapshot\n")
    (folder / "broken.jsonl").write_text('{"toolorch": 2, "tools": [}\n')
    before = files_in(folder)
    arguments, word = BAD_USE[what]
    done = toolorch("snapshot", *arguments)
    assert done.code == 2
    assert told_in_one_line(done.err), done.err
    assert word in done.err
    assert "secret" not in done.err
    assert files_in(folder) == before


@pytest.mark.parametrize("arguments", [("merge", "travel"), ("merge", "travel", "--out", "x", "--on-conflict", "both")])
def test_bad_options_are_told_with_the_usage(toolorch: Command, arguments: tuple[str, ...]) -> None:
    done = toolorch("snapshot", *arguments)
    assert done.code == 2
    assert "Usage: " in done.err
