"""Operations from OpenAPI documents."""

import contextlib
import copy
import json
import logging
import re
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import texts

from toolorch_env.core.calls import Call, ToolSet
from toolorch_env.core.errors import RecordingError, UnansweredError
from toolorch_env.recording.http.openapi import operations_from_openapi
from toolorch_env.recording.http.operations import Operation

DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Library", "version": "1"},
    "paths": {
        "/books/{book_id}/pages/{page}": {
            "parameters": [
                {"name": "book_id", "in": "path", "required": True, "schema": {"type": "integer"}},
                {"name": "page", "in": "path", "required": True, "schema": {"type": "string", "title": "Page"}},
            ],
            "get": {
                "operationId": "get_page",
                "summary": "One page.",
                "parameters": [
                    {"name": "X-Key", "in": "header", "required": True, "schema": {"type": "string"}},
                    {
                        "name": "size",
                        "in": "query",
                        "description": "In points.",
                        "schema": {"type": "number", "default": 9},
                    },
                ],
            },
            "head": {"operationId": "head_page"},
            "delete": {"operationId": "tear_out_page"},
        },
        "/books": {
            "get": {
                "operationId": "list_books",
                "summary": "Short.",
                "description": "  Lists all books.\n",
                "parameters": [{"name": "limit", "in": "query", "required": True, "schema": {"type": "integer"}}],
            },
            "options": {},
        },
        "/upload": {"put": {"operationId": "upload"}},
        "/health": {"get": {"operationId": "health"}},
    },
}


def changed(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(DOCUMENT), **changes}


def operation(
    node: dict[str, Any], path: str = "/x", method: str = "get", version: str = "3.1.0", **document: Any
) -> Operation:
    """The only operation of a document."""
    paths = {path: {method: {"operationId": "x", **node}}}
    [only] = operations_from_openapi({"openapi": version, "paths": paths, **document})
    return only


def with_query(schema: Any, name: str = "q", version: str = "3.1.0", components: Any = None, **more: Any) -> Operation:
    """An operation with one parameter in the query."""
    node = {"parameters": [{"name": name, "in": "query", "schema": schema, **more}]}
    return operation(node, version=version, components=components or {})


def with_body(schema: Any, required: bool = True, media_type: str = "application/json", **more: Any) -> Operation:
    body = {"required": required, "content": {media_type: {"schema": schema, **more.pop("media", {})}}}
    return operation({"requestBody": body, **more.pop("node", {})}, method="post", **more)


def test_operations_become_tools_in_the_documents_order() -> None:
    operations = operations_from_openapi(DOCUMENT)
    assert [(operation.tool.name, operation.method, operation.tool.read_only) for operation in operations] == [
        ("get_page", "GET", True),
        ("tear_out_page", "DELETE", False),
        ("list_books", "GET", True),
        ("upload", "PUT", False),
        ("health", "GET", True),
    ]
    assert [operation.tool.description for operation in operations] == ["One page.", "", "Lists all books.", "", ""]
    assert operations[1].path == "/books/{book_id}/pages/{page}"


@pytest.mark.parametrize(("method", "read_only"), [("patch", False), ("post", False), ("query", True)])
def test_methods(method: str, read_only: bool) -> None:
    found = operation({}, method=method)
    assert (found.method, found.tool.read_only) == (method.upper(), read_only)


def test_parameters_become_a_json_schema() -> None:
    page, _, _, upload, _ = (operation.tool for operation in operations_from_openapi(DOCUMENT))
    assert page.parameters == {
        "type": "object",
        "properties": {
            "book_id": {"type": "integer"},
            "page": {"type": "string"},
            "size": {"type": "number", "default": 9, "description": "In points."},
        },
        "required": ["book_id", "page"],
        "additionalProperties": False,
    }
    assert dict(upload.properties) == {}


def test_the_document_is_left_as_it_was() -> None:
    document = changed()
    operations_from_openapi(document)
    assert document == DOCUMENT


