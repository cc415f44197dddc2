"""Tools: what can be called, and with which parameters."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from toolorch_env.core.errors import ToolSchemaError


@dataclass(frozen=True, slots=True)
class Tool:
    """One callable API operation.

    Attributes:
        name: unique in its snapshot.
        description: what it does, in words.
        parameters: JSON Schema of the arguments object (``type: object`` with ``properties`` and ``required``).
        miss_status: HTTP status of the error that the API gives for unknown input.
        miss_body: JSON body of that error.
        read_only: whether calls leave the API's state as it was.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    miss_status: int = 404
    miss_body: Any = field(default_factory=lambda: {"detail": "Not found"})
    read_only: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ToolSchemaError(f"a tool needs a non-empty name, got {self.name!r}")
        if not isinstance(self.parameters, Mapping) or not isinstance(self.parameters.get("properties", {}), Mapping):
            raise ToolSchemaError(f"tool {self.name!r}: `parameters` must be a JSON Schema object with `properties`")

    @property
    def properties(self) -> Mapping[str, Any]:
        """JSON Schema of each parameter, by name."""
        properties: Mapping[str, Any] = self.parameters.get("properties", {})
        return properties

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the parameters without which a call is not valid."""
        return tuple(self.parameters.get("required", ()))

    def as_openai(self, *, brief: bool = False) -> dict[str, Any]:
        """The tool as language-model APIs take it: ``{"type": "function", "function": {...}}``.

        Args:
            brief: without what is only told to readers: descriptions, titles, examples.
        """
        if brief:
            return {"type": "function", "function": {"name": self.name, "parameters": _without_words(self.parameters)}}
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}


_WORDS = frozenset({"$comment", "description", "example", "examples", "title"})
_BY_NAME = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
"""Keywords whose entries have names of their own, which may be any word."""

_VALUES = frozenset({"const", "default", "enum"})


def _without_words(schema: Any) -> Any:
    """A JSON Schema that allows the same values, without annotations for readers."""
    if isinstance(schema, list):
        return [_without_words(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {keyword: _kept(keyword, part) for keyword, part in schema.items() if keyword not in _WORDS}


def _kept(keyword: str, part: Any) -> Any:
    if keyword in _VALUES:
        return part
    if keyword in _BY_NAME and isinstance(part, Mapping):
        return {name: _without_words(each) for name, each in part.items()}
    return _without_words(part)
