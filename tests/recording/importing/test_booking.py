"""The published data of Booking.com: its files in any combination, its tasks as they stand."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from booking_data import BOOKING, needs_booking
from json_values import same_json
from published_shapes import (
    CACHE,
    LIBRARY_TEMPLATE,
    TOOLS,
    author_body,
    book_body,
    books_body,
    library_task,
    library_tasks,
    step,
    task,
    template,
    templates,
    write_json,
    write_lines,
    write_pickle,
)

from toolorch_env.core.calls import Call, ToolSet
from toolorch_env.core.errors import DataSetError
from toolorch_env.recording.importing.booking import read_booking
from toolorch_env.recording.importing.booking_files import kind_of
from toolorch_env.recording.importing.traces import UNKNOWN, Answered, DataSet
from toolorch_env.store.workflows import parse_workflows


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "tools", TOOLS)


def imported(tmp_path: Path, tasks: list[Any], *others: Path) -> DataSet:
    return read_booking([write_pickle(tmp_path / "tasks", tasks), *others])


def test_training_tasks_become_traces(tmp_path: Path, tools: Path) -> None:
    data_set = imported(tmp_path, library_tasks(), tools)
    assert [trace.id for trace in data_set.traces] == ["workflow_0-0", "workflow_0-1"]
    trace = data_set.traces[1]
    assert trace.query == "How long is the second book by Bo Quill rated 3.5 or better?"
    assert (trace.workflow, trace.split, trace.answer) == ("workflow_0", "train", ())
    assert trace.tools == ("Find_Author", "List_Books", "Get_Book", "Opening_Hours")
    assert [made.answered for made in trace.calls] == [
        Answered(Call("Find_Author", {"name": "Bo Quill"}), author_body(1)),
        Answered(Call("List_Books", {"author_id": 41, "minRating": 3.5}), books_body(1)),
        Answered(Call("Get_Book", {"isbn": "0-11"}), book_body("0-11")),
    ]
    assert [made.depends_on for made in trace.calls] == [(), (0,), (1,)]
    assert [(made.turn, made.optional) for made in trace.calls] == [(None, False)] * 3
    assert (data_set.name, data_set.licence) == ("booking", "Apache-2.0")
    assert list(data_set.responses()) == []
    assert data_set.notes == ()


def test_tools_have_the_errors_of_the_data(tmp_path: Path, tools: Path) -> None:
    for tool in imported(tmp_path, library_tasks(), tools).tools:
        assert tool.miss_status == 400
        assert tool.miss_body["status"] is False


def test_the_evaluation_shape_is_for_testing_with_dependencies_to_be_found(tmp_path: Path, tools: Path) -> None:
    data_set = imported(tmp_path, library_tasks(evaluation=True), tools)
    for number, trace in enumerate(data_set.traces):
        assert trace.split == "test"
        assert [made.depends_on for made in trace.calls] == [None, None, None]
        bodies = [made.answered.body for made in trace.calls]
        assert bodies[0] == author_body(number)
        assert bodies[1:] == [UNKNOWN, UNKNOWN]
        assert {made.answered.status for made in trace.calls} == {200}


@pytest.mark.parametrize(
    "result",
    [
        "",
        None,
        {},
        {"function": "Get_Book"},
        {"success": True, "execution_result": ""},
        {"success": None, "arguments": {"isbn": "1"}},
        {"success": False},
    ],
)
def test_whatever_of_a_result_is_left_out_the_body_is_unknown(result: Any, tmp_path: Path) -> None:
    one = step(0, "Get_Book", {"isbn": "1"})
    one["execution_result"] = result
    (made,) = imported(tmp_path, [task("q", [one])]).traces[0].calls
    assert made.answered == Answered(Call("Get_Book", {"isbn": "1"}), UNKNOWN, 200)


def test_a_step_may_lack_all_but_its_call(tmp_path: Path) -> None:
    document = {"query": "q", "steps": [{"ground_truth": {"function": "Get_Book", "arguments": {"isbn": "1"}}}]}
    (trace,) = imported(tmp_path, [document]).traces
    assert (trace.id, trace.workflow, trace.tools, trace.split) == ("task-0", "", (), "test")
    assert trace.calls[0].depends_on is None


def test_dependencies_are_to_be_found_where_no_step_of_a_file_has_any(tmp_path: Path, tools: Path) -> None:
    tasks = library_tasks()
    for one in tasks:
        for made in one["steps"]:
            made["depends_on"] = []
    for trace in imported(tmp_path, tasks, tools).traces:
        assert trace.split == "train"
        assert [made.depends_on for made in trace.calls] == [None, None, None]


def test_where_a_file_has_dependencies_none_means_none(tmp_path: Path, tools: Path) -> None:
    tasks = library_tasks()
    for made in tasks[0]["steps"]:
        made["depends_on"] = []
    tasks[1]["steps"][0]["execution_result"]["execution_result"] = ""
    first, second = imported(tmp_path, tasks, tools).traces
    assert [made.depends_on for made in first.calls] == [(), (), ()]
    assert [made.depends_on for made in second.calls] == [None, (0,), (1,)]


def test_steps_may_have_other_numbers(tmp_path: Path, tools: Path) -> None:
    one = library_task(0)
    for made, number in zip(one["steps"], (1, 2, 5), strict=True):
        made["step"] = number
    one["steps"][1]["depends_on"] = [1]
    one["steps"][2]["depends_on"] = [2, 1]
    assert [made.depends_on for made in imported(tmp_path, [one], tools).traces[0].calls] == [(), (0,), (1, 0)]


def test_status_is_what_the_data_says(tmp_path: Path) -> None:
    steps = [
        step(0, "Get_Book", {"isbn": "1"}, {"status": False, "message": "no"}),
        step(1, "Get_Book", {"isbn": "2"}, {"status": True}, success=False),
        step(2, "Get_Book", {"isbn": "3"}, {"error": "no"}),
        step(3, "Get_Book", {"isbn": "4"}, []),
    ]
    (trace,) = imported(tmp_path, [task("q", steps)]).traces
    assert [made.answered.status for made in trace.calls] == [400, 400, 400, 200]


def test_a_response_belongs_to_what_was_executed(tmp_path: Path, tools: Path) -> None:
    one = library_task(0)
    one["steps"][2] = step(2, "Get_Book", {"isbn": "0-01"}, book_body("0-07"), [1], arguments={"isbn": "0-07"})
    data_set = imported(tmp_path, [one], tools)
    assert data_set.traces[0].calls[2].answered == Answered(Call("Get_Book", {"isbn": "0-01"}), UNKNOWN)
    for _ in range(2):  # a fresh iterator each time
        assert list(data_set.responses()) == [Answered(Call("Get_Book", {"isbn": "0-07"}), book_body("0-07"))]
    assert any("1 steps were executed otherwise" in note for note in data_set.notes)


def test_a_cache_alone_is_a_data_set(tmp_path: Path) -> None:
    data_set = read_booking([write_json(tmp_path / "cache", CACHE)])
    assert data_set.traces == ()
    assert [tool.name for tool in data_set.tools] == ["Find_Author", "Get_Book"]
    for _ in range(2):
        answers = list(data_set.responses())
        assert len(answers) == 5
        assert answers[0].call == Call("Find_Author", {"name": "Cy Nib"})


def test_tools_without_a_schema_are_inferred_from_all_their_calls(tmp_path: Path) -> None:
    cache = write_json(tmp_path / "cache", {"Get_Book": [{"arguments": {"isbn": 7, "page": 1}, "response": 1}]})
    data_set = imported(tmp_path, library_tasks(), cache, write_lines(tmp_path / "tools", TOOLS[:1]))
    tools = {tool.name: tool for tool in data_set.tools}
    assert list(tools) == ["Find_Author", "List_Books", "Get_Book"]
    assert tools["Find_Author"].required == ("name",)
    assert tools["List_Books"].properties == {"author_id": {"type": "number"}, "minRating": {"type": "number"}}
    assert tools["Get_Book"].properties == {"isbn": {}, "page": {"type": "number"}}
    assert data_set.traces[0].tools == ("Find_Author", "List_Books", "Get_Book")
    assert data_set.notes == (
        "no schema, inferred from their calls: List_Books, Get_Book",
        "not on offer, as neither a schema nor a call of them is known: Opening_Hours",
    )


def test_templates_become_workflows_where_the_tools_fit(tmp_path: Path, tools: Path) -> None:
    unfit = template("elsewhere", ("Find_Ship", {"name": "x"}, {}))
    lacking = template("lacking", ("Get_Book", {}, {}))
    broken = template("broken", ("Get_Book", {"isbn": 1}, {"isbn": (3, "a")}))
    path = write_json(tmp_path / "templates", templates(unfit, LIBRARY_TEMPLATE, lacking, broken))
    data_set = imported(tmp_path, library_tasks(), path, tools)
    workflows = parse_workflows(data_set.workflows)
    assert [workflow.name for workflow in workflows.workflows] == ["workflow_0"]
    workflows.check_tools(ToolSet(data_set.tools))
    assert len(data_set.notes) == 2
    assert data_set.notes[0].startswith("template 'broken' is left out: ")
    assert data_set.notes[1].startswith("2 workflow templates left out, as they do not fit the tools, among them: ")
    assert "there is no tool 'Find_Ship'" in data_set.notes[1]


def test_without_a_template_that_fits_there_are_no_workflows(tmp_path: Path, tools: Path) -> None:
    unfit = write_json(tmp_path / "templates", templates(template("elsewhere", ("Find_Ship", {}, {}))))
    assert imported(tmp_path, library_tasks(), unfit, tools).workflows is None


def test_identifiers_are_unique_over_several_files(tmp_path: Path, tools: Path) -> None:
    evaluation = write_pickle(tmp_path / "evaluation", library_tasks(evaluation=True))
    data_set = imported(tmp_path, library_tasks(), evaluation, tools)
    assert [trace.id for trace in data_set.traces] == [f"workflow_0-{number}" for number in range(4)]
    assert [trace.split for trace in data_set.traces] == ["train", "train", "test", "test"]


def test_a_file_named_twice_counts_once(tmp_path: Path, tools: Path) -> None:
    tasks = write_pickle(tmp_path / "tasks", library_tasks())
    again = tmp_path / "elsewhere" / ".." / "tasks"
    again.parent.parent.mkdir()
    assert len(read_booking([tasks, tools, again, tools]).traces) == 2


FILES: list[tuple[Any, Callable[[Path, Any], Path], str]] = [
    (library_tasks(), write_pickle, "tasks"),
    (library_tasks(), lambda path, value: write_pickle(path, value, 0), "tasks"),
    ([], lambda path, value: write_pickle(path, value, 1), "tasks"),
    (TOOLS, write_lines, "tools"),
    (TOOLS, write_json, "tools"),
    (TOOLS[:1], write_lines, "tools"),
    ([{"type": "function", "function": TOOLS[0]}], write_lines, "tools"),
    (templates(LIBRARY_TEMPLATE), write_json, "templates"),
    ({"workflows": []}, write_json, "templates"),
    (CACHE, write_json, "cache"),
    ({"empty": [], **CACHE}, write_json, "cache"),
    ({"workflows.item": [{"response": {}, "arguments": {}}]}, write_json, "cache"),
]


@pytest.mark.parametrize(("value", "write", "kind"), FILES)
def test_files_are_known_by_their_content(value: Any, write: Any, kind: str, tmp_path: Path) -> None:
    assert kind_of(write(tmp_path / "some_file", value)) == kind


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# Read me",
        "{}",
        '{"a": 1}',
        '{"a": []}',
        '{"calls": [{"name": "f"}]}',
        '{"n": 1, "calls": [{"arguments": {}}]}',
    ],
)
def test_other_files_are_told_what_was_expected(text: str, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(
        DataSetError, match=r"README\.md is not one of the published formats: expected a pickle of tasks, a cache"
    ):
        kind_of(path)


def test_damaged_json_is_told(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    path.write_text('{"workflow": [', encoding="utf-8")
    with pytest.raises(DataSetError, match=r"some\.json: truncated JSON.*expected a pickle of tasks"):
        kind_of(path)
    with pytest.raises(DataSetError, match=r"none cannot be read"):
        kind_of(tmp_path / "none")


def test_files_without_a_call_are_nothing_to_import(tools: Path) -> None:
    with pytest.raises(DataSetError, match="nothing to import"):
        read_booking([tools])
    with pytest.raises(DataSetError, match="nothing to import"):
        read_booking([])


def test_two_files_of_templates_are_refused(tmp_path: Path) -> None:
    paths = [write_json(tmp_path / name, templates(LIBRARY_TEMPLATE)) for name in ("a", "b")]
    with pytest.raises(DataSetError, match="two files of workflow templates"):
        imported(tmp_path, library_tasks(), *paths)


def test_two_schemas_of_one_tool_are_refused(tmp_path: Path, tools: Path) -> None:
    with pytest.raises(DataSetError, match=r"again: a second tool is named 'Find_Author'"):
        imported(tmp_path, library_tasks(), tools, write_lines(tmp_path / "again", TOOLS))


def broken(change: Callable[[dict[str, Any]], Any]) -> list[Any]:
    """Two tasks, the second of them changed."""
    tasks = library_tasks()
    change(tasks[1])
    return tasks


@pytest.mark.parametrize(
    ("tasks", "complaint"),
    [
        ({"tasks": []}, ": expected a list of tasks, not a dict"),
        ([7], ", task 0: Input should be a valid dictionary"),
        (broken(lambda one: one.pop("query")), ", task 1.query: Field required"),
        (broken(lambda one: one.update(query="")), ", task 1.query: String should have at least 1 character"),
        (broken(lambda one: one.update(steps=[])), ", task 1.steps: List should have at least 1 item"),
        (broken(lambda one: one["steps"][2].pop("ground_truth")), r", task 1.steps\.2\.ground_truth: Field required"),
        (
            broken(lambda one: one["steps"][2]["ground_truth"].update(arguments="x")),
            r", task 1.steps\.2\.ground_truth\.arguments: Input should be a valid dictionary",
        ),
        (
            broken(lambda one: one["steps"][1].update(execution_result=author_body(0))),
            r", task 1.steps\.1\.execution_result\.status: Extra inputs are not permitted",
        ),
        (
            broken(lambda one: one["steps"][1].update(depends_on=[2])),
            ", task 1, step 1: it depends on step 2, which does not come before it",
        ),
        (
            broken(lambda one: one["steps"][0].update(depends_on=[0])),
            ", task 1, step 0: it depends on step 0, which does not come before it",
        ),
    ],
)
def test_malformed_tasks_are_told_with_their_place(tasks: Any, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match=f"tasks{complaint}"):
        imported(tmp_path, tasks)


def test_a_hostile_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tasks"
    path.write_bytes(pickle.dumps([{"query": print}]))
    with pytest.raises(DataSetError, match=r"builtins\.print"):
        read_booking([path])


@needs_booking
def test_the_published_files_are_read_whole() -> None:
    assert BOOKING is not None
    names = ("bfcl_training_3_per_workflow.pkl", "booking_tools.jsonl", "workflow_templates.json")
    data_set = read_booking([BOOKING / name for name in names])
    calls = [made for trace in data_set.traces for made in trace.calls]
    assert (len(data_set.traces), len(calls), len(data_set.tools)) == (101, 442, 40)
    assert len(parse_workflows(data_set.workflows).workflows) == 107
    assert data_set.notes == ()
    assert sum(bool(made.depends_on) for made in calls) == 234
    assert all(made.depends_on is not None for made in calls)
    assert all(made.answered.status == 200 for made in calls)
    assert {trace.split for trace in data_set.traces} == {"train"}
    assert len({trace.id for trace in data_set.traces}) == 101
    for trace in data_set.traces:
        assert {made.answered.call.tool for made in trace.calls} <= set(trace.tools)


@needs_booking
def test_published_calls_and_bodies_are_kept_as_they_are() -> None:
    assert BOOKING is not None
    path = BOOKING / "bfcl_training_3_per_workflow.pkl"
    published = pickle.loads(path.read_bytes())
    for task_of, trace in zip(published, read_booking([path]).traces, strict=True):
        assert trace.query == task_of["query"]
        for made, one in zip(trace.calls, task_of["steps"], strict=True):
            assert made.answered.call == Call(one["ground_truth"]["function"], one["ground_truth"]["arguments"])
            assert same_json(made.answered.body, one["execution_result"]["execution_result"])
            assert json.dumps(made.answered.body) == json.dumps(one["execution_result"]["execution_result"])


@needs_booking
def test_the_published_schemas_fit_all_published_calls() -> None:
    assert BOOKING is not None
    data_set = read_booking([BOOKING / "bfcl_training_3_per_workflow.pkl", BOOKING / "booking_tools.jsonl"])
    tools = ToolSet(data_set.tools)
    problems = []
    for trace in data_set.traces:
        for made in trace.calls:
            signature = tools.signature(made.answered.call.tool)
            problems += signature.problems(signature.read(made.answered.call.arguments))
    assert problems == []
