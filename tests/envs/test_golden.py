"""The bundled snapshot gives the tasks and observations that it has always given."""

import json

import pytest
from envs.golden import FILE, golden_values
from worlds import TRAVEL


@pytest.mark.skipif(not (TRAVEL.exists() and FILE.exists()), reason="the travel snapshot or its golden file is missing")
def test_seeds_give_the_pinned_tasks_and_observations() -> None:
    pinned = json.loads(FILE.read_text(encoding="utf-8"))
    found = json.loads(json.dumps(golden_values(TRAVEL)))
    assert found.keys() == pinned.keys()
    for name, values in pinned.items():
        assert found[name] == values, f"{name} has changed; if it was meant to: python tests/envs/golden.py"
