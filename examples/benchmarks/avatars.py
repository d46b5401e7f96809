"""Avatars live: how evenly frames of VMC reach an independent OSC server, and how long a picture of the head takes.

python examples/benchmarks/avatars.py --seconds 60

The sender is `perfrdiff avatar` in a process of its own, on the loopback address; the server is python-osc's.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from perfrdiff_hf.behaviour import FRAME_RATE, MEAN_FACE, STD_FACE
from perfrdiff_hf.extras import require
from perfrdiff_hf.faces.formats import write_coefficients_npy
from perfrdiff_hf.rendering.face import draw_face
from perfrdiff_hf.rendering.head import draw_head


SIZE = 256


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to send (default 60)")
    parser.add_argument("--fps", type=int, default=60, choices=(25, 60))
    options = parser.parse_args(arguments)
    require("live", "Messages of VMC")
    arrivals = received(options.seconds, options.fps)
    gaps = 1000 * np.diff(arrivals)
    rate = (len(arrivals) - 1) / (arrivals[-1] - arrivals[0])
    print(f"VMC: {len(arrivals)} frames, {rate:.2f} a second over {arrivals[-1] - arrivals[0]:.1f} s")
    print(f"gaps, ms: median {np.median(gaps):.1f}, p99 {np.quantile(gaps, 0.99):.1f}, longest {gaps.max():.1f}")
    print(f"a picture of {SIZE} pixels, ms: drawn face {drawing(draw_face, MEAN_FACE, None, SIZE):.1f}, ", end="")
    print(f"head {drawing(draw_head, np.full(52, 0.1), np.zeros(3), SIZE):.1f}")


def received(seconds: float, fps: int) -> np.ndarray:
    """When the `Apply` of each frame arrived, in seconds."""
    from pythonosc.dispatcher import Dispatcher
    from pythonosc.osc_server import BlockingOSCUDPServer

    arrivals: list[float] = []
    dispatcher = Dispatcher()
    dispatcher.map("/VMC/Ext/Blend/Val", lambda address, name, value: None)
    dispatcher.map("/VMC/Ext/Blend/Apply", lambda address: arrivals.append(time.monotonic()))
    with tempfile.TemporaryDirectory() as folder, BlockingOSCUDPServer(("127.0.0.1", 0), dispatcher) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        wave = np.sin(np.arange(round(seconds * FRAME_RATE)) / 5)[:, None]
        face = Path(folder) / "face.npy"
        write_coefficients_npy(face, MEAN_FACE + 0.3 * STD_FACE * wave)
        command = [sys.executable, "-m", "perfrdiff_hf.cli", "avatar", str(face), "--send", "vmc"]
        subprocess.run([*command, "--port", str(server.server_address[1]), "--fps", str(fps)], check=True)
        server.shutdown()
    return np.array(arrivals)


def drawing(draw: Callable[..., Any], *arguments: Any) -> float:
    """Milliseconds of a picture, the mean of twenty."""
    draw(*arguments)
    began = time.perf_counter()
    for _ in range(20):
        draw(*arguments)
    return 1000 * (time.perf_counter() - began) / 20


if __name__ == "__main__":
    main()
