"""The values that a parameter's JSON Schema itself names."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.signatures import Parameter
from toolorch_env.recording.references import look_up

SMALL_RANGE = 12
"""Whole numbers between bounds are counted off if there are no more than these."""

_DEEPEST = 8
_WIDEST = 100


def schema_values(parameter: Parameter, root: Mapping[str, Any], limit: int) -> list[Any]:
    """Values that a parameter's schema names and that fit it: examples, choices, the default, a small range.

    Lists and objects are put together from the values of what they hold, objects with one field varied at a time.

    Args:
        parameter: the parameter.
        root: schema of the tool's arguments, which holds the definitions.
        limit: no more values than these, the first ones.
    """
    found: dict[bytes, Any] = {}
    for value in islice(_values(parameter.schema, root, _DEEPEST), _WIDEST * limit):
        try:
            value = parameter.read(value)
            written = canonical_json(value)
        except ValueError:  # no JSON value
            continue
        if value is not None and parameter.fits(value):
            found.setdefault(written, value)
        if len(found) == limit:
            break
    return list(found.values())


def _values(schema: Any, root: Mapping[str, Any], depth: int) -> Iterator[Any]:
    if not isinstance(schema, Mapping) or not depth:
        return
    if "$ref" in schema:
        yield from _values(look_up(root, schema["$ref"], "parameters"), root, depth - 1)
    for name in ("examples", "enum"):
        if isinstance(schema.get(name), (list, tuple)):
            yield from schema[name]
    for name in ("example", "default", "const"):
        if name in schema:
            yield schema[name]
    for name in ("anyOf", "oneOf", "allOf"):
        for option in schema.get(name, ()):
            yield from _values(option, root, depth - 1)
    yield from _typed_values(schema, root, depth)


def _typed_values(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Iterator[Any]:
    kinds = schema.get("type")
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind == "boolean":
            yield from (True, False)
        elif kind == "integer":
            yield from _small_range(schema)
        elif kind == "array":
            yield from _lists(schema, root, depth)
        elif kind == "object":
            yield from _objects(schema, root, depth)


def _small_range(schema: Mapping[str, Any]) -> Iterator[int]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None and isinstance(schema.get("exclusiveMinimum"), int):
        low = schema["exclusiveMinimum"] + 1
    if high is None and isinstance(schema.get("exclusiveMaximum"), int):
        high = schema["exclusiveMaximum"] - 1
    if isinstance(low, (int, float)) and isinstance(high, (int, float)) and high - low < SMALL_RANGE:
        yield from range(int(low), int(high) + 1)


def _lists(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Iterator[list[Any]]:
    items = list(islice(_values(schema.get("items"), root, depth - 1), _WIDEST))
    least = max(1, schema.get("minItems", 1))
    if least == 1:
        yield from ([item] for item in items)
    elif len(items) >= least:
        yield items[:least]


def _objects(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Iterator[dict[str, Any]]:
    properties = schema.get("properties", {})
    fields = {name: list(islice(_values(inner, root, depth - 1), _WIDEST)) for name, inner in properties.items()}
    required = list(schema.get("required", ()))
    if not any(fields.values()) or not all(fields.get(name) for name in required):
        return
    first = {name: fields[name][0] for name in required}
    if first:
        yield first
    for name, values in fields.items():
        yield from ({**first, name: value} for value in values)
