"""A page in the browser: speak to a camera and a microphone, and see up to three listeners react.

    perfrdiff serve --install                                    # once: three.js and MediaPipe, through npm
    perfrdiff track --download_model                             # once: the face model, from its maker
    perfrdiff serve --model demo_output/model
    perfrdiff serve --model MODEL --host 0.0.0.0                 # with a token

Faces are tracked in the browser, so that no picture leaves the machine. The face model is MediaPipe's Face
Landmarker, which everybody fetches for themselves; without it the page listens to sound alone. Nothing but those two
commands fetches anything from the network.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .options import add_device_option, load_pipeline


if TYPE_CHECKING:
    from ..pipelines.reaction_pipeline import ReactionPipeline


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Models, listeners, and who may come."""
    parser.add_argument("--model", nargs="+", help="folders of saved pipelines, or their names on the Hub")
    parser.add_argument("--listeners", type=Path, default=Path("listeners"), help="folder of listeners (default here)")
    parser.add_argument("--fixed", action="store_true", help="visitors make and remove no listeners")
    parser.add_argument("--face_model", type=Path, help="face_landmarker.task (default: as `track` downloads it)")
    parser.add_argument("--head", type=Path, help="a .glb with ARKit-named morph targets instead of our own head")
    add_device_option(parser)
    parser.add_argument("--install", action="store_true", help="fetch the page's libraries through npm, and end")
    parser.add_argument("--page_dir", type=Path, help="where these libraries lie (default: in the user's cache)")
    network = parser.add_argument_group("network")
    network.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    network.add_argument("--port", type=int, default=8000, help="default 8000")
    network.add_argument("--token", help="what visitors need, no blanks; made up where others can reach the server")
    network.add_argument("--open", action="store_true", help="ask for no token although others can reach the server")
    network.add_argument("--framed_by", default="'none'", help="sites that may frame the page (default none)")
    network.add_argument("--sessions", type=int, default=8, help="at once (default 8)")
    network.add_argument("--session_minutes", type=float, default=60, help="how long one may last (default 60)")


def check_options(options: argparse.Namespace) -> None:
    """There must be a model to serve, unless only libraries are fetched."""
    if not options.install and not options.model:
        raise argparse.ArgumentTypeError("give model, or install")
    if options.open and options.token:
        raise argparse.ArgumentTypeError("give token or open, not both")
    if options.sessions < 1 or options.session_minutes <= 0:
        raise argparse.ArgumentTypeError("sessions and session_minutes must be positive")
    if not 0 < options.port < 65536:
        raise argparse.ArgumentTypeError(f"port must lie in 1 ... 65535; given: {options.port}")


def run(options: argparse.Namespace) -> None:
    """Fetch libraries, or serve until interrupted."""
    from ..live.installing import default_folder, install, is_installed

    folder = options.page_dir or default_folder()
    if options.install:
        print(f"The page's libraries lie in {install(folder)}")
        return
    from ..extras import require

    require("live", "The page's server")
    if not is_installed(folder):
        raise FileNotFoundError(f"{folder} lacks the page's libraries. Fetch them once: perfrdiff serve --install")
    serve_page(options, folder)


def serve_page(options: argparse.Namespace, folder: Path) -> None:
    """Load, and serve."""
    import secrets

    from ..live.doors import check_token, is_loopback
    from ..live.listeners import ListenerShelf
    from ..live.server import create_app, run_server
    from ..live.session import Limits
    from ..live.studio import Studio

    is_local = is_loopback(options.host)
    token = options.token or (None if is_local or options.open else secrets.token_urlsafe(16))
    if token and not options.token and (options.quiet or options.json):
        raise ValueError("Give a token: the one that is made up would not be shown with --quiet or --json.")
    check_token(token)  # before models are loaded
    limits = Limits(sessions=options.sessions, session_seconds=60 * options.session_minutes)
    models = load_models(options.model, options.device)
    studio = Studio(models, ListenerShelf(options.listeners, options.fixed), limits, options.head)
    face_model = find_face_model(options.face_model)
    app = create_app(studio, folder, face_model, token, is_local, options.framed_by)
    if face_model is None:
        print("There is no face model (perfrdiff track --download_model): the page will listen to sound alone.")
    key = f"#token={token}" if token else ""
    host = f"[{options.host}]" if ":" in options.host else options.host  # as addresses have IPv6
    print(f"The page is at http://{host}:{options.port}/{key}  (ctrl-c ends it)", flush=True)
    run_server(app, options.host, options.port)


def find_face_model(path: Path | None) -> Path | None:
    """The face model that was given, or else the one that was downloaded, if there is one.

    Raises:
        FileNotFoundError: if there is none where it should be.
    """
    from ..faces.tracking.model_file import find_model, is_downloaded

    return find_model(path) if path or is_downloaded() else None


def load_models(names: list[str], device: str) -> dict[str, ReactionPipeline]:
    """The pipelines by the last parts of their names.

    Raises:
        ValueError: if two have the same.
    """
    models: dict[str, ReactionPipeline] = {}
    for name in names:
        short = Path(name).resolve().name if Path(name).exists() else name
        if short in models:
            raise ValueError(f"Two models are called {short}; rename one of the folders.")
        models[short] = load_pipeline(name, device)
    return models
