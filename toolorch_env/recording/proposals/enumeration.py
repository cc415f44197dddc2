"""The values that a parameter's JSON Schema itself names."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.signatures import Parameter
from toolorch_env.recording.http.references import look_up

SMALL_RANGE = 12
"""Whole numbers between bounds are counted off if there are no more than these."""

_DEEPEST = 3
_WIDEST = 100

Followed = tuple[str, ...]
"""The references on the way to a schema: one that holds itself is not followed into itself."""


def schema_values(parameter: Parameter, root: Mapping[str, Any], limit: int) -> list[Any]:
    """Values that a parameter's schema names and that fit it: examples, choices, the default, a small range.

    Lists and objects are put together from the values of what they hold, objects with one field varied at a time.

    Args:
        parameter: the parameter.
        root: schema of the tool's arguments, which holds the definitions.
        limit: no more values than these, the first ones.
    """
    found: dict[bytes, Any] = {}
    for value in islice(_values(parameter.schema, root, ()), _WIDEST * limit):
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


def _values(schema: Any, root: Mapping[str, Any], followed: Followed) -> Iterator[Any]:
    if not isinstance(schema, Mapping):
        return
    reference = schema.get("$ref")
    if reference is not None and reference not in followed and len(followed) < _DEEPEST:
        yield from _values(look_up(root, reference, "parameters"), root, (*followed, reference))
    for name in ("examples", "enum"):
        if isinstance(schema.get(name), (list, tuple)):
            yield from schema[name]
    for name in ("example", "default", "const"):
        if name in schema:
            yield schema[name]
    for name in ("anyOf", "oneOf", "allOf"):
        for option in schema.get(name, ()):
            yield from _values(option, root, followed)
    yield from _typed_values(schema, root, followed)


def _typed_values(schema: Mapping[str, Any], root: Mapping[str, Any], followed: Followed) -> Iterator[Any]:
    kinds = schema.get("type")
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind == "boolean":
            yield from (True, False)
        elif kind == "integer":
            yield from _small_range(schema)
        elif kind == "array":
            yield from _lists(schema, root, followed)
        elif kind == "object":
            yield from _objects(schema, root, followed)


def _small_range(schema: Mapping[str, Any]) -> Iterator[int]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None and isinstance(schema.get("exclusiveMinimum"), int):
        low = schema["exclusiveMinimum"] + 1
    if high is None and isinstance(schema.get("exclusiveMaximum"), int):
        high = schema["exclusiveMaximum"] - 1
    if isinstance(low, (int, float)) and isinstance(high, (int, float)) and high - low < SMALL_RANGE:
        yield from range(int(low), int(high) + 1)


def _lists(schema: Mapping[str, Any], root: Mapping[str, Any], followed: Followed) -> Iterator[list[Any]]:
    items = list(islice(_values(schema.get("items"), root, followed), _WIDEST))
    least = max(1, schema.get("minItems", 1))
    if least == 1:
        yield from ([item] for item in items)
    elif len(items) >= least:
        yield items[:least]


def _objects(schema: Mapping[str, Any], root: Mapping[str, Any], followed: Followed) -> Iterator[dict[str, Any]]:
    properties = schema.get("properties", {})
    fields = {name: list(islice(_values(inner, root, followed), _WIDEST)) for name, inner in properties.items()}
    required = list(schema.get("required", ()))
    if not any(fields.values()) or not all(fields.get(name) for name in required):
        return
    first = {name: fields[name][0] for name in required}
    if first:
        yield first
    for name, values in fields.items():
        yield from ({**first, name: value} for value in values)
