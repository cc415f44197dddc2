"""Recording a real HTTP server: what is asked, what is kept, and what happens when things go wrong."""

import asyncio
import itertools
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import postgres
import pytest
import yaml
from shop_server import CALLS, ITEMS, PLAN, SHELVES, WORKFLOWS, Shop

from toolorch_env.core.calls import Call
from toolorch_env.core.errors import ConfigurationError, PlanError, RecordingError, SnapshotError, WorkflowError
from toolorch_env.recording.asking import Patience
from toolorch_env.recording.http import HttpApi
from toolorch_env.recording.http.openapi import operations_from_openapi
from toolorch_env.recording.plans.plan import parse_plan
from toolorch_env.recording.python import open_python, read_only
from toolorch_env.recording.record import forecast, record, working_file
from toolorch_env.store.record_store import RecordStore
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.verify import verify_snapshot

QUICK = Patience(first_pause=0.01, longest_pause=0.3, give_up_after=12)


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def address(shop: Shop) -> Iterator[str]:
    with shop.serve() as address:
        yield address


def api_at(address: str, **options: Any) -> HttpApi:
    document = httpx.get(f"{address}/openapi.json", trust_env=False).json()
    return HttpApi(operations_from_openapi(document), address, **options)


def content_hash(path: Path) -> str:
    return Snapshot(path).meta["content_hash"]


def test_a_plan_is_recorded_whole(shop: Shop, address: str, tmp_path: Path) -> None:
    path = tmp_path / "shop.sqlite"
    told: list[int] = []
    done = record(api_at(address), path, parse_plan(PLAN), patience=QUICK, progress=lambda s: told.append(s.recorded))
    assert done.responses == done.summary.recorded == done.summary.planned == told[-1] == CALLS
    assert done.summary.statuses[404] + done.summary.statuses[422] == 9
    assert set(shop.asked.values()) == {1}
    assert verify_snapshot(path).ok
    snapshot = Snapshot(path)
    item = snapshot.look_up(snapshot.tools.canonical(Call("get_item", {"item_id": "I17"})))
    assert item is not None
    assert item.body == {"item_id": "I17", "price": 4.25, "maker_id": "M3"}
    assert 0 < item.latency < 5
    assert abs(item.recorded_at - time.time()) < 60
    assert snapshot.tools["get_maker"].miss_body == {"detail": "There is no such thing."}
    assert not working_file(path).exists()
    assert [file.name for file in tmp_path.iterdir()] == ["shop.sqlite"]


def test_recorded_twice_it_is_the_same(shop: Shop, address: str, tmp_path: Path) -> None:
    for name, sessions in (("one", 1), ("many", 16)):
        record(api_at(address), tmp_path / name, parse_plan(PLAN), patience=Patience(sessions=sessions))
    assert content_hash(tmp_path / "one") == content_hash(tmp_path / "many")


def test_what_is_recorded_is_not_asked_again(shop: Shop, address: str, tmp_path: Path) -> None:
    path = tmp_path / "shop.sqlite"
    record(api_at(address), path, parse_plan(PLAN), patience=QUICK)
    before, first = len(shop.log), content_hash(path)
    done = record(api_at(address), path, parse_plan(PLAN), patience=QUICK)
    assert (len(shop.log), done.summary.recorded, done.summary.known) == (before, 0, CALLS)
    assert content_hash(path) == first


def test_a_snapshot_is_added_to(shop: Shop, address: str, tmp_path: Path) -> None:
    path = tmp_path / "shop.sqlite"
    record(api_at(address), path, parse_plan({"requests": PLAN["requests"][:1]}))
    record(api_at(address), path, parse_plan(PLAN), patience=QUICK)
    assert set(shop.asked.values()) == {1}
    assert len(Snapshot(path)) == CALLS


def test_a_snapshot_of_another_api_is_left_alone(address: str, tmp_path: Path, library: Path) -> None:
    path = tmp_path / "library.sqlite"
    path.write_bytes(library.read_bytes())
    with pytest.raises(RecordingError, match=r"library\.sqlite holds a recording of other tools: '\w+' is not among"):
        record(api_at(address), path, parse_plan(PLAN))
    assert path.read_bytes() == library.read_bytes()


