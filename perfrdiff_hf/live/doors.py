"""Who may come in: pages of this server alone, and with a token where others could reach it."""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


# What lies below these is for those with the token; the page itself holds nothing of anybody.
GUARDED = ("/api/", "/live")
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
# Browsers let a page choose no header of a WebSocket but its subprotocols, and addresses end up in logs. So the page
# offers this one, which is taken, and its token beside it.
SUBPROTOCOL = "perfrdiff"
_TOKEN = re.compile(r"[A-Za-z0-9._~-]+")
# Everything that the page may use: itself. `blob:` is what it has made or been handed, such as a head's textures; wasm
# is MediaPipe's.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' {scripts}; style-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self' blob:; worker-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors {ancestors}"
)


def is_loopback(host: str) -> bool:
    """Whether nobody outside of this machine reaches an address or name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_token(token: str | None) -> None:
    """See that headers and addresses can carry a token.

    Raises:
        ValueError: if it is empty, or has other characters than letters, digits and `. _ ~ -`.
    """
    if token is not None and not _TOKEN.fullmatch(token):
        raise ValueError("token must be made of letters, digits and . _ ~ - alone, one at least; take another.")


class Doors:
    """Lets a request through to the app, or refuses it.

    A browser tells where a page came from; pages of other sites could otherwise talk to a server on this machine. And
    where there is no token, the server must be called by a name of this machine, so that no other name can be made to
    point here.

    Args:
        app: what lies behind.
        token: what requests must bring, as `Authorization: Bearer ...`, or WebSockets as a second subprotocol; see
            `check_token`. None: nothing.
        is_local: whether the server listens on this machine alone.
    """

    def __init__(self, app: ASGIApp, token: str | None, is_local: bool):
        self.app, self.token, self.is_local = app, token, is_local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        refusal = self.refusal(scope) if scope["type"] in ("http", "websocket") else None
        if refusal is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": refusal})
        else:
            await JSONResponse({"error": refusal}, 403)(scope, receive, send)

    def refusal(self, scope: Scope) -> str | None:
        """Why a request is refused; None if it is not."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self.is_local and self.token is None and _split(f"//{host}").hostname not in LOOPBACK_NAMES:
            return f"This server answers to the names of its own machine, not to {host!r}."
        origin = headers.get("origin")
        if origin is not None and _split(origin).netloc != host:
            return f"A page of {origin} may not use this server."
        # Where the app is mounted below a path, that is part of the path of a request.
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if self.token is not None and path.startswith(GUARDED) and not self._has_token(headers, scope):
            return "The token is missing or wrong. Open the address that the server printed."
        return None

    def _has_token(self, headers: Mapping[str, str], scope: Scope) -> bool:
        assert self.token is not None
        offered = [*scope.get("subprotocols", []), headers.get("authorization", "").removeprefix("Bearer ")]
        return any(secrets.compare_digest(given.encode(), self.token.encode()) for given in offered)


class SafeHeaders:
    """Adds headers to each answer. A worker obeys the policy of its own file, not that of the page that starts it.

    Args:
        app: what answers.
        headers: what is added.
    """

    def __init__(self, app: ASGIApp, headers: Mapping[str, str]):
        self.app, self.headers = app, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self.headers)
            await send(message)

        await self.app(scope, receive, send_with_headers)


def _split(address: str) -> SplitResult:
    """The parts of an address; none if it is no address."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")
