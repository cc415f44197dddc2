"""The published data of the paper, which tests may use where it lies beside the checkout."""

from pathlib import Path

import pytest

_FOLDER = Path(__file__).parents[2] / "shared" / "booking"

BOOKING = _FOLDER if (_FOLDER / "bfcl_training_3_per_workflow.pkl").is_file() else None
"""Folder of the published data, ``None`` where it is absent."""

needs_booking = pytest.mark.skipif(BOOKING is None, reason=f"the published data is not in {_FOLDER}")
"""Mark of tests that use it."""
