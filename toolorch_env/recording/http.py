"""Asking an HTTP API and recording what it answers."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx

from toolorch_env.core.calls import Call
from toolorch_env.core.errors import RecordingError
from toolorch_env.core.tools import Tool
from toolorch_env.recording.openapi import Operation


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API answered.

    Attributes:
        status: HTTP status.
        body: the JSON body, parsed.
        latency: seconds.
        recorded_at: Unix time in seconds.
    """

    status: int
    body: Any
    latency: float
    recorded_at: int


class HttpApi:
    """An HTTP API, called by tool name.

    Args:
        client: the client, with its base URL set.
        operations: the API's operations.
    """

    def __init__(self, client: httpx.Client, operations: Sequence[Operation]) -> None:
        self._client = client
        self._operations = {operation.tool.name: operation for operation in operations}

    def ask(self, call: Call) -> Answer:
        """The answer to a call, errors of the caller among them.

        Raises:
            RecordingError: the tool is unknown, or the server did not give an answer that can be recorded: it failed
                (5xx), could not be reached, or did not send JSON.
        """
        if call.tool not in self._operations:
            raise RecordingError(f"the API has no operation {call.tool!r}")
        method, path, query = self._operations[call.tool].request(call.arguments)
        begin = time.perf_counter()
        try:
            response = self._client.request(method, path, params=query)
            latency = time.perf_counter() - begin
            body = response.json()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise RecordingError(f"{method} {path} was not answered: {error!r}") from None
        except ValueError:
            raise RecordingError(
                f"{method} {path} was not answered with JSON (status {response.status_code})"
            ) from None
        if response.status_code >= 500:
            raise RecordingError(f"{method} {path} failed with status {response.status_code}")
        return Answer(response.status_code, body, latency, int(time.time()))


def with_miss_answers(tools: Sequence[Tool], answers: Sequence[tuple[Call, Answer]]) -> list[Tool]:
    """The tools with the error that each gives for unknown input: its most frequent 404 among ``answers``.

    A tool that never answered 404 keeps the default error.
    """
    bodies: dict[str, Counter[str]] = {}
    parsed: dict[str, Any] = {}
    for call, answer in answers:
        if answer.status == 404:
            text = repr(answer.body)
            parsed[text] = answer.body
            bodies.setdefault(call.tool, Counter())[text] += 1
    return [
        replace(tool, miss_body=parsed[bodies[tool.name].most_common(1)[0][0]]) if tool.name in bodies else tool
        for tool in tools
    ]
