"""Tool schemas as data sets publish them: JSON Schema, or the dialect of the Berkeley Function-Calling Leaderboard."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.errors import DataSetError, ToolSchemaError
from toolorch_env.core.tools import Tool
from toolorch_env.recording.importing.json_files import read_json, read_json_lines, unreadable

MISS_STATUS = 404
MISS_BODY: Mapping[str, Any] = {"detail": "Not found"}

_TYPES = {"dict": "object", "float": "number", "tuple": "array"}
_JSON_TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
_YES = (True, "true", "True", "yes")
_OF_SCHEMAS = ("properties", "patternProperties", "$defs", "definitions")
_OF_SCHEMA = ("items", "additionalProperties", "not")
_LISTS_OF_SCHEMAS = ("anyOf", "oneOf", "allOf", "prefixItems")


def read_tools(path: str | Path, *, miss_status: int = MISS_STATUS, miss_body: Any = MISS_BODY) -> tuple[Tool, ...]:
    """The tools of a file: JSON lines with one tool each, or a JSON array of tools.

    Args:
        path: of the file.
        miss_status: HTTP status that the API gives for unknown input.
        miss_body: body that it gives with it.

    Raises:
        DataSetError: the file is missing, holds no tools, or one of them is not valid; says which.
    """
    tools: dict[str, Tool] = {}
    for place, document in _documents(Path(path)):
        try:
            tool = as_tool(document, miss_status=miss_status, miss_body=miss_body)
        except ToolSchemaError as error:
            raise DataSetError(f"{place}: {error}") from None
        if tool.name in tools:
            raise DataSetError(f"{place}: a second tool is named {tool.name!r}")
        tools[tool.name] = tool
    if not tools:
        raise DataSetError(f"{path} holds no tools")
    return tuple(tools.values())


def _documents(path: Path) -> Iterator[tuple[str, Any]]:
    """The tool documents of a file, each with its place in words."""
    if _begins_array(path):
        return ((f"{path}, tool {number}", document) for number, document in enumerate(read_json(path)))
    return read_json_lines(path)


def _begins_array(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4096).lstrip()[:1] == b"["
    except OSError as error:
        raise unreadable(path, error) from None


def as_tool(document: Any, *, miss_status: int = MISS_STATUS, miss_body: Any = MISS_BODY) -> Tool:
    """The tool that a published document describes; what it says of responses is dropped.

    Args:
        document: ``{"name", "description", "parameters"}``, or that as the ``function`` of an OpenAI tool.
        miss_status: HTTP status that the API gives for unknown input.
        miss_body: body that it gives with it.

    Raises:
        ToolSchemaError: it is no such document, or its schema cannot be used.
    """
    if isinstance(document, Mapping) and isinstance(document.get("function"), Mapping):
        document = document["function"]
    if not isinstance(document, Mapping) or "name" not in document:
        raise ToolSchemaError(f"a tool is an object with `name`, `description` and `parameters`, not {document!r:.100}")
    name = document["name"]
    parameters = document.get("parameters") or {"type": "object", "properties": {}}
    try:
        canonical_json(parameters)  # refuses what is nested too deeply to be stored
        schema = json_schema(parameters)
    except (ValueError, ToolSchemaError) as error:
        raise ToolSchemaError(f"tool {name!r}: {error}") from None
    tool = Tool(name, str(document.get("description") or ""), schema, miss_status, miss_body)
    _check(tool)
    return tool


def _check(tool: Tool) -> None:
    if tool.parameters.get("type", "object") != "object":
        raise ToolSchemaError(f"tool {tool.name!r}: its parameters are of type {tool.parameters['type']!r}, not object")
    try:
        ToolSet([tool]).signature(tool.name).check()
    except ToolSchemaError as error:
        raise ToolSchemaError(f"tool {tool.name!r}: {error}") from None


def json_schema(schema: Any) -> Any:
    """A schema of the dialect as JSON Schema.

    ``dict``, ``float`` and ``tuple`` become ``object``, ``number`` and ``array``, ``any`` no type. What is marked
    ``optional`` is not required, and a parameter that is not described cannot be.

    Raises:
        ToolSchemaError: it has a type of neither, or is no schema.
    """
    if isinstance(schema, bool):
        return schema
    _check_shape(schema)
    translated = {key: _translated(key, value) for key, value in schema.items() if key not in ("optional", "type")}
    if "required" in schema and isinstance(schema.get("properties"), Mapping):
        translated["required"] = list(_required(schema))
    kinds = _kinds(schema.get("type"))
    return {"type": kinds, **translated} if kinds else translated


def _check_shape(schema: Any) -> None:
    if not isinstance(schema, Mapping):
        raise ToolSchemaError(f"a schema must be an object, not {schema!r:.100}")
    if not isinstance(schema.get("properties", {}), Mapping):
        raise ToolSchemaError(f"`properties` must be an object, not {schema['properties']!r:.100}")
    required = schema.get("required", [])
    if not (isinstance(required, list) and all(isinstance(name, str) for name in required)):
        raise ToolSchemaError(f"`required` must be a list of names, not {required!r:.100}")


def _translated(key: str, value: Any) -> Any:
    if key in _OF_SCHEMAS and isinstance(value, Mapping):
        return {name: json_schema(inner) for name, inner in value.items()}
    if key in _LISTS_OF_SCHEMAS and isinstance(value, list):
        return [json_schema(inner) for inner in value]
    return json_schema(value) if key in _OF_SCHEMA else value


def _kinds(kind: Any) -> Any:
    """One type or several, as JSON Schema has them; nothing where any will do."""
    if isinstance(kind, list):
        kinds = [_kinds(one) for one in kind]
        return kinds if all(kinds) else None
    if kind is None or kind == "any":
        return None
    translated = _TYPES.get(kind, kind) if isinstance(kind, str) else None
    if translated not in _JSON_TYPES:
        raise ToolSchemaError(f"there is no type {kind!r:.100}")
    return translated


def _required(schema: Mapping[str, Any]) -> Iterator[str]:
    optional = schema.get("optional")
    left_out = optional if isinstance(optional, list) else ()
    for name in schema["required"]:
        described = schema["properties"].get(name)
        if isinstance(described, Mapping) and described.get("optional") not in _YES and name not in left_out:
            yield name


def inferred_tool(
    name: str, examples: Iterable[Mapping[str, Any]], *, miss_status: int = MISS_STATUS, miss_body: Any = MISS_BODY
) -> Tool:
    """A tool of which nothing but calls is known.

    A parameter has a type where all examples agree on one (whole numbers and fractions are one), and none is required.

    Args:
        name: name of the tool.
        examples: arguments of calls of it.
        miss_status: HTTP status that the API gives for unknown input.
        miss_body: body that it gives with it.
    """
    kinds: dict[str, set[str]] = {}
    for arguments in examples:
        for parameter, value in arguments.items():
            kinds.setdefault(parameter, set()).add(_kind(value))
    properties = {
        parameter: {"type": next(iter(found))} if len(found) == 1 and "null" not in found else {}
        for parameter, found in kinds.items()
    }
    schema = {"type": "object", "properties": properties, "additionalProperties": True}
    return Tool(name, "", schema, miss_status, miss_body)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    kinds = ((bool, "boolean"), ((int, float), "number"), (str, "string"), (list, "array"))
    return next((kind for types, kind in kinds if isinstance(value, types)), "object")
