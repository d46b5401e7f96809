"""Servers of a tiny model, for tests of the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from perfrdiff_hf import PerFRDiffPipeline
from perfrdiff_hf.live.listeners import ListenerShelf
from perfrdiff_hf.live.session import Limits
from tests.live.clients import Served


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
