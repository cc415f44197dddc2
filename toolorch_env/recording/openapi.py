"""Tools from an OpenAPI 3 document."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from toolorch_env.core.errors import RecordingError
from toolorch_env.core.tools import Tool


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
    path_parameters: frozenset[str]

    def request(self, arguments: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]]:
        """Method, path and query of a call. Values go into the path percent-encoded.

        Raises:
            RecordingError: a value for the path is missing or empty.
        """
        path = self.path
        for name in self.path_parameters:
            value = str(arguments.get(name, ""))
            if not value:
                raise RecordingError(f"{self.tool.name}: the path needs a value for {name!r}")
            path = path.replace(f"{{{name}}}", quote(value, safe=""))
        return self.method, path, {k: v for k, v in arguments.items() if k not in self.path_parameters}


def operations_from_openapi(document: Mapping[str, Any]) -> list[Operation]:
    """The GET operations of an OpenAPI 3 document, in its order.

    Raises:
        RecordingError: it is no OpenAPI 3 document, or an operation has no ``operationId``.
    """
    if not str(document.get("openapi", "")).startswith("3.") or not isinstance(document.get("paths"), Mapping):
        raise RecordingError("this is not an OpenAPI 3 document")
    return list(_operations(document))


def _operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    for path, item in document["paths"].items():
        operation = item.get("get")
        if operation is None:
            continue
        if not operation.get("operationId"):
            raise RecordingError(f"GET {path} has no operationId to name the tool after")
        parameters = [p for p in (*item.get("parameters", ()), *operation.get("parameters", ())) if p["in"] != "header"]
        schema = {
            "type": "object",
            "properties": {parameter["name"]: _parameter_schema(parameter) for parameter in parameters},
            "required": [parameter["name"] for parameter in parameters if parameter.get("required")],
            "additionalProperties": False,
        }
        description = operation.get("description") or operation.get("summary") or ""
        in_path = frozenset(parameter["name"] for parameter in parameters if parameter["in"] == "path")
        yield Operation(Tool(operation["operationId"], description.strip(), schema), "GET", path, in_path)


def _parameter_schema(parameter: Mapping[str, Any]) -> dict[str, Any]:
    schema = dict(parameter.get("schema", {}))
    schema.pop("title", None)
    if parameter.get("description"):
        schema["description"] = parameter["description"]
    return schema
