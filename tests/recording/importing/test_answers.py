"""One call, several answers: which is kept, which are told of, and that every task can be solved all the same."""

from pathlib import Path
from typing import Any

import pytest
from fresh_python import run_python
from harbour import answered, data_set, imported, port, recorded_body, ships, trace
from hypothesis import given
from hypothesis import strategies as st

from toolorch_env.core.calls import Call
from toolorch_env.core.errors import DataSetError
from toolorch_env.core.responses import Source
from toolorch_env.evaluation.solutions import check_solutions
from toolorch_env.recording.importing.answers import Conflict, keep_answers
from toolorch_env.recording.importing.pipeline import import_data_set
from toolorch_env.recording.importing.traces import UNKNOWN, Answered, Trace, TracedCall
from toolorch_env.store.record_store import RecordStore
from toolorch_env.store.replay import SnapshotReplay
from toolorch_env.store.snapshot import Snapshot

VIGO = Call("find_port", {"name": "Vigo"})


def find_vigo(body: Any, status: int = 200) -> Answered:
    return Answered(VIGO, body, status)


def list_ships(port_id: Any, *codes: str) -> Answered:
    return answered("list_ships", ships(*codes), port_id=port_id)


def is_solved(snapshot: Snapshot) -> bool:
    """Whether every stored task is solved by its own solution."""
    checked = check_solutions(snapshot)
    return checked.tasks == len(snapshot.tasks) > 0 and not checked.unsolved


def of_vigo(kept: str, *others: str) -> tuple[Conflict, ...]:
    return (Conflict("find_port", b'{"name":"Vigo"}', kept, others),)


# ------------------------------------------------------------------------------------------------------ the rule


def test_two_traces_the_first_is_kept(tmp_path: Path) -> None:
    summary, snapshot = imported(tmp_path, trace("a", find_vigo(port(7301))), trace("b", find_vigo(port(7302))))
    assert summary.conflicts == of_vigo("trace 'a', call 0", "trace 'b', call 0")
    assert recorded_body(snapshot, VIGO) == port(7301)
    assert is_solved(snapshot)


def test_two_traces_the_answer_that_is_read_from_is_kept(tmp_path: Path) -> None:
    traces = [
        trace("a", find_vigo(port(7301))),
        trace("b", list_ships(5, "X-1"), find_vigo(port(7302)), list_ships(7302, "X-2")),
    ]
    summary, snapshot = imported(tmp_path, *traces)
    assert summary.conflicts == of_vigo("trace 'b', call 1", "trace 'a', call 0")
    assert recorded_body(snapshot, VIGO) == port(7302)
    assert is_solved(snapshot)


def test_the_losing_trace_took_a_value_from_its_own_answer(tmp_path: Path) -> None:
    """It can be solved all the same: nothing is bound to a response that does not hold it."""
    traces = [
        trace("a", find_vigo(port(7301)), list_ships(7301, "X-1")),
        trace("b", find_vigo(port(7302)), list_ships(7302, "X-2")),
        trace("c", find_vigo(port(7302)), list_ships(7302, "X-2")),
    ]
    summary, snapshot = imported(tmp_path, *traces)
    assert summary.conflicts == of_vigo("trace 'b', call 0", "trace 'a', call 0")
    lost, *kept = snapshot.tasks
    assert lost.reference[1].bindings == ()
    assert all([binding.step for binding in task.reference[1].bindings] == [0] for task in kept)
    assert recorded_body(snapshot, Call("list_ships", {"port_id": 7301})) == ships("X-1")
    assert is_solved(snapshot)


def test_a_declared_dependency_on_a_lost_answer_stays_as_order(tmp_path: Path) -> None:
    first = trace("a", find_vigo(port(7301)), list_ships(7301, "X-1"))
    second = trace("b", TracedCall(find_vigo(port(7302)), ()), TracedCall(list_ships(7302, "X-2"), (0,)))
    summary, snapshot = imported(tmp_path, first, second)
    assert summary.arguments.pure_order == 1
    assert snapshot.tasks[1].reference[1].after == (0,)
    assert is_solved(snapshot)


