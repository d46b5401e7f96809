"""The live page on many replicas, with Ray Serve: `pip install 'perfrdiff_hf[live,rendering,ray]'`.

    python examples/serve_ray.py --model demo_output/model --replicas 2
    serve run examples.serve_ray:build model=demo_output/model replicas=2 face_model=face_landmarker.task

Each replica holds the models and an engine of its own. A session is one WebSocket, and stays with the replica that it
began on. If that replica dies, its pages are told that the connection was lost, and may begin anew on another one that
Ray chooses; sessions on other replicas notice nothing. Listeners lie in a folder that all replicas see.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

from ray import serve
from starlette.types import ASGIApp, Receive, Scope, Send


class ReplicaApp:
    """The app of one replica, made where and when it starts: models do not travel.

    Args:
        models: folders of saved pipelines, or their names on the Hub.
        listeners: folder of listeners, which all replicas share.
        face_model: MediaPipe's face landmarker; None: the page listens to sound alone.
        page_dir: where `perfrdiff serve --install` has put the page's libraries; None: in the user's cache.
        sessions: at once, on each replica.
        token: what visitors need; None: nothing, for a server that nobody else reaches.
        device: as torch calls it, or "auto".
    """

    def __init__(
        self,
        models: list[str],
        listeners: str = "listeners",
        face_model: str | None = None,
        page_dir: str | None = None,
        sessions: int = 8,
        token: str | None = None,
        device: str = "auto",
    ):
        self.settings: dict[str, Any] = {"models": models, "listeners": listeners, "face_model": face_model}
        self.settings |= {"page_dir": page_dir, "sessions": sessions, "token": token, "device": device}
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application; the first that Ray asks of it is to start."""
        if self._app is None:
            self._app = make_app(**self.settings)
        await self._app(scope, receive, send)


def make_app(
    models: list[str],
    listeners: str,
    face_model: str | None,
    page_dir: str | None,
    sessions: int,
    token: str | None,
    device: str,
) -> ASGIApp:
    """The app that `perfrdiff serve` runs, with its models loaded."""
    from perfrdiff_hf.cli.serve import load_models
    from perfrdiff_hf.live.installing import default_folder
    from perfrdiff_hf.live.listeners import ListenerShelf
    from perfrdiff_hf.live.server import create_app
    from perfrdiff_hf.live.session import Limits
    from perfrdiff_hf.live.studio import Studio

    studio = Studio(load_models(models, device), ListenerShelf(listeners), Limits(sessions=sessions))
    vendor = Path(page_dir) if page_dir else default_folder()
    return create_app(studio, vendor, Path(face_model) if face_model else None, token, is_local=token is None)


def build(settings: dict[str, Any]) -> serve.Application:
    """The application for `serve run`: `model` and `replicas`, and what `ReplicaApp` takes.

    Args:
        settings: texts, as a command line gives them, or values.
    """
    given = dict(settings)
    models = given.pop("model")
    given["models"] = models.split(",") if isinstance(models, str) else list(models)
    replicas, num_gpus = int(given.pop("replicas", 2)), float(given.pop("num_gpus", 0))
    sessions = int(given.setdefault("sessions", 8))
    given["sessions"] = sessions

    @serve.deployment(
        name="listeners",
        num_replicas=replicas,
        # Places for the page's files and requests beside the sessions.
        max_ongoing_requests=2 * sessions + 16,
        ray_actor_options={"num_cpus": 1, "num_gpus": num_gpus},
    )
    @serve.ingress(ReplicaApp(**given))
    class Listeners:
        pass

    deployment: Any = Listeners  # what the decorators made of it
    return deployment.bind()


def main() -> None:
    """Serve on this machine until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", required=True, help="folders of saved pipelines")
    parser.add_argument("--replicas", type=int, default=2, help="default 2")
    parser.add_argument("--num_gpus", type=float, default=0, help="of each replica (default 0)")
    parser.add_argument("--listeners", default="listeners", help="folder that all replicas see (default listeners)")
    parser.add_argument("--face_model", help="face_landmarker.task, for the camera")
    parser.add_argument("--page_dir", help="where the page's libraries lie (default: in the user's cache)")
    parser.add_argument("--sessions", type=int, default=8, help="at once, on each replica (default 8)")
    parser.add_argument("--host", default="127.0.0.1", help="default: this machine alone")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--token", help="what visitors need; needed where others can reach the server")
    options = vars(parser.parse_args())
    host, port = options.pop("host"), options.pop("port")
    if host not in ("127.0.0.1", "localhost", "::1") and not options["token"]:
        parser.error("give a token where others can reach the server")
    for name in ("listeners", "face_model", "page_dir"):
        if options[name]:  # replicas run in folders of their own
            options[name] = str(Path(options[name]).resolve())
    options["model"] = [str(Path(name).resolve()) if Path(name).exists() else name for name in options["model"]]
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else Ray tells its maker
    serve.start(http_options={"host": host, "port": port})
    serve.run(build(options), name="listeners")
    print(f"The page is at http://{host}:{port}/  (ctrl-c ends it)", flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
