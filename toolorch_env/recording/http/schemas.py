"""JSON Schemas out of OpenAPI documents: made self-contained, and of one dialect (2020-12)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from toolorch_env.core.errors import RecordingError
from toolorch_env.recording.http.references import expect_list, expect_mapping, expect_text, look_up, pointer_parts

_SCHEMA = frozenset(
    {"items", "additionalItems", "additionalProperties", "unevaluatedItems", "unevaluatedProperties", "contains"}
    | {"propertyNames", "not", "if", "then", "else"}
)
_SCHEMA_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_SCHEMA_MAPPINGS = frozenset({"properties", "patternProperties", "dependentSchemas"})
_DROPPED = frozenset(
    {"title", "nullable", "example", "examples", "discriminator", "xml", "externalDocs", "deprecated", "readOnly"}
    | {"$defs", "definitions", "$schema", "$id", "$anchor", "$comment"}
)
_DEFINITIONS = ("#/$defs/", "#/definitions/")
_OWN = frozenset({"$ref", "$defs", "definitions"})
_CHOICES = frozenset({"anyOf", "oneOf"})
_ANNOTATIONS = frozenset({"description", "title", "default", "example", "examples", "nullable", "deprecated"})
_DEEPEST_COMPOSITION = 50


@dataclass(frozen=True, slots=True)
class Located:
    """A schema as it stands in the document, and the schemas around it, whose definitions it may name."""

    schema: Any
    around: tuple[Mapping[str, Any], ...] = ()


@dataclass(slots=True)
class SchemaReader:
    """Reads the schemas of one tool. References become ``#/$defs/Name``, and what they lead to is collected.

    Attributes:
        document: the OpenAPI document.
        definitions: the definitions that were reached so far, by name.
    """

    document: Mapping[str, Any]
    definitions: dict[str, Any] = field(default_factory=dict)
    _names: dict[int, str] = field(default_factory=dict)
    _waiting: list[tuple[str, Located]] = field(default_factory=list)

    def read(self, located: Located, where: str) -> Any:
        """A parameter's schema. A reference at its top is replaced by its target, for type and default to be seen.

        Raises:
            RecordingError: it is no schema, or a reference in it leads out of the document, nowhere, or to itself.
        """
        schema = self._read(self._opened(located, where), where)
        while self._waiting:
            name, target = self._waiting.pop()
            self.definitions[name] = self._read(self._followed(target, name), f"the schema {name}")
        return schema

    def fields(self, located: Located, where: str) -> tuple[dict[str, Located], set[str]] | None:
        """The fields of an object and which of them are required. Those that are only read are left out.

        ``None`` where the schema does not spell its fields out.

        Raises:
            RecordingError: as for :meth:`read`.
        """
        fields: dict[str, Located] = {}
        required: set[str] = set()
        if not self._collect_fields(located, where, fields, required) or not fields:
            return None
        written = {name: item for name, item in fields.items() if not self._read_only(item, f"{where}/{name}")}
        return written, required & written.keys()

    def _collect_fields(
        self, located: Located, where: str, fields: dict[str, Located], required: set[str], depth: int = 0
    ) -> bool:
        if depth > _DEEPEST_COMPOSITION:
            raise RecordingError(f"{where}: allOf leads back to itself")
        located = self._followed(located, where)
        if isinstance(located.schema, bool):
            return False
        schema = expect_mapping(located.schema, where)
        kind = schema.get("type", "object")
        if (kind != "object" and "object" not in (kind if isinstance(kind, list) else ())) or _CHOICES & schema.keys():
            return False
        around = _around(located)
        properties = expect_mapping(schema.get("properties", {}), f"{where}/properties")
        fields.update({str(name): Located(item, around) for name, item in properties.items()})
        required.update(map(str, expect_list(schema.get("required", []), f"{where}/required")))
        parts = expect_list(schema.get("allOf", []), f"{where}/allOf")
        return all(self._collect_fields(Located(p, around), where, fields, required, depth + 1) for p in parts)

    def _opened(self, located: Located, where: str) -> Located:
        """The schema with a reference at its top, also one that is all of its ``allOf``, replaced by its target."""
        located = self._followed(located, where)
        parts = located.schema.get("allOf") if isinstance(located.schema, Mapping) else None
        if not (isinstance(parts, list) and len(parts) == 1 and isinstance(parts[0], Mapping) and "$ref" in parts[0]):
            return located
        inner = self._followed(Located(parts[0], _around(located)), where)
        beside = {key: item for key, item in located.schema.items() if key != "allOf"}
        if not isinstance(inner.schema, Mapping) or inner.schema.keys() & beside.keys() - _ANNOTATIONS:
            return located
        return Located({**inner.schema, **beside}, inner.around)

    def _followed(self, located: Located, where: str) -> Located:
        """The end of a chain of references. What stands beside a reference takes precedence."""
        seen: list[str] = []
        beside: dict[str, Any] = {}
        while isinstance(located.schema, Mapping) and "$ref" in located.schema:
            reference = expect_text(located.schema["$ref"], where)
            if reference in seen:
                raise RecordingError(f"{where}: circular $ref: {' -> '.join([*seen, reference])}")
            seen.append(reference)
            beside = {**{key: item for key, item in located.schema.items() if key not in _OWN}, **beside}
            located = self._looked_up(reference, _around(located), where)
        if beside and isinstance(located.schema, Mapping):
            return Located({**located.schema, **beside}, located.around)
        return located

    def _looked_up(self, reference: str, around: tuple[Mapping[str, Any], ...], where: str) -> Located:
        """What a reference leads to; ``#/$defs/`` means the definitions of the nearest schema around that has it."""
        if reference.startswith(_DEFINITIONS):
            first, second, *_ = pointer_parts(reference)
            for depth, schema in enumerate(around):
                entries = schema.get(first)
                if isinstance(entries, Mapping) and second in entries:
                    return Located(look_up(schema, reference, where), around[depth:])
        return Located(look_up(self.document, reference, where))

    def _read(self, located: Located, where: str) -> Any:
        if isinstance(located.schema, bool):
            return located.schema
        schema, around = expect_mapping(located.schema, where), _around(located)
        read = {
            key: self._read_keyword(key, Located(item, around), f"{where}/{key}")
            for key, item in schema.items()
            if key not in _DROPPED and not key.startswith("x-")
        }
        self._drop_read_only(read, Located(schema, around), where)
        _write_as_2020_12(read, schema, where)
        return _nullable(read) if schema.get("nullable") is True else read

    def _read_keyword(self, key: str, located: Located, where: str) -> Any:
        value, around = located.schema, located.around
        if key in _SCHEMA:
            return self._read(located, where)
        if key in _SCHEMA_LISTS:
            items = enumerate(expect_list(value, where))
            return [self._read(Located(item, around), f"{where}/{index}") for index, item in items]
        if key in _SCHEMA_MAPPINGS:
            named = expect_mapping(value, where).items()
            return {name: self._read(Located(item, around), f"{where}/{name}") for name, item in named}
        if key == "$ref":
            return self._reference(expect_text(value, where), around, where)
        if key in ("$dynamicRef", "$recursiveRef"):
            raise RecordingError(f"{where}: this keyword is not supported: write a $ref")
        return value

    def _reference(self, reference: str, around: tuple[Mapping[str, Any], ...], where: str) -> str:
        target = self._looked_up(reference, around, where)
        name = self._names.get(id(target.schema))
        if name is None:
            name = unique_name(re.sub(r"[^\w.-]+", "_", pointer_parts(reference)[-1]) or "_", self.definitions)
            self._names[id(target.schema)] = name
            self.definitions[name] = True  # the name is taken; what it stands for is read later, as it may be circular
            self._waiting.append((name, target))
        return f"#/$defs/{name}"

    def _read_only(self, located: Located, where: str) -> bool:
        schema = self._followed(located, where).schema
        return isinstance(schema, Mapping) and schema.get("readOnly") is True

    def _drop_read_only(self, read: dict[str, Any], located: Located, where: str) -> None:
        """Drops the fields that a caller must not send."""
        properties = located.schema.get("properties", {})
        dropped = {name for name, item in properties.items() if self._read_only(Located(item, located.around), where)}
        if dropped:
            read["properties"] = {name: item for name, item in read["properties"].items() if name not in dropped}
            read["required"] = [name for name in read.get("required", ()) if name not in dropped]


