"""Operations from an OpenAPI 3 document."""

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from toolorch_env.core.errors import RecordingError, ToolSchemaError
from toolorch_env.core.signatures import Signature
from toolorch_env.core.tools import Tool
from toolorch_env.recording.http.operations import Location, Operation, Placement, path_keys
from toolorch_env.recording.http.references import expect_list, expect_mapping, expect_text, resolved
from toolorch_env.recording.http.schemas import Located, SchemaReader, examples_of, unique_name

logger = logging.getLogger(__name__)

_METHODS = ("get", "put", "post", "delete", "patch", "query")
_READ_ONLY = frozenset({"get", "query"})
_STYLES = {"path": {"simple"}, "query": {"form", "spaceDelimited", "pipeDelimited", "deepObject"}}
_JSON = re.compile(r"(application/json|[\w.-]+/[\w.+-]+\+json|\*/\*|application/\*)\s*(;.*)?", re.IGNORECASE)


def operations_from_openapi(document: Any) -> list[Operation]:
    """The operations of an OpenAPI 3 document, in its order.

    Parameters in the path and in the query become parameters of the tool, and so do the fields of a JSON body; a body
    that is no object with fields becomes the parameter ``body``. Parameters in headers and cookies are left out, also
    required ones: give them as headers of the API. A key that the security schemes expect in the query is an optional
    parameter with ``format: password``. Fields marked ``readOnly`` are left out. ``head``, ``options`` and ``trace``
    are skipped; so are, with a warning in the log, operations whose body has no JSON form, operations of another
    server, and those with a path parameter in another style than ``simple``.

    Raises:
        RecordingError: it is no OpenAPI 3 document, or something in it is not valid; the message says what and where.
    """
    content = expect_mapping(document, "the OpenAPI document")
    version = content.get("openapi")
    if not isinstance(version, str) or not version.startswith("3."):
        found = "Swagger 2, convert it" if "swagger" in content else f"its `openapi` is {version!r}"
        raise RecordingError(f"this is not an OpenAPI 3 document: {found}")
    if not isinstance(content.get("paths"), Mapping):
        raise RecordingError("this is not an OpenAPI 3 document with operations: it has no `paths`")
    try:
        return list(_operations(content))
    except RecursionError:
        raise RecordingError("the OpenAPI document is nested too deeply") from None


def _operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    names: set[str] = set()
    for path, item in document["paths"].items():
        if str(path).startswith("x-"):
            continue
        item = resolved(document, item, f"paths/{path}")
        for method in _METHODS:
            if method in item:
                where = f"{method.upper()} {path}"
                source = _Source(document, str(path), method, item, expect_mapping(item[method], where), where)
                operation = _operation(source, names)
                if operation is not None:
                    names.add(operation.tool.name)
                    yield operation


@dataclass(frozen=True, slots=True)
class _Source:
    """Where one operation stands in its document."""

    document: Mapping[str, Any]
    path: str
    method: str
    item: Mapping[str, Any]
    node: Mapping[str, Any]
    where: str


@dataclass(frozen=True, slots=True)
class _Body:
    """A JSON body that an operation takes."""

    media_type: str
    media: Mapping[str, Any]
    required: bool


