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

    def as_openai(self) -> dict[str, Any]:
        """The tool as language-model APIs take it: ``{"type": "function", "function": {...}}``."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}
