"""A snapshot that was opened by a relative path is found from everywhere."""

import os
import pickle
import threading
from pathlib import Path

import pytest

from toolorch_env.store.snapshot import Snapshot


def test_a_change_of_folder_makes_no_difference(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(library.parent)
    snapshot = Snapshot(library.name)
    os.chdir("/")
    lengths: list[int] = []
    thread = threading.Thread(target=lambda: lengths.append(len(snapshot)))
    thread.start()
    thread.join()
    assert lengths == [len(snapshot)] == [len(pickle.loads(pickle.dumps(snapshot)))]
