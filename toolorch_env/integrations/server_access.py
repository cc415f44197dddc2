"""Who may use a server."""

from collections.abc import Sequence
from hmac import compare_digest

from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send


def host_middleware(hosts: Sequence[str] | None) -> list[Middleware]:
    """What lets in who asks for the server by its name.

    Args:
        hosts: names that requests may ask for, ``None`` for any: on the loopback interface its own names, so that no
            page in a browser reaches it by a name that was rebound.
    """
    return [] if hosts is None else [Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))]


def token_middleware(token: str | None) -> list[Middleware]:
    """What lets in who knows the token.

    Args:
        token: what requests have to carry as ``Authorization: Bearer ...``; ``None`` for nothing.
    """
    return [] if token is None else [Middleware(_Token, token=token)]


class _Token:
    """Lets in who knows the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope.get("headers", ())).get(b"authorization", b"")
        if scope["type"] not in ("http", "websocket") or compare_digest(given, self._expected):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            told = JSONResponse({"error": "a token is needed"}, 401, {"WWW-Authenticate": "Bearer"})
            await told(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "a token is needed"})
