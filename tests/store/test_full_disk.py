"""Where no more can be written: nothing recorded before is lost, nothing is half written, and it goes on after."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fresh_python import run_python
from recordings import TOOLS, contents, records

from toolorch_env.core.errors import SnapshotWriteError
from toolorch_env.store.record_store import RecordStore
from toolorch_env.store.sealing import seal
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.transfer import copy
from toolorch_env.store.verify import verify_snapshot

LIMITED = """
import resource, sys
from recordings import TOOLS, records
from toolorch_env.core.errors import SnapshotWriteError
from toolorch_env.store.record_store import RecordStore
store = RecordStore({path!r})
store.declare(TOOLS.values(), name="test")
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
added, problem = 0, None
while problem is None:
    try:
        added += store.add(records(added, added + {size}))
    except SnapshotWriteError as error:
        problem = str(error)
assert {path!r} in problem, problem
assert len(store) == added, (len(store), added)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert store.add(records(added, added + {size})) == {size}
store.close()
print(added + {size})
"""


@pytest.mark.parametrize("size", [1, 40])
def test_a_file_that_may_not_grow(tmp_path: Path, size: int) -> None:
    path = tmp_path / "s.recording"
    added = int(run_python(LIMITED.format(path=str(path), size=size)))
    assert added > size
    with RecordStore(path) as store:
        wanted = sorted(records(0, added), key=lambda r: r.response.row or 0)
        assert contents(list(store.records())) == contents(wanted)


@pytest.mark.parametrize("target", ["s.sqlite", "s.jsonl", "s.jsonl.zst"])
def test_a_target_that_may_not_grow_leaves_the_older_file(tmp_path: Path, target: str) -> None:
    with RecordStore(tmp_path / "s.recording") as store:
        store.declare(TOOLS.values(), name="test")
        store.add(records(0, 3000))
    (tmp_path / target).write_bytes(b"older")
    run_python(f"""
import resource
from toolorch_env.core.errors import SnapshotWriteError
from toolorch_env.store.transfer import copy
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
try:
    copy({str(tmp_path / "s.recording")!r}, {str(tmp_path / target)!r}, overwrite=True)
except SnapshotWriteError as error:
    assert {target!r} in str(error), error
else:
    raise AssertionError("it was written")
""")
    assert sorted(os.listdir(tmp_path)) == sorted(["s.recording", target])
    assert (tmp_path / target).read_bytes() == b"older"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]).returncode:
        pytest.skip("mounting a disk needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_is_full(small_disk: Path, tmp_path: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 300_000)
    added = 0
    with RecordStore(small_disk / "s.recording") as store:
        store.declare(TOOLS.values(), name="test")
        with pytest.raises(SnapshotWriteError, match=r"cannot be written: .*full.*before is safe"):  # noqa: PT012
            for start in range(0, 1_000_000, 20):
                added = start
                store.add(records(start, start + 20))
        assert len(store) == added > 0
        with pytest.raises(SnapshotWriteError):
            seal(store, small_disk / "s.sqlite")
        with pytest.raises(SnapshotWriteError):
            copy(store, small_disk / "s.jsonl")
        assert not [path for path in small_disk.iterdir() if path.name.endswith((".partial", ".sqlite", ".jsonl"))]
        filler.unlink()
        assert store.add(records(added, added + 20)) == 20
        seal(store, tmp_path / "s.sqlite")
    assert verify_snapshot(tmp_path / "s.sqlite").ok
    assert len(Snapshot(tmp_path / "s.sqlite")) == added + 20
