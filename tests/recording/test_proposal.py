"""Plans where the user has none: what is enumerated, what is crawled, and how a plan grows with what was answered."""

import logging
import re
from typing import Any

import pytest
import yaml
from clinic_api import CRAWLS, TOOLS, answer
from hypothesis import given
from hypothesis import strategies as st
from proposal_loop import Loop, crawls, record_by_proposals

from toolorch_env.core.calls import Call, ToolSet
from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.tools import Tool
from toolorch_env.recording.plans.crawling import Frontier
from toolorch_env.recording.plans.plan import Plan, parse_plan
from toolorch_env.recording.proposals.enumeration import schema_values
from toolorch_env.recording.proposals.evidence import RESPONSES, gather
from toolorch_env.recording.proposals.proposal import propose, unreached
from toolorch_env.store.naming import name_match, subject, words
from toolorch_env.store.records import Record, make_record

LOOP = record_by_proposals(TOOLS, answer)


@pytest.fixture(scope="module")
def loop() -> Loop:
    return LOOP


def tool(name: str, required: dict[str, Any], optional: dict[str, Any] | None = None, **schema: Any) -> Tool:
    properties = {**required, **(optional or {})}
    return Tool(name, "", {"type": "object", "properties": properties, "required": list(required), **schema})


def planned(tools: ToolSet, plan: Plan) -> list[dict[str, Any]]:
    """The arguments of all calls that need no answers."""
    return [call.arguments for call in Frontier(plan, tools).next_round(lambda keys: {})]


def answered(tools: ToolSet, name: str, bodies: list[Any], arguments: str | None = None) -> list[Record]:
    calls = [Call(name, {arguments: f"x{index}"} if arguments else {}) for index in range(len(bodies))]
    return [make_record(tools, call, 200, body) for call, body in zip(calls, bodies, strict=True)]


# What schemas name


@pytest.mark.parametrize(
    ("schema", "values"),
    [
        ({"enum": ["a", "b"]}, ["a", "b"]),
        ({"const": 7}, [7]),
        ({"type": "boolean"}, [True, False]),
        ({"type": "integer", "minimum": 1, "maximum": 12}, list(range(1, 13))),
        ({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 3}, [1, 2]),
        ({"type": "integer", "minimum": 1, "maximum": 13}, []),
        ({"type": "number", "minimum": 0, "maximum": 2}, []),
        ({"type": "string", "examples": ["JFK", "EWR"], "default": "LGA"}, ["JFK", "EWR", "LGA"]),
        ({"type": "string", "example": "JFK"}, ["JFK"]),
        ({"type": "string", "pattern": "^[A-Z]{3}$", "examples": ["JFK", "no code"]}, ["JFK"]),
        ({"type": "integer", "examples": ["7", 7, 7.0]}, [7]),
        ({"anyOf": [{"enum": ["a"]}, {"type": "null"}, {"type": "boolean"}]}, ["a", True, False]),
        ({"allOf": [{"$ref": "#/$defs/Color"}], "default": "red"}, ["red", "blue"]),
        ({"$ref": "#/$defs/Color"}, ["red", "blue"]),
        ({"type": ["integer", "null"], "minimum": 1, "maximum": 2}, [1, 2]),
        ({"type": "array", "items": {"$ref": "#/$defs/Color"}}, [["red"], ["blue"]]),
        ({"type": "array", "items": {"enum": [1, 2, 3]}, "minItems": 2}, [[1, 2]]),
        (
            {"type": "object", "properties": {"a": {"enum": [1, 2]}, "b": {"type": "boolean"}}, "required": ["a"]},
            [{"a": 1}, {"a": 2}, {"a": 1, "b": True}, {"a": 1, "b": False}],
        ),
        ({"type": "object", "properties": {"a": {"enum": [1]}, "b": {"type": "string"}}, "required": ["b"]}, []),
        ({"$ref": "#/$defs/Tree"}, [{"leaf": True}, {"leaf": False}]),
        ({"type": "string"}, []),
        (True, []),
    ],
)
def test_values_of_a_schema(schema: Any, values: list[Any]) -> None:
    tree = {"type": "object", "properties": {"leaf": {"type": "boolean"}, "inner": {"$ref": "#/$defs/Tree"}}}
    tools = ToolSet([tool("t", {"p": schema}, **{"$defs": {"Color": {"enum": ["red", "blue"]}, "Tree": tree}})])
    found = schema_values(tools.signature("t").parameters["p"], tools["t"].parameters, 50)
    assert list(map(canonical_json, found)) == list(map(canonical_json, values))


