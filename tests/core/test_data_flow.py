"""Where values stand in earlier responses, and which arguments are bound to them."""

import json
import pickle
from collections.abc import Collection
from typing import Any

import jmespath
import pytest
from booking_data import BOOKING, needs_booking
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_values

from toolorch_env.core.canonical import tokens
from toolorch_env.core.data_flow import Explanation, Step, StepFlow, find_flow, is_specific, named_alike
from toolorch_env.core.origins import Bodies, Origin, find_origins, jmespath_of
from toolorch_env.core.tasks import Binding

HOTELS = {"data": {"hotels": [{"hotel_id": 501, "name": "Grand"}, {"hotel_id": 502, "name": "Plaza"}]}}


def flow(*steps: Step, query: Collection[Any] = ()) -> tuple[StepFlow, ...]:
    return find_flow(steps, lambda value: value in query)


def scalars_in(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in scalars_in(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in scalars_in(item)]
    return [value]


@given(st.lists(json_values, min_size=1, max_size=3), st.data())
def test_every_scalar_is_found_and_its_path_leads_to_it(bodies: list[Any], data: st.DataObject) -> None:
    value = data.draw(st.sampled_from([leaf for body in bodies for leaf in scalars_in(body)] or [None]))
    origins = find_origins(value, bodies)
    held = tokens(value)
    for origin in origins:
        assert held & tokens(jmespath.search(origin.select, bodies[origin.step]))
    containers = [body for body in bodies if isinstance(body, (dict, list)) and value in scalars_in(body)]
    findable = not isinstance(value, bool) and value is not None and value != ""
    if findable and any(
        type(leaf) is type(value) and leaf == value for body in containers for leaf in scalars_in(body)
    ):
        assert any(origin.exact for origin in origins)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), json_values, max_size=3))
def test_keys_of_any_name_are_selected(body: dict[str, Any]) -> None:
    for key, value in body.items():
        assert jmespath.search(jmespath_of((key,)), body) == value


@pytest.mark.parametrize(
    ("value", "body", "expected"),
    [
        (2, {"a": "2"}, [Origin(0, "a", True)]),
        ("2", {"a": 2.0}, [Origin(0, "a", True)]),
        ("007", {"a": 7}, []),
        ("paris", {"a": "Paris"}, []),
        (-1.5, {"a": 1.5}, []),
        (47.4437, {"a": {"b": [47.4436988830566]}}, [Origin(0, "a.b[0]", False)]),
        (47.4437, {"near": 47.4436988830566, "exact": 47.4437}, [Origin(0, "exact", True), Origin(0, "near", False)]),
        ("x1", {"a-b": [{"c d": "x1"}]}, [Origin(0, '"a-b"[0]."c d"', True)]),
        ("x1", [["x1"]], [Origin(0, "[0][0]", True)]),
        ([1, 2], {"a": [1, 2], "b": [2, 1], "c": [1, 2, 3]}, [Origin(0, "a", True)]),
        ({"x": 0.12341}, {"a": {"x": 0.12342}}, [Origin(0, "a", False)]),
        ([1], {"a": [True]}, []),
        (None, {"a": None}, []),
        (True, {"a": True}, []),
        ("", {"a": ""}, []),
        ([], {"a": []}, []),
    ],
)
def test_what_counts_as_the_same_value(value: Any, body: Any, expected: list[Origin]) -> None:
    assert find_origins(value, [body]) == expected


def test_earlier_responses_and_places_come_first_and_unknown_bodies_hold_nothing() -> None:
    bodies = Bodies([None, {"z": {"id": "v-1"}, "a": "v-1"}, object(), {"id": "v-1"}])
    assert [origin[:2] for origin in bodies.origins("v-1")] == [(1, "z.id"), (1, "a"), (3, "id")]
    assert [origin.step for origin in bodies.origins("v-1", before=3)] == [1, 1]


