"""Canonical JSON, numbers in text, rounding, tokens and emptiness."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import floats, json_values, nested, scalars, shuffled, texts

from toolorch_env.core.canonical import (
    MAX_SAFE_FLOAT,
    canonical_json,
    is_empty,
    plain,
    read_number,
    rounded,
    token,
    tokens,
)

safe_integers = st.integers(-(2**53) + 1, 2**53 - 1)


@given(json_values)
def test_key_order_does_not_matter(value: Any) -> None:
    assert canonical_json(shuffled(value)) == canonical_json(value)


@given(json_values)
def test_canonical_json_is_compact_json_of_the_same_value(value: Any) -> None:
    data = canonical_json(value)
    assert json.loads(data) == value
    assert b"\n" not in data
    assert canonical_json(json.loads(data)) == data


@given(safe_integers)
def test_whole_floats_are_written_as_integers(number: int) -> None:
    assert canonical_json(float(number)) == canonical_json(number) == str(number).encode()


@given(json_values, json_values)
def test_equal_bytes_mean_equal_values(left: Any, right: Any) -> None:
    if canonical_json(left) == canonical_json(right):
        assert left == right


@pytest.mark.parametrize(
    ("left", "right"),
    [(1, True), (0, False), (0, None), ("", None), ("1", 1), ([], {}), ("true", True), ([1, 2], [2, 1]), ([[]], [])],
)
def test_different_json_values_have_different_bytes(left: Any, right: Any) -> None:
    assert canonical_json(left) != canonical_json(right)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ({"b": 1.0, "a": [True, None, "ü"]}, '{"a":[true,null,"ü"],"b":1}'),
        (-0.0, "0"),
        (0.1, "0.1"),
        (1e-7, "1e-7"),
        ({"é": 1, "e": 2, "Z": 3}, '{"Z":3,"e":2,"é":1}'),
        ((1, 2), "[1,2]"),
        (2**53 - 1.0, "9007199254740991"),
    ],
)
def test_canonical_json_is_pinned(value: Any, data: str) -> None:
    assert canonical_json(value) == data.encode()


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, 2**64, -(2**63) - 1, "\ud800", {"\udfff": 1}, {1: 2}, {1, 2}, object(), b"x", 1j],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [v], lambda v: {"k": [v]}], ids=["bare", "list", "nested"])
def test_what_is_not_json_is_a_value_error(value: Any, wrap: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  its text comes from orjson
        canonical_json(wrap(value))


@pytest.mark.parametrize("depth", [2_000, 100_000])
def test_bottomless_values_are_a_value_error(depth: int) -> None:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    with pytest.raises(ValueError, match="not a JSON value"):
        canonical_json(value)


@given(floats)
def test_plain_keeps_the_number(number: float) -> None:
    read = plain(number)
    assert read == number
    assert (type(read) is int) == (number.is_integer() and abs(number) < MAX_SAFE_FLOAT)


@given(json_values)
def test_plain_and_rounded_are_idempotent(value: Any) -> None:
    once = rounded(value)
    assert canonical_json(rounded(once)) == canonical_json(once)
    assert plain(plain(value)) == plain(value)


@given(floats.filter(lambda number: abs(number) < 1e9))
def test_rounding_moves_a_fraction_by_at_most_half_a_unit_of_the_fourth_decimal(number: float) -> None:
    assert abs(rounded(number) - number) <= 0.5e-4 + 1e-7 * abs(number)


@given(st.integers(-(2**63), 2**64 - 1) | texts | st.booleans() | st.none())
def test_rounding_leaves_whole_numbers_and_texts(value: Any) -> None:
    assert rounded(value) == value
    assert type(rounded(value)) is type(value)


@given(safe_integers | floats)
def test_numbers_are_read_from_their_own_json(number: float) -> None:
    assert read_number(json.dumps(number)) == number


@given(st.text(st.sampled_from("0123456789.eE+- _x\n"), max_size=12))
def test_a_number_is_read_exactly_where_json_reads_one(text: str) -> None:
    try:
        expected = json.loads(text) if text == text.strip() else None
    except json.JSONDecodeError:
        expected = None
    if isinstance(expected, float) and not math.isfinite(expected):
        expected = None
    assert read_number(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", " 7", "7 ", "007", "+7", "7.", ".7", "0x7", "1_000", "NaN", "Infinity", "-", "1e", "1e999", "7\n", "0" * 65,
     "9" * 65, "true", "²", "Ⅷ"],
)  # fmt: skip
def test_other_notations_are_no_numbers(text: str) -> None:
    assert read_number(text) is None


@pytest.mark.parametrize("text", ["1\u0663", "1\u0967.5", "1e\uff11", "1\U0001d7d9"])
def test_digits_of_other_scripts_are_no_json_numbers(text: str) -> None:
    assert read_number(text) is None


def leaves(value: Any) -> list[Any]:
    """The scalars of a JSON value, object keys included."""
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in (key, *leaves(inner))]
    return [leaf for inner in value for leaf in leaves(inner)] if isinstance(value, list) else [value]


@pytest.mark.parametrize(
    ("left", "right"), [(2, 2.0), (2, "2"), (47.4436988830566, 47.4437), (47.4437, "47.4437"), (-0.0, 0), (0.00001, 0)]
)
def test_the_same_value_has_one_token(left: Any, right: Any) -> None:
    assert token(left) == token(right)


@pytest.mark.parametrize(
    ("left", "right"), [("A1", "a1"), (7, -7), (4.744, 47.44), ("007", 7), (1, 10), ("2013-01-02", "2013-01-20")]
)
def test_different_values_have_different_tokens(left: Any, right: Any) -> None:
    assert token(left) != token(right)


@pytest.mark.parametrize("value", [True, False, None])
def test_booleans_and_null_have_no_token(value: Any) -> None:
    assert token(value) is None
    assert tokens([value, {"x": value}]) == {"x"}


@given(json_values)
def test_tokens_are_those_of_the_leaves_and_of_the_numbers_in_texts(value: Any) -> None:
    scalar_leaves = leaves(value)
    numbers = [read_number(leaf) for leaf in scalar_leaves if isinstance(leaf, str)]
    assert tokens(value) == {token(leaf) for leaf in [*scalar_leaves, *numbers]} - {None}


@given(safe_integers | floats.filter(lambda number: abs(number) < 1e15))
def test_a_number_in_text_counts_as_that_number(number: float) -> None:
    assert token(number) in tokens({"value": json.dumps(number)})


@given(nested(st.sampled_from([None, False, 0, 0.0, ""])).map(lambda value: {"inner": value}))
def test_a_body_of_nothing_is_empty(body: Any) -> None:
    assert is_empty(body)


@given(nested(scalars), st.sampled_from([1, -1, 0.5, True, "x", " ", "0"]))
def test_a_body_with_something_is_not_empty(rest: Any, something: Any) -> None:
    assert not is_empty({"rest": rest, "deep": [[], {"x": something}]})
