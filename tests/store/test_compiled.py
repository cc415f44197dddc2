"""The compiled form against JMESPath on the bodies themselves."""

from contextlib import suppress
from typing import Any

import jmespath
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_values
from small_world import EXTRA_LINKS, workflow_set

from toolorch_env.core.canonical import canonical_json, rounded
from toolorch_env.core.errors import SnapshotCorruptError, WorkflowError
from toolorch_env.store.compiled import Compiled, Link, compile_records, same_compiled
from toolorch_env.store.interned import ABSENT, InternedValues
from toolorch_env.store.selection import Selector
from toolorch_env.store.snapshot import Snapshot

LINKS = workflow_set().links().union(EXTRA_LINKS)


@pytest.fixture(scope="module")
def compiled(library_snapshot: Snapshot) -> Compiled:
    found = library_snapshot.compiled
    assert found is not None
    return found


def recompiled(snapshot: Snapshot, links: Any) -> Compiled:
    return compile_records(snapshot.records(), snapshot.tools, links)


def test_the_links_are_those_asked_for_in_order(compiled: Compiled) -> None:
    assert compiled.links == tuple(sorted(LINKS))


def test_tables_hold_every_success_and_nothing_else(compiled: Compiled, library_snapshot: Snapshot) -> None:
    for tool, table in compiled.tables.items():
        rows = [r.response.row for r in library_snapshot.records() if r.tool == tool and r.response.success]
        assert table.rows.tolist() == sorted(rows)
        assert all(table.find(row) == index for index, row in enumerate(table.rows.tolist()))
        assert table.find(0) is None
        assert table.find(2**62) is None
    assert set(compiled.tables) == set(library_snapshot.tools)


def test_tables_agree_with_jmespath_on_the_bodies(compiled: Compiled, library_snapshot: Snapshot) -> None:
    for record in library_snapshot.records():
        table = compiled.tables[record.tool]
        place = table.find(record.response.row or 0)
        if place is None:
            assert not record.response.success
            continue
        arguments = orjson.loads(record.arguments)
        for name, value_id in zip(table.parameters, table.arguments[place].tolist(), strict=True):
            assert (value_id == ABSENT) == (name not in arguments)
            assert value_id == ABSENT or compiled.values[value_id] == arguments[name]
        for select, value_id in zip(table.selects, table.outputs[place].tolist(), strict=True):
            value = jmespath.search(select, record.response.body)
            assert (value_id == ABSENT) == (value is None)
            assert value_id == ABSENT or compiled.values[value_id] == value


def form(value: Any) -> bytes:
    return canonical_json(rounded(value))


def test_values_are_interned_once(compiled: Compiled) -> None:
    assert len({canonical_json(value) for value in compiled.values}) == len(compiled.values)


def test_defaults_are_interned(compiled: Compiled) -> None:
    assert {canonical_json(5), canonical_json("title")} <= {canonical_json(value) for value in compiled.values}


@given(st.lists(json_values | st.floats(-5, 5).map(lambda x: round(x, 5)), max_size=20, unique_by=canonical_json))
def test_rounded_ids_are_the_smallest_of_their_class(values: list[Any]) -> None:
    compiled = Compiled(InternedValues.of(map(canonical_json, values)), (), {})
    assert compiled.rounded_ids.dtype == np.int32
    assert sorted(map(canonical_json, values)) == [canonical_json(value) for value in compiled.values]
    values = list(compiled.values)
    forms = [form(value) for value in values]
    assert compiled.rounded_ids.tolist() == [forms.index(one) for one in forms]
    assert [compiled.rounded_id(value) for value in values] == compiled.rounded_ids.tolist()
    assert compiled.rounded_id("a value that is not there, for it is far too long") == ABSENT


def test_a_fraction_that_rounds_to_a_whole_number_is_equal_to_it() -> None:
    assert InternedValues.of([b"2", b"2.00001"]).rounded_numbers.tolist() == [0, 0]
    assert InternedValues.of([b"1.99999", b"2"]).rounded_numbers.tolist() == [0, 0]


def test_argument_ids_are_those_of_the_recorded_successes(compiled: Compiled) -> None:
    def values(tool: str, parameter: str) -> list[Any]:
        return [compiled.values[value_id] for value_id in compiled.argument_ids(tool, parameter).tolist()]

    assert set(values("get_author", "author_id")) == {f"A{i}" for i in range(12)}
    assert values("books_of_author", "sort") == ["pages"]  # "title" is the default
    assert values("search_authors", "limit") == []


def test_the_stored_form_is_read_back(compiled: Compiled) -> None:
    again = Compiled.from_bytes(compiled.to_bytes())
    assert same_compiled(again, compiled)
    assert again.links == compiled.links
    for name, table in compiled.tables.items():
        for left, right in zip(table.__dict__.values(), again.tables[name].__dict__.values(), strict=True):
            assert np.array_equal(left, right)
            assert getattr(left, "dtype", None) == getattr(right, "dtype", None)