def test_the_tools_can_be_called() -> None:
    tools = ToolSet(operation.tool for operation in operations_from_openapi(DOCUMENT))
    call = tools.canonical(Call("get_page", {"book_id": "7", "page": "7", "size": 9.0}))
    assert call.arguments == {"book_id": 7, "page": "7"}
    assert not list(tools.signature("get_page").problems(call.arguments))


# Names


@pytest.mark.parametrize(
    ("path", "node", "name"),
    [
        ("/x", {"operationId": "list.books/all (new)"}, "list_books_all_new"),
        ("/airports/{iata}", {}, "get_airports_iata"),
        ("/", {}, "get"),
        ("/x", {"operationId": "日本"}, "get"),
        ("/x", {"operationId": "n" * 80}, "n" * 64),
        ("/x", {"operationId": ""}, "get"),
    ],
)
def test_names_of_tools(path: str, node: dict[str, Any], name: str) -> None:
    document = {"openapi": "3.0.0", "paths": {path: {"get": node, "parameters": []}}}
    if "{iata}" in path:
        node["parameters"] = [{"name": "iata", "in": "path", "required": True, "schema": {}}]
    assert [operation.tool.name for operation in operations_from_openapi(document)] == [name]


@given(st.lists(st.text(max_size=70), min_size=1, max_size=6))
def test_names_are_valid_and_all_different(ids: list[str]) -> None:
    paths = {f"/{number}": {"get": {"operationId": name}} for number, name in enumerate(ids)}
    names = [operation.tool.name for operation in operations_from_openapi({"openapi": "3.1.0", "paths": paths})]
    assert len(set(names)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in names)


def test_names_that_clash_within_an_operation_are_told_apart() -> None:
    parameters = [{"name": "id", "in": "path", "schema": {}}, {"name": "id", "in": "query", "schema": {}}]
    body = {"content": {"application/json": {"schema": {"properties": {"id": {}, "body": {}}}}}}
    found = operation({"parameters": parameters, "requestBody": body}, "/x/{id}", "post")
    assert list(found.tool.properties) == ["id", "query_id", "body_id", "body"]
    request = found.request({"id": 1, "query_id": 2, "body_id": 3, "body": 4})
    assert (request.path, request.query, request.body) == ("/x/1", [("id", "2")], b'{"id":3,"body":4}')


# Requests


def test_a_request_has_its_values_in_path_and_query() -> None:
    request = operations_from_openapi(DOCUMENT)[0].request({"book_id": 7, "page": "a/b c?#%ü", "size": 3})
    assert (request.method, request.path) == ("GET", "/books/7/pages/a%2Fb%20c%3F%23%25%C3%BC")
    assert (request.query, request.body) == ([("size", "3")], None)


@given(texts.filter(lambda text: text not in ("", ".", "..")))
def test_values_never_leave_their_part_of_the_path(text: str) -> None:
    request = operations_from_openapi(DOCUMENT)[0].request({"book_id": text, "page": "{book_id}"})
    assert request.path.count("/") == 4
    assert request.path.isascii()
    assert not set(request.path) & set(" ?#{}\\")
    assert unquote(request.path.split("/")[2]) == text


@pytest.mark.parametrize(
    "arguments",
    [{"page": "x"}, {"book_id": "", "page": "x"}, {"book_id": None, "page": "x"}, {"book_id": "..", "page": "x"},
     {"book_id": ".", "page": "x"}, {"book_id": [], "page": "x"}],
)  # fmt: skip
def test_a_request_without_a_value_for_the_path_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(UnansweredError, match=r"the path cannot take .* for 'book_id'") as caught:
        operations_from_openapi(DOCUMENT)[0].request(arguments)
    assert caught.value.kind == "unsendable"


OBJECT = {"R": 100, "G": True}
ARRAY = ["blue", 7]


