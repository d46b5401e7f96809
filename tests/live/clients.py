"""What tests of the server share: a server on the loopback address, and an ordinary client."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np


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


# Starts servers; the fixture `serving`.
Serving = Callable[..., Served]


def ask(served: Served, path: str, body: bytes | None = None, method: str | None = None, **headers: str) -> Any:
    """Status and body of a request; JSON is read."""
    request = urllib.request.Request(f"http://{served.address}{path}", body, headers, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            data = answer.read()
            return answer.status, json.loads(data) if "json" in answer.headers["Content-Type"] else data
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def segments(client: Client, until: int, listeners: int = 1) -> dict[int, list[Any]]:
    """Segments until all listeners have reached a frame."""
    heard: dict[int, list[Any]] = {listener: [] for listener in range(listeners)}
    while any(not parts or parts[-1][0] + parts[-1][1].shape[1] < until for parts in heard.values()):
        listener, *segment = client.hear()
        heard[listener].append(segment)
    return heard


def until_the_end(client: Client) -> dict[str, Any]:
    """The server's last message."""
    while not (isinstance(message := client.hear(), dict) and message["type"] == "ended"):
        pass
    return message


def say_while_it_listens(client: Client, *messages: bytes) -> None:
    """The server may end the session after any of them; what it said until then can still be heard."""
    from websockets.exceptions import ConnectionClosed

    with suppress(ConnectionClosed):
        for message in messages:
            client.socket.send(message)