schemas = st.recursive(
    st.fixed_dictionaries({"enum": st.lists(st.integers(0, 9) | st.text(max_size=3), min_size=1, max_size=4)})
    | st.builds(lambda low, high: {"type": "integer", "minimum": low, "maximum": high}, *[st.integers(-9, 9)] * 2)
    | st.sampled_from([{"type": "boolean"}, {"type": "string", "examples": ["a", 1]}, {"type": "string"}]),
    lambda inner: (
        st.builds(lambda item: {"type": "array", "items": item, "maxItems": 1}, inner)
        | st.builds(lambda options: {"anyOf": options}, st.lists(inner, min_size=1, max_size=3))
        | st.builds(
            lambda fields, count: {"type": "object", "properties": fields, "required": sorted(fields)[:count]},
            st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
            st.integers(0, 2),
        )
    ),
    max_leaves=6,
)


@given(schemas, st.integers(1, 5))
def test_values_fit_their_schema_and_differ(schema: Any, limit: int) -> None:
    tools = ToolSet([tool("t", {"p": schema})])
    parameter = tools.signature("t").parameters["p"]
    values = schema_values(parameter, tools["t"].parameters, limit)
    assert all(parameter.fits(value) for value in values)
    assert len({canonical_json(value) for value in values}) == len(values) <= limit


def test_each_optional_parameter_is_varied_alone() -> None:
    sort = {"enum": ["up", "down"], "default": "up"}
    tools = ToolSet([tool("search", {"place": {"examples": ["A", "B"]}}, {"sort": sort, "all": {"type": "boolean"}})])
    plan = propose(tools)
    assert "up" not in str(plan)  # the default is what the call without it asks
    calls = planned(tools, plan)
    assert {frozenset(call) for call in calls} == {
        frozenset({"place"}), frozenset({"place", "sort"}), frozenset({"place", "all"})
    }  # fmt: skip
    assert len(calls) == 2 + 2 * 1 + 2 * 2


def test_products_are_sampled_and_lists_are_cut_off() -> None:
    many = {"enum": list(range(100))}
    tools = ToolSet([tool("grid", {"x": many, "y": many}, {"z": many, "w": many})])
    plan = propose(tools, max_values=30, sample=50)
    calls = planned(tools, plan)
    assert len([call for call in calls if len(call) == 2]) == 50
    assert len([call for call in calls if len(call) == 3]) == 50
    assert {call["x"] for call in calls} <= set(range(30))


def test_values_of_a_parameter_serve_its_namesakes() -> None:
    tools = ToolSet([tool("list", {"color": {"enum": ["red"]}}), tool("paint", {"color": {"type": "string"}})])
    assert planned(tools, propose(tools)) == [{"color": "red"}, {"color": "red"}]


# What is crawled


def test_a_second_api_is_crawled_as_it_should_be(loop: Loop) -> None:
    assert {crawl[:3] for crawl in crawls(loop.plans[-1])} == CRAWLS


def test_all_is_answered_and_the_plan_settles(loop: Loop) -> None:
    assert loop.plans[-1] == loop.plans[-2]
    assert all(record.response.success for record in loop.records)
    assert {record.tool for record in loop.records} == set(TOOLS) - {"bookVisit", "findLetters"}


def test_what_belongs_together_is_taken_from_one_object(loop: Loop) -> None:
    (near,) = (request for request in loop.plans[-1].requests if request.tool == "clinicsNear")
    assert near.for_each is not None
    assert near.for_each.select == "{lat: clinic.location.lat, lng: clinic.location.lng}"
    (breed,) = (request for request in loop.plans[-1].requests if request.tool == "getBreed")
    assert breed.for_each is not None
    assert dict(breed.for_each.keep) == {"species": "species"}


@given(st.randoms(use_true_random=False), st.integers(0, len(LOOP.records)))
def test_order_does_not_matter_and_plans_only_grow(random: Any, count: int) -> None:
    records = list(LOOP.records)
    random.shuffle(records)
    part, former = records[:count], LOOP.plans[0]
    plan = propose(TOOLS, part, former=former)
    assert plan == propose(TOOLS, sorted(part, key=lambda record: record.key), former=former)
    further = propose(TOOLS, records, former=plan)
    assert former.requests == plan.requests[: len(former.requests)]
    assert plan.requests == further.requests[: len(plan.requests)]
    assert propose(TOOLS, records, former=further) == further
    for request in further.requests:
        assert sum(other == request for other in further.requests) == 1
    further.check_tools(TOOLS)


PATTERN = {"type": "string", "pattern": "^[A-Z]{3}$"}