@dataclass(slots=True)
class _Draft:
    """The parameters of a tool in the making."""

    reader: SchemaReader
    properties: dict[str, Any] = field(default_factory=dict)
    required: list[str] = field(default_factory=list)
    placements: list[Placement] = field(default_factory=list)

    def add(self, placement: Placement, schema: Any, required: bool) -> None:
        """Adds one parameter."""
        self.placements.append(placement)
        self.properties[placement.parameter] = schema
        if required:
            self.required.append(placement.parameter)

    def free(self, name: str, location: Location) -> str:
        """A name that no parameter has yet: ``name`` itself where it can be."""
        prefix = "body" if location == "field" else location
        candidate = f"{prefix}_{name}" if name in self.properties else name
        return unique_name(candidate, self.properties, longest=max(64, len(candidate) + 4))

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the arguments object."""
        schema: dict[str, Any] = {
            "type": "object",
            "properties": self.properties,
            "required": self.required,
            "additionalProperties": False,
        }
        return {**schema, "$defs": self.reader.definitions} if self.reader.definitions else schema


def _operation(source: _Source, names: set[str]) -> Operation | None:
    parameters = _parameters(source)
    body = _json_body(source)
    reason = _reason_to_skip(source, parameters, body)
    if reason:
        logger.warning("%s is skipped: %s", source.where, reason)
        return None
    draft = _Draft(SchemaReader(source.document))
    _add_parameters(draft, source, parameters)
    if body is not None:
        _add_body(draft, body, source.where)
    description = source.node.get("description") or source.node.get("summary") or ""
    tool = Tool(
        unique_name(_tool_name(source), names),
        expect_text(description, f"{source.where}/description").strip(),
        draft.schema(),
        read_only=source.method in _READ_ONLY,
    )
    _check(tool, source.where)
    media_type, required = (body.media_type, body.required) if body else (None, False)
    return Operation(tool, source.method.upper(), source.path, tuple(draft.placements), media_type, required)


def _tool_name(source: _Source) -> str:
    given = source.node.get("operationId")
    name = f"{source.method} {source.path}" if given is None else expect_text(given, f"{source.where}/operationId")
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_") or source.method


def _parameters(source: _Source) -> list[Mapping[str, Any]]:
    """The operation's parameters in path and query; its own replace those of the path item."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for node in (source.item, source.node):
        for index, given in enumerate(expect_list(node.get("parameters", []), f"{source.where}/parameters")):
            where = f"{source.where}/parameters/{index}"
            parameter = resolved(source.document, given, where)
            name, location = (expect_text(parameter.get(key), f"{where}/{key}") for key in ("name", "in"))
            if location not in ("path", "query", "header", "cookie", "querystring"):
                raise RecordingError(f"{where}/in: {location!r} is no place for a parameter")
            found[name, location] = parameter
    in_path = path_keys(source.path)
    missing = [key for key in in_path if (key, "path") not in found]
    if missing:
        raise RecordingError(f"{source.where}: the path names {missing[0]!r}, but no path parameter has that name")
    return [item for (name, place), item in found.items() if place == "query" or (place == "path" and name in in_path)]


def _add_parameters(draft: _Draft, source: _Source, parameters: list[Mapping[str, Any]]) -> None:
    keys = _keys_in_query(source)
    for parameter in parameters:
        name, location = parameter["name"], parameter["in"]
        schema = _parameter_schema(draft.reader, parameter, f"{source.where}, parameter {name!r}")
        if location == "query" and name in keys and isinstance(schema, dict):
            keys.remove(name)
            schema["format"] = "password"
        draft.add(_placement(draft, parameter), schema, location == "path" or parameter.get("required") is True)
    for name in keys:
        placement = Placement(draft.free(name, "query"), name, "query")
        draft.add(placement, {"type": "string", "format": "password"}, required=False)


def _placement(draft: _Draft, parameter: Mapping[str, Any]) -> Placement:
    name, location = parameter["name"], parameter["in"]
    style = "json" if "content" in parameter else parameter.get("style", "simple" if location == "path" else "form")
    explode = parameter.get("explode", style == "form")
    return Placement(draft.free(name, location), name, location, style, explode is True)


def _parameter_schema(reader: SchemaReader, parameter: Mapping[str, Any], where: str) -> Any:
    holder: Mapping[str, Any] = parameter
    if "content" in parameter:
        contents = expect_mapping(parameter["content"], f"{where}/content").values()
        holder = expect_mapping(next(iter(contents), {}), f"{where}/content")
    schema = reader.read(Located(holder.get("schema", {})), where)
    if not isinstance(schema, dict):
        return schema
    if parameter.get("description"):
        schema["description"] = expect_text(parameter["description"], f"{where}/description")
    return _with_examples(schema, [*examples_of(parameter, where), *(examples_of(holder, where))])


