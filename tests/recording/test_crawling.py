"""From a plan to calls: what is asked, in which round, and that it depends on the plan and the answers alone."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_world import AUTHORS, BOOKS, TOOLS, answers

from toolorch_env.core.calls import CanonicalCall, ToolSet
from toolorch_env.core.errors import PlanError
from toolorch_env.recording.plans.crawling import Frontier
from toolorch_env.recording.plans.plan import load_plan, parse_plan
from toolorch_env.recording.plans.values import enumerate_values
from toolorch_env.store.records import Record, make_record

TOOL_SET = ToolSet(TOOLS)
ANSWERS = {TOOL_SET.canonical(call).key: (status, body) for call, status, body in answers()}
SEARCH = {"tool": "search_authors", "arguments": {"born_from": {"range": {"start": 1900, "stop": 1908, "step": 4}}}}
AUTHOR = {"tool": "get_author", "arguments": {"author_id": {"from": "search_authors", "select": "authors[].author_id"}}}
TOWN = {"tool": "get_town", "arguments": {"town_id": {"from": "get_author", "select": "town_id"}}}
BOOK = {"tool": "get_book", "arguments": {"book_id": {"from": "books_of_author", "select": "books[].book_id"}}}


class World:
    """Answers calls; some answers may be missing, as where a server failed."""

    def __init__(self, missing: frozenset[int] = frozenset()) -> None:
        self.records: dict[bytes, Record] = {}
        self.missing = missing

    def ask(self, call: CanonicalCall) -> None:
        if len(self.records) in self.missing:
            self.missing -= {len(self.records)}
            return
        status, body = ANSWERS.get(call.key, (404, {"detail": "Not found"}))
        self.records[call.key] = make_record(TOOL_SET, call, status, body)

    def find(self, keys: Sequence[bytes]) -> Mapping[bytes, Record]:
        return {key: self.records[key] for key in keys if key in self.records}


def rounds(plan: dict[str, Any], world: World | None = None) -> list[list[tuple[str, dict[str, Any]]]]:
    """The calls of each round."""
    world = world or World()
    frontier = Frontier(parse_plan(plan), TOOL_SET)
    found = []
    while calls := frontier.next_round(world.find):
        for call in calls:
            if call.key not in world.records:
                world.ask(call)
        found.append([(call.tool, call.arguments) for call in calls])
    return found


def test_a_plan_is_crawled_breadth_first() -> None:
    found = rounds({"requests": [SEARCH, AUTHOR, TOWN]})
    assert [{tool for tool, _ in calls} for calls in found] == [{"search_authors"}, {"get_author"}, {"get_town"}]
    assert [arguments["born_from"] for _, arguments in found[0]] == [1900, 1904, 1908]
    listed = {f"A{index}" for start in (0, 4, 8) for index in range(start, min(start + 5, 12))}
    assert {arguments["author_id"] for _, arguments in found[1]} == listed
    assert {arguments["town_id"] for _, arguments in found[2]} == {"T0", "T1", "T2"}


def test_the_order_of_requests_does_not_matter_for_what_is_asked() -> None:
    def asked(plan: dict[str, Any]) -> set[str]:
        return {repr(call) for calls in rounds(plan) for call in calls}

    assert asked({"requests": [TOWN, AUTHOR, SEARCH]}) == asked({"requests": [SEARCH, AUTHOR, TOWN]})


def test_a_product_is_every_combination_and_a_zip_is_pairs() -> None:
    arguments = {"price": {"values": [1.5, 2.5]}, "currency": {"values": ["CHF", "EUR"]}}
    [calls] = rounds({"requests": [{"tool": "convert_price", "arguments": arguments}]})
    assert len(calls) == 4
    [calls] = rounds({"requests": [{"tool": "convert_price", "arguments": arguments, "combine": "zip"}]})
    assert [call[1] for call in calls] == [{"price": 1.5, "currency": "CHF"}, {"price": 2.5, "currency": "EUR"}]


def test_arguments_that_belong_together_come_from_one_object() -> None:
    each = {"from": "get_town", "select": "{latitude: latitude, longitude: longitude}"}
    plan = {"requests": [
        {"tool": "get_town", "arguments": {"town_id": {"values": ["T0", "T1", "T2"]}}},
        {"tool": "towns_near", "for_each": each},
    ]}  # fmt: skip
    _, near = rounds(plan)
    assert [(call[1]["latitude"], call[1]["longitude"]) for call in near] == [
        (47.1234567 + index, -8.7654321 - index) for index in range(3)
    ]


def test_arguments_of_the_answered_call_are_kept() -> None:
    plan = {"requests": [
        {"tool": "books_of_author", "arguments": {"author_id": {"values": ["A1", "A2"]}, "sort": "pages"}},
        {"tool": "get_author", "for_each": {"from": "books_of_author", "keep": {"author_id": "author_id"}}},
    ]}  # fmt: skip
    assert rounds(plan)[1] == [("get_author", {"author_id": "A1"}), ("get_author", {"author_id": "A2"})]


def test_objects_of_one_response_can_be_limited() -> None:
    each = {"from": "books_of_author", "select": "books[].{book_id: book_id}", "per_response": 2}
    plan = {"requests": [
        {"tool": "books_of_author", "arguments": {"author_id": {"values": ["A1", "A2"]}}},
        {"tool": "get_book", "for_each": each},
    ]}  # fmt: skip
    assert len(rounds(plan)[1]) == 4


def test_a_call_that_two_requests_ask_for_is_made_once() -> None:
    one = {"tool": "get_author", "arguments": {"author_id": {"values": ["A1", "A2", "A1"]}}}
    other = {"tool": "get_author", "arguments": {"author_id": {"values": ["A2", "A3"]}}}
    assert len(rounds({"requests": [one, other]})[0]) == 3


@given(st.integers(0, 1000), st.integers(1, 30))
def test_a_sample_is_drawn_by_seed_from_what_would_be_asked(seed: int, size: int) -> None:
    request = {"tool": "get_book", "arguments": {"book_id": {"range": {"start": 100, "stop": 139}}}}
    [everything] = rounds({"requests": [request]})
    [first] = rounds({"seed": seed, "requests": [{**request, "sample": size}]})
    [second] = rounds({"seed": seed, "requests": [{**request, "sample": size}]})
    assert first == second
    assert len(first) == size
    assert all(call in everything for call in first)


def test_other_seeds_draw_other_samples() -> None:
    request = {"tool": "get_book", "arguments": {"book_id": {"range": {"start": 100, "stop": 139}}}, "sample": 10}
    assert len({repr(rounds({"seed": seed, "requests": [request]})) for seed in range(5)}) == 5


@given(st.frozensets(st.integers(0, 40), max_size=8))
def test_after_an_interruption_the_same_calls_are_made(missing: frozenset[int]) -> None:
    """Where answers are missing, a second pass over what was kept makes up for them."""
    books = {"tool": "books_of_author", "arguments": {"author_id": {"from": "get_author", "select": "author_id"}}}
    plan = {"requests": [SEARCH, {**AUTHOR, "sample": 6}, TOWN, books, {**BOOK, "sample": 9}]}
    whole, broken = World(), World(missing)
    rounds(plan, whole)
    for _ in range(len(missing) + 1):
        rounds(plan, broken)
    assert whole.records.keys() <= broken.records.keys()
    if not missing:
        assert whole.records.keys() == broken.records.keys()


def test_samples_of_enormous_products_are_drawn_without_making_them() -> None:
    arguments = {"latitude": {"range": {"start": -90, "stop": 90, "step": 0.01}},
                 "longitude": {"range": {"start": -180, "stop": 180, "step": 0.01}}}  # fmt: skip
    [calls] = rounds({"requests": [{"tool": "towns_near", "arguments": arguments, "sample": 50}]})
    assert len({repr(call) for call in calls}) == 50
    with pytest.raises(PlanError, match=r"towns_near has 648,\d+,\d+ combinations: give it a `sample`"):
        rounds({"requests": [{"tool": "towns_near", "arguments": arguments}]})


def test_limits_on_calls_and_depth_hold() -> None:
    assert sum(map(len, rounds({"max_calls": 7, "requests": [SEARCH, AUTHOR, TOWN]}))) == 7
    assert len(rounds({"max_depth": 1, "requests": [SEARCH, AUTHOR, TOWN]})) == 2


def test_cycles_end() -> None:
    near = {
        "tool": "towns_near",
        "for_each": {"from": "get_town", "select": "{latitude: latitude, longitude: longitude}"},
    }
    town = {"tool": "get_town", "arguments": {"town_id": {"from": "towns_near", "select": "towns"}}}
    start = {"tool": "get_town", "arguments": {"town_id": "T1"}}
    assert [len(calls) for calls in rounds({"requests": [start, near, town]})] == [1, 1]


def test_refusals_are_variants_that_differ_from_what_is_asked() -> None:
    request = {"tool": "get_author", "arguments": {"author_id": {"values": [a["author_id"] for a in AUTHORS]}}}
    [calls] = rounds({"requests": [{**request, "refusals": 9}]})
    assert calls[:12] == rounds({"requests": [request]})[0]
    assert len({repr(call) for call in calls}) == 21
    assert any(not arguments for _, arguments in calls)
    assert any(arguments.get("author_id") == 0 for _, arguments in calls)


def test_values_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("A1\n\n A2 \n")
    (tmp_path / "ids.json").write_text('["A3"]')
    (tmp_path / "ids.csv").write_text("name,author_id\nx,A4\n")
    sources = [{"file": "ids.txt"}, {"file": "ids.json"}, {"file": "ids.csv", "column": "author_id"}]
    plan = parse_plan(
        {"requests": [{"tool": "get_author", "arguments": {"author_id": source}} for source in sources]},
        folder=tmp_path,
    )
    calls = Frontier(plan, TOOL_SET).next_round(World().find)
    assert [call.arguments["author_id"] for call in calls] == ["A1", "A2", "A3", "A4"]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"tool": "get_autor"}, r"no tool 'get_autor'; did you mean 'get_author'\?"),
        ({"tool": "get_author", "arguments": {"autor_id": "A1"}}, r"no parameter 'autor_id'; did you mean 'author_id'"),
        ({"tool": "get_author", "arguments": {"author_id": {"from": "nobody", "select": "a"}}}, "no tool 'nobody'"),
        ({"tool": "get_author", "arguments": {"author_id": {"file": "none.txt"}}}, r"none\.txt cannot be read"),
        (
            {"tool": "convert_price", "combine": "zip",
             "arguments": {"price": {"values": [1, 2]}, "currency": {"values": ["CHF", "EUR", "CHF"]}}},
            r"convert_price: values to be zipped differ in number \(price 2, currency 3\)",
        ),
    ],
)  # fmt: skip
def test_plans_that_do_not_fit_are_told(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Frontier(parse_plan({"requests": [request_]}), TOOL_SET)


def test_yaml_is_read_as_it_is_meant(tmp_path: Path) -> None:
    """As version 1.2 reads it: version 1.1 makes ``false`` of Norway, and 750 of half past twelve."""
    (tmp_path / "plan.yaml").write_text(
        "requests: [{tool: t, arguments: {a: {values: [NO, 12:30, 2020-02-02, on, 1_0, 0x10, 3, 2.5, true, null]},"
        " b: {range: {start: 2020-02-01, stop: 2020-02-03}}}}]"
    )
    plan = load_plan(tmp_path / "plan.yaml")
    values = {name: enumerate_values(source, plan) for name, source in plan.requests[0].arguments.items()}
    assert values["a"] == ["NO", "12:30", "2020-02-02", "on", "1_0", "0x10", 3, 2.5, True, None]
    assert values["b"] == ["2020-02-01", "2020-02-02", "2020-02-03"]


@pytest.mark.parametrize("bounds", [{"start": 1, "stop": math.inf}, {"start": math.nan, "stop": 2}])
def test_ranges_end(bounds: dict[str, float]) -> None:
    with pytest.raises(PlanError, match="start, stop and step must be finite"):
        parse_plan({"requests": [{"tool": "t", "arguments": {"a": {"range": bounds}}}]})


def test_a_selection_that_gives_no_arguments_is_told() -> None:
    plan = {"requests": [
        {"tool": "get_book", "arguments": {"book_id": {"values": [b["book_id"] for b in BOOKS]}}},
        {"tool": "get_author", "for_each": {"from": "get_book", "select": "author_id"}},
    ]}  # fmt: skip
    with pytest.raises(PlanError, match=r"get_author: 'author_id' must give objects of its arguments, not 'A\d+'"):
        rounds(plan)