def pair(parameter: str, schema: Any, target: str = "get_thing") -> ToolSet:
    """A tool that lists, and one with a parameter that may be crawled from it."""
    return ToolSet([tool("list_places", {}), tool(target, {parameter: schema})])


@pytest.mark.parametrize(
    ("parameter", "target", "body", "select"),
    [
        ("place_id", "get_thing", {"places": [{"place_id": "a"}]}, "places[].place_id"),
        ("placeIds", "get_thing", [{"place-id": "a"}], '[]."place-id"'),
        ("place_code", "get_thing", {"data": {"results": [{"code": "a"}]}}, "data.results[].code"),
        ("place", "get_thing", {"places": [{"slug": "a", "rating": "good"}]}, "places[].slug"),
        ("owner_id", "get_thing", [{"name": "n", "id": "i", "owner": {"id": "a"}}], "[].owner.id"),
        ("id", "get_owner", [{"id": "i", "owner_id": "a"}], "[].owner_id"),
        ("id", "get_place", [{"id": "a", "owner": {"id": "i"}}], "[].id"),
        ("place", "get_place", ["a", "b"], "[]"),
        ("origin", "get_thing", [{"busiest_origin": "a"}], "[].busiest_origin"),
    ],
)
def test_names_that_mean_the_same(parameter: str, target: str, body: Any, select: str) -> None:
    tools = pair(parameter, {"type": "string"}, target)
    plan = propose(tools, answered(tools, "list_places", [body]))
    assert {crawl for crawl in crawls(plan) if crawl[0] == target} == {(target, parameter, "list_places", select)}


@pytest.mark.parametrize(
    ("parameter", "schema", "body"),
    [
        ("id", {"type": "string"}, [{"id": "a"}]),
        ("name", {"type": "string"}, [{"owner": {"name": "a"}}]),
        ("place_id", {"type": "string"}, [{"owner": {"id": "a"}}]),
        ("place_code", PATTERN, [{"place_code": "much too long"}]),
        ("count", {"type": "integer"}, {"count": 7, "places": [{"count": 1}]}),
        ("place_id", {"type": "integer"}, [{"place_id": "a"}]),
        ("place_id", {"type": "string"}, [{"place_id": None}, {"place_id": True}]),
        ("token", {"type": "string"}, {"token": "[redacted]"}),
    ],
)
def test_what_is_not_meant_is_not_crawled(parameter: str, schema: Any, body: Any) -> None:
    tools = pair(parameter, schema)
    assert not crawls(propose(tools, answered(tools, "list_places", [body])))


def test_values_that_were_accepted_count_where_names_say_nothing() -> None:
    tools = ToolSet([tool("list_places", {}), tool("get_thing", {"iata": {**PATTERN, "examples": ["AAA"]}})])
    places = answered(tools, "list_places", [[{"target": code} for code in ("AAA", "BBB", "CCC", "DDD")]])
    assert not crawls(propose(tools, places))
    accepted = [make_record(tools, Call("get_thing", {"iata": code}), 200, [1]) for code in ("AAA", "BBB", "CCC")]
    assert crawls(propose(tools, places + accepted)) == {("get_thing", "iata", "list_places", "[].target")}
    refused = [make_record(tools, Call("get_thing", {"iata": code}), 404, [1]) for code in ("BBB", "CCC", "DDD")]
    assert not crawls(propose(tools, [*places, *accepted[:1], *refused]))


def test_a_source_whose_values_are_refused_is_left() -> None:
    tools = pair("place", {"type": "string"})
    places = answered(tools, "list_places", [[{"main_place": f"p{index}"} for index in range(20)]])
    asked = [make_record(tools, Call("get_thing", {"place": f"p{index}"}), 404, {}) for index in range(20)]
    assert crawls(propose(tools, places + asked[:3]))
    assert not crawls(propose(tools, places + asked))


def test_an_echo_is_no_source_of_its_own_argument() -> None:
    tools = ToolSet([tool("get_place", {"place_id": {"type": "string", "examples": ["x0"]}})])
    bodies = [{"place_id": f"x{index}", "size": 3} for index in range(3)]
    assert not crawls(propose(tools, answered(tools, "get_place", bodies, "place_id")))
    bodies = [{"place_id": f"x{index}", "neighbours": [{"place_id": f"y{index}"}]} for index in range(3)]
    found = crawls(propose(tools, answered(tools, "get_place", bodies, "place_id")))
    assert found == {("get_place", "place_id", "get_place", "neighbours[].place_id")}


