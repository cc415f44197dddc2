"""Sessions of :mod:`toolorch_env.integrations.mcp_server` over HTTP, each at an address of its own.

- ``POST /sessions`` with ``{"seed": 1}`` or ``{"options": {"task_id": ...}}`` begins one: id, query, and the path
  that the agent is to connect to (streamable HTTP)
- ``GET /sessions/ID``: what was scored so far
- ``POST /sessions/ID/finish`` with ``{"answer": ...}``: ends the episode and tells how it went
- ``DELETE /sessions/ID``: forgets it
- ``/agents/KEY/mcp``: for the agent, who cannot tell the id by its key, and needs no token beside it
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import orjson
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from toolorch_env.core.errors import ConfigurationError, RunError, SessionError, ToolOrchError
from toolorch_env.integrations.mcp_server import make_server
from toolorch_env.integrations.server_access import host_middleware, token_middleware
from toolorch_env.integrations.sessions import Session, SessionStore

_LONGEST_BODY = 1_000_000
_LOOK_EVERY = 10.0
"""Seconds between looks for idle sessions."""


def make_app(
    sessions: SessionStore,
    *,
    token: str | None = None,
    hosts: Sequence[str] | None = None,
    max_response_chars: int = 10_000,
) -> Starlette:
    """The server's application.

    Args:
        sessions: where sessions are kept; it is closed when the server ends.
        token: what requests for ``/sessions`` have to carry as ``Authorization: Bearer ...``; by default nothing.
            Agents do not need it: nobody can guess their addresses, and who does not know it sees no scores and no
            solutions.
        hosts: names that requests may ask for; by default any.
        max_response_chars: longer responses are shortened.
    """
    served = _Served(sessions, max_response_chars)
    asked = token_middleware(token)
    one = "/sessions/{session}"
    return Starlette(
        routes=[
            Route("/sessions", served.begin, methods=["POST"], middleware=asked),
            Route(one, served.look, methods=["GET"], middleware=asked),
            Route(one, served.end, methods=["DELETE"], middleware=asked),
            Route(f"{one}/finish", served.finish, methods=["POST"], middleware=asked),
            # nothing is ever streamed to agents, so there is nothing to GET
            Route("/agents/{agent}/mcp", _Agents(served), methods=["POST", "DELETE"]),
        ],
        middleware=host_middleware(hosts),
        exception_handlers={ToolOrchError: _refused},
        lifespan=served.lifespan,
    )


class _Served:
    """What is answered."""

    def __init__(self, sessions: SessionStore, max_response_chars: int) -> None:
        self.sessions = sessions
        server = make_server(lambda context: self._session_of_agent(context.request), max_response_chars)
        # without sessions of the protocol's own: the address tells which one it is
        self.manager = StreamableHTTPSessionManager(server, json_response=True, stateless=True)

    def _session(self, request: Request) -> Session:
        return self.sessions.get(request.path_params["session"])

    def _session_of_agent(self, request: Request) -> Session:
        return self.sessions.of_agent(request.path_params["agent"])

    async def begin(self, request: Request) -> Response:
        given = await _body(request, "seed", "options")
        seed, options = given.get("seed"), given.get("options")
        if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool) or seed < 0):
            raise ConfigurationError(f"a seed is a whole number of at least 0, not {seed!r}")
        if not isinstance(options, dict | None):
            raise ConfigurationError(f"options are a mapping, not {options!r}")
        session = self.sessions.begin(seed=seed, options=options)
        task, path = session.episode.task, f"/agents/{session.agent_key}/mcp"
        told = {"id": session.id, "task_id": task.id, "query": task.query, "tools": list(task.tools), "mcp": path}
        return JSONResponse(told, 201)

    async def look(self, request: Request) -> Response:
        episode = self._session(request).episode
        rewards = [step.score.reward for step in episode.steps]
        return JSONResponse({"done": episode.done, "calls": len(rewards), "rewards": rewards, "total": episode.total})

    async def finish(self, request: Request) -> Response:
        answer = (await _body(request, "answer")).get("answer", "")
        if not isinstance(answer, str):
            raise ConfigurationError(f"the answer is a text, not {answer!r}")
        played = self.sessions.finish(request.path_params["session"], answer)
        return Response(played.model_dump_json(), media_type="application/json")

    async def end(self, request: Request) -> Response:
        self.sessions.end(request.path_params["session"])
        return Response(status_code=204)

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        async with self.manager.run(), anyio.create_task_group() as group:
            group.start_soon(self._drop_idle)
            yield
            group.cancel_scope.cancel()
            self.sessions.close()

    async def _drop_idle(self) -> None:
        while True:
            await anyio.sleep(_LOOK_EVERY)
            self.sessions.drop_idle()


class _Agents:
    """Where agents connect."""

    def __init__(self, served: _Served) -> None:
        self._served = served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._served.sessions.of_agent(scope["path_params"]["agent"])
        await self._served.manager.handle_request(scope, receive, send)


async def _body(request: Request, *names: str) -> dict[str, Any]:
    """The object in a request's body, empty where there is none.

    Args:
        request: the request.
        *names: what may stand in the object.

    Raises:
        ConfigurationError: it is none, something else stands in it, or it is too long.
    """
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > _LONGEST_BODY:
            raise ConfigurationError("the request is too long")
    try:
        document = orjson.loads(content) if content else {}
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise ConfigurationError("the body of the request has to be a JSON object")
    unknown = sorted(document.keys() - set(names))
    if unknown:
        raise ConfigurationError(f"there is no {unknown[0]!r:.100} here: what may be told is {', '.join(names)}")
    return document


async def _refused(request: Request, error: Exception) -> Response:
    status = 400
    if isinstance(error, SessionError):
        status = 404 if request.path_params else 503
    elif isinstance(error, RunError):  # what was played cannot be written
        status = 500
    return JSONResponse({"error": str(error)}, status)
