"""What a recorder asks: an API with its tools, in sessions."""

import time
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from toolorch_env.core.calls import Call, ToolSet


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API answered.

    Attributes:
        status: HTTP status, or its nearest equivalent for other kinds of API: 200, or 400 for an error.
        body: the JSON body, parsed.
        latency: seconds.
        recorded_at: Unix time in seconds.
    """

    status: int
    body: Any
    latency: float
    recorded_at: int = field(default_factory=lambda: int(time.time()))


class Session(Protocol):
    """One conversation with an API. It is used by one task, one call after the other."""

    async def ask(self, call: Call) -> Answer:
        """The answer to a call, errors of the caller among them.

        Raises:
            UnansweredError: the API gave no answer that can be recorded.
        """
        ...


class Api(Protocol):
    """An API that can be recorded."""

    @property
    def source(self) -> str:
        """Where the API is, in words for the snapshot's provenance; holds no credentials."""
        ...

    @property
    def tools(self) -> ToolSet:
        """The API's tools, each marked as read-only or state-changing."""
        ...

    def session(self) -> AbstractAsyncContextManager[Session]:
        """A fresh session: what was done in other sessions does not show in it, where the API allows that.

        Raises:
            RecordingError: the API cannot be reached or started.
        """
        ...
