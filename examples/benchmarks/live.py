"""A long session as fast as it goes, over a real WebSocket, to see whether the server's memory stays flat.

    python examples/benchmarks/live.py --model demo_output/model --minutes 60

Sound and faces of the session are made up. Every five minutes of it a line says how much memory the server's process
holds, and how long windows of two seconds took.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import struct
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import uvicorn
from websockets.asyncio.client import connect

from perfrdiff_hf.cli.options import load_pipeline
from perfrdiff_hf.live.listeners import ListenerShelf
from perfrdiff_hf.live.server import create_app, server_options
from perfrdiff_hf.live.session import Limits
from perfrdiff_hf.live.studio import Studio


REPORT_MINUTES = 5


def main() -> None:
    """Start a server in this process, and play the session."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of a saved pipeline")
    parser.add_argument("--minutes", type=int, default=60, help="of the session (default 60)")
    parser.add_argument("--steps", type=int, default=2, help="denoising steps (default 2)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--port", type=int, default=8123)
    options = parser.parse_args()
    # As fast as it goes: neither the clock nor the model's time is a limit here.
    limits = Limits(session_seconds=1e9, ahead_seconds=1e9, behind_seconds=1e9)
    with tempfile.TemporaryDirectory() as folder:
        models = {"model": load_pipeline(options.model, options.device)}
        app = create_app(Studio(models, ListenerShelf(Path(folder) / "listeners"), limits), Path(folder) / "none")
        server = uvicorn.Server(uvicorn.Config(app, **server_options("127.0.0.1", options.port)))  # type: ignore[arg-type]
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            while not server.started:
                time.sleep(0.05)
            asyncio.run(play(options))
        finally:
            server.should_exit = True
            thread.join()


async def play(options: argparse.Namespace) -> None:
    """Send second after second, and never run further ahead than four seconds of what came back."""
    process, rng = psutil.Process(), np.random.default_rng(0)
    async with connect(f"ws://127.0.0.1:{options.port}/live", proxy=None) as socket:
        wishes = {"type": "start", "model": "model", "num_inference_steps": options.steps, "seed": 0}
        await socket.send(json.dumps(wishes))
        begun = json.loads(await socket.recv())
        assert begun["type"] == "started", begun
        answered, began = 0, time.monotonic()
        for second in range(60 * options.minutes):
            await socket.send(b"\x02\0\0\0" + (3000 * rng.standard_normal(16000)).astype("<i2").tobytes())
            rows = np.zeros((25, 57), dtype="<f4")
            rows[:, 0], rows[:, 1] = second + np.arange(25) / 25, 1
            rows[:, 2:54] = rng.uniform(0, 0.5, 52)
            await socket.send(b"\x01\0\0\0" + rows.tobytes())
            while answered < 25 * (second - 4):
                message = await socket.recv()
                if isinstance(message, bytes):
                    _, _, _, start, frames = struct.unpack_from("<BBHII", message)
                    answered = start + frames
            if second % (60 * REPORT_MINUTES) == 0:
                held = process.memory_info().rss / 2**20
                each = (time.monotonic() - began) / (second + 1)
                print(f"minute {second // 60}: {held:.1f} MiB held, {each:.3f} s for each second", flush=True)


if __name__ == "__main__":
    main()
