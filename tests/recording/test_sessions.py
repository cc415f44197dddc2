"""Recording tools that change state: runs of workflows in sessions of their own, and tasks drawn from them."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pytest
import yaml
from playing import assert_oracle_succeeds

from toolorch_env.core.calls import Call
from toolorch_env.core.errors import PlanError
from toolorch_env.core.responses import Source
from toolorch_env.recording.asking import Patience
from toolorch_env.recording.plans.plan import Plan, parse_plan
from toolorch_env.recording.python import open_python, read_only
from toolorch_env.recording.record import record, working_file
from toolorch_env.store.record_store import RecordStore
from toolorch_env.store.replay import SnapshotReplay
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.verify import verify_snapshot


class Tray:
    """Orders of a kitchen."""

    made: ClassVar[int] = 0

    def __init__(self) -> None:
        type(self).made += 1
        self._orders: dict[str, dict[str, Any]] = {}

    def order(self, dish: str, table: int) -> dict[str, Any]:
        """Order a dish for a table."""
        number = f"O{len(self._orders) + 1}"
        self._orders[number] = {"order_id": number, "dish": dish, "table": table}
        return self._orders[number]

    def cancel(self, order_id: str) -> dict[str, Any]:
        """Cancel an order."""
        return self._orders.pop(order_id)

    @read_only
    def open_orders(self) -> dict[str, Any]:
        """All open orders."""
        return {"orders": list(self._orders.values())}

    @read_only
    def get_order(self, order_id: str) -> dict[str, Any]:
        """One order."""
        return self._orders[order_id]


WORKFLOWS: dict[str, Any] = {
    "domain": "kitchen",
    "kinds": {"dish": "dish", "table": "number of a table"},
    "workflows": [
        {
            "name": "order_and_list",
            "literals": {"dish": "dish", "table": "table"},
            "steps": [
                {"id": "made", "tool": "order", "arguments": {"dish": {"query": "dish"}, "table": {"query": "table"}}},
                {"id": "listed", "tool": "open_orders"},
                {"id": "read", "tool": "get_order",
                 "arguments": {"order_id": {"from": "listed", "select": "orders[0].order_id"}}},
            ],
            "phrasings": ["Order {dish} for table {table}, list what is open, and read the first order."],
        },
        {
            "name": "order_two_and_cancel",
            "literals": {"dish": "dish", "other_dish": "dish", "table": "table"},
            "steps": [
                {"id": "first", "tool": "order", "arguments": {"dish": {"query": "dish"}, "table": {"query": "table"}}},
                {"id": "second", "tool": "order",
                 "arguments": {"dish": {"query": "other_dish"}, "table": {"query": "table"}}},
                {"id": "gone", "tool": "cancel", "arguments": {"order_id": {"from": "first", "select": "order_id"}}},
                {"id": "listed", "tool": "open_orders"},
            ],
            "phrasings": ["Table {table} wants {dish}, then {other_dish}; cancel the first, and list what is open."],
        },
    ],
}  # fmt: skip
LITERALS = {"dish": {"values": ["soup", "rice", "cake", "fish"]}, "table": {"range": {"start": 1, "stop": 5}}}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "workflows.yaml").write_text(yaml.safe_dump(WORKFLOWS))
    requests = [
        {"tool": "open_orders"},
        {"tool": "get_order", "arguments": {"order_id": {"values": ["O1", "O9"]}}},
        {"tool": "order", "arguments": {"dish": {"values": ["tea", "soup"]}, "table": 3}},
    ]
    runs = {"file": "workflows.yaml", "runs": 18, "literals": LITERALS}
    return parse_plan({"requests": requests, "workflows": runs}, folder=tmp_path)


def ask(replay: SnapshotReplay, *calls: Call) -> list[Source]:
    """The sources of the answers to calls of one session that begin in its first state."""
    from toolorch_env.core.states import state_after

    state, sources = b"", []
    for call in calls:
        located = replay.tools.canonical(call).within(state)
        response = replay.answer(located)
        state = state_after(located, response, replay.tools[call.tool].read_only)
        sources.append(response.source)
    return sources


def test_sessions_are_recorded_and_played(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "kitchen.sqlite"
    done = record(open_python(Tray), path, plan, patience=Patience(sessions=3))
    assert (done.summary.runs, done.summary.complete_runs, done.summary.changed) == (36, 36, 0)
    assert verify_snapshot(path).ok
    replay = SnapshotReplay(Snapshot(path))
    soup, listed = Call("order", {"dish": "soup", "table": 3}), Call("open_orders", {})
    assert ask(replay, listed, soup, listed) == [Source.RECORDED] * 3
    assert ask(replay, soup, soup, listed)[1:] == [Source.UNRECORDED_STATE] * 1 + [Source.RECORDED]
    assert_oracle_succeeds(path)


def test_every_session_has_an_object_of_its_own(plan: Plan, tmp_path: Path) -> None:
    before = Tray.made
    record(open_python(Tray), tmp_path / "s.sqlite", plan, patience=Patience(sessions=1))
    assert Tray.made - before == 36 + 2 + 1  # runs, requests that change something, all others together


def test_a_resumed_recording_of_sessions_is_the_same(plan: Plan, tmp_path: Path) -> None:
    """Runs that are whole are not made again; one that was broken off is made anew from its beginning."""
    record(open_python(Tray), tmp_path / "whole.sqlite", plan, patience=Patience(sessions=1))
    path, before = tmp_path / "s.sqlite", Tray.made

    class Stop(Exception):  # noqa: N818
        pass

    def stop(summary: Any) -> None:
        if summary.runs == 20:
            raise Stop

    with pytest.raises(Stop):
        record(open_python(Tray), path, plan, patience=Patience(sessions=1), progress=stop)
    first = Tray.made - before
    with RecordStore(working_file(path)) as store:
        assert len(store) > 20
    record(open_python(Tray), path, plan, patience=Patience(sessions=1))
    assert Tray.made - before <= first + 36 - 19 + 1
    assert Snapshot(path).meta["content_hash"] == Snapshot(tmp_path / "whole.sqlite").meta["content_hash"]


class Moody(Tray):
    """Numbers its orders at random."""

    def order(self, dish: str, table: int) -> dict[str, Any]:
        """Order a dish for a table."""
        type(self).made += 1
        return {"order_id": f"O{type(self).made}"}


def test_answers_that_change_are_counted_and_lead_nowhere(plan: Plan, tmp_path: Path) -> None:
    done = record(open_python(Moody), tmp_path / "s.sqlite", plan, patience=Patience(sessions=1))
    assert done.summary.changed > 0
    assert verify_snapshot(tmp_path / "s.sqlite").ok


class Numbered(Tray):
    """Numbers the orders of all sessions."""

    numbers: ClassVar[Iterator[int]] = itertools.count()

    def order(self, dish: str, table: int) -> dict[str, Any]:
        """Order a dish for a table."""
        number = f"O{next(self.numbers)}"
        self._orders[number] = {"order_id": number, "dish": dish, "table": table}
        return self._orders[number]


@pytest.mark.parametrize("sessions", [1, 8])
def test_what_is_recorded_in_a_state_was_answered_in_it(plan: Plan, tmp_path: Path, sessions: int) -> None:
    """Also where sessions that begin alike, at the same time, are answered differently."""
    done = record(open_python(Numbered), tmp_path / "s.sqlite", plan, patience=Patience(sessions=sessions))
    records = list(Snapshot(tmp_path / "s.sqlite").records())
    orders = {r.key: r.response.body["order_id"] for r in records if r.tool == "order" and r.response.success}
    read = [r for r in records if r.tool == "get_order" and r.state]
    assert len(read) > 5
    for made in read:
        assert orjson.loads(made.arguments) == {"order_id": orders[made.state]}
    assert done.summary.changed > 0
    assert done.summary.planned == done.summary.known + done.summary.recorded


def test_workflows_without_values_are_told(plan: Plan, tmp_path: Path) -> None:
    runs = {"file": "workflows.yaml", "runs": 2, "literals": {"dish": {"values": ["soup"]}}}
    with pytest.raises(PlanError, match="`literals` has no values of: table"):
        record(open_python(Tray), tmp_path / "s.sqlite", parse_plan({"workflows": runs}, folder=tmp_path))
