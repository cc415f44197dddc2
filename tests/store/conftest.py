"""A PostgreSQL server for the tests of stores, and stores of all kinds."""

from collections.abc import Iterator
from pathlib import Path

import postgres
import pytest

KINDS = ["file", "postgres"]


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Server]:
    """A running PostgreSQL server; skips where there is none."""
    reason = postgres.why_not()
    if reason is not None:
        pytest.skip(reason)
    with postgres.running_server() as running:
        yield running


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store can be made: a path, or the URL of an empty database."""
    if request.param == "file":
        return str(tmp_path / "s.sqlite.recording")
    running: postgres.Server = request.getfixturevalue("server")
    return running.new_database()
