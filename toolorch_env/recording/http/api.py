"""An HTTP API, to be recorded."""

import asyncio
import contextlib
import re
import ssl
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

import httpx
import orjson

from toolorch_env.core.calls import Call, ToolSet
from toolorch_env.core.errors import ConfigurationError, UnansweredError
from toolorch_env.core.version import VERSION
from toolorch_env.recording.api import Answer
from toolorch_env.recording.http.bodies import ACCEPT_ENCODING
from toolorch_env.recording.http.documents import is_loopback, is_url, load_document
from toolorch_env.recording.http.exchange import SharedTransport, exchange
from toolorch_env.recording.http.openapi import operations_from_openapi
from toolorch_env.recording.http.operations import Operation, Request
from toolorch_env.recording.redaction import Redactor, secrets_of_headers, secrets_of_url

MAX_RESPONSE_BYTES = 4 * 2**20


class HttpApi:
    """An HTTP API: its operations are asked over HTTP/1.1, in sessions of their own cookies and connection.

    Redirects are followed on the same origin only. The proxies of the environment are used, but not for this machine.
    Credentials are no arguments of a call: they are taken out of the tools, sent with each request, and kept out of
    tools, answers, messages and the HTTP client's logs.

    Args:
        operations: the API's operations.
        base_url: URL that their paths are appended to. A user and password in it are sent as Basic authentication.
        headers: sent with each request. All but those that are plainly no secret (``Accept-Language``) are kept secret.
        credentials: values of parameters that are credentials, by name.
        credential_names: names of parameters and fields that hold credentials besides the usual ones.
        timeout: seconds that a call may take, all in all.
        max_response_bytes: the largest body that is read, in bytes after decompression.
        transport: an HTTP transport in place of the network; it is shared by all sessions, and never closed.

    Attributes:
        source: the base URL, for provenance.
        tools: the operations' tools, without credentials.
        redactor: takes this API's credentials out of anything.
        timeout: seconds that a call may take.
        max_response_bytes: the largest body that is read, in bytes.

    Raises:
        ConfigurationError: the base URL, a header or a credential cannot be used, or a required one is missing.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        credentials: Mapping[str, str] | None = None,
        credential_names: Iterable[str] = (),
        timeout: float = 30.0,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        credentials = dict(credentials or {})
        secrets = secrets_of_url(_checked_url(base_url)) | set(credentials.values()) | secrets_of_headers(headers or {})
        self.redactor = Redactor(credential_names, secrets)
        self._base_url, authorization = _without_userinfo(base_url)
        self._headers = _checked_headers({**authorization, **(headers or {})})
        self._operations = {operation.tool.name: operation for operation in operations}
        self._credentials = {name: self._credentials_of(item, credentials) for name, item in self._operations.items()}
        unused = credentials.keys() - {name for given in self._credentials.values() for name in given}
        if unused:
            raise ConfigurationError(f"no operation takes a credential named {min(unused)!r}: is it a header?")
        self.source = self.redactor.text(self._base_url)
        self.tools = ToolSet(self.redactor.tool(operation.tool, credentials) for operation in operations)
        self.timeout = timeout
        self.max_response_bytes = max_response_bytes
        self._transport = None if transport is None else SharedTransport(transport)
        self._tls: ssl.SSLContext | None = None

    def _credentials_of(self, operation: Operation, credentials: Mapping[str, str]) -> dict[str, str]:
        """What is sent with each call of one operation."""
        tool = operation.tool
        for name in tool.required:
            if name not in credentials and self.redactor.is_credential(name, tool.properties.get(name)):
                raise ConfigurationError(f"{tool.name} requires the credential {name!r}: give it in `credentials`")
        return {name: credentials[name] for name in tool.properties if name in credentials}

    @asynccontextmanager
    async def session(self) -> AsyncIterator["HttpSession"]:
        """A fresh session: cookies and a connection of its own."""
        with self.redactor.redacting_logs():
            async with self._client() as client:
                yield HttpSession(self, client)

    def _client(self) -> httpx.AsyncClient:
        if self._tls is None and self._transport is None:
            self._tls = httpx.create_ssl_context()  # takes milliseconds, and can be shared
        return httpx.AsyncClient(
            headers=self._headers,
            timeout=None,  # of single operations; a call as a whole has one  # noqa: S113
            verify=self._tls or True,
            transport=self._transport,
            trust_env=not is_loopback(self._base_url),
        )

    def request_of(self, call: Call) -> tuple[Operation, Request]:
        """The operation that a call asks for, and what is sent, credentials included.

        Raises:
            UnansweredError: of kind ``unsendable``.
        """
        operation = self._operations.get(call.tool)
        if operation is None:
            raise UnansweredError("unsendable", "the API has no such operation")
        credentials = self._credentials[call.tool]
        given = [name for name in call.arguments if name not in self.tools[call.tool].properties]
        if given:
            raise UnansweredError("unsendable", f"there is no parameter {given[0]!r}")
        objection = self.redactor.objection(call.arguments)
        if objection is not None:
            raise UnansweredError("unsendable", objection)
        return operation, operation.request({**call.arguments, **credentials} if credentials else call.arguments)

    def url_of(self, request: Request) -> str:
        """The URL of a request."""
        query = urlencode(request.query, quote_via=quote, safe=",")
        return f"{self._base_url}{request.path}?{query}" if query else f"{self._base_url}{request.path}"


class HttpSession:
    """One conversation with an HTTP API."""

    def __init__(self, api: HttpApi, client: httpx.AsyncClient) -> None:
        self._api = api
        self._client = client

    async def ask(self, call: Call) -> Answer:
        """The answer to a call: any JSON with a status of 2xx or 4xx. A response without a body is null.

        The text of an error that is not JSON is the body ``{"text": ...}``.

        Raises:
            UnansweredError: there is no such operation (``unsendable``), or no answer that can be recorded: a status of
                408, 425 or 429 (``busy``), of 5xx (``server fault``), a redirect elsewhere or no JSON (``not JSON``),
                too many bytes (``too large``), too many seconds (``timeout``), or none at all (``unreachable``).
        """
        begin = time.perf_counter()
        name = call.tool
        try:
            operation, request = self._api.request_of(call)
            name = f"{operation.method} {operation.path}"
            async with asyncio.timeout(self._api.timeout):
                status, data = await exchange(
                    self._client, self._build(operation, request), self._api.max_response_bytes
                )
            latency = time.perf_counter() - begin
            return Answer(status, self._parsed(status, data), latency)
        except UnansweredError as error:
            raise self._unanswered(error.kind, name, str(error), error.retry_after) from None
        except TimeoutError:
            raise self._unanswered("timeout", name, f"no answer within {self._api.timeout:g} seconds") from None
        except (UnicodeError, httpx.InvalidURL, httpx.LocalProtocolError, httpx.UnsupportedProtocol) as error:
            raise self._unanswered("unsendable", name, f"the request cannot be sent: {error}") from None
        except httpx.HTTPError as error:
            raise self._unanswered("unreachable", name, f"no answer: {error!r}") from None

    def _parsed(self, status: int, data: bytes) -> Any:
        try:
            return self._api.redactor.body(orjson.loads(data) if data else None)
        except (orjson.JSONDecodeError, RecursionError) as error:
            if 400 <= status < 500:  # many an API refuses in JSON, and has its framework's page for what is not there
                with contextlib.suppress(UnicodeDecodeError):
                    return {"text": self._api.redactor.text(data.decode())}
            raise UnansweredError("not JSON", f"the response is not JSON (status {status}): {error}") from None

    def _unanswered(self, kind: str, name: str, message: str, retry_after: float | None = None) -> UnansweredError:
        return UnansweredError(kind, self._api.redactor.text(f"{name}: {message}"), retry_after)

    def _build(self, operation: Operation, request: Request) -> httpx.Request:
        headers = None if request.body is None else {"Content-Type": operation.media_type or "application/json"}
        return self._client.build_request(
            request.method, self._api.url_of(request), content=request.body, headers=headers
        )


async def open_http_api(
    where: str | Path,
    *,
    base_url: str | None = None,
    headers: Mapping[str, str] | None = None,
    credentials: Mapping[str, str] | None = None,
    credential_names: Iterable[str] = (),
    timeout: float = 30.0,
    max_response_bytes: int = MAX_RESPONSE_BYTES,
    transport: httpx.AsyncBaseTransport | None = None,
) -> HttpApi:
    """The HTTP API that an OpenAPI document describes.

    Args:
        where: URL or file of the document.
        base_url: where the API is; by default as the document says.
        headers: see :class:`HttpApi`, as for all that follows. They are sent for the document, too, unless
            ``base_url`` is on another host.
        credentials: values of parameters that are credentials, by name.
        credential_names: names of more parameters and fields that hold credentials.
        timeout: seconds that the document, and later each call, may take.
        max_response_bytes: the largest body that is read, in bytes.
        transport: an HTTP transport in place of the network.

    Raises:
        RecordingError: the document cannot be had, or is not valid.
        ConfigurationError: see :class:`HttpApi`.
    """
    shared = None if transport is None else SharedTransport(transport)
    document = await load_document(where, base_url=base_url, headers=headers, timeout=timeout, transport=shared)
    return HttpApi(
        operations_from_openapi(document.content),
        document.base_url,
        headers=headers,
        credentials=credentials,
        credential_names=credential_names,
        timeout=timeout,
        max_response_bytes=max_response_bytes,
        transport=transport,
    )


def _checked_url(base_url: str) -> str:
    """The base URL, if it can be one."""
    try:
        parts = urlsplit(base_url)
        valid = is_url(base_url) and bool(httpx.URL(base_url).host) and not parts.query and not parts.fragment
    except (TypeError, ValueError, AttributeError, httpx.InvalidURL):
        valid = False
    if not valid:
        shown = re.sub(r"//[^/]*@", "//", str(base_url)).partition("?")[0]
        raise ConfigurationError(f"the base URL {shown!r} must be http(s)://host/path, without query and fragment")
    return base_url


def _without_userinfo(base_url: str) -> tuple[str, dict[str, str]]:
    """The base URL without a user and a password, and the header that stands for them."""
    parts = urlsplit(base_url)
    userinfo, _, host = parts.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    basic = b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
    url = f"{parts.scheme.lower()}://{host}{parts.path.rstrip('/')}"
    return url, {"Authorization": f"Basic {basic}"} if userinfo else {}


def _checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not re.fullmatch(r"[\t\x20-\x7e]*", value):
            raise ConfigurationError(f"the header {name!r} cannot be sent: it holds a character that headers must not")
    own = {"Accept": "application/json, */*;q=0.1", "User-Agent": f"toolorch-env/{VERSION}"}
    given = {name.lower() for name in headers}
    own = {name: value for name, value in own.items() if name.lower() not in given}
    kept: dict[str, str] = {name: value for name, value in headers.items() if name.lower() != "accept-encoding"}
    return {**own, **kept, "Accept-Encoding": ACCEPT_ENCODING}
