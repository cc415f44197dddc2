"""Recording over the Model Context Protocol, from a server process or over streamable HTTP."""

import asyncio
import logging
import shlex
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TypeVar
from urllib.parse import urlsplit

import mcp_types
from mcp import Client
from mcp.client.session import ClientSession
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError
from pydantic_core import to_json

from toolorch_env.core.calls import Call, ToolSet
from toolorch_env.core.errors import ConfigurationError, RecordingError, ToolSchemaError, UnansweredError
from toolorch_env.core.signatures import Signature
from toolorch_env.core.tools import Tool
from toolorch_env.recording.api import Answer
from toolorch_env.recording.mcp.answers import status_and_body
from toolorch_env.recording.mcp.stdio import StdioTransport
from toolorch_env.recording.mcp.streamable_http import HttpTransport
from toolorch_env.recording.redaction import (
    Redactor,
    secrets_of_command,
    secrets_of_environment,
    secrets_of_headers,
    secrets_of_url,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")
Transport = StdioTransport | HttpTransport

SESSION_FOLDER = "{session}"
_MESSAGE_SHARE = 8  # a message holds a body twice, as text and as structure, its quotes and letters escaped
_HANDSHAKE_REFUSED = (mcp_types.UNSUPPORTED_PROTOCOL_VERSION, mcp_types.METHOD_NOT_FOUND)
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Server:
    """How to reach a server, and how long to wait and how much to read.

    Attributes:
        source: its command or address, without credentials.
        connect: makes a transport, given the session's folder.
        needs_folder: whether each session has a folder.
        timeout: seconds.
        max_response_bytes: length of the longest body, as JSON.
        redactor: takes credentials out of bodies and texts.
        mode: ``legacy`` for the handshake that the first versions of the protocol begin with, which keeps sessions
            apart on the server; ``auto`` for servers that know the later versions alone.
    """

    source: str
    connect: Callable[[str], Transport]
    needs_folder: bool
    timeout: float
    max_response_bytes: int
    redactor: Redactor
    mode: str = "legacy"

    def unanswered(self, kind: str, message: str, retry_after: float | None = None) -> UnansweredError:
        """The error for a request that got no answer, naming the server."""
        return UnansweredError(kind, self.said(f": {message}"), retry_after)

    def said(self, message: str) -> str:
        """A message that begins with the server's name, without credentials."""
        return self.redactor.text(f"{self.source}{message}")


class McpSession:
    """One conversation with a server."""

    def __init__(self, server: Server, transport: Transport, client: ClientSession) -> None:
        self._server = server
        self._transport = transport
        self._client = client
        self._lost = False

    async def ask(self, call: Call) -> Answer:
        """The answer to a call; status 400 where the tool or the protocol says that it failed.

        Raises:
            UnansweredError: there is no answer that can be recorded. After a timeout the session is lost, and whatever
                is asked later is ``exited``.
        """
        try:
            to_json(call.arguments)
            objection = self._server.redactor.objection(call.arguments)
        except (ValueError, RecursionError) as error:
            objection = str(error)
        if objection is not None:
            raise self._server.unanswered("unsendable", f"{call.tool}: {objection}")
        params = mcp_types.CallToolRequestParams(name=call.tool, arguments=dict(call.arguments))
        request = mcp_types.CallToolRequest(params=params)  # `call_tool` would refuse what breaks the output schema
        begin = time.perf_counter()
        result = await self._answered(partial(self._client.send_request, request, mcp_types.CallToolResult))
        latency = time.perf_counter() - begin
        status, body = status_and_body(result)
        if len(to_json(body)) > self._server.max_response_bytes:
            limit = self._server.max_response_bytes
            raise self._server.unanswered("too large", f"{call.tool}: the body has more than {limit} bytes")
        return Answer(status, self._server.redactor.body(body), latency)

    async def list_tools(self) -> list[mcp_types.Tool]:
        """All tools that the server offers, page by page.

        Raises:
            RecordingError: it does not say.
        """
        tools: list[mcp_types.Tool] = []
        cursors: list[str | None] = [None]
        while True:
            params = mcp_types.PaginatedRequestParams(cursor=cursors[-1])
            page = await self._answered(partial(self._client.list_tools, params=params))
            if isinstance(page, MCPError):
                raise RecordingError(self._server.said(f" does not list its tools: {page}"))
            tools += page.tools
            if not page.next_cursor:
                return tools
            if page.next_cursor in cursors:
                raise RecordingError(self._server.said(f" lists page {page.next_cursor!r} of its tools twice"))
            cursors.append(page.next_cursor)

    async def _answered(self, request: Callable[[], Awaitable[T]]) -> T | MCPError:
        """What the server answers, errors of the protocol among it."""
        fault = self._transport.fault
        if self._lost or (fault is not None and fault.lost_session):
            raise self._server.unanswered("exited", str(fault or "the session timed out"))
        self._transport.fault = None
        try:
            async with asyncio.timeout(self._server.timeout):
                return await request()
        except TimeoutError:
            self._lost = True
            raise _timed_out(self._server, self._transport) from None
        except MCPError as error:
            if self._transport.fault is not None:
                raise _with_source(self._server, self._transport.fault) from None
            if error.code == mcp_types.PARSE_ERROR:
                raise self._server.unanswered("not JSON", str(error)) from None
            return error
        except (ValidationError, RuntimeError) as error:
            raise self._server.unanswered("not JSON", f"this is no answer of the protocol: {error}") from None


class McpApi:
    """A server of the Model Context Protocol. Made by :func:`open_mcp`."""

    def __init__(self, server: Server, tools: ToolSet) -> None:
        self._server = server
        self._tools = tools

    @property
    def source(self) -> str:
        """The server's command or address, without credentials."""
        return self._server.source

    @property
    def tools(self) -> ToolSet:
        """The server's tools; those that nobody says only read are state-changing."""
        return self._tools

    def session(self) -> AbstractAsyncContextManager[McpSession]:
        """A server process of its own, or a session of its own with a server that is reached over HTTP.

        Raises:
            RecordingError: the server cannot be started, or does not speak the protocol; an :class:`UnansweredError`
                where it did not answer.
        """
        return _session(self._server)


async def open_mcp(
    command: Sequence[str] | None = None,
    url: str | None = None,
    *,
    environment: Mapping[str, str] = _NOTHING,
    credentials: Mapping[str, str] = _NOTHING,
    credential_names: Iterable[str] = (),
    headers: Mapping[str, str] = _NOTHING,
    timeout: float = 30.0,
    max_response_bytes: int = 4 * 2**20,
    read_only: Container[str] = (),
    state_changing: Container[str] = (),
) -> McpApi:
    """Reads the tools of a server that speaks the Model Context Protocol; give its command or its URL.

    ``{session}`` in the command and in values of the environment stands for an empty folder, made for each session and
    removed after it. That is how a server that keeps its state in files begins each session with a fresh state.

    Args:
        command: program and arguments of a server that speaks over standard input and output.
        url: endpoint of a server that speaks streamable HTTP.
        environment: environment variables of the server. It gets no others, but for the few that are safe to pass on
            (on POSIX ``HOME``, ``LOGNAME``, ``PATH``, ``SHELL``, ``TERM``, ``USER``). Kept secret are the values of
            those whose names end like that of a credential, and passwords in URLs.
        credentials: further environment variables of the server, whose values are kept secret.
        credential_names: names of parameters and fields that hold credentials besides the usual ones.
        headers: sent with every request to ``url``. All but those that are plainly no secret are kept secret.
        timeout: seconds to wait for a session to open, and for each answer.
        max_response_bytes: length of the longest body that is kept, as JSON.
        read_only: names of tools that leave the server's state as it is, beside those whose annotations say so.
        state_changing: names of tools that do not, whatever their annotations say.

    Raises:
        ConfigurationError: not exactly one of ``command`` and ``url`` is given, or a credential is too short to be
            recognised.
        RecordingError: the server cannot be reached or started, or its tools cannot be used.
    """
    if bool(command) == bool(url) or isinstance(command, str):
        raise ConfigurationError("give either the command of an MCP server, as a list of words, or its URL")
    secrets = {*credentials.values(), *secrets_of_headers(headers), *(secrets_of_url(url) if url else ())}
    secrets |= secrets_of_command(command or (), credential_names)
    redactor = Redactor(credential_names, secrets | secrets_of_environment(environment, credential_names))
    environment = {**environment, **credentials}
    source = redactor.text(shlex.join(command) if command else _public(url or ""))
    written = [*(command or ()), *environment.values()]
    limit = max_response_bytes * _MESSAGE_SHARE

    def connect(folder: str) -> Transport:
        if not command:
            return HttpTransport(url or "", headers, limit, timeout)
        words = [word.replace(SESSION_FOLDER, folder) for word in command]
        values = {name: value.replace(SESSION_FOLDER, folder) for name, value in environment.items()}
        return StdioTransport(words, values, limit)

    needs_folder = any(SESSION_FOLDER in text for text in written)
    server = Server(f"MCP server {source}", connect, needs_folder, timeout, max_response_bytes, redactor)
    server, listed = await _listed(server)
    return McpApi(server, _tool_set(server, listed, read_only, state_changing))


async def _listed(server: Server) -> tuple[Server, list[mcp_types.Tool]]:
    """The tools of a server, and the server with the mode that it understands."""
    try:
        async with _session(server) as session:
            return server, await session.list_tools()
    except RecordingError as error:
        cause = error.__cause__
        if server.mode == "auto" or not isinstance(cause, MCPError) or cause.code not in _HANDSHAKE_REFUSED:
            raise
    return await _listed(replace(server, mode="auto"))


def _tool_set(
    server: Server, listed: Sequence[mcp_types.Tool], read_only: Container[str], state_changing: Container[str]
) -> ToolSet:
    try:
        tools = ToolSet(server.redactor.tool(_tool(tool, read_only, state_changing)) for tool in listed)
    except ToolSchemaError as error:
        raise RecordingError(server.said(f": {error}")) from None
    if not tools:
        raise RecordingError(server.said(" offers no tools"))
    return tools


def _tool(listed: mcp_types.Tool, read_only: Container[str], state_changing: Container[str]) -> Tool:
    hinted = listed.annotations is not None and bool(listed.annotations.read_only_hint)
    reads = listed.name in read_only or (hinted and listed.name not in state_changing)
    schema = {"type": "object", "properties": {}, **listed.input_schema}
    tool = Tool(listed.name, (listed.description or "").strip(), schema, read_only=reads)
    try:
        Signature(tool).check()
    except (ToolSchemaError, AttributeError, TypeError, ValueError) as error:
        raise ToolSchemaError(f"the parameters of tool {tool.name!r} cannot be used: {error}") from None
    return tool


@asynccontextmanager
async def _session(server: Server) -> AsyncIterator[McpSession]:
    with server.redactor.redacting_logs(), _folder() if server.needs_folder else nullcontext("") as folder:
        transport = server.connect(folder)
        client = Client(transport.open(), mode=server.mode, cache=None)
        async with _held(client, partial(_opened, server, transport)):
            yield McpSession(server, transport, client.session)


def _folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="toolorch-", ignore_cleanup_errors=True)


