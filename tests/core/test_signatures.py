"""Reading arguments through JSON Schema, and saying what is wrong with them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_objects, json_values, texts

from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.errors import ToolSchemaError
from toolorch_env.core.signatures import Parameter, Signature
from toolorch_env.core.tools import Tool

SCHEMAS: dict[str, Any] = {
    "number": {"type": "number"},
    "integer": {"type": "integer", "minimum": 0, "default": 5},
    "string": {"type": "string", "default": "x"},
    "boolean": {"type": "boolean"},
    "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    "either": {"type": ["number", "null"]},
    "set": {"type": "array", "items": {"type": "integer"}, "uniqueItems": True},
    "list": {"type": "array", "items": {"type": "number"}},
    "object": {"type": "object", "properties": {"n": {"type": "integer"}, "d": {"type": "integer", "default": 1}}},
    "tree": {"$ref": "#/$defs/tree"},
    "anything": {},
    "free": True,
}
TREE = {
    "type": "object",
    "properties": {"value": {"type": "integer"}, "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
}


def signature(properties: dict[str, Any] = SCHEMAS, required: tuple[str, ...] = (), **root: Any) -> Signature:
    return Signature(Tool("t", "", {"type": "object", "properties": properties, "required": list(required), **root}))


MANY = signature(**{"$defs": {"tree": TREE}})
arguments = st.dictionaries(st.sampled_from([*SCHEMAS, "unknown"]), json_values | texts, max_size=6) | json_objects


def read(schema: Any, value: Any) -> Any:
    return signature({"p": schema}).read({"p": value})["p"]


@given(arguments)
def test_reading_never_fails_on_json(given_arguments: dict[str, Any]) -> None:
    MANY.read(given_arguments)


@given(arguments)
def test_reading_twice_changes_nothing(given_arguments: dict[str, Any]) -> None:
    once = MANY.read(given_arguments)
    assert canonical_json(MANY.read(once)) == canonical_json(once)


@given(arguments)
def test_reading_does_not_change_what_it_was_given(given_arguments: dict[str, Any]) -> None:
    before = canonical_json(given_arguments)
    MANY.read(given_arguments)
    assert canonical_json(given_arguments) == before


@given(arguments)
def test_every_problem_names_its_parameter_and_reads_as_a_sentence(given_arguments: dict[str, Any]) -> None:
    for problem in MANY.problems(MANY.read(given_arguments)):
        assert problem.kind in {"missing_parameter", "extra_parameter", "ill_typed_parameter"}
        assert repr(problem.parameter[:100])[1:-1] in problem.message
        assert len(problem.message) < 1000


@given(st.integers(-(2**53) + 1, 2**53 - 1))
def test_a_number_is_one_number_however_it_is_written(number: int) -> None:
    for kind in ("number", "integer"):
        for written in (number, float(number), str(number), f"{number}.0"):
            value = read({"type": kind}, written)
            assert value == number
            assert type(value) is int


@given(texts | st.integers().map(str))
def test_text_stays_text_where_the_schema_says_string(text: str) -> None:
    assert read({"type": "string"}, text) == text


@pytest.mark.parametrize("value", [7, 7.0, True, None, [1], {"a": 1}])
def test_what_is_no_text_does_not_become_one(value: Any) -> None:
    assert read({"type": "string"}, value) == value
    assert list(signature({"p": {"type": "string"}}).problems({"p": value}))


@pytest.mark.parametrize("text", ["007", " 7", "7 ", "+7", "0x7", "seven", "", "1_0"])
@pytest.mark.parametrize("kind", ["number", "integer"])
def test_text_that_is_no_json_number_is_kept_and_ill_typed(text: str, kind: str) -> None:
    assert read({"type": kind}, text) == text
    assert [p.kind for p in signature({"p": {"type": kind}}).problems({"p": text})] == ["ill_typed_parameter"]


@pytest.mark.parametrize(
    ("written", "value"),
    [("true", True), ("false", False), (True, True), ("True", "True"), (1, 1), ("1", "1"), ("", "")],
)
def test_booleans_are_read_from_json_text_only(written: Any, value: Any) -> None:
    assert read({"type": "boolean"}, written) == value
    assert type(read({"type": "boolean"}, written)) is type(value)


@pytest.mark.parametrize(
    ("schema", "written", "value"),
    [
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "2", 2),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 2.0, 2),
        ({"oneOf": [{"type": "integer"}, {"type": "null"}]}, "2", 2),
        ({"type": ["integer", "null"]}, "2", 2),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, "2", "2"),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, "2", "2"),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, 2.0, 2),
        ({"type": ["string", "integer"]}, "007", "007"),
        ({"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "integer"}]}, ["1", 2.0], [1, 2]),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, "true", True),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "x", "x"),
    ],
)
def test_alternatives_are_read_as_the_first_that_fits(schema: Any, written: Any, value: Any) -> None:
    found = signature({"p": schema}, ("p",)).read({"p": written})["p"]
    assert canonical_json(found) == canonical_json(value)


@pytest.mark.parametrize("schema", [{"anyOf": [{"type": "integer"}, {"type": "null"}]}, {"type": ["integer", "null"]}])
def test_null_equals_leaving_out_where_the_schema_allows_it(schema: Any) -> None:
    assert signature({"p": schema}).read({"p": None}) == {}
    assert signature({"p": schema}, ("p",)).read({"p": None}) == {"p": None}
    assert signature({"p": {**schema, "default": 3}}).read({"p": None}) == {"p": None}


@pytest.mark.parametrize(
    ("schema", "written"),
    [
        ({"type": "integer", "default": 5}, "5"),
        ({"type": "number", "default": 5}, 5.0),
        ({"type": "string", "default": "5"}, "5"),
        ({"type": "array", "items": {"type": "integer"}, "uniqueItems": True, "default": [2, 1]}, ["1", 2.0]),
        ({"type": "object", "properties": {"a": {"type": "integer"}}, "default": {"a": 1}}, {"a": "1"}),
        ({"type": "boolean", "default": False}, "false"),
    ],
)
def test_an_argument_at_its_default_is_left_out(schema: Any, written: Any) -> None:
    assert signature({"p": schema}).read({"p": written}) == {}


@pytest.mark.parametrize(
    ("schema", "written"),
    [
        ({"type": "integer", "default": 1}, True),
        ({"type": "boolean", "default": False}, 0),
        ({"type": "string", "default": "5"}, 5),
        ({"type": "string", "default": ""}, None),
        ({"type": "array", "default": [1, 2]}, [2, 1]),
    ],
)
def test_what_only_resembles_the_default_is_kept(schema: Any, written: Any) -> None:
    assert signature({"p": schema}).read({"p": written}) == {"p": written}


@pytest.mark.parametrize(("default", "written"), [([1], [True]), ({"a": 0}, {"a": False})])
def test_what_only_resembles_a_nested_default_is_kept(default: Any, written: Any) -> None:
    assert signature({"p": {"default": default}}).read({"p": written}) == {"p": written}


def test_defaults_inside_objects_are_left_out_too() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer", "default": 1}, "b": {"type": "string"}}}
    assert read(schema, {"a": "1", "b": "1", "c": 1.0}) == {"b": "1", "c": 1}


@given(st.lists(st.integers(0, 99), unique=True, max_size=8), st.randoms())
def test_arrays_of_unique_items_are_unordered(items: list[int], random: Any) -> None:
    schema = {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}
    mixed = random.sample(items, len(items))
    assert read(schema, [str(item) for item in mixed]) == read(schema, items)
    assert sorted(read(schema, items)) == sorted(items)


def test_other_arrays_are_ordered() -> None:
    assert read({"type": "array", "items": {"type": "integer"}}, ["2", 1]) == [2, 1]


@given(st.recursive(st.fixed_dictionaries({"value": st.integers(-99, 99)}), lambda inner: st.fixed_dictionaries(
    {"value": st.integers(-99, 99), "children": st.lists(inner, max_size=3)}), max_leaves=8))  # fmt: skip
def test_recursive_references_are_read_at_every_depth(tree: dict[str, Any]) -> None:
    def as_text(node: dict[str, Any]) -> dict[str, Any]:
        return {"value": str(node["value"]), "children": [as_text(child) for child in node.get("children", ())]}

    def with_children(node: dict[str, Any]) -> dict[str, Any]:
        return {"value": node["value"], "children": [with_children(child) for child in node.get("children", ())]}

    found = MANY.read({"tree": as_text(tree)})
    assert found == {"tree": with_children(tree)}
    assert not list(MANY.problems(found))


@pytest.mark.parametrize("place", ["$defs", "definitions"])
def test_references_are_followed_for_reading_and_for_checking(place: str) -> None:
    found = signature({"p": {"$ref": f"#/{place}/count"}}, **{place: {"count": {"type": "integer", "minimum": 3}}})
    assert found.read({"p": "4"}) == {"p": 4}
    assert not list(found.problems({"p": 4}))
    assert list(found.problems({"p": 2}))


@pytest.mark.parametrize("reference", ["#/$defs/missing", "other.json#/x", "#/$defs/a/b/c"])
def test_a_reference_that_leads_nowhere_is_an_error_that_names_it(reference: str) -> None:
    with pytest.raises(ToolSchemaError, match=r"reference"):
        signature({"p": {"$ref": reference}}, **{"$defs": {"a": {}}}).read({"p": 1})


def test_references_may_hold_escaped_characters() -> None:
    assert signature({"p": {"$ref": "#/$defs/a~1b"}}, **{"$defs": {"a/b": {"type": "integer"}}}).read({"p": "4"})


def test_an_invalid_schema_is_an_error_that_names_the_parameter() -> None:
    with pytest.raises(ToolSchemaError, match=r"'p' has an invalid JSON Schema"):
        list(signature({"p": {"type": "nonsense"}}).problems({"p": 1}))


def test_problems_come_missing_first_and_name_everything() -> None:
    found = signature({"a": {"type": "integer"}, "b": {"type": "string"}, "c": {"default": 1}}, ("a", "b", "c"))
    problems = list(found.problems({"zz": 1, "b": 5}))
    assert [(problem.kind, problem.parameter) for problem in problems] == [
        ("missing_parameter", "a"),
        ("extra_parameter", "zz"),
        ("ill_typed_parameter", "b"),
    ]


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 3}, 2, 4),
        ({"type": "integer"}, 2, 2.5),
        ({"type": "string", "enum": ["a", "b"]}, "a", "A"),
        ({"type": "string", "pattern": "^A[0-9]+$"}, "A1", "B1"),
        ({"type": "string", "format": "date"}, "2013-02-28", "2013-02-30"),
        ({"type": "array", "minItems": 1}, [1], []),
        ({"type": "string"}, "x", None),
    ],
)
def test_fits_and_complaint_agree(schema: Any, good: Any, bad: Any) -> None:
    parameter = signature({"p": schema}).parameters["p"]
    assert parameter.fits(good)
    assert parameter.complaint(good) == ""
    assert not parameter.fits(bad)
    assert parameter.complaint(bad)


@pytest.mark.parametrize(
    ("schema", "is_choice"),
    [({"enum": [1]}, True), ({"const": 1}, True), ({"type": "boolean"}, True), ({"type": "string"}, False),
     (True, False), ({}, False)],
)  # fmt: skip
def test_choices_are_schemas_that_spell_out_their_values(schema: Any, is_choice: bool) -> None:
    assert Parameter("p", schema, {}, False).is_choice is is_choice


@pytest.mark.parametrize("name", ["", None, 5])
def test_a_tool_needs_a_name(name: Any) -> None:
    with pytest.raises(ToolSchemaError, match="name"):
        Tool(name, "", {})


@pytest.mark.parametrize("parameters", [None, [], "x", {"properties": []}])
def test_a_tool_needs_an_object_schema(parameters: Any) -> None:
    with pytest.raises(ToolSchemaError, match="'t'"):
        Tool("t", "", parameters)


def test_a_tool_in_openai_form() -> None:
    parameters = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    function = {"name": "t", "description": "d", "parameters": parameters}
    assert Tool("t", "d", parameters).as_openai() == {"type": "function", "function": function}


def test_a_tool_in_brief_allows_the_same_calls() -> None:
    words = {"description": "d", "title": "t", "examples": ["e"]}
    name = {"type": "string", "enum": ["a", "b"], "default": "a"}
    schema = {"type": "object", "properties": {"description": {**name, **words}, "at": {"items": {**name, **words}}}}
    brief = Tool("t", "d", {**schema, "required": ["at"], **words}).as_openai(brief=True)["function"]
    properties = {"description": name, "at": {"items": name}}
    assert brief == {"name": "t", "parameters": {"type": "object", "properties": properties, "required": ["at"]}}