def test_a_success_comes_before_an_error(tmp_path: Path) -> None:
    traces = [trace("a", find_vigo({"error": "busy"}, 400)), trace("b", find_vigo(port()))]
    summary, snapshot = imported(tmp_path, *traces)
    assert summary.conflicts == of_vigo("trace 'b', call 0", "trace 'a', call 0")
    assert recorded_body(snapshot, VIGO) == port()
    assert is_solved(snapshot)


def test_the_same_body_with_another_status_is_another_answer(tmp_path: Path) -> None:
    summary, snapshot = imported(tmp_path, trace("a", find_vigo(port(), 400)), trace("b", find_vigo(port())))
    assert summary.conflicts == of_vigo("trace 'b', call 0", "trace 'a', call 0")
    (record,) = snapshot.records()
    assert record.response.success


def test_a_trace_comes_before_a_cache(tmp_path: Path) -> None:
    cached = [find_vigo(port(7302)), find_vigo(port(7301)), find_vigo(port(7303)), find_vigo(port(7303))]
    summary, snapshot = imported(tmp_path, trace("a", find_vigo(port(7301))), cached=cached)
    assert summary.conflicts == of_vigo("trace 'a', call 0", "cached response 1", "cached response 3")
    assert recorded_body(snapshot, VIGO) == port(7301)


def test_a_trace_comes_before_a_cache_even_with_an_error(tmp_path: Path) -> None:
    summary, snapshot = imported(tmp_path, trace("a", find_vigo({"error": 1}, 400)), cached=[find_vigo(port())])
    assert summary.conflicts == of_vigo("trace 'a', call 0", "cached response 1")
    assert recorded_body(snapshot, VIGO) == {"error": 1}
    assert is_solved(snapshot)


def test_in_a_cache_the_first_is_kept(tmp_path: Path) -> None:
    cached = [answered("get_ship", {"name": "Ondine"}, code="X-1"), find_vigo(port(7302)), find_vigo(port(7301))]
    summary, snapshot = imported(tmp_path, cached=cached)
    assert summary.conflicts == of_vigo("an earlier cached response", "cached response 3")
    assert recorded_body(snapshot, VIGO) == port(7302)


def test_conflicts_of_a_cache_are_found_across_batches(tmp_path: Path) -> None:
    cached = [answered("get_ship", {"name": number}, code=f"X-{number % 2500}") for number in range(5000)]
    summary, snapshot = imported(tmp_path, cached=cached)
    assert len(snapshot) == len(summary.conflicts) == 2500
    assert summary.conflicts[-1].others == ("cached response 5,000",)
    assert recorded_body(snapshot, Call("get_ship", {"code": "X-2499"})) == {"name": 2499}


def test_all_conflicts_of_a_call_are_one(tmp_path: Path) -> None:
    traces = [trace(name, find_vigo(port(number))) for name, number in (("a", 1), ("b", 2), ("c", 2), ("d", 3))]
    summary, _ = imported(tmp_path, *traces, cached=[find_vigo(port(4)), find_vigo(port(2))])
    assert summary.conflicts == of_vigo(
        "trace 'a', call 0", "trace 'b', call 0", "trace 'd', call 0", "cached response 1"
    )


def test_one_trace_that_asks_twice(tmp_path: Path) -> None:
    summary, snapshot = imported(
        tmp_path, trace("a", find_vigo(port(7301)), find_vigo(port(7302)), list_ships(7302, "X-2"))
    )
    assert summary.conflicts == of_vigo("trace 'a', call 1", "trace 'a', call 0")
    assert recorded_body(snapshot, VIGO) == port(7302)
    assert is_solved(snapshot)


@pytest.mark.parametrize(("first", "second"), [("2", 2), (2, "2"), (2.0, 2), (2, "2.0")])
def test_one_call_in_two_spellings(tmp_path: Path, first: Any, second: Any) -> None:
    summary, snapshot = imported(
        tmp_path, trace("a", list_ships(first, "X-1")), trace("b", list_ships(second, "X-2")), cached=[list_ships(2)]
    )
    (conflict,) = summary.conflicts
    assert conflict.arguments == b'{"port_id":2}'
    assert conflict.others == ("trace 'b', call 0", "cached response 1")
    assert len(snapshot) == 1
    assert is_solved(snapshot)