@asynccontextmanager
async def _held(
    client: Client, opened: Callable[["asyncio.Task[None]", asyncio.Event], Awaitable[None]]
) -> AsyncIterator[None]:
    """``client`` entered and left in a task of its own, so that its failures cancel nobody else."""
    ready, closing = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with client:
            ready.set()
            await closing.wait()

    holder = asyncio.create_task(hold())
    try:
        await opened(holder, ready)
        yield
    finally:
        closing.set()
        if not ready.is_set():
            holder.cancel()
        await asyncio.wait({holder})
        if not holder.cancelled() and holder.exception() is not None:
            logger.debug("an MCP session ended with %r", holder.exception())


async def _opened(server: Server, transport: Transport, holder: "asyncio.Task[None]", ready: asyncio.Event) -> None:
    """Waits for a session to open.

    Raises:
        RecordingError: it does not.
    """
    waiter = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait({holder, waiter}, timeout=server.timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiter.cancel()
    if ready.is_set():
        return
    if not holder.done():
        raise _timed_out(server, transport)
    error = _leaf(holder.exception())
    if isinstance(error, RecordingError):
        raise RecordingError(server.said(f": {error}")) from None
    if transport.fault is not None:
        raise _with_source(server, transport.fault)
    raise RecordingError(server.said(f" does not speak the protocol: {error}{transport.remarks}")) from error


def _leaf(error: BaseException | None) -> BaseException | None:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _timed_out(server: Server, transport: Transport) -> UnansweredError:
    error = server.unanswered("timeout", f"no answer within {server.timeout} s{transport.remarks}")
    transport.fault = error
    return error


def _with_source(server: Server, fault: UnansweredError) -> UnansweredError:
    return server.unanswered(fault.kind, str(fault), fault.retry_after)


def _public(url: str) -> str:
    """A URL without the parts that may hold credentials."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
