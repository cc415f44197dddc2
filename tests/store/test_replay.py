"""Answers from a snapshot: exact, by rounded fractions, and where nothing was recorded."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_world import BOOKS, TOOLS, TOWNS, answers

from toolorch_env.core.calls import Call
from toolorch_env.core.canonical import is_empty
from toolorch_env.core.errors import ConfigurationError, MissError
from toolorch_env.core.responses import Response, Source
from toolorch_env.core.tools import Tool
from toolorch_env.store.replay import OnMiss, SnapshotReplay
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.writer import SnapshotWriter


@pytest.fixture(scope="module")
def replay(library_snapshot: Snapshot) -> SnapshotReplay:
    return SnapshotReplay(library_snapshot)


def ask(replay: SnapshotReplay, tool: str, **arguments: Any) -> Response:
    return replay.answer(replay.tools.canonical(Call(tool, arguments)))


def test_every_recorded_call_is_answered_as_recorded(replay: SnapshotReplay) -> None:
    for call, status, body in answers():
        response = ask(replay, call.tool, **call.arguments)
        assert (response.status, response.body, response.source) == (status, body, Source.RECORDED)


@pytest.mark.parametrize("book", BOOKS[:8], ids=lambda book: str(book["price"]))
def test_a_call_with_rounded_fractions_is_answered_and_marked(replay: SnapshotReplay, book: dict[str, Any]) -> None:
    exact = ask(replay, "convert_price", price=book["price"], currency="CHF")
    short = ask(replay, "convert_price", price=round(book["price"], 4), currency="CHF")
    assert exact.source is Source.RECORDED
    assert short.source is (Source.RECORDED if round(book["price"], 4) == book["price"] else Source.ROUNDED)
    assert (short.status, short.body, short.row, short.digest) == (exact.status, exact.body, exact.row, exact.digest)
    assert short.success


@given(st.floats(-0.4e-4, 0.4e-4))
def test_other_fractions_of_the_same_fourth_decimal_are_answered(replay: SnapshotReplay, noise: float) -> None:
    town = TOWNS[1]
    near = round(town["latitude"], 4) + noise
    assert ask(replay, "towns_near", latitude=near, longitude=town["longitude"]).body == {"towns": ["T1"]}


@pytest.mark.parametrize("place", [0.0001, -0.0001, 0.1, -2 * TOWNS[1]["latitude"]])
def test_fractions_that_differ_earlier_are_a_miss(replay: SnapshotReplay, place: float) -> None:
    town = TOWNS[1]
    response = ask(replay, "towns_near", latitude=town["latitude"] + place, longitude=town["longitude"])
    assert response.source is Source.MISS


@pytest.mark.parametrize(("recorded", "asked"), [(47.4437, 47.4436988830566), (47.5, 47.50001), (47, 47.00001)])
def test_a_call_recorded_rounded_is_found_in_full(tmp_path: Path, recorded: float, asked: float) -> None:
    """The published data passes 47.4437 where the response said 47.4436988830566: an agent may pass either."""
    with SnapshotWriter(tmp_path / "s.sqlite", TOOLS, name="test") as writer:
        writer.add(Call("towns_near", {"latitude": recorded, "longitude": 8}), 200, "found")
    replay = SnapshotReplay(Snapshot(tmp_path / "s.sqlite"))
    one, two = (replay.tools.canonical(Call("towns_near", {"latitude": x, "longitude": 8})) for x in (recorded, asked))
    assert one.same_as(two)
    assert replay.answer(two).source is Source.ROUNDED


def test_a_miss_is_answered_with_the_tools_own_error(tmp_path: Path) -> None:
    tool = Tool("t", "", {"properties": {"a": {"type": "integer"}}}, 410, {"error": ["gone", 1.0]})
    with SnapshotWriter(tmp_path / "s.sqlite", [tool], name="test") as writer:
        writer.add(Call("t", {"a": 1}), 200, "x")
    response = ask(SnapshotReplay(Snapshot(tmp_path / "s.sqlite")), "t", a=2)
    assert (response.status, response.body, response.source) == (410, {"error": ["gone", 1.0]}, Source.MISS)
    assert not response.success
    assert response.digest == 0
    assert response.row is None


def test_a_recorded_error_wins(replay: SnapshotReplay) -> None:
    response = ask(replay, "get_author", author_id="A999")
    assert (response.status, response.body) == (404, {"detail": "No such author."})
    assert response.source is Source.RECORDED
    assert not response.success


def test_a_recorded_answer_to_invalid_arguments_wins(tmp_path: Path) -> None:
    with SnapshotWriter(tmp_path / "s.sqlite", TOOLS, name="test") as writer:
        writer.add(Call("get_author", {"author_id": "odd"}), 400, {"detail": "odd"})
    replay = SnapshotReplay(Snapshot(tmp_path / "s.sqlite"))
    assert ask(replay, "get_author", author_id="odd").body == {"detail": "odd"}
    assert ask(replay, "get_author", author_id="even").status == 422


@pytest.mark.parametrize("on_miss", [policy for policy in OnMiss if policy is not OnMiss.LIVE])
@pytest.mark.parametrize(
    ("tool", "arguments", "kind", "parameter"),
    [
        ("get_book", {}, "missing_parameter", "book_id"),
        ("get_book", {"book_id": 103, "page": 1}, "extra_parameter", "page"),
        ("get_book", {"book_id": "103a"}, "ill_typed_parameter", "book_id"),
        ("get_author", {"author_id": "B1"}, "ill_typed_parameter", "author_id"),
        ("search_authors", {"born_from": 1799}, "ill_typed_parameter", "born_from"),
        ("convert_price", {"price": 1, "currency": "chf"}, "ill_typed_parameter", "currency"),
    ],
)
def test_invalid_arguments_are_refused_with_the_parameters_name(
    library_snapshot: Snapshot, on_miss: str, tool: str, arguments: dict[str, Any], kind: str, parameter: str
) -> None:
    response = ask(SnapshotReplay(library_snapshot, on_miss), tool, **arguments)
    assert (response.status, response.source) == (422, Source.INVALID)
    [detail] = response.body["detail"]
    assert detail["type"] == kind
    assert parameter in detail["message"]


def test_a_refusal_tells_a_few_problems_not_all(replay: SnapshotReplay) -> None:
    response = ask(replay, "get_book", **{f"extra{number}": 1 for number in range(100)})
    assert 1 < len(response.body["detail"]) <= 5


def test_raise_tells_the_call_that_was_missed(library_snapshot: Snapshot) -> None:
    replay = SnapshotReplay(library_snapshot, OnMiss.RAISE)
    with pytest.raises(MissError, match=r"get_author.*A77"):
        ask(replay, "get_author", author_id="A77")
    assert ask(replay, "get_author", author_id="A1").success


@pytest.mark.parametrize("policy", ["ERROR", "guess", "", None, 5])
def test_an_unknown_policy_is_told_with_the_known_ones(library_snapshot: Snapshot, policy: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"error, raise"):
        SnapshotReplay(library_snapshot, policy)


def test_digests_are_equal_exactly_for_equal_successful_bodies(replay: SnapshotReplay) -> None:
    digests: dict[str, int] = {}
    for call, status, body in answers():
        digest = replay.answer(replay.tools.canonical(call)).digest
        says_something = status == 200 and not is_empty(body)
        assert (digest != 0) == says_something
        if says_something:
            assert digests.setdefault(repr(body), digest) == digest
    assert len(set(digests.values())) == len(digests)
    assert replay.look_up(replay.tools.canonical(Call("get_author", {"author_id": "A77"}))) is None


def test_answers_do_not_depend_on_what_was_asked_before(library: Path) -> None:
    calls = [Call(call.tool, call.arguments) for call, _, _ in answers()]
    calls += [Call("get_author", {"author_id": "A77"}), Call("get_author", {})]
    forwards, backwards = SnapshotReplay(Snapshot(library)), SnapshotReplay(Snapshot(library))
    one = [ask(forwards, call.tool, **call.arguments).raw for call in calls]
    two = [ask(backwards, call.tool, **call.arguments).raw for call in reversed(calls)]
    again = [ask(forwards, call.tool, **call.arguments).raw for call in calls]
    assert one == two[::-1] == again