def test_a_value_of_a_response_is_bound_and_the_rest_is_explained() -> None:
    first, second = flow(
        Step({"query": "Rome"}, HOTELS),
        Step({"hotel_id": "502", "city": "Rome", "nights": 4, "breakfast": True}),
        query={"Rome"},
    )
    assert first.bindings == ()
    assert second.bindings == (Binding("hotel_id", 0, "data.hotels[1].hotel_id"),)
    assert second.explanations == {
        "hotel_id": Explanation.EXACT,
        "city": Explanation.QUERY,
        "nights": Explanation.NEITHER,
        "breakfast": Explanation.NEITHER,
    }


def test_a_value_from_the_future_or_of_the_same_turn_is_no_source() -> None:
    assert flow(Step({"hotel_id": 502}, HOTELS))[0].bindings == ()
    together = flow(Step({"query": "Rome"}, HOTELS, turn=1), Step({"hotel_id": 502}, turn=1))
    assert together[1].bindings == ()
    apart = flow(Step({"query": "Rome"}, HOTELS, turn=1), Step({"hotel_id": 502}, turn=2))
    assert len(apart[1].bindings) == 1


def test_what_a_call_passed_itself_does_not_come_from_its_response() -> None:
    """The second call gets its date from where the first one had it, although the response repeats it."""
    echo = {"searched": {"where": "Rome-17"}, "results": [{"id": "r-1"}]}
    second = flow(Step({"place": "Rome-17"}, echo), Step({"place": "Rome-17", "id": "r-1"}))[1]
    assert second.bindings == (Binding("id", 0, "results[0].id"),)
    within = flow(Step({"legs": [{"from": "Rome-17"}]}, echo), Step({"place": "Rome-17"}))[1]
    assert within.bindings == ()


@pytest.mark.parametrize("value", [1, "2", "USD", "2024-12-01", "10:00", "ECONOMY", "lowest_price"])
def test_a_value_without_specifics_is_bound_only_to_a_field_of_its_name(value: Any) -> None:
    assert not is_specific(value)
    assert flow(Step({}, {"count": value}), Step({"sort_by": value}))[1].bindings == ()
    assert flow(Step({}, {"by": value}), Step({"sort_by": value}))[1].bindings == (Binding("sort_by", 0, "by"),)
    declared = flow(Step({}, {}), Step({}, {"by": value}), Step({"sort_by": value}, depends_on=[0]))[2]
    assert declared.bindings == ()
    assert declared.after == (0,)


@pytest.mark.parametrize("value", [0.5, 100, -100, "12345", "Rome", "SFO.AIRPORT", "eyJ1Zm", [0, "Rome"], {"a": 100}])
def test_specific_values(value: Any) -> None:
    assert is_specific(value)


def test_what_the_schema_spells_out_is_a_literal() -> None:
    steps = Step({}, {"cabin": "Premium 7"}), Step({"cabin": "Premium 7"}, choices={"cabin"})
    assert flow(*steps)[1].explanations == {"cabin": Explanation.NEITHER}


def test_declared_dependencies_decide_between_places() -> None:
    bodies = [{"id": "v-100"}, {"id": "v-100"}, {"code": "v-100"}]
    for declared in range(3):
        steps = [*(Step({}, body) for body in bodies), Step({"id": "v-100"}, depends_on=(declared,))]
        last = flow(*steps)[3]
        assert [binding.step for binding in last.bindings] == [declared]
        assert (last.after, last.declared, last.undeclared) == ((), 1, 0)


def test_a_specific_value_is_bound_though_the_trace_does_not_declare_it() -> None:
    last = flow(Step({}, {"id": "v-100"}), Step({}, {}), Step({"id": "v-100"}, depends_on=(1,)))[2]
    assert last.bindings == (Binding("id", 0, "id"),)
    assert (last.after, last.declared, last.undeclared) == ((1,), 1, 1)


def test_a_value_of_the_query_explains_a_dependency_that_nothing_else_does() -> None:
    airports = {"airports": [{"name": "Logan Airport"}], "id": "BOS-7"}
    literal = flow(Step({}, airports), Step({"query": "Logan Airport"}), query={"Logan Airport"})[1]
    assert literal.bindings == ()
    explained = flow(Step({}, airports), Step({"query": "Logan Airport"}, depends_on=(0,)), query={"Logan Airport"})[1]
    assert explained.bindings == (Binding("query", 0, "airports[0].name"),)
    other = flow(
        Step({}, airports), Step({"query": "Logan Airport", "id": "BOS-7"}, depends_on=(0,)), query={"Logan Airport"}
    )[1]
    assert [binding.parameter for binding in other.bindings] == ["id"]
    assert other.explanations["query"] is Explanation.QUERY


