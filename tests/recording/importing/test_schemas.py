"""Tool schemas of data sets: the dialect becomes JSON Schema, and tools without one are inferred from their calls."""

import json
from pathlib import Path
from typing import Any

import pytest
from booking_data import BOOKING, needs_booking
from hypothesis import given
from json_values import json_objects
from published_shapes import TOOLS, tool, write_json, write_lines

from toolorch_env.core.calls import Call, ToolSet
from toolorch_env.core.errors import DataSetError, ToolSchemaError
from toolorch_env.recording.importing.schemas import as_tool, inferred_tool, json_schema, read_tools


def test_the_dialect_becomes_json_schema_at_any_depth() -> None:
    published = {
        "type": "dict",
        "properties": {
            "pages": {"type": "float", "default": 1.5},
            "place": {"type": "tuple", "items": {"type": "float"}, "description": "a point"},
            "shelf": {
                "type": "dict",
                "properties": {"type": {"type": "string"}, "width": {"type": "float"}, "note": {"type": "any"}},
                "required": ["type", "width"],
            },
            "either": {"anyOf": [{"type": "float"}, {"type": "dict", "properties": {"a": {"type": "any"}}}]},
            "labels": {"type": "dict", "additionalProperties": {"type": "float"}},
            "several": {"type": ["float", "null"]},
            "open": {"type": ["float", "any"]},
        },
        "required": ["pages", "place"],
    }
    assert json_schema(published) == {
        "type": "object",
        "properties": {
            "pages": {"type": "number", "default": 1.5},
            "place": {"type": "array", "items": {"type": "number"}, "description": "a point"},
            "shelf": {
                "type": "object",
                "properties": {"type": {"type": "string"}, "width": {"type": "number"}, "note": {}},
                "required": ["type", "width"],
            },
            "either": {"anyOf": [{"type": "number"}, {"type": "object", "properties": {"a": {}}}]},
            "labels": {"type": "object", "additionalProperties": {"type": "number"}},
            "several": {"type": ["number", "null"]},
            "open": {},
        },
        "required": ["pages", "place"],
    }


@pytest.mark.parametrize("mark", [True, "true", "yes"])
def test_what_is_optional_is_not_required(mark: Any) -> None:
    schema = tool("t", ["a", "b", "c", "gone"], a="string", b="string", c="string")["parameters"]
    schema["properties"]["b"]["optional"] = mark
    schema["optional"] = ["c"]
    translated = json_schema(schema)
    assert translated["required"] == ["a"]
    assert "optional" not in json.dumps(translated)


def test_what_is_marked_as_not_optional_stays_required() -> None:
    schema = tool("t", ["a"], a="string")["parameters"]
    schema["properties"]["a"]["optional"] = False
    assert json_schema(schema)["required"] == ["a"]


def test_a_parameter_may_be_named_like_a_keyword() -> None:
    names = ["type", "optional", "required", "items", "properties", "default"]
    translated = json_schema(tool("t", names, **dict.fromkeys(names, "float"))["parameters"])
    assert translated["properties"] == {name: {"type": "number", "description": name} for name in names}
    assert translated["required"] == names


def test_numbers_and_texts_are_told_apart_by_the_translated_schema() -> None:
    tools = ToolSet([as_tool(tool("t", number="float", text="string"))])
    same = [tools.canonical(Call("t", {"number": value, "text": "007"})).key for value in (2, 2.0, "2")]
    assert len(set(same)) == 1
    assert tools.canonical(Call("t", {"number": 2, "text": "7"})).key != same[0]


@pytest.mark.parametrize(
    "wrap", [lambda document: document, lambda document: {"type": "function", "function": document}]
)
def test_a_tool_keeps_its_words_and_drops_its_response(wrap: Any) -> None:
    made = as_tool(wrap(TOOLS[1]), miss_status=400, miss_body={"status": False})
    assert (made.name, made.description) == ("List_Books", "List_Books of the library.")
    assert made.required == ("author_id",)
    assert (made.miss_status, made.miss_body) == (400, {"status": False})
    assert "response" not in json.dumps(made.parameters)


