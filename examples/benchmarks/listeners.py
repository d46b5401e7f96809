"""How many live listeners one process carries: each with a stream of its own, heard frame by frame as time goes.

    python examples/benchmarks/listeners.py --listeners 8 32 --hops 50 10 --output results/sampling/listeners.json
    python examples/benchmarks/listeners.py --listeners 32 --hops 10 --steps 1 --form bfloat16

Official size, random weights, one reaction for each listener, served together; one session after the other. Sessions
begin at different moments, so that windows fall due one after the other and not all at once. A session that is ten
seconds behind is given up. What the output holds of other sessions stays there.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import machine
from official import behaviour, histories, in_bfloat16, official_pipeline

from perfrdiff_hf import PerFRDiffPipeline, serve
from perfrdiff_hf.behaviour import FRAME_RATE
from perfrdiff_hf.files import file_beside


FORMS = ("float32", "bfloat16")
# So far behind, a session that cannot keep up is given up.
TOO_LATE_SECONDS = 10.0
# Which session it is; all else is what was found.
SESSION = ("listeners", "hop", "steps", "form", "minutes", "threads")


def main() -> None:
    """Hold the sessions, print and write what they found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listeners", type=int, nargs="+", default=[8, 32], help="how many at once")
    parser.add_argument("--hops", type=int, nargs="+", default=[50, 10], help="frames from one segment to the next")
    parser.add_argument("--steps", type=int, default=4, help="evaluations of the student")
    parser.add_argument("--form", default="float32", choices=FORMS, help="in which the student computes")
    parser.add_argument("--minutes", type=float, default=10.0, help="of each session")
    parser.add_argument("--output", type=Path, help="json file to write")
    options = parser.parse_args()
    pipe = official_pipeline()
    if options.form == "bfloat16":
        pipe = in_bfloat16(pipe)
    threads = torch.get_num_threads()
    print(f"| {' | '.join(SESSION)} | segments | dropped | p50 s | p95 s | longest s | late |")
    print("|---" * (len(SESSION) + 6) + "|")
    for listeners in options.listeners:
        for hop in options.hops:
            told: dict[str, Any] = dict(
                zip(SESSION, (listeners, hop, options.steps, options.form, options.minutes, threads), strict=True)
            )
            found = told | session(pipe, listeners, hop, options.steps, options.minutes)
            print(f"| {' | '.join(f'{value}' for value in found.values())} |", flush=True)
            if options.output:
                write(options.output, found)


def session(pipe: PerFRDiffPipeline, listeners: int, hop: int, steps: int, minutes: float) -> dict[str, Any]:
    """Some minutes of some listeners.

    Returns:
        How many `segments` came and how many were `dropped`, as they had not come in the end or when the session was
        given up; the delay in seconds, from the last frame that a segment needs to the segment; and how many were
        `late`: they came when the next one was due.
    """
    shifts = pipe.personalise(histories(listeners))
    settings: dict[str, Any] = {"num_reactions": 1, "num_inference_steps": steps, "guidance_scale": 1.0, "hop": hop}
    streams = [pipe.stream(weight_shifts=shifts.listener(row), **settings) for row in range(listeners)]
    before = {stream: 1 + row * hop // listeners for row, stream in enumerate(streams)}
    for stream, known in before.items():
        stream.push(**behaviour(1, known))
    frames = int(60 * minutes * FRAME_RATE)
    delays: list[float] = []

    def serve_once() -> bool:
        served = serve(streams)
        now = time.perf_counter()
        for stream, _ in served:
            came[stream] += 1
            delays.append(now - begin - (hop * came[stream] - before[stream]) / FRAME_RATE)
        return bool(served)

    came = {stream: known // hop for stream, known in before.items()}  # one for each hop that was heard
    begin = time.perf_counter()
    for arrived in arrivals(begin, frames):
        chunk = behaviour(1, arrived)
        for stream in streams:
            stream.hear(**chunk)
        serve_once()
        if delays and delays[-1] > TOO_LATE_SECONDS:
            break
    else:
        while serve_once():
            pass
    asked = sum((known + frames) // hop - known // hop for known in before.values())
    p50, p95, longest = np.percentile(delays, (50, 95, 100)) if delays else (np.nan,) * 3
    return {
        "segments": len(delays),
        "dropped": asked - len(delays),
        "p50 s": float(f"{p50:.3g}"),
        "p95 s": float(f"{p95:.3g}"),
        "longest s": float(f"{longest:.3g}"),
        "late": sum(delay > hop / FRAME_RATE for delay in delays),
    }


def arrivals(begin: float, frames: int) -> Iterator[int]:
    """How many frames have come since the last time, at least one: more, while windows are being made."""
    known = 0
    while known < frames:
        time.sleep(max(0.0, begin + (known + 1) / FRAME_RATE - time.perf_counter()))
        now = min(frames, max(known + 1, int((time.perf_counter() - begin) * FRAME_RATE)))
        yield now - known
        known = now


def write(path: Path, found: dict[str, Any]) -> None:
    """Put a session into a file, in the place of what the file held of the same one."""
    earlier = json.loads(path.read_text(encoding="utf-8"))["sessions"] if path.exists() else []
    others = [one for one in earlier if any(one[name] != found[name] for name in SESSION)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_beside(path) as beside:
        told = {"machine": machine(), "sessions": [*others, found]}
        beside.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