def test_passing_faults_are_retried(shop: Shop, address: str, tmp_path: Path) -> None:
    shop.faults = {
        "/shelves": [(503, {}), (429, {"Retry-After": "0.1"}), (500, {})],
        "/items/I5": [(429, {}), (502, {})],
    }
    done = record(api_at(address), tmp_path / "s.sqlite", parse_plan(PLAN), patience=QUICK)
    assert done.responses == CALLS
    assert done.summary.failed == 0
    assert (shop.asked["/shelves"], shop.asked["/items/I5"], shop.asked["/items/I6"]) == (4, 3, 1)


def test_what_the_api_asks_to_wait_is_waited(shop: Shop, address: str, tmp_path: Path) -> None:
    shop.faults = {"/shelves": [(429, {"Retry-After": "1"})]}
    patience = Patience(first_pause=0.001)
    record(api_at(address), tmp_path / "s.sqlite", parse_plan({"requests": PLAN["requests"][:1]}), patience=patience)
    assert shop.times[1] - shop.times[0] >= 0.95


def test_more_than_the_longest_pause_is_not_waited(shop: Shop, address: str, tmp_path: Path) -> None:
    shop.faults = {"/items/I5": [(503, {"Retry-After": "3600"})]}
    done = record(api_at(address), tmp_path / "s.sqlite", parse_plan(PLAN), patience=QUICK)
    assert done.summary.unanswered.counts == {"server fault": 1}
    assert shop.asked["/items/I5"] == 1


def test_a_server_fault_is_no_answer_and_is_made_up_for_later(shop: Shop, address: str, tmp_path: Path) -> None:
    path = tmp_path / "shop.sqlite"
    shop.broken = {"/items/I5", "/items?shelf_id=S3"}
    shop.texts = {"/items/I6"}
    done = record(api_at(address), path, parse_plan(PLAN), patience=QUICK)
    assert done.summary.unanswered.counts == {"server fault": 2, "not JSON": 1}
    assert "status 500" in done.summary.unanswered.examples["server fault"]
    assert done.responses == CALLS - 3 - ITEMS
    assert (shop.asked["/items/I5"], shop.asked["/items/I6"]) == (QUICK.attempts, 1)
    shop.broken, shop.texts = set(), set()
    record(api_at(address), path, parse_plan(PLAN), patience=QUICK)
    record(api_at(address), tmp_path / "whole.sqlite", parse_plan(PLAN), patience=QUICK)
    assert content_hash(path) == content_hash(tmp_path / "whole.sqlite")


def test_a_call_that_cannot_be_sent_is_no_failure_of_the_api(shop: Shop, address: str, tmp_path: Path) -> None:
    plan = parse_plan({"requests": [{"tool": "get_item", "arguments": {"item_id": {"values": ["I1", ".."]}}}]})
    done = record(api_at(address), tmp_path / "s.sqlite", plan, patience=QUICK)
    assert done.summary.unanswered.counts == {"unsendable": 1}
    assert done.summary.failed == 0
    assert (done.responses, shop.log) == (1, ["/items/I1"])


def test_a_call_without_an_answer_is_asked_once_however_often_further_calls_are_proposed(
    shop: Shop, address: str, tmp_path: Path
) -> None:
    shop.texts = {"/items/I6", "/makers?maker_id=M2"}
    summary = record(api_at(address), tmp_path / "s.sqlite", patience=QUICK).summary
    assert set(shop.asked.values()) == {1}
    assert summary.unanswered.counts == {"not JSON": 2}
    assert summary.planned == summary.recorded + 2 == len(shop.asked)
    again = record(api_at(address), tmp_path / "s.sqlite", patience=QUICK).summary
    assert (again.planned, again.known, again.recorded) == (summary.planned, summary.recorded, 0)
    assert again.unanswered.counts == {"not JSON": 2}


def test_a_tool_of_its_own_sessions_that_is_busy_is_asked_as_often_as_any(
    shop: Shop, address: str, tmp_path: Path
) -> None:
    shop.faults = {"/shelves": [(429, {})] * 50}
    plan = parse_plan({"requests": [{"tool": "list_shelves"}], "state_changing": ["list_shelves"]})
    with pytest.raises(RecordingError, match=r"nothing was recorded of .*: GET /shelves: status 429"):
        record(api_at(address), tmp_path / "s.sqlite", plan, patience=QUICK)
    assert shop.asked["/shelves"] == QUICK.attempts


class Numbers:
    """Numbers of all sizes."""

    @read_only
    def power(self, exponent: int) -> int:
        """A power of two."""
        return 2**exponent


