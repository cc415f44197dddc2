"""Reading arguments through a tool's JSON Schema: which are the same, and which do not fit.

``2``, ``2.0`` and ``"2"`` are one number where the schema says number, and stay what they are where it says string.
An argument equal to its schema default equals leaving it out. Reading never fails: what does not fit its schema is
kept as it came, and :meth:`Signature.problems` names it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jsonschema_rs

from toolorch_env.core.canonical import canonical_json, plain, read_number
from toolorch_env.core.errors import ToolSchemaError
from toolorch_env.core.tools import Tool

Reader = Callable[[Any], Any]
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Problem:
    """Why arguments do not fit a tool.

    Attributes:
        kind: ``missing_parameter``, ``extra_parameter`` or ``ill_typed_parameter``.
        parameter: name of the parameter.
        message: one sentence for the agent.
    """

    kind: str
    parameter: str
    message: str


class Parameter:
    """One parameter of a tool: reads and checks its values."""

    def __init__(self, name: str, schema: Any, root: Mapping[str, Any], required: bool) -> None:
        self.name = name
        self.schema = schema
        self.required = required
        definitions = {key: root[key] for key in ("$defs", "definitions") if key in root}
        self._document = {**schema, **definitions} if isinstance(schema, Mapping) else schema
        self.read = _reader(schema, root)
        default = schema.get("default", _ABSENT) if isinstance(schema, Mapping) else _ABSENT
        if default is _ABSENT and not required and _nullable(schema):
            default = None
        self.has_default = default is not _ABSENT
        self.default = self.read(default) if self.has_default else None

    @cached_property
    def _validator(self) -> Any:
        try:
            return jsonschema_rs.validator_for(self._document, validate_formats=True)
        except ValueError as error:
            told = getattr(error, "message", error)
            raise ToolSchemaError(f"parameter {self.name!r} has an invalid JSON Schema: {told}") from None

    def is_default(self, value: Any) -> bool:
        """Whether a value, already read, is the default: leaving the parameter out would be the same."""
        if not self.has_default or value != self.default:
            return False
        # `1 == True` in Python, at any depth, and never in JSON
        return canonical_json(value) == canonical_json(self.default)

    def fits(self, value: Any) -> bool:
        """Whether a value, already read, satisfies the parameter's schema."""
        try:
            return bool(self._validator.is_valid(value))
        except ValueError:  # not JSON
            return False

    def complaint(self, value: Any) -> str:
        """Why a value does not fit, in words."""
        try:
            self._validator.validate(value)
        except ValueError as error:
            return str(getattr(error, "message", error))[:300]
        return ""

    @cached_property
    def is_choice(self) -> bool:
        """Whether the schema itself spells out the values (enumerations and booleans)."""
        return isinstance(self.schema, Mapping) and bool(
            {"enum", "const"} & set(self.schema) or self.schema.get("type") == "boolean"
        )


