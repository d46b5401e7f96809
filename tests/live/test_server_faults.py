"""Sessions that fail: each ends alone, visitors hear what they can mend, and the log has the rest."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from perfrdiff_hf import PerFRDiffPipeline
from perfrdiff_hf.pipelines.streaming import ReactionStream
from tests.live.clients import Client, Serving, ask, face_rows, segments


def test_a_session_that_fails_ends_alone(serving: Serving, make_pipeline: Callable[..., PerFRDiffPipeline]) -> None:
    broken = make_pipeline()
    served = serving(models={"tiny": make_pipeline(), "broken": broken}, ahead_seconds=100.0)

    def fail(*words: Any, **named: Any) -> None:
        raise RuntimeError("out of memory")

    broken.denoiser.forward = fail  # type: ignore[method-assign]
    well, ill = Client(served.address), Client(served.address)
    well.start()
    ill.start(model="broken")
    for client in (ill, well):
        for piece in range(12):
            client.sound(1600, 1600 * piece)
            client.faces((piece + 1) / 10)
    assert ill.hear()["reason"] == "failed"
    assert segments(well, 50)[0]


@pytest.mark.parametrize("place", ["load_listener", "stream", "hear"])
def test_what_nobody_foresaw_is_told_and_logged(
    serving: Serving,
    monkeypatch: pytest.MonkeyPatch,
    make_pipeline: Callable[..., PerFRDiffPipeline],
    caplog: pytest.LogCaptureFixture,
    place: str,
) -> None:
    """A listener's file that is broken, or a device without memory: not a connection that is lost without a word."""

    def fail(*words: Any, **named: Any) -> None:
        # A fault of ours may be of a kind that bad input has, too.
        raise (ValueError if place == "hear" else RuntimeError)("out of memory")

    pipeline = make_pipeline()
    served = serving(models={"tiny": pipeline})
    if place == "hear":
        monkeypatch.setattr(ReactionStream, "hear", fail)
    else:
        monkeypatch.setattr(pipeline, place, fail)
    assert ask(served, "/api/listeners/alice?model=tiny", face_rows(np.arange(400) / 30).tobytes())[0] == 201
    client = Client(served.address)
    answer = client.start(listeners=["alice"])
    if place == "hear":
        client.sound()
        answer = client.hear()
    assert (answer["type"], answer["reason"]) == ("ended", "failed") and "memory" not in answer["message"]
    assert "out of memory" in caplog.text


@pytest.mark.parametrize("kind", [ValueError, TypeError, FileNotFoundError, ImportError])
def test_a_fault_of_the_server_keeps_its_text(
    serving: Serving,
    monkeypatch: pytest.MonkeyPatch,
    make_pipeline: Callable[..., PerFRDiffPipeline],
    caplog: pytest.LogCaptureFixture,
    kind: type[Exception],
) -> None:
    """Of whatever kind it is: bad input is told apart by where it was found, not by the kind of its error."""

    def fail(*words: Any, **named: Any) -> None:
        raise kind("the bug in /home/me")

    pipeline = make_pipeline()
    monkeypatch.setattr(pipeline, "personalise", fail)
    served = serving(models={"tiny": pipeline})
    monkeypatch.setattr(logging.getLogger("uvicorn.error"), "handlers", [caplog.handler])
    status, said = ask(served, "/api/listeners/alice?model=tiny", face_rows(np.arange(400) / 30).tobytes())
    assert status == 500 and json.loads(said) == {"error": "The server failed. Its log says why."}
    until = time.monotonic() + 10  # it is logged behind the answer
    while not ("Traceback" in caplog.text and "the bug in /home/me" in caplog.text):
        assert time.monotonic() < until
        time.sleep(0.02)
    assert ask(served, "/api/listeners/alice?model=huge", face_rows(np.arange(400) / 30).tobytes())[0] == 400