def test_compiling_anew_gives_the_same(compiled: Compiled, library_snapshot: Snapshot) -> None:
    assert same_compiled(recompiled(library_snapshot, LINKS), compiled)
    assert same_compiled(recompiled(library_snapshot, sorted(LINKS, reverse=True)), compiled)
    assert not same_compiled(recompiled(library_snapshot, workflow_set().links()), compiled)


@pytest.mark.parametrize("data", [b"", b"x", b"\x28\xb5\x2f\xfd" + bytes(50)])
def test_garbage_is_a_corrupt_snapshot(data: bytes) -> None:
    with pytest.raises(SnapshotCorruptError, match="compiled form"):
        Compiled.from_bytes(data)


def test_a_cut_form_is_a_corrupt_snapshot(compiled: Compiled) -> None:
    data = compiled.to_bytes()
    for length in range(0, len(data), 97):
        with pytest.raises(SnapshotCorruptError):
            Compiled.from_bytes(data[:length])


def test_a_link_of_an_unknown_tool_is_told(library_snapshot: Snapshot) -> None:
    with pytest.raises(WorkflowError, match="'no_tool'"):
        recompiled(library_snapshot, [Link("p", "no_tool", "x")])


@pytest.mark.parametrize("select", ["", "a[", "a..b", "[?x==", "a b", "max_by(a, &)"])
def test_an_invalid_expression_is_told(library_snapshot: Snapshot, select: str) -> None:
    with pytest.raises(WorkflowError, match="JMESPath"):
        Selector(select)
    with pytest.raises(WorkflowError, match="JMESPath"):
        recompiled(library_snapshot, [Link("p", "get_book", select)])


@pytest.mark.parametrize("select", ["minby(a, &b)", "max_by(a)", "sort(a, b)"])
def test_an_unknown_function_or_wrong_number_of_arguments_is_told(select: str) -> None:
    with pytest.raises(WorkflowError):
        Selector(select)


SELECTS = [
    "a", "a.b", "a[0]", "a[-1].b", "a[?b>`1`].c | [0]", "length(a)", "max_by(a, &b).c", "sort_by(a, &b)[0].c", "@",
    "min_by(a, &b).c", "keys(a)", "a[*].b", "sum(a)", "join(',', a)", "to_number(a)", "avg(a[*].b)",
]  # fmt: skip
bodies = json_values | st.fixed_dictionaries(
    {"a": st.lists(st.fixed_dictionaries({"b": st.integers(0, 4), "c": st.integers(0, 9)}), max_size=5) | json_values}
)


@given(st.sampled_from(SELECTS), bodies)
def test_selecting_never_fails_and_agrees_with_jmespath(select: str, body: Any) -> None:
    try:
        expected = jmespath.search(select, body)
    except (jmespath.exceptions.JMESPathError, TypeError):
        expected = None
    found = Selector(select)(body)
    assert found == expected or (found is None and "_by" in select)


def test_a_slice_of_step_zero_selects_nothing_or_is_told() -> None:
    with suppress(WorkflowError):
        assert Selector("a[::0]")({"a": [1]}) is None


items = st.lists(st.fixed_dictionaries({"key": st.integers(0, 5), "name": st.integers(0, 3)}), min_size=1, max_size=6)


@given(items, st.sampled_from([("min_by(x, &key).name", min), ("max_by(x, &key).name", max),
                               ("sort_by(x, &key)[0].name", min), ("sort_by(x, &key)[-1].name", max)]))  # fmt: skip
def test_selections_by_order_with_a_tie_select_nothing(elements: list[dict[str, int]], selection: Any) -> None:
    select, choose = selection
    best = choose(element["key"] for element in elements)
    names = {element["name"] for element in elements if element["key"] == best}
    found = Selector(select)({"x": elements})
    if len(names) == 1:
        assert found == names.pop()
    else:
        first, *_, last = [element["name"] for element in elements if element["key"] == best]
        assert found is None or first == last == found


@pytest.mark.parametrize(
    ("select", "body", "value"),
    [
        ("max_by(b, &p).tags[0]", {"b": [{"p": 1, "tags": ["x", "y"]}, {"p": 2, "tags": ["u", "v"]}]}, "u"),
        ("min_by(g[0].f, &p).i", {"g": [{"f": [{"p": 1, "i": 1}]}, {"f": [{"p": 1, "i": 2}]}]}, 1),
        ("[results[0].id, max_by(b, &p).i] | [0]", {"results": [{"id": 1}, {"id": 2}], "b": [{"p": 1, "i": 1}]}, 1),
    ],
)
def test_an_order_without_a_tie_selects_whatever_else_is_in_the_expression(select: str, body: Any, value: Any) -> None:
    assert Selector(select)(body) == value
