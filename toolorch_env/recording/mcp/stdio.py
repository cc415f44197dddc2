"""The Model Context Protocol over the standard input and output of a server process.

In place of the SDK's own transport, which reads replies of any length, writes the server's stray output to the console,
and leaves the children of a server that ended behind.
"""

import logging
import os
import re
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import anyio
import mcp_types
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage

from toolorch_env.core.errors import RecordingError, UnansweredError

logger = logging.getLogger(__name__)

Incoming = SessionMessage | Exception
Streams = tuple[MemoryObjectReceiveStream[Incoming], MemoryObjectSendStream[SessionMessage]]

STDERR_LINES = 20
_STDERR_BYTES = 8192
_STRAY_LINES, _STRAY_CHARACTERS = 5, 200
_GONE = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream, OSError)
_GRACE, _KILL_GRACE, _POLL = 2.0, 1.0, 0.01  # seconds: to exit by itself, to exit when told to, between two looks


class StdioTransport:
    """One server process, in a process group of its own, and the conversation with it.

    Args:
        command: program and arguments.
        environment: environment variables, beside the few that every server gets (such as ``PATH`` and ``HOME``).
        max_message_bytes: length of the longest message that is read.

    Attributes:
        fault: why the latest request has no answer, where the transport knows.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], max_message_bytes: int) -> None:
        self.fault: UnansweredError | None = None
        self._command = command
        self._environment = {**get_default_environment(), **environment}
        self._limit = max_message_bytes
        self._stderr = b""
        self._stray: deque[str] = deque(maxlen=_STRAY_LINES)
        self._request: mcp_types.RequestId = 0
        self._stopping = False

    @property
    def remarks(self) -> str:
        """What the server wrote that is no message, for an error message; empty if there is nothing to say."""
        errors = self._stderr.decode("utf-8", "replace").strip().splitlines()[-STDERR_LINES:]
        stray = f"; what it printed is no message of the protocol: {list(self._stray)}" if self._stray else ""
        return stray + ("; its last lines on stderr:\n" + "\n".join(errors) if errors else "")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Streams]:
        """Starts the server and stops it, with all processes of its group, at the end.

        Raises:
            RecordingError: it cannot be started.
        """
        process = await self._start()
        try:
            async with anyio.create_task_group() as group:
                incoming, read_stream = anyio.create_memory_object_stream[Incoming](0)
                write_stream, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
                assert process.stdin is not None
                assert process.stderr is not None
                stderr_read = anyio.Event()
                group.start_soon(self._keep_stderr, process.stderr, stderr_read)
                group.start_soon(self._receive, process, incoming, stderr_read)
                group.start_soon(self._send, process.stdin, outgoing)
                try:
                    yield read_stream, write_stream
                finally:
                    with anyio.CancelScope(shield=True):
                        await self._stop(process)
                    group.cancel_scope.cancel()
        finally:
            _signal_group(process, kill=True)  # no await before it: nothing can keep it from happening
            with anyio.CancelScope(shield=True):
                await _close(process)

    async def _start(self) -> Process:
        try:
            return await anyio.open_process(
                list(self._command), env=self._environment, start_new_session=sys.platform != "win32"
            )
        except (OSError, ValueError) as error:
            raise RecordingError(f"the server {self._command[0]!r} cannot be started: {error}") from None

    async def _receive(
        self, process: Process, incoming: MemoryObjectSendStream[Incoming], stderr_read: anyio.Event
    ) -> None:
        assert process.stdout is not None
        async with incoming:
            with suppress(*_GONE):
                async for line in _lines(process.stdout, self._limit):
                    message = self._message(line)
                    if message is not None:
                        with suppress(*_GONE):  # nobody listens any more; read on, or the server cannot end
                            await incoming.send(message)
            if self._stopping:
                return
            with anyio.move_on_after(_KILL_GRACE):
                await stderr_read.wait()
                await _exited(process, _KILL_GRACE)
            status = "closed its output" if process.returncode is None else f"exited with {process.returncode}"
            self.fault = UnansweredError("exited", f"the server {status}{self.remarks}")

    def _message(self, line: bytes | None) -> SessionMessage | None:
        """The message of a line, ``None`` if it is none; for one that is too long, an error to whoever waits."""
        if line is None:
            self.fault = UnansweredError("too large", f"the server sent a message of more than {self._limit} bytes")
            refusal = mcp_types.ErrorData(code=mcp_types.PARSE_ERROR, message="too large")
            return SessionMessage(mcp_types.JSONRPCError(jsonrpc="2.0", id=self._request, error=refusal))
        try:
            return SessionMessage(mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False))
        except ValueError:
            if line.strip():
                self._stray.append(line[:_STRAY_CHARACTERS].decode("utf-8", "replace"))
                logger.debug("the server printed what is no message: %r", self._stray[-1])
            return None

    async def _send(self, stdin: ByteSendStream, outgoing: MemoryObjectReceiveStream[SessionMessage]) -> None:
        async with outgoing:
            async for item in outgoing:
                if isinstance(item.message, mcp_types.JSONRPCRequest):
                    self._request = item.message.id
                with suppress(*_GONE):  # the reader sees that the server is gone, and says so
                    await stdin.send(item.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")

    async def _keep_stderr(self, stderr: ByteReceiveStream, read: anyio.Event) -> None:
        with suppress(*_GONE):
            async for chunk in stderr:
                self._stderr = (self._stderr + chunk)[-_STDERR_BYTES:]
        read.set()

    async def _stop(self, process: Process) -> None:
        """Lets the server end by itself, unless it hung, then tells it to."""
        self._stopping = True
        assert process.stdin is not None
        with suppress(*_GONE):
            await process.stdin.aclose()
        hung = self.fault is not None and self.fault.kind == "timeout"
        if hung or not await _exited(process, _GRACE):
            _signal_group(process, kill=False)
            await _exited(process, _KILL_GRACE)


async def _lines(stream: ByteReceiveStream, limit: int) -> AsyncIterator[bytes | None]:
    """The lines of a stream, ``None`` in place of each that is longer than ``limit`` bytes."""
    buffer, skipping = bytearray(), False
    async for chunk in stream:
        for piece in re.findall(rb"[^\n]*\n|[^\n]+", chunk):
            buffer += piece
            ended = piece.endswith(b"\n")
            if not skipping and len(buffer) > limit:
                skipping = True
                yield None
            elif ended and not skipping:
                yield bytes(buffer)
            if ended or skipping:
                buffer.clear()
            skipping = skipping and not ended


async def _exited(process: Process, seconds: float) -> bool:
    """Whether the process ended within a time. ``Process.wait`` also waits for children that hold its pipes."""
    with anyio.move_on_after(seconds):
        while process.returncode is None:
            await anyio.sleep(_POLL)
    return process.returncode is not None


def _signal_group(process: Process, kill: bool) -> None:
    """Signals the server and all that it started, also where it has ended itself."""
    with suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL if kill else signal.SIGTERM)


async def _close(process: Process) -> None:
    """Reaps the process and closes its pipes, even if one that left its group still holds them."""
    with anyio.move_on_after(_KILL_GRACE), suppress(*_GONE):
        await process.aclose()