@pytest.mark.parametrize(
    ("more", "value", "query"),
    [
        ({}, ARRAY, [("q", "blue"), ("q", "7")]),
        ({}, OBJECT, [("R", "100"), ("G", "true")]),
        ({}, [], []),
        ({}, None, []),
        ({}, [None, {"a": 1}], [("q", "null"), ("q", '{"a":1}')]),
        ({"explode": False}, ARRAY, [("q", "blue,7")]),
        ({"explode": False}, OBJECT, [("q", "R,100,G,true")]),
        ({"style": "pipeDelimited"}, ARRAY, [("q", "blue|7")]),
        ({"style": "pipeDelimited", "explode": True}, ARRAY, [("q", "blue"), ("q", "7")]),
        ({"style": "spaceDelimited"}, ARRAY, [("q", "blue 7")]),
        ({"style": "spaceDelimited", "explode": False}, OBJECT, [("q", "R 100 G true")]),
        ({"style": "deepObject", "explode": True}, OBJECT, [("q[R]", "100"), ("q[G]", "true")]),
        ({"style": "deepObject"}, {"a": {"b": [1, 2]}}, [("q[a][b]", "1"), ("q[a][b]", "2")]),
        ({"content": {"application/json": {"schema": {}}}}, OBJECT, [("q", '{"R":100,"G":true}')]),
        ({"content": {"application/json": {"schema": {}}}}, "x", [("q", '"x"')]),
    ],
)
def test_arrays_and_objects_in_the_query(more: dict[str, Any], value: Any, query: list[tuple[str, str]]) -> None:
    assert with_query({}, **more).request({"q": value}).query == query


@pytest.mark.parametrize(
    ("explode", "value", "text"),
    [
        (False, [3, "a,b"], "3,a%2Cb"),
        (True, [3, 4], "3,4"),
        (False, OBJECT, "R,100,G,true"),
        (True, OBJECT, "R=100,G=true"),
    ],
)
def test_arrays_and_objects_in_the_path(explode: bool, value: Any, text: str) -> None:
    parameter = {"name": "id", "in": "path", "required": True, "explode": explode, "schema": {}}
    assert operation({"parameters": [parameter]}, "/x/{id}").request({"id": value}).path == f"/x/{text}"


# Bodies


def test_the_fields_of_a_body_become_parameters() -> None:
    part = {"type": "object", "properties": {"b": {"type": "integer"}}, "required": ["b"]}
    whole = {
        "allOf": [{"$ref": "#/components/schemas/Part"}, {"properties": {"c": {}}}],
        "properties": {"id": {"type": "integer", "readOnly": True}, "a": {"type": "string"}},
        "required": ["id", "a"],
    }
    schemas = {"Part": part, "Whole": whole}
    found = with_body({"$ref": "#/components/schemas/Whole"}, components={"schemas": schemas})
    assert set(found.tool.properties) == {"a", "b", "c"}
    assert set(found.tool.required) == {"a", "b"}
    assert found.media_type == "application/json"
    assert json.loads(found.request({"a": "x", "b": 1}).body or b"") == {"a": "x", "b": 1}


@pytest.mark.parametrize(
    "schema", [{"type": "array", "items": {}}, {"oneOf": [{"type": "object", "properties": {"a": {}}}]}, {}, True,
               {"type": "object", "additionalProperties": {"type": "string"}}]
)  # fmt: skip
def test_any_other_body_is_one_parameter(schema: Any) -> None:
    found = with_body(schema, media_type="application/vnd.api+json; charset=utf-8")
    assert list(found.tool.properties) == ["body"]
    assert found.tool.required == ("body",)
    assert found.request({"body": [1, {"a": None}]}).body == b'[1,{"a":null}]'


def test_a_body_that_may_be_left_out_is() -> None:
    schema = {"properties": {"a": {}}, "required": ["a"]}
    assert with_body(schema, required=False).tool.required == ()
    assert with_body(schema, required=False).request({}).body is None
    assert with_body({"properties": {"a": {}}}).request({}).body == b"{}"