@pytest.mark.parametrize("marks", [{}, {"state_changing": ["power"]}])
def test_what_cannot_be_written_does_not_stop_the_rest(tmp_path: Path, marks: dict[str, Any]) -> None:
    request = {"tool": "power", "arguments": {"exponent": {"values": [1, 70, 2, 80, 3]}}}
    done = record(open_python(Numbers), tmp_path / "s.sqlite", parse_plan({"requests": [request], **marks}))
    assert done.responses == 3
    assert done.summary.unanswered.counts == {"not JSON": 2}
    assert "64-bit" in done.summary.unanswered.examples["not JSON"]


def test_messages_name_a_tool_once(address: str, tmp_path: Path) -> None:
    plan = parse_plan({"requests": [{"tool": "get_item", "arguments": {"item_id": {"values": ["I1", "."]}}}]})
    done = record(api_at(address), tmp_path / "s.sqlite", plan)
    assert done.summary.unanswered.examples == {"unsendable": "get_item: the path cannot take '.' for 'item_id'"}


def test_a_broken_tool_does_not_stop_the_others(shop: Shop, address: str, tmp_path: Path) -> None:
    shop.broken = {f"/items/I{number}" for number in range(SHELVES * ITEMS)}
    done = record(api_at(address), tmp_path / "s.sqlite", parse_plan(PLAN), patience=QUICK)
    assert done.summary.unanswered.counts == {"server fault": SHELVES * ITEMS}
    assert done.responses == 1 + SHELVES + 6
    asked = sum(count for path, count in shop.asked.items() if path in shop.broken)
    assert asked < (QUICK.give_up_after + QUICK.sessions) * QUICK.attempts + SHELVES * ITEMS


def test_a_rate_is_kept(shop: Shop, address: str, tmp_path: Path) -> None:
    patience = Patience(rate=50, sessions=8)
    begin = time.monotonic()
    record(api_at(address), tmp_path / "s.sqlite", parse_plan(PLAN), patience=patience)
    assert time.monotonic() - begin >= (CALLS - 5) / 50
    for first, later in itertools.pairwise(shop.times[i] for i in range(0, CALLS, 25)):
        assert later - first >= 0.7 * (25 - 5) / 50


def test_a_server_that_dies_is_told_and_nothing_is_lost(shop: Shop, address: str, tmp_path: Path) -> None:
    path = tmp_path / "shop.sqlite"
    shop.deaf_after = 40
    with pytest.raises(RecordingError, match=r"did not answer 12 calls in a row; the last one: .*/items/"):
        record(api_at(address, timeout=0.8), path, parse_plan(PLAN), patience=replace(QUICK, attempts=2))
    assert not path.exists()
    with RecordStore(working_file(path)) as store:
        kept = len(store)
    assert 25 <= kept <= 40
    shop.deaf_after = None
    before = len(shop.log)
    record(api_at(address), path, parse_plan(PLAN), patience=QUICK)
    assert len(shop.log) - before == CALLS - kept
    record(api_at(address), tmp_path / "whole.sqlite", parse_plan(PLAN), patience=QUICK)
    assert content_hash(path) == content_hash(tmp_path / "whole.sqlite")


def test_a_dead_server_is_told(tmp_path: Path, shop: Shop) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
    api = HttpApi(operations_from_openapi(shop.app.openapi()), address)
    with pytest.raises(RecordingError, match=r"nothing was recorded of http://127\.0\.0\.1:\d+.*: GET /shelves"):
        record(api, tmp_path / "s.sqlite", parse_plan(PLAN), patience=QUICK)
    assert not (tmp_path / "s.sqlite").exists()


def test_a_target_that_cannot_be_written_is_told_before_anything_is_asked(
    shop: Shop, address: str, tmp_path: Path
) -> None:
    (tmp_path / "text.sqlite").write_text("no snapshot")
    for target in (tmp_path / "none" / "s.sqlite", tmp_path, tmp_path / "text.sqlite"):
        with pytest.raises(SnapshotError, match=str(target)):
            record(api_at(address), target, parse_plan(PLAN))
    assert not shop.log
    assert (tmp_path / "text.sqlite").read_text() == "no snapshot"


