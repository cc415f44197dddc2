"""Tasks: their JSON form, what makes them valid, and their shape."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_objects, same_json, scalars, texts

from toolorch_env.core.errors import TaskError
from toolorch_env.core.tasks import Binding, Mention, ReferenceCall, Task

TOOLS = ("a", "b", "c")


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    """Valid tasks of any shape."""
    calls = []
    for index in range(draw(st.integers(1, 6))):
        earlier = st.integers(0, index - 1) if index else st.nothing()
        bindings = draw(st.lists(st.builds(Binding, texts, earlier, texts), max_size=2)) if index else []
        after = draw(st.lists(earlier, max_size=2)) if index else []
        turn = draw(st.none() | st.integers(0, 5))
        tool, arguments = draw(st.sampled_from(TOOLS)), draw(json_objects)
        calls.append(ReferenceCall(tool, arguments, tuple(bindings), tuple(after), turn))
    query = draw(texts)
    places = st.integers(0, len(query))
    mentions = []
    for start, end in draw(st.lists(st.tuples(places, places).map(sorted), max_size=3)):
        mentions.append(Mention(draw(scalars), draw(texts), start, end))
    return Task(draw(texts), query, TOOLS, tuple(calls), tuple(mentions), draw(texts), draw(texts))


def chain(*depends_on: set[int], turns: tuple[int | None, ...] = ()) -> Task:
    """A task whose calls depend on each other as given."""
    turns = turns or (None,) * len(depends_on)
    calls = [
        ReferenceCall("a", {}, after=tuple(sorted(steps)), turn=turn)
        for steps, turn in zip(depends_on, turns, strict=True)
    ]
    return Task("t", "q", ("a",), tuple(calls))


@given(tasks())
def test_a_task_survives_its_json_form(task: Task) -> None:
    again = Task.from_json(task.to_json())
    assert again == task
    assert hash(again.id) == hash(task.id)
    assert again.to_json() == task.to_json()
    assert Task.from_json(task.to_json().decode()) == task
    assert Task.from_json(json.loads(task.to_json())) == task


@given(tasks())
def test_types_of_values_survive(task: Task) -> None:
    again = Task.from_json(task.to_json())
    for before, after in zip(task.reference, again.reference, strict=True):
        assert same_json(before.arguments, after.arguments)
    for mention, other in zip(task.mentions, again.mentions, strict=True):
        assert same_json(mention.value, other.value)


@given(tasks())
def test_shape_numbers_agree_with_each_other(task: Task) -> None:
    assert 1 <= task.depth <= len(task.reference)
    assert 1 <= task.width <= len(task.reference)
    assert task.depth * task.width >= len(task.reference)
    for index, call in enumerate(task.reference):
        assert all(task.levels[step] < task.levels[index] for step in call.depends_on)
    if None in [call.turn for call in task.reference]:
        assert task.turns == task.levels


@pytest.mark.parametrize(
    ("depends_on", "levels", "depth", "width"),
    [
        ([set()], (0,), 1, 1),
        ([set(), set(), set()], (0, 0, 0), 1, 3),
        ([set(), {0}, {1}], (0, 1, 2), 3, 1),
        ([set(), {0}, {0}, {1, 2}], (0, 1, 1, 2), 3, 2),
        ([set(), {0}, set(), {1, 2}], (0, 1, 0, 2), 3, 2),
    ],
)
def test_depth_and_width(depends_on: list[set[int]], levels: tuple[int, ...], depth: int, width: int) -> None:
    task = chain(*depends_on)
    assert (task.levels, task.depth, task.width) == (levels, depth, width)


def test_turns_are_the_data_sets_own_where_all_are_given() -> None:
    assert chain(set(), set(), {0}, turns=(0, 1, 1)).turns == (0, 1, 1)
    assert chain(set(), set(), {0}, turns=(0, None, 1)).turns == (0, 0, 1)


def test_what_a_call_depends_on_are_bindings_and_pure_order() -> None:
    assert ReferenceCall("a", {}, (Binding("p", 2, "x"), Binding("q", 2, "y")), (0,)).depends_on == {0, 2}


def test_a_task_needs_reference_calls() -> None:
    with pytest.raises(TaskError, match=r"'t' has no reference calls"):
        Task("t", "q", ("a",), ())


def test_the_reference_may_only_call_what_is_on_offer() -> None:
    with pytest.raises(TaskError, match=r"'t'.*'b'.*not on offer"):
        Task("t", "q", ("a",), (ReferenceCall("b", {}),))


@pytest.mark.parametrize("step", [-1, 0, 1, 5])
def test_calls_depend_on_earlier_calls_only(step: int) -> None:
    for call in (ReferenceCall("a", {}, after=(step,)), ReferenceCall("a", {}, (Binding("p", step, "x"),))):
        with pytest.raises(TaskError, match=r"does not precede"):
            Task("t", "q", ("a",), (call,))


GOOD: dict[str, Any] = {"id": "t", "query": "q", "tools": ["a"], "reference": [{"tool": "a", "arguments": {}}]}


@pytest.mark.parametrize(
    "document",
    [
        "", "not json", "[]", "null", "1", {}, {**GOOD, "id": None}, {**GOOD, "tools": "a"}, {**GOOD, "reference": []},
        {**GOOD, "reference": [{"tool": "b", "arguments": {}}]}, {**GOOD, "reference": [{"tool": "a"}]},
        {**GOOD, "reference": [{"tool": "a", "arguments": {}, "after": [3]}]},
        {**GOOD, "mentions": [{"value": 1}]}, b"\xff\xfe", {**GOOD, "reference": [{"tool": "a", "arguments": []}]},
    ],
)  # fmt: skip
def test_what_is_no_task_is_a_task_error(document: Any) -> None:
    assert Task.from_json(GOOD).reference[0].tool == "a"
    with pytest.raises(TaskError):
        Task.from_json(document)
    if isinstance(document, dict):
        with pytest.raises(TaskError):
            Task.from_json(json.dumps(document))


@pytest.mark.parametrize(("start", "end"), [(5, 2), (-1, 2), (0, 99), (50, 20)])
def test_a_mention_outside_the_query_is_refused(start: int, end: int) -> None:
    with pytest.raises(TaskError, match="mention"):
        Task("t", "a query", TOOLS, (ReferenceCall("a", {}),), (Mention("x", "kind", start, end),))