def test_a_tool_without_parameters_takes_none() -> None:
    made = as_tool({"name": "Now", "description": None})
    assert (made.description, made.parameters) == ("", {"type": "object", "properties": {}})


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        (7, "a tool is an object"),
        ({"description": "d"}, "a tool is an object"),
        ({"name": "", "parameters": {}}, "non-empty name"),
        ({"name": 3}, "non-empty name"),
        (tool("t", a="HashMap"), "tool 't': there is no type 'HashMap'"),
        ({"name": "t", "parameters": {"type": "string"}}, "tool 't': its parameters are of type 'string', not object"),
        ({"name": "t", "parameters": [1]}, "tool 't': a schema must be an object"),
        ({"name": "t", "parameters": {"properties": [1]}}, "tool 't': `properties` must be an object"),
        ({"name": "t", "parameters": {"required": 3}}, "tool 't': `required` must be a list of names, not 3"),
        (tool("t", a={"a": "string"}), "tool 't': there is no type"),
        ({"name": "t", "parameters": {"examples": json.loads("[" * 300 + "]" * 300)}}, "tool 't': not a JSON value"),
        (
            {"name": "t", "parameters": {"properties": {"a": {"items": {"type": "dict", "properties": 1.5}}}}},
            "tool 't': `properties` must be an object",
        ),
        (
            {"name": "t", "parameters": {"properties": {"a": {"properties": {}, "required": [["b"]]}}}},
            "tool 't': `required` must be a list of names",
        ),
        ({"name": "t", "parameters": {"type": "dict", "properties": {"a": 3}}}, "tool 't': a schema must be an object"),
        ({"name": "t", "parameters": {"properties": {"a": {"enum": 3}}}}, "tool 't': parameter 'a' has an invalid"),
        (
            {"name": "t", "parameters": {"properties": {"a": {"pattern": "("}}}},
            "tool 't': parameter 'a' has an invalid",
        ),
    ],
)
def test_what_is_no_usable_tool_is_told(document: Any, complaint: str) -> None:
    with pytest.raises(ToolSchemaError, match=complaint):
        as_tool(document)


@pytest.mark.parametrize("write", [write_lines, write_json])
def test_tools_are_read_from_lines_and_arrays(write: Any, tmp_path: Path) -> None:
    tools = read_tools(write(tmp_path / "tools", TOOLS))
    assert [one.name for one in tools] == [document["name"] for document in TOOLS]


def test_empty_lines_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "tools.jsonl"
    path.write_text("\n" + json.dumps(TOOLS[0]) + "\r\n\n" + json.dumps(TOOLS[1]), encoding="utf-8")
    assert len(read_tools(path)) == 2


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "holds no tools"),
        ("[]", "holds no tools"),
        ('{"name": "a"}\n{"name"\n', "line 2: not JSON"),
        ("[1, 2", "not JSON"),
        ('{"name": "a"}\n\n{"name": "a"}', "line 3: a second tool is named 'a'"),
        ('[{"name": "a"}, 3]', "tool 1: a tool is an object"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_place(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "tools.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataSetError, match=rf"tools\.jsonl.*{complaint}"):
        read_tools(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="cannot be read"):
        read_tools(tmp_path / "none")


def test_an_inferred_tool_has_the_types_that_its_calls_agree_on() -> None:
    examples = [
        {"text": "a", "number": 1, "mixed": 1, "flag": True, "list": [1], "object": {"a": 1}, "empty": None},
        {"text": "b", "number": 2.5, "mixed": "1", "flag": False, "other": "x", "empty": "x"},
    ]
    made = inferred_tool("t", examples)
    assert made.properties == {
        "text": {"type": "string"},
        "number": {"type": "number"},
        "mixed": {},
        "flag": {"type": "boolean"},
        "list": {"type": "array"},
        "object": {"type": "object"},
        "empty": {},
        "other": {"type": "string"},
    }
    assert made.required == ()


@given(json_objects, json_objects)
def test_an_inferred_tool_takes_every_call_that_it_was_inferred_from(left: Any, right: Any) -> None:
    signature = ToolSet([inferred_tool("t", [left, right])]).signature("t")
    signature.check()
    for arguments in (left, right, {"unheard of": 1}):
        assert list(signature.problems(signature.read(arguments))) == []


@needs_booking
def test_the_published_schemas_compile() -> None:
    assert BOOKING is not None
    tools = ToolSet(read_tools(BOOKING / "booking_tools.jsonl"))
    assert len(tools) == 40
    for name in tools:
        tools.signature(name).check()
        assert tools[name].parameters["type"] == "object"
        assert '"dict"' not in json.dumps(tools[name].parameters)