def test_leaving_a_default_out_is_the_same_call(tmp_path: Path) -> None:
    given_default = answered("list_ships", ships("X-2"), port_id=2, page=1)
    summary, snapshot = imported(tmp_path, trace("a", list_ships(2, "X-1")), trace("b", given_default))
    assert len(summary.conflicts) == 1
    assert len(snapshot) == 1
    assert is_solved(snapshot)


def test_equal_answers_are_no_conflict(tmp_path: Path) -> None:
    traces = [trace("a", find_vigo(port())), trace("b", find_vigo(port()))]
    summary, snapshot = imported(tmp_path, *traces, cached=[find_vigo(port())])
    assert summary.conflicts == ()
    assert len(snapshot) == 1


def test_fractions_beyond_the_fourth_decimal_are_two_recordings(tmp_path: Path) -> None:
    """Each spelling is answered as it was recorded; both are answers to one question, so there is no other conflict."""
    near = [
        answered("ports_near", {"data": [n]}, latitude=value, longitude=8.7)
        for n, value in enumerate((1.00001, 1.00002))
    ]
    summary, snapshot = imported(tmp_path, *(trace(str(n), one) for n, one in enumerate(near)))
    assert summary.conflicts == ()
    assert [recorded_body(snapshot, one.call) for one in near] == [{"data": [0]}, {"data": [1]}]
    third = recorded_body(snapshot, Call("ports_near", {"latitude": 1.00003, "longitude": 8.7}))
    assert third in ({"data": [0]}, {"data": [1]})
    assert is_solved(snapshot)


# ----------------------------------------------------------------------------------------------- unknown bodies


def test_a_known_body_comes_before_an_unknown_one(tmp_path: Path) -> None:
    traces = [trace("a", find_vigo(UNKNOWN)), trace("b", find_vigo(port())), trace("c", find_vigo(UNKNOWN))]
    summary, snapshot = imported(tmp_path, *traces)
    assert summary.conflicts == ()
    assert summary.without_body == 0
    assert recorded_body(snapshot, VIGO) == port()
    assert is_solved(snapshot)


def test_an_unknown_body_is_looked_for_in_the_cache(tmp_path: Path) -> None:
    traces = [trace("a", find_vigo(UNKNOWN), list_ships(7301, "X-1"))]
    summary, snapshot = imported(tmp_path, *traces, cached=[find_vigo(UNKNOWN), find_vigo(port(7301))])
    assert (summary.conflicts, summary.without_body) == ((), 0)
    assert recorded_body(snapshot, VIGO) == port(7301)
    (binding,) = snapshot.tasks[0].reference[1].bindings
    assert (binding.step, binding.select) == (0, "data.port_id")
    assert is_solved(snapshot)


@pytest.mark.parametrize("in_trace", [True, False])
def test_a_body_that_is_nowhere_stays_unknown(tmp_path: Path, in_trace: bool) -> None:
    unknown = find_vigo(UNKNOWN)
    traces = [trace("a", unknown, list_ships(7301, "X-1"))] if in_trace else []
    summary, snapshot = imported(tmp_path, *traces, cached=[] if in_trace else [unknown])
    assert (summary.conflicts, summary.without_body) == ((), 1)
    response = SnapshotReplay(snapshot, "raise").answer(snapshot.tools.canonical(VIGO))
    assert (response.source, response.status, response.success, response.body) == (Source.WITHOUT_BODY, 200, True, None)
    assert not in_trace or is_solved(snapshot)


# ------------------------------------------------------------------------------------------------ the same anywhere


def conflicting() -> tuple[list[Trace], list[Answered]]:
    traces = [
        trace(str(number), find_vigo(port(7300 + number % 3)), list_ships(7300 + number % 2, f"X-{number % 4}"))
        for number in range(12)
    ]
    return traces, [list_ships(7300, "X-9"), find_vigo(port(1)), find_vigo(UNKNOWN), find_vigo(port(2))]


