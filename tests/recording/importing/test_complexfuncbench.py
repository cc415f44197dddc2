"""ComplexFuncBench: turns with their calls, optional look-ups, tools merged over all samples."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import same_json
from published_shapes import TOOLS, author_body, book_body, books_body, sample, tool, write_lines

from toolorch_env.core.calls import Call, ToolSet
from toolorch_env.core.errors import DataSetError
from toolorch_env.recording.importing.complexfuncbench import OPTIONAL, read_complexfuncbench
from toolorch_env.recording.importing.traces import UNKNOWN, Answered, DataSet

TURNS: list[list[tuple[str, Any, Any]]] = [
    [("Find_Author", {"name": "Ada Winter"}, author_body(0)), ("Find_Author", {"name": "Bo Quill"}, author_body(1))],
    [("List_Books", {"author_id": 40}, books_body(0))],
    [("Get_Book", {"isbn": "0-01"}, book_body("0-01"))],
]


def imported(tmp_path: Path, *samples: Any) -> DataSet:
    return read_complexfuncbench([write_lines(tmp_path / "samples.jsonl", samples)])


def test_a_sample_becomes_a_trace(tmp_path: Path) -> None:
    data_set = imported(tmp_path, sample("Book-Loans-12", TURNS))
    (trace,) = data_set.traces
    assert (trace.id, trace.workflow, trace.split) == ("Book-Loans-12", "Book-Loans", "test")
    assert trace.query == "Please do Book-Loans-12."
    assert trace.answer == ()
    assert trace.tools == ("Find_Author", "List_Books", "Get_Book", "Opening_Hours")
    made = [call for turn in TURNS for call in turn]
    assert [call.answered for call in trace.calls] == [Answered(Call(name, given), body) for name, given, body in made]
    assert [call.turn for call in trace.calls] == [0, 0, 1, 2]
    assert [call.depends_on for call in trace.calls] == [None] * 4
    assert not any(call.optional for call in trace.calls)
    assert [one.name for one in data_set.tools] == [document["name"] for document in TOOLS]
    assert list(data_set.responses()) == []
    assert data_set.workflows is None
    assert data_set.notes == ()


def test_the_location_look_ups_are_optional(tmp_path: Path) -> None:
    names = [*sorted(OPTIONAL), "Get_Book"]
    turn = [(name, {"query": "x"}, {"status": True}) for name in names]
    (trace,) = imported(tmp_path, sample("A-1", [turn], [])).traces
    assert len(OPTIONAL) == 6
    assert [call.optional for call in trace.calls] == [True] * 6 + [False]


def test_look_ups_are_needed_where_nothing_else_is_called(tmp_path: Path) -> None:
    turns = [[(name, {"query": "x"}, {"status": True})] for name in sorted(OPTIONAL)]
    (trace,) = imported(tmp_path, sample("A-1", turns, [])).traces
    assert not any(call.optional for call in trace.calls)


@pytest.mark.parametrize(
    ("name", "workflow"),
    [("Flights-0", "Flights"), ("Car-Rentals-12", "Car-Rentals"), ("Cross", "Cross"), ("7", "7"), ("-3", "-3")],
)
def test_the_workflow_is_the_domain(name: str, workflow: str, tmp_path: Path) -> None:
    assert imported(tmp_path, sample(name, TURNS)).traces[0].workflow == workflow


def test_arguments_and_bodies_may_be_texts_of_json(tmp_path: Path) -> None:
    calls = [
        ("Get_Book", '{"isbn": "1"}', '{"status": true, "data": [1]}'),
        ("Get_Book", {"isbn": "2"}, "no JSON at all"),
        ("Get_Book", {"isbn": "3"}, ""),
        ("Get_Book", {"isbn": "4"}, '{"status": false}'),
    ]
    (trace,) = imported(tmp_path, sample("A-1", [calls])).traces
    assert [call.answered for call in trace.calls] == [
        Answered(Call("Get_Book", {"isbn": "1"}), {"status": True, "data": [1]}),
        Answered(Call("Get_Book", {"isbn": "2"}), "no JSON at all"),
        Answered(Call("Get_Book", {"isbn": "3"}), UNKNOWN),
        Answered(Call("Get_Book", {"isbn": "4"}), {"status": False}, 400),
    ]


def test_all_observations_may_be_one_text(tmp_path: Path) -> None:
    one = sample("A-1", TURNS)
    one["conversations"][2]["content"] = json.dumps(one["conversations"][2]["content"])
    one["conversations"][4]["content"] = books_body(0)
    (trace,) = imported(tmp_path, one).traces
    assert [call.answered.body for call in trace.calls[:3]] == [author_body(0), author_body(1), books_body(0)]


rich = tool("Get_Book", ["isbn"], isbn="string", language="string")
wordy = tool("Get_Book", ["isbn"], isbn="string", language="string")
wordy["description"] += " With its pages."
poor = tool("Get_Book", ["isbn"], isbn="string")
poor["description"] += " This says a lot, but there is only one parameter to say it of." * 3


@given(st.permutations([rich, wordy, poor, wordy]))
def test_of_different_schemas_the_richest_is_kept_in_every_order(
    tmp_path_factory: pytest.TempPathFactory, versions: list[Any]
) -> None:
    samples = [sample(f"A-{number}", TURNS[2:], [version]) for number, version in enumerate(versions)]
    data_set = imported(tmp_path_factory.getbasetemp(), *samples)
    (kept,) = data_set.tools
    assert set(kept.properties) == {"isbn", "language"}
    assert kept.description == wordy["description"]
    assert data_set.notes == ("described differently by different samples, the richest schema kept: Get_Book",)


def test_a_tool_that_is_only_called_is_inferred(tmp_path: Path) -> None:
    data_set = imported(tmp_path, sample("A-1", TURNS, TOOLS[:1]))
    assert [one.name for one in data_set.tools] == ["Find_Author", "List_Books", "Get_Book"]
    assert data_set.traces[0].tools == ("Find_Author", "List_Books", "Get_Book")
    assert data_set.tools[1].properties == {"author_id": {"type": "number"}}
    assert data_set.notes == ("no schema, inferred from their calls: List_Books, Get_Book",)
    for call in data_set.traces[0].calls:
        signature = ToolSet(data_set.tools).signature(call.answered.call.tool)
        assert list(signature.problems(signature.read(call.answered.call.arguments))) == []


def test_samples_without_a_call_are_left_out_and_told(tmp_path: Path) -> None:
    data_set = imported(tmp_path, sample("A-1", []), sample("A-2", TURNS))
    assert [trace.id for trace in data_set.traces] == ["A-2"]
    assert data_set.notes == ("left out, as it has no call: sample 'A-1'",)


def test_several_files_are_one_data_set(tmp_path: Path) -> None:
    paths = [write_lines(tmp_path / name, [sample(name, TURNS)]) for name in ("A-1", "B-1")]
    assert [trace.id for trace in read_complexfuncbench(paths).traces] == ["A-1", "B-1"]
    with pytest.raises(DataSetError, match="B-1, line 1: a second sample has the id 'B-1'"):
        read_complexfuncbench([paths[1], paths[1]])


def changed(place: int, **change: Any) -> dict[str, Any]:
    one = sample("A-1", TURNS)
    one["conversations"][place].update(change)
    return one


@pytest.mark.parametrize(
    ("one", "complaint"),
    [
        (changed(2, content=[author_body(0)]), "sample 'A-1', message 1 makes 2 calls, but 1 observations follow"),
        (changed(4, content=[]), "sample 'A-1', message 3 makes 1 calls, but 0 observations follow"),
        (changed(4, role="assistant"), "sample 'A-1', message 3 makes 1 calls, but 0 observations follow"),
        (changed(0, content=""), "the sample 'A-1' has no user message"),
        (changed(2, role="robot"), r"conversations\.2\.role: Input should be"),
        (changed(3, function_call=[{"arguments": {}}]), r"conversations\.3\.function_call\.0\.name: Field required"),
        (
            changed(3, function_call=[{"name": "Get_Book", "arguments": "{isbn"}]),
            r"conversations\.3\.function_call\.0\.arguments: Input should be a valid dictionary",
        ),
        ({"id": "A-1"}, "conversations: Field required"),
        ([1], "Input should be a valid dictionary"),
        (sample("A-1", TURNS, [tool("t", a="HashMap")]), "sample 'A-1': tool 't': there is no type 'HashMap'"),
    ],
)
def test_bad_lines_are_told_by_number(one: Any, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match=rf"samples\.jsonl, line 2: {complaint}"):
        imported(tmp_path, sample("Good-1", TURNS), one)


def test_what_is_no_json_is_told_by_line(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text("\n" + json.dumps(sample("A-1", TURNS)) + '\n{"id": ', encoding="utf-8")
    with pytest.raises(DataSetError, match=r"samples\.jsonl, line 3: not JSON"):
        read_complexfuncbench([path])


def test_files_without_a_sample_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="no sample with a call"):
        imported(tmp_path, sample("A-1", []))
    with pytest.raises(DataSetError, match="cannot be read"):
        read_complexfuncbench([tmp_path / "none"])


def test_numbers_in_bodies_are_kept(tmp_path: Path) -> None:
    body = {"a": 1.0, "b": 47.4436988830566, "c": 2**63, "d": -0.5, "e": "47.0"}
    (trace,) = imported(tmp_path, sample("A-1", [[("Get_Book", {}, body), ("Get_Book", {}, json.dumps(body))]])).traces
    for call in trace.calls:
        assert same_json(call.answered.body, body)
