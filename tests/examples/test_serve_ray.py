"""The page on two replicas of Ray Serve: a session stays where it is, and one replica's death is the others' no loss.

Skipped where Ray is not installed. Replicas are processes that load everything anew, which takes its time.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from perfrdiff_hf import PerFRDiffPipeline
from tests.live.clients import Client


ROOT = Path(__file__).resolve().parents[2]
PATIENCE = float(os.environ.get("RAY_PATIENCE", "180"))
SESSIONS = 8


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two replicas of a tiny model."""
    ray = pytest.importorskip("ray", reason="ray[serve] is not installed")
    pytest.importorskip("ray.serve", reason="ray[serve] is not installed")
    from ray import serve

    from tests.conftest import build_pipeline

    model = tmp_path_factory.mktemp("ray") / "tiny"
    pipeline: PerFRDiffPipeline = build_pipeline()
    pipeline.save_pretrained(model)
    spec = importlib.util.spec_from_file_location("serve_ray", ROOT / "examples" / "serve_ray.py")
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = example
    spec.loader.exec_module(example)
    ray.cloudpickle.register_pickle_by_value(example)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    settings = {"model": [str(model)], "replicas": 2, "listeners": str(model.parent / "listeners"), "device": "cpu"}
    serve.run(example.build(settings), name="listeners")
    yield f"127.0.0.1:{port}"
    serve.shutdown()
    ray.shutdown()


class Speaker(threading.Thread):
    """A client that speaks in real time and keeps what it hears."""

    def __init__(self, address: str):
        super().__init__(daemon=True)
        self.client = Client(address)
        assert self.client.start(seed=3)["type"] == "started"
        self.starts: list[int] = []
        self.is_lost = False
        self.is_over = threading.Event()
        self.start_talking: Callable[[], None] = self.start

    def run(self) -> None:
        from websockets.exceptions import ConnectionClosed

        began, piece = time.monotonic(), 0
        try:
            while not self.is_over.is_set():
                if time.monotonic() - began > piece / 10:
                    self.client.sound(1600, 1600 * piece)
                    self.client.faces((piece + 1) / 10)
                    piece += 1
                try:
                    message: Any = self.client.hear(0.02)
                except TimeoutError:
                    continue
                if isinstance(message, tuple):
                    self.starts.append(message[1])
        except ConnectionClosed:
            self.is_lost = True


def wait_for(condition: Callable[[], bool], what: str) -> None:
    last = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < last, what
        time.sleep(0.1)


def test_a_replica_that_dies_takes_its_own_sessions_alone(address: str) -> None:
    speakers = [Speaker(address) for _ in range(SESSIONS)]
    for speaker in speakers:
        speaker.start_talking()
    wait_for(lambda: all(len(speaker.starts) >= 2 for speaker in speakers), "reactions")
    own = psutil.Process().children(recursive=True)
    replicas = [process for process in own if "ServeReplica" in " ".join(process.cmdline())]
    assert len(replicas) == 2
    replicas[0].kill()
    wait_for(lambda: any(speaker.is_lost for speaker in speakers), "somebody is told")
    time.sleep(2)
    lost = [speaker for speaker in speakers if speaker.is_lost]
    kept = [speaker for speaker in speakers if not speaker.is_lost]
    assert len(lost) == len(kept) == SESSIONS // 2
    heard = [len(speaker.starts) for speaker in kept]
    wait_for(lambda: all(len(one.starts) >= count + 2 for one, count in zip(kept, heard)), "the others go on")
    for speaker in kept:
        assert (np.diff(speaker.starts) == 50).all()
    again = [Speaker(address) for _ in lost]  # who was told begins anew
    for speaker in [*kept, *again]:
        speaker.is_over.set()
