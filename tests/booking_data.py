"""The published data of the paper, which tests may use where it lies beside the checkout."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from toolorch_env.recording.importing.booking import read_booking
from toolorch_env.recording.importing.pipeline import ImportSummary, import_data_set
from toolorch_env.recording.importing.traces import DataSet
from toolorch_env.store.snapshot import Snapshot

_FOLDER = Path(__file__).parents[2] / "shared" / "booking"

BOOKING = _FOLDER if (_FOLDER / "bfcl_training_3_per_workflow.pkl").is_file() else None
"""Folder of the published data, ``None`` where it is absent."""

needs_booking = pytest.mark.skipif(BOOKING is None, reason=f"the published data is not in {_FOLDER}")
"""Mark of tests that use it."""

FILES = ("bfcl_training_3_per_workflow.pkl", "booking_tools.jsonl")
TEMPLATES = "workflow_templates.json"


class Published(NamedTuple):
    """The data set, and the snapshot made of it."""

    data_set: DataSet
    summary: ImportSummary
    snapshot: Snapshot


@cache
def published(*, templates: bool = False) -> Published:
    """The published tasks as a snapshot, read once in each process; with ``templates`` its workflows, too."""
    assert BOOKING is not None
    folder = Path(tempfile.mkdtemp(prefix="toolorch-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    data_set = read_booking([BOOKING / name for name in (*FILES, *([TEMPLATES] if templates else []))])
    summary = import_data_set(data_set, folder / "booking.sqlite")
    return Published(data_set, summary, Snapshot(summary.path))
