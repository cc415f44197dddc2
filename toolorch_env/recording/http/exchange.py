"""One HTTP request and its response: redirects, statuses, and what counts as an answer."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from toolorch_env.core.errors import UnansweredError
from toolorch_env.recording.http.bodies import read_body

MAX_REDIRECTS = 5
_BUSY = frozenset({408, 425, 429})


class SharedTransport(httpx.AsyncBaseTransport):
    """A transport that outlives the clients that use it."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Passes the request on. A response that was made with its content is made one that can be streamed."""
        response = await self._transport.handle_async_request(request)
        stream, extensions = response.stream, response.extensions
        return httpx.Response(response.status_code, headers=response.headers, stream=stream, extensions=extensions)


async def exchange(client: httpx.AsyncClient, request: httpx.Request, max_bytes: int) -> tuple[int, bytes]:
    """Status and body of what is answered to a request. Redirects are followed on the same origin.

    Raises:
        UnansweredError: the status is none of an answer, or the body is too large or not encoded as it says.
    """
    for _ in range(MAX_REDIRECTS + 1):
        response = await client.send(request, stream=True)
        try:
            following = response.next_request
            if following is None or not _same_origin(request.url, following.url):
                _check_status(response)
                return response.status_code, await read_body(response, max_bytes)
            request = following
        finally:
            await response.aclose()
    raise UnansweredError("not JSON", f"more than {MAX_REDIRECTS} redirects")


def _check_status(response: httpx.Response) -> None:
    status = response.status_code
    if status in _BUSY:
        raise UnansweredError("busy", f"status {status}", _retry_after(response))
    if status >= 500:
        raise UnansweredError("server fault", f"status {status}", _retry_after(response))
    if 300 <= status < 400:
        raise UnansweredError("not JSON", f"status {status}: a redirect that leads elsewhere is not followed")


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds that the API asks to wait, 0 or more; ``None`` where it does not say, or not in a form that is known."""
    value = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]*)?", value):
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def _same_origin(left: httpx.URL, right: httpx.URL) -> bool:
    """Whether two URLs are of one server; the encrypted way to it counts as the same."""
    if left.host != right.host:
        return False
    if (left.scheme, right.scheme) == ("http", "https"):
        return left.port is None and right.port is None
    return left.scheme == right.scheme and left.port == right.port
