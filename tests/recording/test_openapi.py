"""Tools from OpenAPI documents."""

import copy
from typing import Any

import pytest
from hypothesis import given
from json_values import texts

from toolorch_env.core.calls import Call, ToolSet
from toolorch_env.core.errors import RecordingError
from toolorch_env.recording.openapi import operations_from_openapi

DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Library", "version": "1"},
    "paths": {
        "/books/{book_id}/pages/{page}": {
            "parameters": [{"name": "book_id", "in": "path", "required": True, "schema": {"type": "integer"}}],
            "get": {
                "operationId": "get_page",
                "summary": "One page.",
                "parameters": [
                    {"name": "page", "in": "path", "required": True, "schema": {"type": "string", "title": "Page"}},
                    {"name": "X-Key", "in": "header", "required": True, "schema": {"type": "string"}},
                    {
                        "name": "size",
                        "in": "query",
                        "description": "In points.",
                        "schema": {"type": "number", "default": 9},
                    },
                ],
            },
            "post": {"operationId": "write_page"},
        },
        "/books": {
            "get": {
                "operationId": "list_books",
                "summary": "Short.",
                "description": "  Lists all books.\n",
                "parameters": [{"name": "limit", "in": "query", "required": True, "schema": {"type": "integer"}}],
            }
        },
        "/upload": {"put": {"operationId": "upload"}},
        "/health": {"get": {"operationId": "health"}},
    },
}


def changed(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(DOCUMENT), **changes}


def test_get_operations_become_tools_in_the_documents_order() -> None:
    operations = operations_from_openapi(DOCUMENT)
    assert [operation.tool.name for operation in operations] == ["get_page", "list_books", "health"]
    assert {operation.method for operation in operations} == {"GET"}
    assert [operation.tool.description for operation in operations] == ["One page.", "Lists all books.", ""]
    assert [operation.path for operation in operations] == ["/books/{book_id}/pages/{page}", "/books", "/health"]


def test_parameters_become_a_json_schema() -> None:
    page, books, health = operations_from_openapi(DOCUMENT)
    assert page.tool.parameters == {
        "type": "object",
        "properties": {
            "book_id": {"type": "integer"},
            "page": {"type": "string"},
            "size": {"type": "number", "default": 9, "description": "In points."},
        },
        "required": ["book_id", "page"],
        "additionalProperties": False,
    }
    assert page.path_parameters == ("book_id", "page")
    assert books.path_parameters == ()
    assert dict(health.tool.properties) == {}


def test_the_document_is_left_as_it_was() -> None:
    document = changed()
    operations_from_openapi(document)
    assert document == DOCUMENT


def test_the_tools_can_be_called() -> None:
    tools = ToolSet(operation.tool for operation in operations_from_openapi(DOCUMENT))
    call = tools.canonical(Call("get_page", {"book_id": "7", "page": "7", "size": 9.0}))
    assert call.arguments == {"book_id": 7, "page": "7"}
    assert not list(tools.signature("get_page").problems(call.arguments))


def test_a_request_has_its_values_in_path_and_query() -> None:
    page = operations_from_openapi(DOCUMENT)[0]
    request = page.request({"book_id": 7, "page": "a/b c?#%ü", "size": 3})
    assert request == ("GET", "/books/7/pages/a%2Fb%20c%3F%23%25%C3%BC", {"size": "3"})


@given(texts.filter(bool))
def test_values_never_leave_their_part_of_the_path(text: str) -> None:
    page = operations_from_openapi(DOCUMENT)[0]
    _, path, query = page.request({"book_id": text, "page": "{book_id}"})
    assert path.count("/") == 4
    assert path.isascii()
    assert not set(path) & set(" ?#{}\\")
    assert query == {}


@pytest.mark.parametrize("arguments", [{"page": "x"}, {"book_id": "", "page": "x"}])
def test_a_request_without_a_value_for_the_path_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(RecordingError, match=r"get_page.*'book_id'"):
        operations_from_openapi(DOCUMENT)[0].request(arguments)


def test_booleans_in_the_path_are_written_as_in_the_query() -> None:
    assert operations_from_openapi(DOCUMENT)[0].request({"book_id": True, "page": "1"})[1] == "/books/true/pages/1"


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"swagger": "2.0", "paths": {}},
        {"openapi": "2.0", "paths": {}},
        {"openapi": None, "paths": {}},
        {"openapi": "3.1.0"},
        {"openapi": "3.1.0", "paths": []},
    ],
)
def test_what_is_no_openapi_3_document_is_told(document: dict[str, Any]) -> None:
    with pytest.raises(RecordingError, match="not an OpenAPI 3 document"):
        operations_from_openapi(document)


def test_a_document_without_operations_has_no_tools() -> None:
    assert operations_from_openapi({"openapi": "3.0.3", "paths": {}}) == []


def test_an_operation_without_a_name_is_told_with_its_path() -> None:
    with pytest.raises(RecordingError, match=r"GET /nameless has no operationId"):
        operations_from_openapi(changed(paths={"/nameless": {"get": {}}}))


def test_a_parameter_of_the_operation_replaces_that_of_the_path() -> None:
    paths = {
        "/x": {
            "parameters": [{"name": "n", "in": "query", "schema": {"type": "string"}}],
            "get": {"operationId": "x", "parameters": [{"name": "n", "in": "query", "schema": {"type": "integer"}}]},
        }
    }
    [operation] = operations_from_openapi(changed(paths=paths))
    assert operation.tool.properties == {"n": {"type": "integer"}}


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "openapi: 3.1.0",
        changed(paths={"/x": None}),
        changed(paths={"/x": {"get": "text"}}),
        changed(paths={"/x": {"get": {"operationId": "x", "parameters": [{"name": "n"}]}}}),
        changed(paths={"/x": {"get": {"operationId": "x", "parameters": [{"in": "query"}]}}}),
        changed(paths={"/x": {"get": {"operationId": "x", "parameters": None}}}),
    ],
)
def test_a_malformed_document_is_told(document: Any) -> None:
    with pytest.raises(RecordingError):
        operations_from_openapi(document)


COMPONENTS = {
    "parameters": {"limit": {"name": "limit", "in": "query", "schema": {"type": "integer"}}},
    "schemas": {"Sort": {"type": "string", "enum": ["a", "b"]}},
}


@pytest.mark.parametrize(
    "parameter",
    [
        {"$ref": "#/components/parameters/limit"},
        {"name": "s", "in": "query", "schema": {"$ref": "#/components/schemas/Sort"}},
    ],
)
def test_references_to_components_are_followed(parameter: dict[str, Any]) -> None:
    paths = {"/x": {"get": {"operationId": "x", "parameters": [parameter]}}}
    tools = ToolSet([operations_from_openapi(changed(paths=paths, components=COMPONENTS))[0].tool])
    assert tools.canonical(Call("x", {"limit": "3"} if "$ref" in parameter else {"s": "a"}))
