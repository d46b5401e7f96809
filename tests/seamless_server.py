"""A server of single files on the loopback address, as that of Seamless Interaction: 403 for what it does not have."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse


class FileServer:
    """Serves a folder, in a thread of its own.

    `cut_after_bytes`: connections are cut in the middle of a file once so many bytes were sent; None: never.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cut_after_bytes: int | None = None
        self.sent = 0
        self.requests: list[str] = []
        self.most_at_once = self._now = 0
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FileServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def begin(self, path: str) -> None:
        with self.lock:
            self.requests.append(path)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)

    def end(self) -> None:
        with self.lock:
            self._now -= 1

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = unquote(urlparse(self.path).path).lstrip("/")
                server.begin(path)
                try:
                    self.answer(server.folder / path)
                finally:
                    server.end()

            def answer(self, file: Path) -> None:
                if not file.is_file():
                    self.send_error(403)
                    return
                content = file.read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with server.lock:
                    server.sent += len(content)
                    cut = server.cut_after_bytes is not None and server.sent > server.cut_after_bytes
                self.wfile.write(content[: len(content) // 2] if cut else content)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        return Handler
