"""Keys of calls: equal for the same call on every machine, different for any other."""

import pickle
from decimal import Decimal
from typing import Any

import orjson
import pytest
from fresh_python import run_python
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_objects, shuffled, texts
from small_world import TOOLS

from toolorch_env.core.calls import KEY_BYTES, Call, ToolSet, call_key
from toolorch_env.core.canonical import canonical_json, rounded
from toolorch_env.core.errors import ToolSchemaError
from toolorch_env.core.tools import Tool

TOOLSET = ToolSet(TOOLS)
PINNED = {
    ("get_book", '{"book_id": 104}'): "4f7a26794edfc8268e1f37182484b7ef",
    ("get_book", '{"book_id": "104"}'): "4f7a26794edfc8268e1f37182484b7ef",
    ("search_authors", '{"limit": 5, "born_from": 1900.0}'): "c1b4991bd8f3239d77319b9f9c6d7edf",
    ("towns_near", '{"latitude": 47.1234567, "longitude": -8.7654321}'): "c91709087be5b51c20f4769c135900b8",
    ("book_by_title", '{"title": "Bücher \\ud83d\\udcda"}'): "fd3a3392bcd1c7046509e1f99f196e8b",
    ("unknown_tool", '{"b": [1.5, null, {"z": true, "a": "x"}], "a": 1e100}'): "d64ee195abfec88220f14bb4e1e8da25",
    ("opening_hours", "{}"): "d0671f45b02b7c7a358dd220fb947731",
}


def key(tool: str, /, **arguments: Any) -> bytes:
    return TOOLSET.canonical(Call(tool, arguments)).key


@given(st.sampled_from([*TOOLSET, "no such tool"]), json_objects)
def test_key_order_is_irrelevant_at_any_depth(tool: str, arguments: dict[str, Any]) -> None:
    assert key(tool, **arguments) == key(tool, **shuffled(arguments))


@given(json_objects, json_objects)
def test_equal_keys_mean_equal_canonical_arguments(left: dict[str, Any], right: dict[str, Any]) -> None:
    one, two = TOOLSET.canonical(Call("x", left)), TOOLSET.canonical(Call("x", right))
    assert (one.key == two.key) == (canonical_json(one.arguments) == canonical_json(two.arguments))


@given(st.sampled_from([*TOOLSET]), json_objects)
def test_canonical_arguments_have_the_same_key(tool: str, arguments: dict[str, Any]) -> None:
    call = TOOLSET.canonical(Call(tool, arguments))
    again = TOOLSET.canonical(Call(tool, call.arguments))
    assert (again.key, again.rounded_key) == (call.key, call.rounded_key)
    assert len(call.key) == len(call.rounded_key) == KEY_BYTES


@given(texts, texts, json_objects)
def test_another_tool_has_another_key(left: str, right: str, arguments: dict[str, Any]) -> None:
    tools = ToolSet([])
    one, two = tools.canonical(Call(left, arguments)), tools.canonical(Call(right, arguments))
    assert (one.key == two.key) == (left == right)


@given(st.integers(0, 10**6))
def test_a_number_has_one_key_where_the_schema_says_number(number: int) -> None:
    forms = [number, float(number), str(number), f"{number}.0", f"{number}e0"]
    assert len({key("get_book", book_id=form) for form in forms}) == 1
    assert len({key("towns_near", latitude=form, longitude=0) for form in forms}) == 1


@given(st.integers(0, 10**6))
def test_a_text_is_no_number_where_the_schema_says_string(number: int) -> None:
    assert key("get_town", town_id=str(number)) != key("get_town", town_id=number)
    assert key("get_town", town_id=f"0{number}") != key("get_town", town_id=str(number))
    assert key("get_town", town_id=f"{number}.0") != key("get_town", town_id=str(number))


@pytest.mark.parametrize(
    ("tool", "left", "right"),
    [
        ("get_town", {"town_id": "007"}, {"town_id": "7"}),
        ("get_town", {"town_id": "T1"}, {"town_id": "t1"}),
        ("get_town", {"town_id": "T1"}, {"town_id": "T1 "}),
        ("get_town", {"town_id": "é"}, {"town_id": "e\u0301"}),
        ("get_town", {"town_id": "1"}, {"town_id": True}),
        ("get_town", {"town_id": ""}, {}),
        ("get_book", {"book_id": 7}, {"book_id": -7}),
        ("get_book", {"book_id": 7}, {"book_id": "007"}),
        ("get_book", {"book_id": 1}, {"book_id": True}),
        ("get_book", {"book_id": 0}, {"book_id": False}),
        ("get_book", {"book_id": 0}, {"book_id": None}),
        ("get_book", {"book_id": 123456789012345678}, {"book_id": 123456789012345679}),
        ("towns_near", {"latitude": 47.44, "longitude": 8.0}, {"latitude": 4.744, "longitude": 8.0}),
        ("towns_near", {"latitude": 47.44, "longitude": 8.5}, {"latitude": 47.44, "longitude": -8.5}),
        ("towns_near", {"latitude": 47.44, "longitude": 8.5}, {"latitude": 8.5, "longitude": 47.44}),
        ("towns_near", {"latitude": 47.4436, "longitude": 8.5}, {"latitude": 47.4438, "longitude": 8.5}),
        ("books_of_author", {"author_id": "A1", "sort": "pages"}, {"author_id": "A1"}),
        ("books_of_author", {"author_id": "A1", "page": None}, {"author_id": "A1"}),
    ],
)
def test_different_calls_are_not_the_same(tool: str, left: dict[str, Any], right: dict[str, Any]) -> None:
    one, two = TOOLSET.canonical(Call(tool, left)), TOOLSET.canonical(Call(tool, right))
    assert one.key != two.key
    assert not one.same_as(two)


