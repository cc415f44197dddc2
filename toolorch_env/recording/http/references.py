"""``$ref`` in OpenAPI documents, and the checks of what they lead to."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from toolorch_env.core.errors import RecordingError


def expect_mapping(value: Any, where: str) -> Mapping[str, Any]:
    """``value``, where it is an object.

    Raises:
        RecordingError: it is none; the message says where.
    """
    if not isinstance(value, Mapping):
        raise RecordingError(f"{where}: an object is needed, not {_shown(value)}")
    return value


def expect_list(value: Any, where: str) -> list[Any]:
    """``value``, where it is a list.

    Raises:
        RecordingError: it is none; the message says where.
    """
    if not isinstance(value, list):
        raise RecordingError(f"{where}: a list is needed, not {_shown(value)}")
    return value


def expect_text(value: Any, where: str) -> str:
    """``value``, where it is a text.

    Raises:
        RecordingError: it is none; the message says where.
    """
    if not isinstance(value, str):
        raise RecordingError(f"{where}: a text is needed, not {_shown(value)}")
    return value


def look_up(document: Mapping[str, Any], reference: Any, where: str) -> Any:
    """What a reference leads to in the document.

    Raises:
        RecordingError: it leads out of the document, or nowhere.
    """
    reference = expect_text(reference, f"{where}/$ref")
    if not reference.startswith("#"):
        raise RecordingError(
            f"{where}: $ref leads to another document, {reference!r}: bundle the document into one file"
        )
    if not reference.startswith("#/"):
        raise RecordingError(f"{where}: only JSON pointers (#/...) are followed, not {reference!r}")
    node: Any = document
    for part in pointer_parts(reference):
        try:
            node = node[int(part)] if isinstance(node, list) else node[part]
        except (KeyError, IndexError, ValueError, TypeError):
            raise RecordingError(f"{where}: the reference {reference!r} leads nowhere") from None
    return node


def pointer_parts(reference: str) -> list[str]:
    """The steps of a JSON pointer in a fragment, unescaped."""
    return [part.replace("~1", "/").replace("~0", "~") for part in unquote(reference[2:]).split("/")]


def resolved(document: Mapping[str, Any], value: Any, where: str) -> Mapping[str, Any]:
    """``value``, or the object that its chain of references leads to. What stands beside a ``$ref`` takes precedence.

    Raises:
        RecordingError: a reference leads out of the document, nowhere, or in a circle.
    """
    seen: list[str] = []
    beside: dict[str, Any] = {}
    value = expect_mapping(value, where)
    while "$ref" in value:
        reference = str(value["$ref"])
        if reference in seen:
            raise RecordingError(f"{where}: circular $ref: {' -> '.join([*seen, reference])}")
        seen.append(reference)
        beside = {**{key: item for key, item in value.items() if key != "$ref"}, **beside}
        value = expect_mapping(look_up(document, value["$ref"], where), reference)
    return {**value, **beside} if beside else value


def _shown(value: Any) -> str:
    return "null" if value is None else f"{type(value).__name__} {str(value)[:60]!r}"