def _around(located: Located) -> tuple[Mapping[str, Any], ...]:
    """The schemas whose definitions what is inside may name: this one among them, where it brings some."""
    schema = located.schema
    if isinstance(schema, Mapping) and ("$defs" in schema or "definitions" in schema):
        return (schema, *located.around)
    return located.around


def unique_name(name: str, taken: Any, longest: int = 64) -> str:
    """``name``, cut to ``longest`` characters, with a number appended where it is taken already."""
    candidate, number = name[:longest], 1
    while candidate in taken:
        number += 1
        candidate = f"{name[: longest - len(str(number)) - 1]}_{number}"
    return candidate


def examples_of(node: Mapping[str, Any], where: str) -> list[Any]:
    """Examples that stand at a parameter, a media type or a schema: ``example`` and ``examples`` in all their forms."""
    examples = [node["example"]] if "example" in node else []
    many = node.get("examples", [])
    if isinstance(many, Mapping):
        many = [item["value"] for item in many.values() if isinstance(item, Mapping) and "value" in item]
    for example in expect_list(many, f"{where}/examples"):
        if example not in examples:
            examples.append(example)
    return examples


def _write_as_2020_12(read: dict[str, Any], schema: Mapping[str, Any], where: str) -> None:
    """Turns what OpenAPI 3.0 writes in its own way into JSON Schema 2020-12, in place."""
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(read.get(exclusive), bool) and read.pop(exclusive) and bound in read:
            read[exclusive] = read.pop(bound)
    examples = examples_of(schema, where)
    if examples:
        read["examples"] = examples


def _nullable(read: dict[str, Any]) -> dict[str, Any]:
    kind = read.get("type")
    if isinstance(kind, str):
        return {**read, "type": [kind, "null"]}
    if {"$ref", "allOf", "anyOf", "oneOf"} & read.keys():
        outside = {key: item for key, item in read.items() if key in ("description", "default", "examples")}
        return {**outside, "anyOf": [{k: v for k, v in read.items() if k not in outside}, {"type": "null"}]}
    return read
