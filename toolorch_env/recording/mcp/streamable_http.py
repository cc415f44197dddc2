"""The Model Context Protocol over streamable HTTP, with a reason for every request that got no answer.

The SDK's transport turns most failures into protocol errors, which cannot be told from those that the server reports,
and lets the others end the connection. So the HTTP client below it keeps what happened, and never raises.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import mcp_types
from mcp.client.streamable_http import MCP_SESSION_ID, streamable_http_client

from toolorch_env.core.errors import UnansweredError

_CLOSING = {"connect": 5.0, "read": 5.0, "write": 5.0, "pool": 5.0}  # seconds, for ending a session
_EVENTS, _JSON = "text/event-stream", "application/json"


class HttpTransport:
    """A conversation with an MCP server over streamable HTTP.

    Args:
        url: the server's endpoint.
        headers: sent with every request.
        max_message_bytes: length of the longest message that is read.
        timeout: seconds for connecting and for sending.

    Attributes:
        fault: why the latest request has no answer, where the transport knows.
    """

    remarks = ""

    def __init__(self, url: str, headers: Mapping[str, str], max_message_bytes: int, timeout: float) -> None:
        self.fault: UnansweredError | None = None
        self._url = url
        self._headers = dict(headers)
        self._limit = max_message_bytes
        self._timeout = httpx2.Timeout(timeout, read=None)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Any]:
        """Streams to the server; the session that it opened, if any, is ended with them."""
        async with (
            _Client(self, self._limit, headers=self._headers, timeout=self._timeout) as client,
            streamable_http_client(self._url, http_client=client, max_sse_event_size=self._limit) as streams,
        ):
            yield streams


class _Client(httpx2.AsyncClient):
    """A client whose failures are kept in the transport and come back as responses."""

    def __init__(self, transport: HttpTransport, limit: int, **options: Any) -> None:
        super().__init__(**options)
        self._owner = transport
        self._limit = limit

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """The response; one without a body in place of what cannot be used or was not answered."""
        if request.method == "DELETE":
            request.extensions["timeout"] = _CLOSING
        try:
            response = await super().send(request, **options)
            if request.method != "POST":
                return response
            response.stream = _Body(response, self._owner, self._limit)
            fault = await _fault(response)
            if fault is None:
                return response
            await response.aclose()
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            fault = self._owner.fault or _unreachable(error)
        if request.method == "POST":
            self._owner.fault = fault
        return httpx2.Response(502, request=request)


class _Body(httpx2.AsyncByteStream):
    """The body of a response, up to a limit."""

    def __init__(self, response: httpx2.Response, owner: HttpTransport, limit: int) -> None:
        self._response = response
        self._stream = response.stream
        self._owner = owner
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        assert isinstance(self._stream, httpx2.AsyncByteStream)
        try:
            async for chunk in self._stream:
                size += len(chunk)
                if size > self._limit:
                    self._owner.fault = UnansweredError("too large", f"the answer has more than {self._limit} bytes")
                    raise httpx2.StreamError("too large")
                yield chunk
        except httpx2.HTTPError as error:
            self._owner.fault = _unreachable(error)
            raise httpx2.StreamError(str(error)) from None  # the one kind that the SDK does not let through
        if self._response.headers.get("content-type", "").lower().startswith(_EVENTS):  # else closed after the answer
            self._owner.fault = UnansweredError("server fault", "the server ended its stream without an answer")

    async def aclose(self) -> None:
        assert isinstance(self._stream, httpx2.AsyncByteStream)
        await self._stream.aclose()


async def _fault(response: httpx2.Response) -> UnansweredError | None:
    """Why a response is none of the protocol, ``None`` if it is. Errors of the protocol may come with any status."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    message = _message(await response.aread()) if kind == _JSON else None
    if response.status_code >= 400:
        return None if isinstance(message, mcp_types.JSONRPCError) else _refusal(response)
    if response.status_code != 200 or kind == _EVENTS or message is not None:
        return None
    return UnansweredError("not JSON", f"the server sent no message of the protocol, but {kind or 'nothing'}")


def _message(body: bytes) -> mcp_types.JSONRPCMessage | None:
    try:
        return mcp_types.jsonrpc_message_adapter.validate_json(body, by_name=False)
    except ValueError:
        return None


def _refusal(response: httpx2.Response) -> UnansweredError:
    status = response.status_code
    message = f"the server refused the request with HTTP status {status}"
    if status == 429:
        wait = response.headers.get("retry-after", "")
        return UnansweredError("busy", message, float(wait) if wait.isdecimal() else None)
    if status >= 500:
        return UnansweredError("server fault", message)
    if status == 404 and MCP_SESSION_ID in response.request.headers:
        return UnansweredError("exited", f"{message}: it ended the session")
    return UnansweredError("unsendable", message)


def _unreachable(error: Exception) -> UnansweredError:
    return UnansweredError("unreachable", f"the server cannot be reached: {error!r}")