HASHED = """
import sys
sys.path.insert(0, {folder!r})
from pathlib import Path
from tempfile import TemporaryDirectory
from harbour import imported
from test_answers import conflicting
with TemporaryDirectory() as folder:
    traces, cached = conflicting()
    summary, snapshot = imported(Path(folder), *traces, cached=cached)
    print(summary.conflicts, summary.arguments, snapshot.meta["content_hash"])
"""


def test_the_result_does_not_depend_on_the_hash_seed() -> None:
    code = HASHED.format(folder=str(Path(__file__).parent))
    told = {run_python(code, hash_seed) for hash_seed in (0, 1, 2)}
    assert len(told) == 1
    assert "cached response 2" in told.pop()


def test_the_kept_answer_does_not_depend_on_the_order_of_traces_where_the_rule_decides(tmp_path: Path) -> None:
    def kept(folder: str, traces: list[Trace]) -> Any:
        (tmp_path / folder).mkdir()
        return recorded_body(imported(tmp_path / folder, *traces)[1], VIGO)

    traces = [
        trace("a", find_vigo(port(7301))),
        trace("b", find_vigo(port(7302)), list_ships(7302, "X-1")),
        trace("c", find_vigo({"error": "busy"}, 400)),
    ]
    assert kept("there", traces) == kept("back", traces[::-1]) == port(7302)


ANSWERS = st.sampled_from([port(1), port(2), {"error": "busy"}, UNKNOWN])


@given(st.lists(st.tuples(ANSWERS, st.sampled_from([200, 400])), max_size=6), st.lists(ANSWERS, max_size=4))
def test_nothing_is_lost_without_being_told(in_traces: list[tuple[Any, int]], cached: list[Any]) -> None:
    """The kept answer and those told of are all the different answers that there are."""
    traces = [trace(str(index), find_vigo(body, status)) for index, (body, status) in enumerate(in_traces)]
    known = [(repr(body), status) for body, status in in_traces if body is not UNKNOWN]
    known += [(repr(body), 200) for body in cached if body is not UNKNOWN]
    with RecordStore(None) as store:
        harbour = data_set(*traces, cached=[find_vigo(body) for body in cached])
        store.declare(harbour.tools, name="harbour")
        conflicts = keep_answers(harbour, store)
        records = list(store.records())
    told = sum(1 + len(conflict.others) for conflict in conflicts)
    assert len(records) == bool(in_traces or cached)
    assert len(conflicts) == (len(set(known)) > 1)
    assert told == (len(set(known)) if conflicts else 0)
    for record in records:
        assert (record.response.source is Source.WITHOUT_BODY) == (not known)


# -------------------------------------------------------------------------------------------------- bad data sets


@pytest.mark.parametrize(
    ("traces", "cached", "place"),
    [
        ([trace("a", find_vigo(port()), find_vigo({"n": float("nan")}))], [], "trace 'a', call 1: "),
        ([trace("a", answered("no_such_tool", {}))], [], "trace 'a', call 0: "),
        ([], [find_vigo(port()), find_vigo({"n": float("inf")})], "cached response 2: "),
        ([], [answered("no_such_tool", {})], "cached response 1: "),
    ],
)
def test_what_cannot_be_recorded_is_told_with_its_place(
    tmp_path: Path, traces: list[Trace], cached: list[Answered], place: str
) -> None:
    with pytest.raises(DataSetError, match=place):
        import_data_set(data_set(*traces, cached=cached), tmp_path / "s.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_a_call_of_the_setup_that_cannot_be_recorded_is_told_with_its_place(tmp_path: Path) -> None:
    one = Trace("a", "q", trace("a", find_vigo(port())).calls, setup=(find_vigo(port()), find_vigo(10**30)))
    with pytest.raises(DataSetError, match="trace 'a', setup call 1: "):
        import_data_set(data_set(one), tmp_path / "s.sqlite")
