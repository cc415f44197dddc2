"""A recording that is killed at random moments goes on where it was, and ends as if nothing had happened."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import orjson
import pytest
import yaml
from shop_server import CALLS, PLAN, Shop

from toolorch_env.recording.http import HttpApi
from toolorch_env.recording.http.openapi import operations_from_openapi
from toolorch_env.recording.plans.plan import parse_plan
from toolorch_env.recording.record import record, working_file
from toolorch_env.store.record_store import RecordStore
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.verify import verify_snapshot

SCRIPT = """
import sys
import httpx
from toolorch_env.recording.asking import Patience
from toolorch_env.recording.http import HttpApi
from toolorch_env.recording.http.openapi import operations_from_openapi
from toolorch_env.recording.plans.plan import load_plan
from toolorch_env.recording.record import record
address, plan, out = sys.argv[1:]
api = HttpApi(operations_from_openapi(httpx.get(f"{address}/openapi.json", trust_env=False).json()), address)
print("ready", flush=True)
record(api, out, load_plan(plan), patience=Patience(sessions=4, rate=60))
"""
PATHS = {"list_shelves": "/shelves", "list_items": "/items?shelf_id={shelf_id}", "get_item": "/items/{item_id}",
         "get_maker": "/makers?maker_id={maker_id}"}  # fmt: skip
KILLS = 10


def recorded_paths(path: Path) -> set[str]:
    """The paths that a broken-off recording has the answers of."""
    if not path.exists():
        return set()
    with RecordStore(path) as store:
        arguments = [(record.tool, orjson.loads(record.arguments)) for record in store.records()]
    return {PATHS[tool].format(**given) for tool, given in arguments if given or tool == "list_shelves"}


def run_and_kill(command: list[str], after: float | None) -> None:
    """Runs a recorder; kills it after so many seconds, or lets it come to its end."""
    with subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        if after is not None:
            time.sleep(after)
            process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=120) in (0, -signal.SIGKILL)


@pytest.mark.long
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_at_any_moment_a_recording_goes_on(tmp_path: Path) -> None:
    rng = random.Random(0)
    out, plan = tmp_path / "shop.sqlite", tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump(PLAN))
    shop = Shop()
    with shop.serve() as address:
        document = httpx.get(f"{address}/openapi.json", trust_env=False).json()
        api = HttpApi(operations_from_openapi(document), address)
        record(api, tmp_path / "whole.sqlite", parse_plan(PLAN))
        for kill in range(KILLS + 1):
            if out.exists():  # it was done before it was killed: the next kills are for another recording
                assert_whole(out, tmp_path / "whole.sqlite")
                out.unlink()
            known, before = recorded_paths(working_file(out)), len(shop.log)
            after = rng.uniform(0, 0.25) if kill < KILLS else None
            run_and_kill([sys.executable, "-c", SCRIPT, address, str(plan), str(out)], after)
            asked = shop.log[before:]
            assert not known.intersection(asked), "what was kept is asked again"
            assert len(set(asked)) == len(asked)
    assert_whole(out, tmp_path / "whole.sqlite")
    assert {path.name for path in tmp_path.iterdir()} == {"shop.sqlite", "whole.sqlite", "plan.yaml"}


def assert_whole(path: Path, other: Path) -> None:
    """Nothing is missing, and nothing is in it that was not to be recorded."""
    assert verify_snapshot(path).ok
    assert len(Snapshot(path)) == CALLS
    assert Snapshot(path).meta["content_hash"] == Snapshot(other).meta["content_hash"]
