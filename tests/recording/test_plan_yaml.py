"""Plans as text: what is written reads back as the same plan, and looks as if a person had written it."""

from typing import Any

import yaml
from clinic_api import TOOLS, answer
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_values, texts
from proposal_loop import record_by_proposals

from toolorch_env.recording.plans.plan import Plan, parse_plan
from toolorch_env.recording.plans.plan_yaml import plan_to_yaml

numbers = st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False)
dates = st.dates()
selects = st.sampled_from(["id", "items[].id", 'a."b-c"', "[].{a: b, c: d}", "max_by(a, &b).c", "`[1, 2]`"])


def _short(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


ranges = st.builds(
    lambda bounds, step: {"range": {"start": bounds[0], "stop": bounds[1], "step": step}},
    st.tuples(numbers, numbers) | st.tuples(dates, dates),
    st.integers(1, 9),
)
fixed = (
    st.builds(lambda value: {"value": value}, json_values | dates)
    | st.builds(lambda values: {"values": values}, st.lists(json_values | dates, max_size=4))
    | st.builds(lambda file, column: _short({"file": file, "column": column}), texts, st.none() | texts)
    | ranges
)
crawled = st.builds(lambda tool, select: {"from": tool, "select": select}, texts, selects)
bare = texts | st.booleans() | numbers | dates
literals = st.dictionaries(texts, fixed | crawled, max_size=3)
arguments = st.dictionaries(texts, fixed | crawled | bare, max_size=3)
each = st.builds(
    lambda source, select, keep, count: _short({"from": source, "select": select, "keep": keep, "per_response": count}),
    texts, st.none() | selects, st.none() | st.dictionaries(texts, texts, max_size=2), st.none() | st.integers(1, 5),
)  # fmt: skip
requests = st.builds(
    lambda tool, given, each, sample, refusals: _short(
        {"tool": tool, "arguments": given, "for_each": each, "sample": sample, "refusals": refusals}
    ),
    texts, st.none() | arguments, st.none() | each, st.none() | st.integers(1, 9), st.none() | st.integers(0, 9),
)  # fmt: skip
documents = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 9),
        "max_depth": st.integers(0, 20),
        "values": st.dictionaries(texts, fixed, max_size=2),
        "requests": st.lists(requests, max_size=3),
        "workflows": st.builds(
            lambda runs, literals: {"file": "w.yaml", "runs": runs, "literals": literals}, st.integers(0, 3), literals
        ),
        "read_only": st.lists(texts, max_size=2),
        "credentials": st.lists(texts, max_size=2),
        "extract": st.dictionaries(texts, texts, max_size=2),
        "description": texts,
    },
)


def same_types(left: Any, right: Any) -> bool:
    """Whether two equal values are equal in JSON too: 1, 1.0 and true are one in Python."""
    if isinstance(left, dict):
        return all(same_types(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return all(map(same_types, left, right))
    return type(left) is type(right)


@given(documents)
def test_what_is_written_reads_back(document: dict[str, Any]) -> None:
    plan = parse_plan(document)
    read = parse_plan(yaml.safe_load(plan_to_yaml(plan)))
    assert read == plan
    assert same_types(read.model_dump(), plan.model_dump())


def test_unusual_line_breaks_are_kept() -> None:
    plan = Plan(name="a\x85b\u2028c", description="two\nlines")
    assert parse_plan(yaml.safe_load(plan_to_yaml(plan))) == plan


def test_an_empty_plan_is_an_empty_mapping() -> None:
    assert yaml.safe_load(plan_to_yaml(Plan())) == {}


def test_short_forms_are_used_and_defaults_are_left_out() -> None:
    text = """\
name: shop
values:
  place: {values: [EWR, '007']}
requests:
- {tool: list_places}
- tool: get_place
  arguments:
    place: {values: place}
    day: 2024-03-01
    year: {range: {start: 2000, stop: 2010}}
    exact: true
    tags: {value: [a, b]}
  sample: 20
- tool: get_owner
  for_each: {from: get_place, select: '{id: owner}'}
"""
    plan = parse_plan(yaml.safe_load(text))
    assert yaml.safe_load(plan_to_yaml(plan)) == yaml.safe_load(text)
    assert set(plan_to_yaml(plan).splitlines()) == set(text.splitlines())


def test_a_proposed_plan_reads_back() -> None:
    plan = record_by_proposals(TOOLS, answer).plans[-1]
    assert parse_plan(yaml.safe_load(plan_to_yaml(plan))) == plan