def test_a_plan_that_does_not_fit_is_told_before_anything_is_asked(shop: Shop, address: str, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no tool 'list_shelfs'; did you mean 'list_shelves'"):
        record(api_at(address), tmp_path / "s.sqlite", parse_plan({"requests": [{"tool": "list_shelfs"}]}))
    with pytest.raises(WorkflowError, match=r"none\.yaml"):
        record(api_at(address), tmp_path / "s.sqlite", parse_plan({"workflows": {"file": "none.yaml"}}))
    assert not shop.log
    assert not list(tmp_path.glob("s.sqlite"))


@pytest.mark.parametrize(
    "options",
    [{"sessions": 0}, {"rate": 0}, {"rate": -1}, {"rate": float("inf")}, {"attempts": 0}, {"give_up_after": 0}],
)
def test_impatience_is_told(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        Patience(**options)


def test_a_forecast_is_what_is_asked(shop: Shop, address: str, tmp_path: Path) -> None:
    path, api, plan = tmp_path / "shop.sqlite", api_at(address), parse_plan(PLAN)
    before = forecast(api.tools, plan, path)
    assert (before.planned, before.known, before.by_tool) == (1, 0, {"list_shelves": 1})
    assert before.depends == {"list_items": None, "get_item": None, "get_maker": None}
    assert not shop.log
    assert not list(tmp_path.iterdir())
    record(api, path, plan, patience=QUICK)
    after = forecast(api.tools, plan, path)
    assert (after.planned, after.known, after.depends) == (CALLS, CALLS, {})


def test_workflows_are_run_and_stored(shop: Shop, address: str, tmp_path: Path) -> None:
    (tmp_path / "workflows.yaml").write_text(yaml.safe_dump(WORKFLOWS))
    shelves = {"from": "list_shelves", "select": "shelves[].shelf_id"}
    plan = parse_plan(
        {
            "requests": [{"tool": "list_shelves"}],
            "workflows": {"file": "workflows.yaml", "runs": 5, "literals": {"shelf": shelves}},
        },
        folder=tmp_path,
    )
    done = record(api_at(address), tmp_path / "s.sqlite", plan, patience=QUICK)
    assert (done.summary.runs, done.summary.complete_runs) == (5, 5)
    assert set(shop.asked.values()) == {1}
    assert 1 + 5 + 5 < done.responses <= 1 + 5 + 5 + 5
    assert Snapshot(tmp_path / "s.sqlite").blob("workflows")


def test_what_was_said_of_a_snapshot_stays_when_it_is_added_to(shop: Shop, address: str, tmp_path: Path) -> None:
    (tmp_path / "workflows.yaml").write_text(yaml.safe_dump(WORKFLOWS))
    told = {"name": "store", "licence": "CC0", "source": "the shop", "description": "A shop."}
    path, workflows = tmp_path / "s.sqlite", {"file": "workflows.yaml"}
    first = parse_plan({"requests": PLAN["requests"][:1], "workflows": workflows, **told}, folder=tmp_path)
    record(api_at(address), path, first, patience=QUICK)
    before = Snapshot(path)
    record(api_at(address), path, parse_plan({"requests": PLAN["requests"], "licence": "MIT"}), patience=QUICK)
    after = Snapshot(path)
    assert {name: after.meta[name] for name in told} == {**told, "licence": "MIT"}
    assert after.workflows == before.workflows is not None
    assert len(after.links) == len(before.links) > 0


def test_recorders_that_share_a_database_share_the_work(shop: Shop, address: str) -> None:
    if reason := postgres.why_not():
        pytest.skip(reason)
    with postgres.running_server() as server, ThreadPoolExecutor(3) as pool:
        database, patience = server.new_database(), Patience(sessions=2, rate=60)
        running = [
            pool.submit(record, api_at(address), database, parse_plan(PLAN), patience=patience) for _ in range(3)
        ]
        done = [future.result() for future in running]
    assert {one.responses for one in done} == {CALLS}
    assert all(one.summary.planned == one.summary.known + one.summary.recorded == CALLS for one in done)
    assert min(one.summary.recorded for one in done) > 0
    assert set(shop.log) == shop.asked.keys()
    assert len(shop.log) < 2 * CALLS  # rounds are small: of most, all calls are under way at once


def test_recording_works_within_an_event_loop(address: str, tmp_path: Path) -> None:
    from toolorch_env.recording.record import record_async

    done = asyncio.run(record_async(api_at(address), tmp_path / "s.sqlite", parse_plan(PLAN), patience=QUICK))
    assert done.responses == CALLS
