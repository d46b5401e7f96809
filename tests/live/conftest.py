"""What tests of the server share: a server on the loopback address, and an ordinary client."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perfrdiff_hf import PerFRDiffPipeline
from perfrdiff_hf.live.listeners import ListenerShelf
from perfrdiff_hf.live.session import Limits


FACE_ROW = 57


class Served:
    """A running server."""

    def __init__(self, studio: Any, app: Any) -> None:
        import uvicorn

        from perfrdiff_hf.live.server import server_options

        self.studio = studio
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.server = uvicorn.Server(uvicorn.Config(app, **server_options("127.0.0.1", self.port)))
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        until = time.monotonic() + 20
        while not self.server.started:
            assert time.monotonic() < until and self.thread.is_alive(), "the server does not start"
            time.sleep(0.02)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(15)
        assert not self.thread.is_alive()


class Client:
    """A page without a browser."""

    def __init__(self, address: str, path: str = "/live", **options: Any) -> None:
        from websockets.sync.client import connect

        self.socket = connect(f"ws://{address}{path}", proxy=None, open_timeout=10, **options)

    def start(self, **wishes: Any) -> dict[str, Any]:
        self.say({"type": "start", "model": "tiny", "num_inference_steps": 2, "seed": 1} | wishes)
        return self.hear()

    def say(self, message: dict[str, Any]) -> None:
        self.socket.send(json.dumps(message))

    def hear(self, timeout: float = 20) -> Any:
        """The next message: a JSON object, or a segment as listener, start and numbers."""
        message = self.socket.recv(timeout)
        if isinstance(message, str):
            return json.loads(message)
        kind, listener, number, start, frames = struct.unpack_from("<BBHII", message)
        values = np.frombuffer(message, "<f4", offset=12)
        shown = values[: number * frames * 55].reshape(number, frames, 55)
        reactions = values[number * frames * 55 :].reshape(number, frames, 83)
        assert kind == 3
        return listener, start, shown, reactions

    def sound(self, samples: int = 1600, first: int = 0) -> None:
        at = np.arange(first, first + samples) / 16000
        self.socket.send(b"\x02\0\0\0" + (8000 * np.sin(2 * np.pi * 220 * at)).astype("<i2").tobytes())

    def faces(self, *seconds: float, smile: float = 0.0, seen: float = 1.0) -> None:
        self.socket.send(b"\x01\0\0\0" + face_rows(seconds, smile, seen).tobytes())

    def close(self) -> None:
        self.socket.close()


def face_rows(seconds: Any, smile: float = 0.0, seen: float = 1.0) -> np.ndarray:
    rows = np.zeros((len(seconds), FACE_ROW), dtype="<f4")
    rows[:, 0], rows[:, 1], rows[:, 2 + 43 : 2 + 45] = seconds, seen, smile
    return rows


@pytest.fixture
def serving(make_pipeline: Callable[..., PerFRDiffPipeline], tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Makes servers of a tiny model; the limits and the app's arguments can be named, and where it is `mounted`."""
    pytest.importorskip("uvicorn", reason="the extra [live] is not installed")
    pytest.importorskip("websockets", reason="the extra [live] is not installed")
    from perfrdiff_hf.live.server import create_app
    from perfrdiff_hf.live.studio import Studio

    running = []

    def serve(models: dict[str, Any] | None = None, **options: Any) -> Served:
        names = Limits.__dataclass_fields__
        limits = Limits(**{name: options.pop(name) for name in list(options) if name in names})
        studio = Studio(models or {"tiny": make_pipeline()}, ListenerShelf(tmp_path / "listeners"), limits)
        mounted = options.pop("mounted", lambda app: app)
        app = create_app(studio, options.pop("vendor", tmp_path / "vendor"), **options)
        served = Served(studio, mounted(app))
        running.append(served)
        return served

    yield serve
    for served in running:
        served.close()
