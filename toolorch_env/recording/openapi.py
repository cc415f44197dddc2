"""Tools from an OpenAPI 3 document."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from toolorch_env.core.errors import RecordingError
from toolorch_env.core.tools import Tool

_COMPONENT = "#/components/schemas/"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of an HTTP API and the tool that stands for it.

    Attributes:
        tool: the tool.
        method: HTTP method, upper case.
        path: path template, such as ``/airports/{iata}``.
        path_parameters: names of the parameters that go into the path; all others go into the query.
    """

    tool: Tool
    method: str
    path: str
    path_parameters: tuple[str, ...]

    def request(self, arguments: Mapping[str, Any]) -> tuple[str, str, dict[str, str | list[str]]]:
        """Method, path and query of a call. Values go into the path percent-encoded.

        Raises:
            RecordingError: a value for the path is missing, empty, or cannot stand in a path.
        """
        path = self.path
        for name in self.path_parameters:
            value = query_text(arguments.get(name, ""))
            if value in ("", ".", ".."):  # dots would be resolved, and another path be asked
                raise RecordingError(f"{self.tool.name}: the path cannot take {value!r} for {name!r}")
            path = path.replace(f"{{{name}}}", quote(value, safe=""))
        query = {
            name: [query_text(item) for item in value] if isinstance(value, list) else query_text(value)
            for name, value in arguments.items()
            if name not in self.path_parameters
        }
        return self.method, path, query


def query_text(value: Any) -> str:
    """A value as it is written into a URL."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def operations_from_openapi(document: Mapping[str, Any]) -> list[Operation]:
    """The GET operations of an OpenAPI 3 document, in its order.

    Raises:
        RecordingError: it is no OpenAPI 3 document, or an operation has no ``operationId``.
    """
    try:
        if not str(document["openapi"]).startswith("3."):
            raise RecordingError("this is not an OpenAPI 3 document")
        return list(_operations(document))
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise RecordingError(f"this is not an OpenAPI 3 document: {error!r}") from None


def _operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    for path, item in document["paths"].items():
        operation = item.get("get")
        if operation is None:
            continue
        if not operation.get("operationId"):
            raise RecordingError(f"GET {path} has no operationId to name the tool after")
        given = [*item.get("parameters", ()), *operation.get("parameters", ())]
        parameters = [
            p for p in (_resolved(parameter, document) for parameter in given) if p["in"] in ("path", "query")
        ]
        schema = {
            "type": "object",
            "properties": {parameter["name"]: _parameter_schema(parameter) for parameter in parameters},
            "required": [parameter["name"] for parameter in parameters if parameter.get("required")],
            "additionalProperties": False,
        }
        if _COMPONENT in repr(schema):
            schema["$defs"] = document["components"]["schemas"]
            schema = _with_local_references(schema)
        description = operation.get("description") or operation.get("summary") or ""
        in_path = tuple(dict.fromkeys(parameter["name"] for parameter in parameters if parameter["in"] == "path"))
        yield Operation(Tool(operation["operationId"], description.strip(), schema), "GET", path, in_path)


def _resolved(parameter: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = parameter.get("$ref")
    if reference is None:
        return parameter
    node: Any = document
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    resolved: Mapping[str, Any] = node
    return resolved


def _with_local_references(value: Any) -> Any:
    """The schema with references to the document's components turned into references to its own ``$defs``."""
    if isinstance(value, Mapping):
        return {
            key: item.replace(_COMPONENT, "#/$defs/") if key == "$ref" else _with_local_references(item)
            for key, item in value.items()
        }
    return [_with_local_references(item) for item in value] if isinstance(value, list) else value


def _parameter_schema(parameter: Mapping[str, Any]) -> dict[str, Any]:
    schema = dict(parameter.get("schema", {}))
    schema.pop("title", None)
    if parameter.get("description"):
        schema["description"] = parameter["description"]
    return schema