@pytest.mark.parametrize("limit", [5, 5.0, "5"])
def test_an_argument_at_its_default_equals_leaving_it_out(limit: Any) -> None:
    assert key("search_authors", born_from=1900, limit=limit) == key("search_authors", born_from=1900)


def test_a_null_for_a_parameter_that_takes_none_is_not_leaving_it_out() -> None:
    assert key("search_authors", born_from=1900, limit=None) != key("search_authors", born_from=1900)


@given(st.decimals(-90, 90, places=4), st.integers(-49, 49))
def test_fractions_are_the_same_by_their_fourth_decimal(value: Decimal, noise: int) -> None:
    short = float(value)
    long = float(value + Decimal(noise) / 10**6)
    one = TOOLSET.canonical(Call("towns_near", {"latitude": short, "longitude": 1.5}))
    two = TOOLSET.canonical(Call("towns_near", {"latitude": long, "longitude": 1.5}))
    other = TOOLSET.canonical(Call("towns_near", {"latitude": float(value + Decimal("0.0001")), "longitude": 1.5}))
    assert one.same_as(two)
    assert two.same_as(one)
    assert not other.same_as(two)
    assert (one.key == two.key) == (short == long)


@given(json_objects)
def test_the_rounded_key_is_the_key_of_the_rounded_call(arguments: dict[str, Any]) -> None:
    call = TOOLSET.canonical(Call("x", arguments))
    assert call.rounded_key == TOOLSET.canonical(Call("x", rounded(arguments))).key
    assert call.same_as(call)


@pytest.mark.parametrize(("tool", "arguments"), PINNED)
def test_keys_are_pinned(tool: str, arguments: str) -> None:
    assert TOOLSET.canonical(Call(tool, orjson.loads(arguments))).key.hex() == PINNED[tool, arguments]


def test_the_key_is_blake2b_of_the_tool_and_the_canonical_arguments() -> None:
    assert key("get_book", book_id="104") == call_key("get_book", b'{"book_id":104}')


@pytest.mark.parametrize("hash_seed", [0, 1, 4242])
def test_keys_are_the_same_in_every_process(hash_seed: int) -> None:
    code = f"""
import orjson
from small_world import TOOLS
from toolorch_env.core.calls import Call, ToolSet
tools = ToolSet(TOOLS)
for tool, arguments in {list(PINNED)!r}:
    print(tools.canonical(Call(tool, orjson.loads(arguments))).key.hex())
"""
    assert run_python(code, hash_seed).split() == list(PINNED.values())


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 2**80, "\ud800", {1: 2}, object()], ids=lambda v: str(type(v))
)
@pytest.mark.parametrize("tool", ["get_book", "get_town", "no such tool"])
def test_what_is_not_json_is_a_value_error(tool: str, value: Any) -> None:
    name = "book_id" if tool == "get_book" else "town_id"
    for arguments in ({name: value}, {name: [value]}, {"extra": {"x": value}}):
        with pytest.raises(ValueError):  # noqa: PT011
            TOOLSET.canonical(Call(tool, arguments))


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ToolSchemaError, match="'get_book'"):
        ToolSet([*TOOLS, Tool("get_book", "", {})])


def test_a_tool_set_is_a_mapping_in_its_order() -> None:
    assert list(TOOLSET) == [tool.name for tool in TOOLS]
    assert len(TOOLSET) == len(TOOLS)
    assert TOOLSET["get_book"] is TOOLS[3]
    with pytest.raises(KeyError):
        TOOLSET.signature("no such tool")


def test_a_used_tool_set_can_be_pickled() -> None:
    key("get_book", book_id=1)
    again = pickle.loads(pickle.dumps(TOOLSET))
    assert dict(again) == dict(TOOLSET)
    assert again.canonical(Call("get_book", {"book_id": "1"})).key == key("get_book", book_id=1)