def _with_examples(schema: Any, examples: list[Any]) -> Any:
    """The schema with these examples before its own."""
    if not examples or not isinstance(schema, dict):
        return schema
    merged: list[Any] = []
    for example in [*examples, *schema.get("examples", ())]:
        if example not in merged:
            merged.append(example)
    return {**schema, "examples": merged}


def _keys_in_query(source: _Source) -> list[str]:
    """Names of the API keys that the operation takes in its query; where nothing says which, of all that there are."""
    components = expect_mapping(source.document.get("components", {}), "components")
    schemes = expect_mapping(components.get("securitySchemes", {}), "components/securitySchemes")
    security = source.node.get("security", source.document.get("security", [{name: [] for name in schemes}]))
    names: list[str] = []
    for requirement in expect_list(security, f"{source.where}/security"):
        for name in expect_mapping(requirement, f"{source.where}/security"):
            scheme = resolved(source.document, schemes.get(name, {}), f"components/securitySchemes/{name}")
            if scheme.get("type") == "apiKey" and scheme.get("in") == "query" and scheme.get("name") not in names:
                names.append(expect_text(scheme.get("name"), f"components/securitySchemes/{name}/name"))
    return names


def _content(source: _Source) -> Mapping[str, Any]:
    """Media types of the operation's body; none for a GET, whose body has no meaning."""
    if source.method == "get" or "requestBody" not in source.node:
        return {}
    where = f"{source.where}/requestBody"
    body = resolved(source.document, source.node["requestBody"], where)
    return expect_mapping(body.get("content", {}), f"{where}/content")


def _json_body(source: _Source) -> _Body | None:
    content = _content(source)
    named = sorted((name for name in content if _JSON.fullmatch(name)), key=lambda name: "*" in name or "+" in name)
    if not named:
        return None
    where = f"{source.where}/requestBody"
    media_type = "application/json" if "*" in named[0] else named[0]
    required = resolved(source.document, source.node["requestBody"], where).get("required") is True
    return _Body(media_type, expect_mapping(content[named[0]], f"{where}/content/{named[0]}"), required)


def _add_body(draft: _Draft, body: _Body, where: str) -> None:
    located = Located(body.media.get("schema", {}))
    examples = examples_of(body.media, f"{where}/requestBody")
    found = draft.reader.fields(located, f"{where}/requestBody")
    if found is None:
        schema = _with_examples(draft.reader.read(located, f"{where}/requestBody"), examples)
        draft.add(Placement(draft.free("body", "body"), "", "body"), schema, body.required)
        return
    fields, required = found
    for name, item in fields.items():
        schema = draft.reader.read(item, f"{where}, field {name!r} of the body")
        schema = _with_examples(schema, [e[name] for e in examples if isinstance(e, Mapping) and name in e])
        draft.add(Placement(draft.free(name, "field"), name, "field"), schema, body.required and name in required)


def _reason_to_skip(source: _Source, parameters: list[Mapping[str, Any]], body: _Body | None) -> str | None:
    if body is None and _content(source):
        return f"it takes no JSON body, but {', '.join(map(str, _content(source)))}"
    servers = source.node.get("servers", source.item.get("servers"))
    if servers and servers != source.document.get("servers"):
        return "it is on a server of its own"
    for parameter in parameters:
        style = parameter.get("style")
        if style is not None and style not in _STYLES[parameter["in"]]:
            return f"the style {style!r} of its parameter {parameter['name']!r} is not supported"
    return None


def _check(tool: Tool, where: str) -> None:
    """Checks each parameter's schema by itself, to name the one that is wrong."""
    for name, schema in tool.properties.items():
        alone = {**tool.parameters, "properties": {name: schema}, "required": []}
        try:
            Signature(Tool(tool.name, "", alone)).check()
        except (ToolSchemaError, TypeError, AttributeError) as error:
            raise RecordingError(f"{where} ({tool.name}): the schema of parameter {name!r} is wrong: {error}") from None