def test_json_is_preferred_to_other_media_types() -> None:
    schema = {"schema": {"type": "array"}}
    content = {"text/plain": {}, "application/problem+json": schema, "application/json": schema, "*/*": schema}
    assert operation({"requestBody": {"content": content}}, method="put").media_type == "application/json"


@pytest.mark.parametrize(
    "node",
    [
        {"post": {"requestBody": {"content": {"multipart/form-data": {"schema": {}}}}}},
        {"post": {"servers": [{"url": "https://elsewhere.invalid"}]}},
        {"parameters": [{"name": "a", "in": "path", "style": "matrix", "schema": {}}], "post": {}},
    ],
)
def test_what_cannot_be_asked_is_skipped_with_a_warning(node: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        document = changed(paths={"/files/{a}": {"parameters": [{"name": "a", "in": "path", "schema": {}}], **node}})
        assert operations_from_openapi(document) == []
    assert "POST /files/{a} is skipped" in caplog.text


def test_a_get_has_no_body() -> None:
    found = operation({"requestBody": {"content": {"application/json": {"schema": {"properties": {"a": {}}}}}}})
    assert (dict(found.tool.properties), found.media_type) == ({}, None)


# Schemas


def test_what_a_plan_reads_stands_on_the_parameters_schema() -> None:
    sort = {"type": "string", "enum": ["a", "b"], "default": "a", "example": "b", "title": "Sort", "x-order": 1}
    found = with_query({"$ref": "#/components/schemas/Sort"}, components={"schemas": {"Sort": sort}},
                       description="How.", example="a", required=True)  # fmt: skip
    expected = {"type": "string", "enum": ["a", "b"], "default": "a", "description": "How.", "examples": ["a", "b"]}
    assert found.tool.parameters["properties"] == {"q": expected}
    assert "$defs" not in found.tool.parameters
    wrapped = with_query({"allOf": [{"$ref": "#/components/schemas/Sort"}], "default": "b"},
                         components={"schemas": {"Sort": sort}})  # fmt: skip
    assert wrapped.tool.properties["q"] == {"type": "string", "enum": ["a", "b"], "default": "b", "examples": ["b"]}


@pytest.mark.parametrize(
    ("schema", "more", "examples"),
    [
        ({"example": 1}, {}, [1]),
        ({"examples": [1, 2]}, {}, [1, 2]),
        ({"example": 3}, {"examples": {"one": {"value": 1}, "elsewhere": {"externalValue": "http://x"}}}, [1, 3]),
        ({"example": 1}, {"example": 1}, [1]),
        ({"example": None}, {}, [None]),
    ],
)
def test_examples_are_kept(schema: Any, more: Any, examples: list[Any]) -> None:
    assert with_query(schema, **more).tool.properties["q"]["examples"] == examples


def test_examples_of_bodies_are_shared_out() -> None:
    media = {"examples": {"first": {"value": {"a": 1, "z": 2}}, "second": {"value": {"a": 3}}}}
    assert with_body({"properties": {"a": {}, "b": {}}}, media=media).tool.properties == {
        "a": {"examples": [1, 3]}, "b": {}}  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": "integer", "nullable": False}, {"type": "integer"}),
        ({"minimum": 1, "exclusiveMinimum": True}, {"exclusiveMinimum": 1}),
        ({"maximum": 1, "exclusiveMaximum": False}, {"maximum": 1}),
        ({"exclusiveMinimum": 1}, {"exclusiveMinimum": 1}),
        ({"items": {"nullable": True, "type": "number"}}, {"items": {"type": ["number", "null"]}}),
        (
            {"nullable": True, "oneOf": [{"type": "string"}], "default": "x"},
            {"default": "x", "anyOf": [{"oneOf": [{"type": "string"}]}, {"type": "null"}]},
        ),
        ({"properties": {"nullable": {"example": 1}}}, {"properties": {"nullable": {"examples": [1]}}}),
        ({"enum": [{"$ref": "#/data"}]}, {"enum": [{"$ref": "#/data"}]}),
    ],
)
def test_the_dialect_of_3_0_is_translated(schema: Any, expected: Any) -> None:
    assert with_query(schema, version="3.0.3").tool.properties["q"] == expected


