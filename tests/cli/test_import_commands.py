"""The commands ``toolorch import``, as a person or a script uses them."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from booking_data import BOOKING, needs_booking
from command_line import Command, files_in, told_in_one_line
from fresh_command import run_command
from fresh_python import ROOT, run_python

sys.path.append(str(Path(__file__).parents[1] / "recording" / "importing"))  # small data sets in published shapes

from published_shapes import (
    CACHE,
    LIBRARY_TEMPLATE,
    TOOLS,
    author_body,
    books_body,
    library_tasks,
    sample,
    templates,
    write_json,
    write_lines,
    write_pickle,
)

from toolorch_env.core.tasks import Task
from toolorch_env.evaluation import solutions
from toolorch_env.store.replay import SnapshotReplay
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.verify import verify_snapshot

KEYS = {
    "snapshot", "bytes", "tasks", "calls", "responses", "without_body", "conflicts", "arguments", "notes", "unsolved",
    "words_only",
}  # fmt: skip


@pytest.fixture
def published(folder: Path) -> list[str]:
    """Files of the library, as they would be published; the command is run beside them."""
    write_pickle(folder / "tasks.pkl", library_tasks())
    write_json(folder / "cache.json", {**CACHE, "Find_Author": [conflicting_entry(), *CACHE["Find_Author"]]})
    write_json(folder / "templates.json", templates(LIBRARY_TEMPLATE))
    write_lines(folder / "tools.jsonl", TOOLS)
    return ["tasks.pkl", "cache.json", "templates.json", "tools.jsonl"]


def conflicting_entry() -> dict[str, Any]:
    return {"arguments": {"name": "Ada Winter"}, "response": author_body(1)}


@pytest.fixture
def lines(folder: Path) -> str:
    """A conversation about a book."""
    turns = [
        [("Find_Author", {"name": "Ada Winter"}, author_body(0))],
        [("List_Books", {"author_id": 40}, books_body(0)), ("Opening_Hours", {"day": "Monday"}, {"data": "9 to 5"})],
    ]
    write_lines(folder / "samples.jsonl", [sample("Library-1", turns)])
    return "samples.jsonl"


class Planted:
    """Creates a file when it is read from a pickle."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch planted",)


# ---------------------------------------------------------------------------------------------------------- booking


def test_all_files_at_once(toolorch: Command, published: list[str], folder: Path) -> None:
    done = toolorch("import", "booking", *published, "--out", "s.sqlite", "--json", "s.json")
    assert done.code == 0
    assert "2, with 6 calls" in done.words
    assert "2 of 2 return 1.0" in done.words
    assert "1 call: one answer is kept" in done.words
    assert "kept is trace 'workflow_0-0', call 0, not cached response 1" in done.words
    assert files_in(folder) == sorted([*published, "s.json", "s.sqlite"])
    snapshot = Snapshot(folder / "s.sqlite")
    assert len(snapshot.tasks) == 2
    assert snapshot.workflows is not None
    assert verify_snapshot(snapshot.path).ok


def test_the_summary_as_json(toolorch: Command, published: list[str], folder: Path) -> None:
    toolorch("import", "booking", *published, "--out", "s.sqlite", "--json", "s.json")
    summary = json.loads((folder / "s.json").read_text())
    assert summary.keys() == KEYS
    assert summary["snapshot"] == "s.sqlite"
    assert summary["bytes"] == (folder / "s.sqlite").stat().st_size
    assert (summary["tasks"], summary["calls"], summary["responses"]) == (2, 6, len(Snapshot(folder / "s.sqlite")))
    assert summary["without_body"] == 2
    (conflict,) = summary["conflicts"]
    assert conflict == {
        "tool": "Find_Author",
        "arguments": {"name": "Ada Winter"},
        "kept": "trace 'workflow_0-0', call 0",
        "others": ["cached response 1"],
    }
    assert summary["arguments"]["total"] == summary["arguments"]["exact"] + summary["arguments"]["query"] == 8
    assert (summary["unsolved"], summary["words_only"], summary["notes"]) == ([], {}, [])


def test_what_was_imported_is_played(toolorch: Command, published: list[str]) -> None:
    toolorch("import", "booking", *published, "--out", "s.sqlite")
    done = toolorch("play", "--snapshot", "s.sqlite", "--task-id", "workflow_0-1")
    assert "finished, solved, return +1.000, 3 calls" in done.words
    assert toolorch("snapshot", "verify", "s.sqlite").code == 0


