"""Stores and processes: killed ones, ones that get in each other's way, and ones that record together."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import postgres
import pytest
from fresh_python import ROOT
from recordings import TOOLS, contents, records

from toolorch_env.core.errors import SnapshotWriteError
from toolorch_env.store.record_store import RecordStore
from toolorch_env.store.sealing import seal
from toolorch_env.store.snapshot import Snapshot

ADD = """
import sys
from recordings import TOOLS, records
from toolorch_env.store.record_store import RecordStore
where, start, stop, size = sys.argv[1], *map(int, sys.argv[2:])
store = RecordStore(where)
store.declare(TOOLS.values(), name="test")
new = 0
for begin in range(start, stop, size):
    new += store.add(records(begin, min(begin + size, stop)))
    print(begin + size, flush=True)
print("new", new)
store.close()
"""


def adding(where: str | Path, start: int, stop: int, size: int) -> subprocess.Popen[str]:
    """A process that adds the records of a range, some at a time, and tells how far it is."""
    environment = dict(os.environ, PYTHONPATH=f"{ROOT}{os.pathsep}{ROOT / 'tests'}")
    command = [sys.executable, "-W", "error", "-c", ADD, str(where), *map(str, (start, stop, size))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def kill_after(process: subprocess.Popen[str], lines: int) -> int:
    """Kills a process when it has told so much; returns how much it told in all."""
    assert process.stdout is not None
    for _ in range(lines):
        assert process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    told = lines + sum(line.endswith("\n") for line in process.stdout)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    return told


@pytest.mark.parametrize("size", [1, 50])
def test_after_a_kill_everything_that_was_added_is_there(place: str, size: int) -> None:
    told = 0
    for lines in (20, 3):
        start = told * size
        told += kill_after(adding(place, start, 1_000_000, size), lines)
        with RecordStore(place) as store:
            found = list(store.records())
        assert len(found) % size == 0
        assert 0 <= len(found) // size - told <= 1
        told = len(found) // size
        wanted = sorted(records(0, told * size), key=lambda r: r.response.row or 0)
        assert contents(found) == contents(wanted)


def test_a_file_has_one_writer_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "s.recording"
    with RecordStore(path) as store:
        store.declare(TOOLS.values(), name="test")
        other = adding(path, 0, 10, 1)
        _, problem = other.communicate()
        assert other.returncode != 0
        assert f"SnapshotWriteError: {path} is being written by process {os.getpid()}: wait" in problem
        assert "another file and merge" in problem
        with pytest.raises(SnapshotWriteError, match="this process itself"):
            RecordStore(path)
        assert store.add(records(0, 3)) == 3
        with RecordStore(path, create=False) as reader:
            assert len(reader) == 3
            with pytest.raises(SnapshotWriteError, match="being written"):
                reader.add(records(3, 4))
    other = adding(path, 0, 10, 1)
    assert "new 7" in other.communicate()[0]


@pytest.mark.long
def test_processes_record_into_one_database_together(server: postgres.Server, tmp_path: Path) -> None:
    url = server.new_database()
    ranges = [(0, 1200), (400, 1600), (800, 2000), (0, 2000), (1500, 2100)]
    processes = [adding(url, start, stop, size) for (start, stop), size in zip(ranges, (1, 7, 50, 100, 3), strict=True)]
    new = 0
    for process in processes:
        out, problem = process.communicate()
        assert process.returncode == 0, problem
        new += int(out.split()[-1])
    assert new == 2100
    with RecordStore(url) as store, RecordStore(None) as alone:
        assert len(store) == 2100
        alone.declare(TOOLS.values(), name="test")
        alone.add(records(0, 2100))
        assert contents(list(store.records())) == contents(list(alone.records()))
        seal(store, tmp_path / "together.sqlite")
        seal(alone, tmp_path / "alone.sqlite")
    hashes = {Snapshot(tmp_path / f"{name}.sqlite").meta["content_hash"] for name in ("together", "alone")}
    assert len(hashes) == 1
