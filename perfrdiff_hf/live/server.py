"""The server of the page: an ASGI app for a studio, and running it with uvicorn."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from ..faces.formats.gltf import check_head
from ..faces.head.building import build_head
from ..faces.head.gltf import head_glb
from .camera import MOST_HISTORY_ROWS, history_of_faces
from .doors import POLICY, Doors, SafeHeaders, check_token
from .installing import is_installed
from .messages import FACE_WIDTH, decode_faces, decode_reaction
from .recordings import MEDIA_TYPES, MOST_FRAMES, recording_file
from .refusals import RefusedError
from .studio import Studio
from .visit import Visit


PAGE = Path(__file__).parent / "page"
_REACTION_BYTES = 4 * 83


def create_app(
    studio: Studio,
    vendor: Path,
    face_model: Path | None = None,
    token: str | None = None,
    is_local: bool = True,
    framed_by: str = "'none'",
) -> Starlette:
    """The app that serves the page and its sessions; the studio is closed with it.

    Args:
        studio: models, listeners, limits.
        vendor: folder that `installing.install` filled; where it is empty, the page says what to do.
        face_model: MediaPipe's `face_landmarker.task`, which the page's tracker needs; None: sound alone.
        token: what requests must bring, letters, digits and `. _ ~ -`; None: nothing.
        is_local: whether it will listen on this machine alone; see `Doors`.
        framed_by: which sites may show the page in a frame, as a content security policy names them.

    Raises:
        FileNotFoundError: if there is no such face model or head.
        ValueError: if the head cannot be used, or the token cannot be sent.
    """
    if face_model is not None and not face_model.is_file():
        raise FileNotFoundError(f"There is no face model at {face_model}.")
    check_token(token)
    if studio.head is not None:
        check_head(studio.head)
    page = (PAGE / "index.html").read_text(encoding="utf-8")
    rooms = _Rooms(studio, vendor, face_model, page)
    routes: list[BaseRoute] = [
        Route("/", rooms.page),
        Route("/health", rooms.health),
        Route("/head.glb", rooms.head),
        Route("/face_landmarker.task", rooms.face_model),
        Route("/api/about", rooms.about),
        Route("/api/listeners/{name}", rooms.make_listener, methods=["POST"]),
        Route("/api/listeners/{name}", rooms.remove_listener, methods=["DELETE"]),
        Route("/api/recording/{suffix}", rooms.recording, methods=["POST"]),
        WebSocketRoute("/live", rooms.live),
        Mount("/page", StaticFiles(directory=PAGE)),
    ]
    if vendor.is_dir():
        routes.append(Mount("/vendor", StaticFiles(directory=vendor)))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(studio.close)

    safe = Middleware(SafeHeaders, headers=_headers(page, framed_by))
    doors = Middleware(Doors, token=token, is_local=is_local)
    handlers = {RefusedError: _refused, Exception: _failed}
    return Starlette(routes=routes, middleware=[safe, doors], exception_handlers=handlers, lifespan=lifespan)  # type: ignore[arg-type]


def run_server(app: Starlette, host: str, port: int) -> None:
    """Serve until interrupted."""
    import uvicorn

    uvicorn.run(app, **server_options(host, port))  # type: ignore[arg-type]


def server_options(host: str, port: int) -> dict[str, object]:
    """What uvicorn is told: small messages only, no compression of numbers, and no banner."""
    return {
        "host": host,
        "port": port,
        "ws_max_size": 64 * 1024,
        "ws_max_queue": 16,
        "ws_per_message_deflate": False,
        "log_level": "warning",
        "server_header": False,
        "timeout_graceful_shutdown": 5,
    }


class _Rooms:
    """The endpoints."""

    def __init__(self, studio: Studio, vendor: Path, face_model: Path | None, page: str):
        self.studio, self.vendor, self._face_model, self._page = studio, vendor, face_model, page

    async def page(self, request: Request) -> Response:
        return HTMLResponse(self._page)

    async def health(self, request: Request) -> Response:
        return PlainTextResponse("ok")

    async def head(self, request: Request) -> Response:
        data = await run_in_threadpool(_head_bytes, self.studio.head)
        return Response(data, media_type=MEDIA_TYPES["glb"])

    async def face_model(self, request: Request) -> Response:
        if self._face_model is None:
            raise HTTPException(404)
        return FileResponse(self._face_model, media_type="application/octet-stream")

    async def about(self, request: Request) -> Response:
        about = await run_in_threadpool(self.studio.about)
        return JSONResponse(
            about | {"installed": is_installed(self.vendor), "face_model": self._face_model is not None}
        )

    async def make_listener(self, request: Request) -> Response:
        body = await _body(request, MOST_HISTORY_ROWS * FACE_WIDTH * 4)
        pipeline = self.studio.model(request.query_params.get("model", ""))

        def make() -> None:
            history = history_of_faces(decode_faces(body, MOST_HISTORY_ROWS))
            self.studio.shelf.make(request.path_params["name"], pipeline, history)

        await run_in_threadpool(make)
        return JSONResponse({"listeners": self.studio.shelf.names()}, 201)

    async def remove_listener(self, request: Request) -> Response:
        await run_in_threadpool(self.studio.shelf.remove, request.path_params["name"])
        return JSONResponse({"listeners": self.studio.shelf.names()})

    async def recording(self, request: Request) -> Response:
        suffix = request.path_params["suffix"]
        body = await _body(request, MOST_FRAMES * _REACTION_BYTES)
        reaction = decode_reaction(body, MOST_FRAMES)
        data = await run_in_threadpool(recording_file, *reaction, suffix, self.studio.head)
        name = {"Content-Disposition": f'attachment; filename="reaction.{suffix}"'}
        return Response(data, media_type=MEDIA_TYPES[suffix], headers=name)

    async def live(self, websocket: WebSocket) -> None:
        await Visit(websocket, self.studio).run()


def _headers(page: str, framed_by: str) -> dict[str, str]:
    # The one script that stands in the page itself says where modules lie.
    inline = re.findall(r"<script type=\"importmap\">(.*?)</script>", page, re.S)
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in inline]
    scripts = " ".join(f"'sha256-{digest}'" for digest in digests)
    return {
        "Content-Security-Policy": POLICY.format(scripts=scripts, ancestors=framed_by),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Permissions-Policy": "camera=(self), microphone=(self)",
        # Modules of two versions of the package must not meet; browsers ask whether theirs is the newest.
        "Cache-Control": "no-cache",
    }


@lru_cache(maxsize=2)
def _head_bytes(head: Path | None) -> bytes:
    return (head_glb(build_head()) if head is None else check_head(head)).to_bytes()


async def _body(request: Request, most: int) -> bytes:
    """The body of a request, of which no more is read than may come."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise HTTPException(413, f"At most {most} bytes may come here.")
    return bytes(body)


async def _refused(request: Request, refusal: RefusedError) -> Response:
    return JSONResponse({"error": str(refusal)}, refusal.status)


async def _failed(request: Request, error: Exception) -> Response:
    # Starlette raises the error again behind this answer, and the server logs it.
    return JSONResponse({"error": "The server failed. Its log says why."}, 500)