def test_a_cache_alone(toolorch: Command, published: list[str], folder: Path) -> None:
    done = toolorch("import", "booking", "cache.json", "--out", "s.sqlite")
    assert done.code == 0
    assert "0, with 0 calls" in done.words
    assert "no schema, inferred from their calls: Find_Author, Get_Book" in done.words
    assert Snapshot(folder / "s.sqlite").tasks == ()


def test_a_fresh_process_shows_no_progress_in_a_pipe(published: list[str], folder: Path) -> None:
    done = run_command("import", "booking", *published, "--out", "s.sqlite", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")


@needs_booking
def test_the_published_files_at_once(toolorch: Command, folder: Path) -> None:
    assert BOOKING is not None
    names = ("bfcl_training_3_per_workflow.pkl", "booking_tools.jsonl", "workflow_templates.json")
    files = [str(BOOKING / name) for name in names]
    done = toolorch("import", "booking", *files, "--out", "s.sqlite", "--json", "s.json")
    assert done.code == 0
    assert "101 of 101 return 1.0" in done.words
    summary = json.loads((folder / "s.json").read_text())
    assert (summary["tasks"], summary["calls"], summary["responses"]) == (101, 442, 379)
    assert summary["unsolved"] == []
    assert all(told.startswith(("call ", "its query ", "its solution ")) for told in summary["words_only"].values())


def test_a_solution_that_does_not_solve_is_told(
    toolorch: Command, published: list[str], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """Imported solutions solve their tasks, whatever is in the files; here one of them is cut short."""
    whole = solutions.solves

    def cut_short(task: Task, replay: SnapshotReplay) -> bool:
        return task.id != "workflow_0-1" and whole(task, replay)

    monkeypatch.setattr(solutions, "solves", cut_short)
    done = toolorch("import", "booking", *published, "--out", "s.sqlite", "--json", "s.json")
    assert done.code == 1
    assert "1 of 2 return 1.0" in done.words
    assert "not solved by its own solution: workflow_0-1" in done.words
    assert json.loads((folder / "s.json").read_text())["unsolved"] == ["workflow_0-1"]


# ---------------------------------------------------------------------------------------------------------- bad use


def bad_files(folder: Path) -> None:
    (folder / "hostile.pkl").write_bytes(pickle.dumps([Planted()]))
    (folder / "hostile.0.pkl").write_bytes(pickle.dumps([Planted()], protocol=0))
    (folder / "hostile later.pkl").write_bytes(pickle.dumps([*library_tasks(), Planted()]))
    (folder / "empty").write_bytes(b"")
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    (folder / "text.txt").write_text("a letter, no data")
    (folder / "other.json").write_text('{"openapi": "3.1.0", "paths": {}}')
    (folder / "truncated.json").write_text('{"Get_Book": [{"arguments": {"isbn": "1"}, "resp')
    (folder / "truncated.pkl").write_bytes(pickle.dumps(library_tasks())[:200])
    (folder / "folder").mkdir()


BAD_FILES = {
    "hostile.pkl": "refused: it asks for",
    "hostile.0.pkl": "refused: it asks for",
    "hostile later.pkl": "refused: it asks for",
    "empty": "expected a pickle of tasks, a cache",
    "picture.png": "expected a pickle of tasks, a cache",
    "text.txt": "expected a pickle of tasks, a cache",
    "other.json": "expected a pickle of tasks, a cache",
    "truncated.json": "truncated JSON",
    "truncated.pkl": "not a whole pickle",
    "folder": "Is a directory",
    "missing": "No such file",
    "templates.json": "nothing to import",
    "tools.jsonl": "nothing to import",
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_told_in_one_line_and_nothing_is_made_of_it(
    toolorch: Command, published: list[str], folder: Path, name: str
) -> None:
    bad_files(folder)
    before = files_in(folder)
    done = toolorch("import", "booking", name, "--out", "s.sqlite", "--json", "s.json")
    assert done.code == 2
    assert told_in_one_line(done.err), done.err
    assert BAD_FILES[name] in done.err
    assert done.out.strip() == ""
    assert files_in(folder) == before


@pytest.mark.parametrize("name", ["hostile.pkl", "missing", "truncated.json", "folder"])
def test_a_bad_file_among_good_ones_is_told(toolorch: Command, published: list[str], folder: Path, name: str) -> None:
    bad_files(folder)
    done = toolorch("import", "booking", *published, name, "--out", "s.sqlite")
    assert done.code == 2
    assert told_in_one_line(done.err), done.err
    assert name in done.err
    assert not (folder / "s.sqlite").exists()
    assert not (folder / "planted").exists()


def test_a_hostile_pickle_would_have_worked(folder: Path) -> None:
    """Else the tests above say nothing."""
    bad_files(folder)
    for name in ("hostile.pkl", "hostile.0.pkl", "hostile later.pkl"):
        pickle.loads((folder / name).read_bytes())
        (folder / "planted").unlink()


BAD_TARGETS = {
    "a file is there": (("--out", "older.sqlite"), "--overwrite"),
    "a folder is there": (("--out", "folder"), "folder"),
    "the folder is missing": (("--out", "no/such/s.sqlite"), "no/such/s.sqlite"),
    "the summary's folder is missing": (("--out", "s.sqlite", "--json", "no/such/s.json"), "no/such/s.json"),
    "snapshot and summary are one": (("--out", "s.sqlite", "--json", "./s.sqlite"), "name two files"),
}


@pytest.mark.parametrize("what", BAD_TARGETS)
def test_a_bad_target_is_told_before_anything_is_read(toolorch: Command, folder: Path, what: str) -> None:
    (folder / "older.sqlite").write_bytes(b"older")
    (folder / "folder").mkdir()
    arguments, word = BAD_TARGETS[what]
    for command in (("booking", "missing"), ("complexfuncbench", "missing"), ("bfcl",)):
        done = toolorch("import", *command, *arguments)
        assert done.code == 2
        assert told_in_one_line(done.err), done.err
        assert word in done.err
        assert "missing cannot be read" not in done.err
    assert files_in(folder) == ["folder", "older.sqlite"]
    assert (folder / "older.sqlite").read_bytes() == b"older"


def test_an_older_file_is_replaced_where_that_is_wanted(toolorch: Command, published: list[str], folder: Path) -> None:
    (folder / "s.sqlite").write_bytes(b"older")
    assert toolorch("import", "booking", "missing", "--out", "s.sqlite", "--overwrite").code == 2
    assert (folder / "s.sqlite").read_bytes() == b"older"
    assert toolorch("import", "booking", *published, "--out", "s.sqlite", "--overwrite").code == 0
    assert len(Snapshot(folder / "s.sqlite").tasks) == 2


@pytest.mark.parametrize(
    "arguments", [("booking", "--out", "s"), ("booking", "x"), ("nothing",), ("booking", "x", "-y")]
)
def test_bad_options_are_told_with_the_usage(toolorch: Command, arguments: tuple[str, ...]) -> None:
    done = toolorch("import", *arguments)
    assert done.code == 2
    assert "Usage: " in done.err


def test_the_parser_that_an_extra_brings_is_asked_for(
    toolorch: Command, published: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ijson", None)
    done = toolorch("import", "booking", *published, "--out", "s.sqlite")
    assert done.code == 2
    assert told_in_one_line(done.err)
    assert "pip install 'toolorch-env[import]'" in done.err


# --------------------------------------------------------------------------------------- no space, and no time left


LARGE = {
    "Get_Book": [
        {"arguments": {"isbn": f"{number}"}, "response": {"pages": number, "text": f"{number * 7919 % 10007} " * 300}}
        for number in range(3000)
    ]
}

LIMITED = """
import resource, sys
from toolorch_env import cli
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
sys.stderr = sys.stdout
sys.argv = ["toolorch", "import", "booking", {cache!r}, "--out", {out!r}, "--overwrite"]
try:
    cli.main()
except SystemExit as ended:
    print("code", ended.code)
"""


def test_a_full_disk_leaves_the_older_file(folder: Path) -> None:
    cache = write_json(folder / "cache.json", LARGE)
    out = folder / "s.sqlite"
    out.write_bytes(b"older")
    told = run_python(LIMITED.format(cache=str(cache), out=str(out)))
    assert told.splitlines()[-1] == "code 2"
    assert "Traceback" not in told
    assert "error: " in told
    assert "cannot be written" in told
    assert out.read_bytes() == b"older"
    assert files_in(folder) == ["cache.json", "s.sqlite"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_in_the_middle_the_older_file_stays(toolorch: Command, folder: Path) -> None:
    write_json(folder / "cache.json", LARGE)
    (folder / "s.sqlite").write_bytes(b"older")
    arguments = ["import", "booking", "cache.json", "--out", "s.sqlite", "--overwrite"]
    process = subprocess.Popen(
        [sys.executable, "-m", "toolorch_env.cli", *arguments],
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not list(folder.glob(".s.sqlite.*.partial")):  # then it writes
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    assert process.wait(timeout=60) == -signal.SIGKILL
    assert (folder / "s.sqlite").read_bytes() == b"older"
    assert toolorch(*arguments).code == 0
    assert verify_snapshot(folder / "s.sqlite").ok


# ------------------------------------------------------------------------------------------------ complexfuncbench


def test_conversations(toolorch: Command, lines: str, folder: Path) -> None:
    done = toolorch("import", "complexfuncbench", lines, "--out", "s.sqlite", "--json", "s.json")
    assert done.code == 0
    assert "1 of 1 return 1.0" in done.words
    (task,) = Snapshot(folder / "s.sqlite").tasks
    assert [made.turn for made in task.reference] == [0, 1, 1]
    assert json.loads((folder / "s.json").read_text())["tasks"] == 1


@pytest.mark.parametrize("arguments", [(), ("samples.jsonl", "--from-hub")])
def test_files_or_the_hub_but_not_both_or_neither(
    toolorch: Command, lines: str, folder: Path, arguments: tuple[str, ...]
) -> None:
    done = toolorch("import", "complexfuncbench", *arguments, "--out", "s.sqlite")
    assert done.code == 2
    assert told_in_one_line(done.err)
    assert "--from-hub" in done.err
    assert files_in(folder) == [lines]


def test_without_the_package_of_the_hub(toolorch: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    done = toolorch("import", "complexfuncbench", "--from-hub", "--out", "s.sqlite")
    assert done.code == 2
    assert told_in_one_line(done.err)
    assert "pip install huggingface_hub" in done.err
    assert files_in(folder) == []


class Hub(BaseHTTPRequestHandler):
    """A hub with one file, as far as downloading it goes."""

    content = b""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        if self._answer():
            self.wfile.write(self.content)

    def _answer(self) -> bool:
        found = self.path == "/datasets/THUDM/ComplexFuncBench/resolve/main/ComplexFuncBench.jsonl" and self.content
        self.send_response(200 if found else 404)
        for name, value in (
            ("ETag", '"0123456789abcdef0123456789abcdef01234567"'),
            ("X-Repo-Commit", "0123456789abcdef0123456789abcdef01234567"),
            *([] if found else [("X-Error-Code", "RepoNotFound")]),
            ("Content-Length", str(len(self.content) if found else 0)),
        ):
            self.send_header(name, value)
        self.end_headers()
        return bool(found)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  named so by its base
        """Says nothing."""


@pytest.fixture
def hub() -> Iterator[str]:
    """Where the hub is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def import_from_hub(url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """In a fresh process: the package of the hub reads its settings when it is imported."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT), COLUMNS="200", HF_ENDPOINT=url, HF_HOME=str(folder / "hub"))
    environment |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1"}
    command = [
        sys.executable,
        "-m",
        "toolorch_env.cli",
        "import",
        "complexfuncbench",
        "--from-hub",
        "--out",
        "s.sqlite",
    ]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)


def test_from_the_hub(hub: str, lines: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(Hub, "content", (folder / lines).read_bytes())
    done = import_from_hub(hub, folder)
    assert (done.returncode, "1 of 1 return 1.0" in done.stdout) == (0, True), done.stderr
    assert len(Snapshot(folder / "s.sqlite").tasks) == 1


def test_what_the_hub_does_not_have(hub: str, folder: Path) -> None:
    pytest.importorskip("huggingface_hub")
    done = import_from_hub(hub, folder)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ComplexFuncBench.jsonl of THUDM/ComplexFuncBench cannot be")
    assert "Traceback" not in done.stderr
    assert not (folder / "s.sqlite").exists()


def test_without_a_network(toolorch: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = pytest.importorskip("huggingface_hub")
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    for error in (
        LocalEntryNotFoundError("no connection.\nand much more"),
        OfflineModeIsEnabled(""),
        OSError(28, "full"),
    ):

        def fail(*arguments: Any, error: Exception = error, **options: Any) -> str:
            raise error

        monkeypatch.setattr(package, "hf_hub_download", fail)
        done = toolorch("import", "complexfuncbench", "--from-hub", "--out", "s.sqlite")
        assert done.code == 2
        assert told_in_one_line(done.err)
        assert "ComplexFuncBench.jsonl of THUDM/ComplexFuncBench cannot be downloaded: " in done.err
        assert "download it elsewhere and name the file" in done.err
    assert files_in(folder) == []
