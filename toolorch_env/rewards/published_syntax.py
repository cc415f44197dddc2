"""When a call counts as equal to a reference call in the Berkeley Function-Calling Leaderboard's syntax check.

The rule is that of BFCL's checker for Python (package ``bfcl-eval``), with the reference arguments as the one possible
answer to each parameter. It is written down here for :mod:`toolorch_env.rewards.published` alone: it is laxer than
ToolOrch's own equality where texts differ in case, blanks or punctuation, and stricter where types differ.
"""

from collections.abc import Mapping
from typing import Any

from toolorch_env.core.tools import Tool

_TYPES: dict[str, type[Any]] = {
    "string": str,
    "any": str,
    "integer": int,
    "number": float,
    "float": float,
    "boolean": bool,
    "array": list,
    "tuple": list,
    "object": dict,
    "dict": dict,
}
_IGNORED = str.maketrans(dict.fromkeys(" ,./-_*^") | {"'": '"'})


def accepts(tool: Tool, arguments: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether the check accepts arguments for a reference call.

    Args:
        tool: the tool that both call.
        arguments: the call's arguments, as the agent wrote them.
        wanted: the reference call's.
    """
    if not arguments.keys() <= wanted.keys() & tool.properties.keys():
        return False
    needed = {*tool.required, *(name for name, value in wanted.items() if value != "")}
    return needed <= arguments.keys() and all(
        _same(value, wanted[name], tool.properties[name]) for name, value in arguments.items()
    )


def standardised(text: str) -> str:
    """A text without blanks and ``,./-_*^``, in lower case, with double quotes only."""
    return text.translate(_IGNORED).lower()


def _same(value: Any, wanted: Any, schema: Any) -> bool:
    expected = _type_of(schema, wanted)
    kind = float if expected is float and type(value) is int else type(value)
    if kind is not expected:  # the reference may itself be of another type than its schema says
        return wanted != "" and type(value) is type(wanted) and bool(value == wanted)
    if type(wanted) is not expected:
        return bool(value == (wanted if wanted != "" else []))  # an empty text is read as an empty list there
    if expected is str:
        return standardised(value) == standardised(wanted)
    if expected is dict:
        return not value and not wanted  # never compared key by key: the check expects lists of possible answers there
    return _same_items(value, wanted, schema.get("items")) if expected is list else bool(value == wanted)


def _same_items(values: list[Any], wanted: list[Any], schema: Any) -> bool:
    if isinstance(schema, Mapping) and _type_of(schema, None) is dict:
        return not values and not wanted
    items = [standardised(item) if type(item) is str else item for item in values]
    if items != [standardised(item) if type(item) is str else item for item in wanted]:
        return False
    first = next((item for item in wanted if item != ""), None)
    return all(type(item) in (_type_of(schema, item), type(first)) for item in values)


def _type_of(schema: Any, value: Any) -> type[Any]:
    """The Python type that a schema names, that of ``value`` where it names none or several."""
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    return _TYPES.get(kind, type(value)) if isinstance(kind, str) else type(value)