class Signature:
    """A tool's parameters, compiled for reading arguments at every call."""

    def __init__(self, tool: Tool) -> None:
        self.tool = tool
        required = set(tool.required)
        self._open = tool.parameters.get("additionalProperties") not in (None, False)
        self.parameters: dict[str, Parameter] = {
            name: Parameter(name, schema, tool.parameters, name in required) for name, schema in tool.properties.items()
        }

    def check(self) -> None:
        """Checks the schemas of all parameters.

        Raises:
            ToolSchemaError: one is not valid.
        """
        for parameter in self.parameters.values():
            parameter.fits(None)

    def read(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments in canonical form: values read through the schema, defaults left out.

        Raises:
            ValueError: an argument is not a JSON value.
        """
        read = {}
        for name, value in arguments.items():
            parameter = self.parameters.get(name)
            if parameter is None:
                read[name] = plain(value)
                continue
            value = parameter.read(value)
            if not (parameter.has_default and parameter.is_default(value)):
                read[name] = value
        return read

    def problems(self, arguments: Mapping[str, Any]) -> Iterator[Problem]:
        """What is wrong with arguments that were read, missing parameters first."""
        for parameter in self.parameters.values():
            if parameter.required and not parameter.has_default and parameter.name not in arguments:
                name = parameter.name
                yield Problem("missing_parameter", name, f"the required parameter {name!r} is missing")
        for name, value in arguments.items():
            if name not in self.parameters:
                if self._open:
                    continue
                yield Problem("extra_parameter", name, f"there is no parameter {name[:100]!r}")
            elif not self.parameters[name].fits(value):
                complaint = self.parameters[name].complaint(value)
                yield Problem("ill_typed_parameter", name, f"parameter {name!r}: {complaint}")


def _nullable(schema: Any) -> bool:
    if not isinstance(schema, Mapping):
        return False
    kind = schema.get("type")
    options = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    return kind == "null" or (isinstance(kind, list) and "null" in kind) or any(map(_nullable, options))


def _reader(schema: Any, root: Mapping[str, Any]) -> Reader:
    """A function that reads values through ``schema``; values that do not fit come back unchanged."""
    if not isinstance(schema, Mapping):
        return plain
    if "$ref" in schema:
        return _reference_reader(schema["$ref"], root)
    options = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    kind = schema.get("type")
    if "allOf" in schema:
        return _sequence_reader([_reader(part, root) for part in schema["allOf"]])
    if isinstance(kind, list):
        options = [{**schema, "type": name} for name in kind]
    if options:
        return _options_reader(options, root)
    if kind in ("number", "integer"):
        return _read_number
    if kind == "boolean":
        return _read_boolean
    if kind == "array":
        return _array_reader(schema, root)
    if kind == "object":
        return _object_reader(schema, root)
    return plain


def _read_number(value: Any) -> Any:
    if type(value) is str:
        number = read_number(value)
        return value if number is None else number
    return plain(value)


def _read_boolean(value: Any) -> Any:
    return {"true": True, "false": False}.get(value, value) if type(value) is str else plain(value)


def _array_reader(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Reader:
    item = _reader(schema.get("items"), root)
    unordered = bool(schema.get("uniqueItems"))

    def read(value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            return plain(value)
        items = [item(element) for element in value]
        return sorted(items, key=canonical_json) if unordered else items

    return read


def _object_reader(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Reader:
    required = set(schema.get("required", ()))
    inner = {
        name: Parameter(name, property_schema, root, name in required)
        for name, property_schema in schema.get("properties", {}).items()
    }

    def read(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return plain(value)
        result = {}
        for name, item in value.items():
            parameter = inner.get(name)
            item = parameter.read(item) if parameter else plain(item)
            if not (parameter and parameter.is_default(item)):
                result[name] = item
        return result

    return read


def _options_reader(options: list[Any], root: Mapping[str, Any]) -> Reader:
    """The first option that a value fits as it is decides, else the first that it fits once read."""
    alternatives = [Parameter("", option, root, True) for option in options]

    def read(value: Any) -> Any:
        for alternative in alternatives:
            if alternative.fits(value):
                return alternative.read(value)
        for alternative in alternatives:
            candidate = alternative.read(value)
            if alternative.fits(candidate):
                return candidate
        return plain(value)

    return read


def _sequence_reader(readers: list[Reader]) -> Reader:
    def read(value: Any) -> Any:
        for reader in readers:
            value = reader(value)
        return value

    return read


def _reference_reader(reference: str, root: Mapping[str, Any]) -> Reader:
    """Resolved at the first use, so that schemas may refer to themselves."""
    target = _resolve(reference, root)
    resolved: list[Reader] = []

    def read(value: Any) -> Any:
        if not resolved:
            resolved.append(_reader(target, root))
        return resolved[0](value)

    return read


def _resolve(reference: str, root: Mapping[str, Any]) -> Any:
    if not reference.startswith(("#/$defs/", "#/definitions/")):
        raise ToolSchemaError(f"only references to #/$defs/ and #/definitions/ are supported, not {reference!r}")
    node: Any = root
    for part in reference[2:].split("/"):
        part = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(node, Mapping) or part not in node:
            raise ToolSchemaError(f"the reference {reference!r} leads nowhere")
        node = node[part]
    return node