def test_fields_that_are_only_read_are_left_out_at_any_depth() -> None:
    inner = {"properties": {"id": {"readOnly": True}, "n": {}}, "required": ["id", "n"]}
    found = with_body({"properties": {"inner": inner}})
    assert found.tool.properties["inner"] == {"properties": {"n": {}}, "required": ["n"]}


TREE = {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}},
                                         "size": {"$ref": "#/components/schemas/a~1b~0c%20d"}}}  # fmt: skip


def test_circular_schemas_are_legal() -> None:
    schemas = {"Tree": TREE, "a/b~c d": {"type": "integer"}, "Unused": {"type": "string"}}
    found = with_query({"$ref": "#/components/schemas/Tree"}, components={"schemas": schemas})
    definitions = found.tool.parameters["$defs"]
    assert len(definitions) == 2
    assert {"type": "integer"} in definitions.values()
    assert "#/components" not in json.dumps(found.tool.parameters)
    tools = ToolSet([found.tool])
    call = tools.canonical(Call("x", {"q": {"children": [{"children": [{"size": "4"}]}]}}))
    assert call.arguments == {"q": {"children": [{"children": [{"size": 4}]}]}}
    assert not list(tools.signature("x").problems(call.arguments))
    wrong = {"q": {"children": [{"children": [{"size": "many"}]}]}}
    assert [problem.parameter for problem in tools.signature("x").problems(tools.canonical(Call("x", wrong)).arguments)]


