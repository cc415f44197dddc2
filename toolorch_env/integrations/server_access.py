"""Who may use a server."""

from collections.abc import Sequence
from hmac import compare_digest
from urllib.parse import urlsplit

from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send


def host_middleware(hosts: Sequence[str] | None) -> list[Middleware]:
    """What lets in who asks for the server by its name.

    Args:
        hosts: names that requests may ask for, ``None`` for any: on the loopback interface its own names, so that no
            page in a browser reaches it by a name that was rebound, and none that was loaded from elsewhere.
    """
    if hosts is None:
        return []
    return [Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts)), Middleware(_Origin, hosts=hosts)]


def token_middleware(token: str | None) -> list[Middleware]:
    """What lets in who knows the token.

    Args:
        token: what requests have to carry as ``Authorization: Bearer ...``; ``None`` for nothing.
    """
    return [] if token is None else [Middleware(_Token, token=token)]


class _Origin:
    """Lets in who is no page in a browser, or one of these hosts: pages of others may ask, and tell their origin."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app = app
        self._hosts = {host.strip("[]") for host in hosts} - {""}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = dict(scope.get("headers", ())).get(b"origin")
        if scope["type"] not in ("http", "websocket") or origin is None or self._is_own(origin.decode("latin-1")):
            await self._app(scope, receive, send)
        else:
            await _refuse(scope, receive, send, 403, "pages of other hosts may not ask")

    def _is_own(self, origin: str) -> bool:
        try:
            return urlsplit(origin).hostname in self._hosts
        except ValueError:
            return False


class _Token:
    """Lets in who knows the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope.get("headers", ())).get(b"authorization", b"")
        if scope["type"] not in ("http", "websocket") or compare_digest(given, self._expected):
            await self._app(scope, receive, send)
        else:
            await _refuse(scope, receive, send, 401, "a token is needed", {"WWW-Authenticate": "Bearer"})


async def _refuse(
    scope: Scope, receive: Receive, send: Send, status: int, told: str, headers: dict[str, str] | None = None
) -> None:
    if scope["type"] == "http":
        await JSONResponse({"error": told}, status, headers)(scope, receive, send)
    else:
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": told})
