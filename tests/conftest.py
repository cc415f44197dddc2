"""What all tests share: the small snapshot, and Hypothesis without a deadline and with the same examples every time."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from small_world import write_small_world

from toolorch_env.store.snapshot import Snapshot

settings.register_profile(
    "steady",
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("explore", settings.get_profile("steady"), derandomize=False, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests, and what they start, leave the user's cache folder alone."""
    os.environ["TOOLORCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of the small snapshot. Treat it as read-only."""
    return write_small_world(tmp_path_factory.mktemp("library") / "library.sqlite")


@pytest.fixture(scope="session")
def library_snapshot(library: Path) -> Snapshot:
    """The small snapshot, open."""
    return Snapshot(library)