def test_lists_are_bound_as_a_whole_or_explained_by_their_parts() -> None:
    body = {"legs": [{"from": "AAA-1", "to": "BBB-1"}], "other": "CCC-1"}
    whole = flow(Step({}, body), Step({"legs": [{"to": "BBB-1", "from": "AAA-1"}]}))[1]
    assert whole.bindings == (Binding("legs", 0, "legs"),)
    steps = Step({}, body), Step({"legs": [{"from": "CCC-1", "on": "Monday"}]})
    assert flow(*steps, query={"Monday"})[1].explanations == {"legs": Explanation.PARTS}
    assert flow(*steps, query={"Monday", "CCC-1"})[1].explanations == {"legs": Explanation.QUERY}
    assert flow(*steps)[1].explanations == {"legs": Explanation.NEITHER}


@pytest.mark.parametrize(
    ("parameter", "field", "alike"),
    [
        ("pick_up_latitude", "latitude", True),
        ("fromId", "id", True),
        ("slug", "productSlug", True),
        ("search_key", "searchKey", True),
        ("departDate", "returnDate", False),
        ("id", "identity", False),
        ("HTMLPage", "html_page", True),
    ],
)
def test_names_are_alike_by_their_words(parameter: str, field: str, alike: bool) -> None:
    assert named_alike(parameter, ("data", 0, field, 3)) is alike
    assert not named_alike(parameter, (0, 1))


@given(st.lists(st.dictionaries(st.sampled_from("abc"), json_values, max_size=3), min_size=1, max_size=4), st.data())
def test_bindings_select_the_argument_from_an_earlier_body(bodies: list[Any], data: st.DataObject) -> None:
    leaves = [leaf for body in bodies for leaf in scalars_in(body)] or [0]
    steps = [
        Step({"a": data.draw(st.sampled_from(leaves))}, body, data.draw(st.none() | st.just(tuple(range(index)))))
        for index, body in enumerate(bodies)
    ]
    for index, found in enumerate(find_flow(steps, lambda value: False)):
        assert set(found.explanations) == set(steps[index].arguments)
        for binding in found.bindings:
            assert binding.step < index
            selected = jmespath.search(binding.select, steps[binding.step].body)
            assert tokens(steps[index].arguments[binding.parameter]) & tokens(selected)
        explained = {binding.step for binding in found.bindings}
        assert not explained & set(found.after)
        assert set(steps[index].depends_on or ()) <= explained | set(found.after)


@needs_booking
def test_the_published_dependencies_are_found() -> None:
    """Both where the traces declare which calls they need, and where they do not, as in the evaluation files."""
    assert BOOKING is not None
    with (BOOKING / "bfcl_training_3_per_workflow.pkl").open("rb") as file:
        traces = pickle.load(file)
    templates = {t["id"]: t for t in json.loads((BOOKING / "workflow_templates.json").read_text())["workflows"]}
    for declaring in (True, False):
        explained = declared = matching = published = 0
        for trace in traces:
            steps = [
                Step(
                    step["ground_truth"]["arguments"],
                    step["execution_result"]["execution_result"],
                    step["depends_on"] if declaring else None,
                )
                for step in trace["steps"]
            ]
            query = trace["query"]
            template = templates.get(trace["workflow_id"], {"dependencies": {}})["dependencies"]
            for index, found in enumerate(find_flow(steps, lambda value: str(value) in query)):  # noqa: B023
                needed = set(trace["steps"][index]["depends_on"])
                declared += len(needed)
                explained += len(needed & {binding.step for binding in found.bindings})
                for name, source in template.get(str(index), {"dependency_args": {}})["dependency_args"].items():
                    published += name in steps[index].arguments
                    matching += any(b.parameter == name and b.step == source["from_step"] for b in found.bindings)
        assert declared == 272
        assert explained >= 245
        assert matching / published > 0.9
