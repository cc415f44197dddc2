import os
from collections.abc import Mapping
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolorch_env.store.bundled import open_snapshot
from toolorch_env.store.compiled import Compiled, same_compiled
from toolorch_env.store.shared_arrays import LEAST_SHARED_BYTES, cache_folder, shared_arrays

PACKED = b"packed" * LEAST_SHARED_BYTES
ARRAYS = {"rows": np.arange(7), "none": np.zeros((0, 3), np.int32), "text": np.frombuffer(b"text", np.uint8)}


def unpack(packed: bytes) -> Mapping[str, np.ndarray]:
    assert packed == PACKED
    return ARRAYS


def never(packed: bytes) -> Mapping[str, np.ndarray]:
    raise AssertionError("these arrays were unpacked before")


def assert_same(found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray] = ARRAYS) -> None:
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def test_arrays_are_unpacked_once(tmp_path: Path) -> None:
    assert_same(shared_arrays(PACKED, unpack, tmp_path))
    assert_same(shared_arrays(PACKED, never, tmp_path))
    assert len(list(tmp_path.iterdir())) == 1


def test_what_a_process_writes_it_alone_sees(tmp_path: Path) -> None:
    shared_arrays(PACKED, unpack, tmp_path)["rows"][:] = 99
    assert_same(shared_arrays(PACKED, never, tmp_path))


def test_small_ones_need_no_file(tmp_path: Path) -> None:
    shared_arrays(b"small", lambda packed: ARRAYS, tmp_path)
    assert not list(tmp_path.iterdir())


def test_other_bytes_have_another_file(tmp_path: Path) -> None:
    assert_same(shared_arrays(PACKED, unpack, tmp_path))
    other = {"rows": np.arange(3)}
    assert_same(shared_arrays(PACKED + b"!", lambda packed: other, tmp_path), other)


@given(place=st.floats(0, 1, exclude_max=True), change=st.sampled_from(["cut", "flip", "longer", "empty"]))
def test_a_damaged_file_is_written_anew(tmp_path_factory: pytest.TempPathFactory, place: float, change: str) -> None:
    folder = tmp_path_factory.mktemp("cache")
    shared_arrays(PACKED, unpack, folder)
    (path,) = folder.iterdir()
    data = bytearray(path.read_bytes())
    at = int(place * len(data))
    if change == "flip":
        data[at] ^= 255
    path.write_bytes({"cut": data[:at], "flip": data, "longer": data + b"x", "empty": b""}[change])
    assert_same(shared_arrays(PACKED, unpack, folder))
    assert_same(shared_arrays(PACKED, never, folder))


def test_where_no_file_can_be_written_the_arrays_are_there_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert_same(shared_arrays(PACKED, unpack, tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "no folder"


def test_what_unpacking_raises_is_passed_on_and_leaves_no_file(tmp_path: Path) -> None:
    def damaged(packed: bytes) -> Mapping[str, np.ndarray]:
        raise RuntimeError("damaged")

    with pytest.raises(RuntimeError, match="damaged"):
        shared_arrays(PACKED, damaged, tmp_path)
    assert not list(tmp_path.iterdir())


def open_compiled(folder: str) -> bytes:
    os.environ["TOOLORCH_CACHE"] = folder
    compiled = open_snapshot("travel").compiled
    assert compiled is not None
    return compiled.to_bytes()


def test_many_processes_that_begin_at_once_agree(tmp_path: Path) -> None:
    with get_context("spawn").Pool(4) as pool:
        found = pool.map(open_compiled, [str(tmp_path)] * 8)
    stored = open_snapshot("travel").blob("compiled")
    assert set(found) == {found[0]}
    assert stored is not None
    assert same_compiled(Compiled.from_bytes(found[0]), Compiled.from_bytes(stored))
    assert len(list(tmp_path.iterdir())) == 1


def test_the_folder_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLORCH_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("TOOLORCH_CACHE")
    assert cache_folder().name == "toolorch"