def test_schemas_may_bring_their_own_definitions() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}, "n": {"type": "integer"}}}
    schema = {"$ref": "#/$defs/Node", "$defs": {"Node": node}}
    for found in (with_query(schema), with_query({"type": "array", "items": schema}), with_body(schema)):
        tools = ToolSet([found.tool])
        assert set(found.tool.parameters["$defs"]) == {"Node"}
        [name, *_] = found.tool.properties
        assert tools.canonical(Call("x", {name: {"n": "1"}}))
    body = {"type": "object", "properties": {"node": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": node}}
    found = with_body(body)
    assert ToolSet([found.tool]).canonical(Call("x", {"node": {"next": {"n": "1"}}})).arguments == {
        "node": {"next": {"n": 1}}}  # fmt: skip


def test_references_lead_to_any_place_of_the_document() -> None:
    document = {
        "openapi": "3.1.0",
        "paths": {
            "/a": {"$ref": "#/components/pathItems/A", "summary": "beside"},
            "/b": {"get": {"operationId": "b", "parameters": [{"$ref": "#/paths/~1c/get/parameters/0"}]}},
            "/c": {"get": {"operationId": "c", "parameters": [{"name": "n", "in": "query", "schema": {
                "$ref": "#/components/schemas/N/properties/inner"}}]}},
        },
        "components": {
            "pathItems": {"A": {"post": {"operationId": "a", "requestBody": {"$ref": "#/components/requestBodies/B"}}}},
            "requestBodies": {"B": {"$ref": "#/components/requestBodies/C"},
                              "C": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/N"}}}}},
            "schemas": {"N": {"type": "object", "properties": {"inner": {"type": "boolean"}}}},
        },
    }  # fmt: skip
    a, b, c = operations_from_openapi(document)
    assert a.tool.properties == {"inner": {"type": "boolean"}}
    assert b.tool.properties == c.tool.properties == {"n": {"type": "boolean"}}


def test_a_parameter_of_the_operation_replaces_that_of_the_path() -> None:
    paths = {
        "/x": {
            "parameters": [{"name": "n", "in": "query", "schema": {"type": "string"}}],
            "get": {"operationId": "x", "parameters": [{"name": "n", "in": "query", "schema": {"type": "integer"}}]},
        }
    }
    [found] = operations_from_openapi(changed(paths=paths))
    assert found.tool.properties == {"n": {"type": "integer"}}


# Keys


KEY = {"schemes": {"securitySchemes": {"k": {"type": "apiKey", "in": "query", "name": "appid"},
                                       "h": {"type": "apiKey", "in": "header", "name": "X-Key"}}}}  # fmt: skip


@pytest.mark.parametrize(
    ("security", "there"), [([{"k": []}], True), ([{"h": []}], False), ([], False), ([{}, {"h": [], "k": []}], True)]
)
def test_keys_in_the_query_are_parameters_that_hold_a_password(security: Any, there: bool) -> None:
    found = operation({"security": security}, components=KEY["schemes"], security=[{"k": []}])
    assert found.tool.properties == ({"appid": {"type": "string", "format": "password"}} if there else {})
    assert found.tool.required == ()


def test_a_key_that_is_declared_twice_is_one_parameter() -> None:
    node = {"parameters": [{"name": "appid", "in": "query", "required": True, "schema": {"type": "string"}}]}
    found = operation(node, components=KEY["schemes"])
    assert found.tool.properties == {"appid": {"type": "string", "format": "password"}}
    assert found.tool.required == ("appid",)


# What is not valid


@pytest.mark.parametrize(
    "document",
    [{}, {"swagger": "2.0", "paths": {}}, {"openapi": "2.0", "paths": {}}, {"openapi": None, "paths": {}},
     {"openapi": 3.1, "paths": {}}, {"openapi": "3.1.0"}, {"openapi": "3.1.0", "paths": []}],
)  # fmt: skip
def test_what_is_no_openapi_3_document_is_told(document: dict[str, Any]) -> None:
    with pytest.raises(RecordingError, match="not an OpenAPI 3 document"):
        operations_from_openapi(document)


def test_a_document_without_operations_has_no_tools() -> None:
    assert operations_from_openapi({"openapi": "3.0.3", "paths": {"x-more": 1}}) == []


def paths(node: Any) -> dict[str, Any]:
    return changed(paths={"/x": {"get": node}})


def query(**parameter: Any) -> dict[str, Any]:
    return paths({"operationId": "x", "parameters": [{"name": "q", "in": "query", **parameter}]})


def components(**parts: Any) -> dict[str, Any]:
    return {**query(schema={"$ref": "#/components/schemas/A"}), "components": {"schemas": parts}}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (None, "the OpenAPI document: an object is needed, not null"),
        ([], "an object is needed"),
        ("openapi: 3.1.0", "an object is needed"),
        (changed(paths={"/x": None}), "paths//x: an object"),
        (paths("text"), "GET /x: an object"),
        (paths({"parameters": [{"name": "n"}]}), "GET /x/parameters/0/in: a text"),
        (paths({"parameters": [{"in": "query"}]}), "GET /x/parameters/0/name: a text"),
        (paths({"parameters": None}), "GET /x/parameters: a list"),
        (paths({"parameters": [{"name": "n", "in": "body"}]}), "'body' is no place"),
        (paths({"operationId": 7}), "GET /x/operationId: a text"),
        (paths({"description": ["a"]}), "GET /x/description: a text"),
        (changed(paths={"/x/{id}": {"get": {}}}), "the path names 'id'"),
        (query(schema=7), "GET /x, parameter 'q': an object"),
        (query(schema={"type": "strin"}), r"GET /x \(x\): the schema of parameter 'q' is wrong"),
        (query(schema={"items": [1]}), "parameter 'q'/items: an object"),
        (query(schema={"allOf": {}}), "parameter 'q'/allOf: a list"),
        (query(schema={"properties": []}), "parameter 'q'/properties: an object"),
        (query(schema={"required": "a", "type": "object"}), "parameter 'q' is wrong"),
        (query(schema={"$dynamicRef": "#a"}), "not supported"),
        (query(schema={"$ref": "#/components/schemas/Nothing"}), "leads nowhere"),
        (query(schema={"$ref": "#/paths/~1x/get/parameters/9"}), "leads nowhere"),
        (query(schema={"$ref": "other.yaml#/A"}), "bundle the document"),
        (query(schema={"$ref": "https://there.invalid/a.json"}), "bundle the document"),
        (query(schema={"$ref": "#anchor"}), "JSON pointers"),
        (query(schema={"$ref": 7}), "a text is needed"),
        (query(content=[]), "content: an object"),
        (components(A={"$ref": "#/components/schemas/B"}, B={"$ref": "#/components/schemas/A"}),
         "circular .ref: #/components/schemas/A -> #/components/schemas/B -> #/components/schemas/A"),
        (components(A={"items": {"$ref": "#/components/schemas/B"}}, B={"$ref": "#/components/schemas/B"}),
         "circular .ref: #/components/schemas/B -> #/components/schemas/B"),
        ({**paths({"parameters": [{"$ref": "#/components/parameters/a"}]}), "components": {"parameters": {
            "a": {"$ref": "#/components/parameters/b"}, "b": {"$ref": "#/components/parameters/a"}}}},
         "circular .ref: #/components/parameters/a -> #/components/parameters/b -> #/components/parameters/a"),
        (changed(paths={"/x": {"$ref": "#/paths/~1x"}}), "circular"),
        (changed(paths={"/x": {"post": {"requestBody": {"$ref": "#/paths/~1x/post/requestBody"}}}}), "circular"),
        (changed(paths={"/x": {"post": {"requestBody": {"content": {"application/json": {"schema": {
            "allOf": [{"$ref": "#/paths/~1x/post/requestBody/content/application~1json/schema"}]}}}}}}}), "itself"),
        (changed(components={"securitySchemes": {"k": 7}}), "securitySchemes/k: an object"),
        (changed(components=[]), "components: an object"),
    ],
)  # fmt: skip
def test_a_malformed_document_is_told(document: Any, message: str) -> None:
    with pytest.raises(RecordingError, match=message):
        operations_from_openapi(document)


def test_a_document_that_is_nested_too_deeply_is_told() -> None:
    schema: dict[str, Any] = {}
    for _ in range(5000):
        schema = {"items": schema}
    with pytest.raises(RecordingError, match="deep"):
        operations_from_openapi(query(schema=schema))


def test_long_chains_of_schemas_are_followed() -> None:
    schemas: dict[str, Any] = {f"S{n}": {"items": {"$ref": f"#/components/schemas/S{n + 1}"}} for n in range(500)}
    found = with_query({"$ref": "#/components/schemas/S0"}, components={"schemas": {**schemas, "S500": {}}})
    assert len(found.tool.parameters["$defs"]) == 500


PIECES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["object", "query", "#/components/a", "q"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["$ref", "get", "post", "parameters", "requestBody", "content", "application/json", "schema", "properties",
         "allOf", "type", "items", "name", "in", "required", "/x", "a", "example", "examples", "security", "nullable",
         "$defs", "readOnly", "servers", "style"]), inner, max_size=5),
    max_leaves=25,
)  # fmt: skip


@given(PIECES, PIECES, PIECES)
def test_whatever_a_document_holds_it_is_read_or_refused(item: Any, node: Any, part: Any) -> None:
    for document in (
        {"openapi": "3.1.0", "paths": {"/x": item}, "components": part},
        {"openapi": "3.0.0", "paths": {"/x": {"post": node}}, "components": {"a": part}},
        {"openapi": "3.0.0", "paths": {"/x": {"post": {"parameters": [{"name": "q", "in": "query", "schema": node}]}}},
         "components": {"a": part}},
        {"openapi": "3.0.0", "paths": {"/x": {"post": {"requestBody": {"content": {"application/json": {
            "schema": node}}}}}}, "components": {"a": part}},
    ):  # fmt: skip
        with contextlib.suppress(RecordingError):
            for found in operations_from_openapi(document):
                ToolSet([found.tool]).canonical(Call(found.tool.name, {}))