def test_a_field_serves_one_parameter_of_a_call() -> None:
    schema = {**PATTERN, "description": "A currency."}
    tools = ToolSet([tool("list_places", {}), tool("get_rate", {"base": schema, "quote": schema, "on": PATTERN})])
    places = [{"currency": "CHF", "on": "AAA", "previous_on": "BBB"}, {"currency": "USD", "on": "CCC"}]
    found = crawls(propose(tools, answered(tools, "list_places", [places])))
    assert {(parameter, select) for _, parameter, _, select in found} == {
        ("base", "[].{on: on, base: currency}"), ("on", "[].{on: on, base: currency}"), ("quote", "[].currency")
    }  # fmt: skip


def test_a_coincidence_is_no_evidence() -> None:
    tools = ToolSet([tool("list_places", {}), tool("get_thing", {"iata": {**PATTERN, "examples": ["AAA"]}})])
    places = answered(tools, "list_places", [[{"target": "AAA"}]])
    accepted = [make_record(tools, Call("get_thing", {"iata": "AAA"}), 200, [1])]
    assert not crawls(propose(tools, places + accepted))


def test_what_was_changed_and_seen_in_a_session_is_no_evidence() -> None:
    write = Tool("write", "", {"type": "object", "properties": {}}, read_only=False)
    tools = ToolSet([tool("list", {}), write, tool("get_place", {"place_id": {"type": "string"}})])
    body = [{"place_id": "a"}]
    written = make_record(tools, Call("write", {}), 200, body)
    seen = make_record(tools, tools.canonical(Call("list", {})).within(written.key), 200, body)
    assert not crawls(propose(tools, [written, seen]))
    assert crawls(propose(tools, answered(tools, "list", [body])))


def test_of_many_answers_the_same_ones_are_looked_into() -> None:
    tools = ToolSet([tool("get_place", {"x": {"type": "string"}})])
    records = answered(tools, "get_place", [{"id": f"i{index}"} for index in range(5 * RESPONSES)], "x")
    (field,) = gather(tools, records).fields
    assert len(field.values) == RESPONSES
    assert gather(tools, records[::-1]).fields == [field]


def test_a_parameter_has_three_sources_at_most() -> None:
    lists = [tool(f"list_{number}", {}) for number in range(5)]
    tools = ToolSet([*lists, tool("get_place", {"place_id": {"type": "string"}})])
    records = [record for source in lists for record in answered(tools, source.name, [[{"place_id": "a"}]])]
    plan = propose(tools, records[:4])
    assert len(crawls(plan)) == 3
    assert propose(tools, records, former=plan) == plan


def test_credentials_are_not_varied() -> None:
    key = {"type": "string", "format": "password", "examples": ["secret"]}
    tools = ToolSet([tool("list_places", {}, {"api_key": key})])
    assert planned(tools, propose(tools)) == [{}]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tailNumbers", ("tail", "number")), ("tail_number", ("tail", "number")), ("tail-number", ("tail", "number")),
        ("HTTPServerID", ("http", "server", "id")), ("cities", ("city",)), ("address", ("address",)),
        ("iso2", ("iso", "2")), ("status", ("status",)), ("boxes", ("box",)), ("lat", ("lat",)),
    ],
)  # fmt: skip
def test_words(name: str, expected: tuple[str, ...]) -> None:
    assert words(name) == expected


def test_subjects() -> None:
    assert subject("list_pets_by_owner") == ("pet",)
    assert subject("getPetOwner") == ("pet", "owner")
    assert subject("get_pets_petId") == ("pet", "pet")


names = st.lists(st.sampled_from(["id", "code", "pet", "owner", "count", "time"]), max_size=3).map(tuple)


@given(names, names, names, names)
def test_a_match_of_names_is_between_none_and_full(parameter: Any, about: Any, field: Any, owner: Any) -> None:
    assert 0 <= name_match(parameter, about, field, owner) <= 1


# What is left out


def test_tools_that_are_not_asked_are_told_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        plan = propose(TOOLS)
    assert "bookVisit changes the state" in caplog.text
    told = unreached(TOOLS, LOOP.plans[-1])
    assert told.keys() == {"bookVisit", "findLetters"}
    assert "state" in told["bookVisit"]
    assert unreached(TOOLS, plan).keys() > told.keys()
    (advice,) = re.findall("`- (.*)`", told["findLetters"])
    request = yaml.safe_load(advice.replace("...", "hello, goodbye"))
    parse_plan({"requests": [request]}).check_tools(TOOLS)
    assert request["arguments"] == {"phrase": {"values": ["hello", "goodbye"]}}
