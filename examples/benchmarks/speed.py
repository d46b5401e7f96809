"""How fast a teacher and its students are at the official size, in four forms, and where the time goes.

    python examples/benchmarks/speed.py --output results/sampling/speed.json  # some minutes on free cores
    python examples/benchmarks/speed.py --live 8 32 --minutes 10  # also many listeners at once, in real time

Time follows from the steps and how many of them are guided, not from what the weights are: they are random here. The
floor is the counted multiply-adds at the speed of a large matrix product, measured in the same run.
Compiled: with packed weights, as docs/live.md says. `report.py --check sampling` reads the file.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._inductor.config
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from measuring import Speed, median, product_speed
from official import WINDOW_SECONDS, Row, behaviour, histories, official_pipeline, window_operations, window_times
from torch.profiler import ProfilerActivity, profile

from perfrdiff_hf import PerFRDiffPipeline, serve
from perfrdiff_hf.behaviour import FRAME_RATE
from perfrdiff_hf.files import file_beside
from perfrdiff_hf.pipelines.sampling import SamplingSettings


# Steps and guidance, in the words of the table of quality; students are the ways without guidance.
GUIDANCE: dict[str, dict[str, Any]] = {
    "none": {"guidance_scale": 1.0},
    "interval": {"guidance_scale": 3.0, "guidance_interval": (0.0, 0.5)},
    "full": {"guidance_scale": 3.0},
}
WAYS = [
    *((steps, guidance) for steps in (50, 10) for guidance in ("interval", "full")),
    *((steps, "none") for steps in (50, 10, 4, 2, 1)),
]
# What an operator does, by what its name begins with; the first that fits.
PARTS = {
    "matrix products": ("aten::addmm", "aten::mm", "aten::bmm", "aten::baddbmm", "mkl::", "mkldnn::", "aten::mkldnn"),
    "attention": ("aten::_scaled_dot", "aten::scaled_dot", "aten::_softmax"),
    "norms": ("aten::native_layer_norm", "aten::layer_norm"),
    "copies": ("aten::copy_", "aten::cat", "aten::clone", "aten::contiguous", "aten::stack", "aten::repeat"),
    "fused kernels": ("graph_", "triton", "cpp_fused"),
    "other operators": ("",),
}


def main() -> None:
    """Measure, print, and write what the report reads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="json file to write")
    parser.add_argument("--windows", type=int, default=5, help="windows of ten reactions for each way")
    parser.add_argument("--latency_windows", type=int, default=100, help="windows of one reaction for each way")
    parser.add_argument("--eager", action="store_true", help="leave out the compiled forms")
    parser.add_argument("--steps", type=int, nargs="+", help="only ways of so many steps")
    parser.add_argument("--live", type=int, nargs="+", default=[], help="how many listeners at once, in real time")
    parser.add_argument("--hops", type=int, nargs="+", default=[50, 10], help="of the live listeners")
    parser.add_argument("--live_form", default="eager", choices=("eager", "bfloat16"), help="of their student")
    parser.add_argument("--live_steps", type=int, default=4, help="evaluations of their student")
    parser.add_argument("--minutes", type=float, default=10.0, help="of each live session")
    options = parser.parse_args()
    pipe = official_pipeline()
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, timestep_spacing="trailing")
    forms = {"eager": pipe, "bfloat16": in_bfloat16(pipe)}
    if not options.eager:
        forms |= {"compiled": compiled(pipe), "bfloat16, compiled": compiled(forms["bfloat16"])}
    ways = [way for way in WAYS if not options.steps or way[0] in options.steps]
    found = ways_table(forms, ways, options.windows, options.latency_windows)
    for name, form in forms.items():
        parts_table(name, form, min(steps for steps, _ in ways), options.windows)
    sessions = [
        live(forms[options.live_form], listeners, hop, options.live_steps, options.minutes)
        for listeners in options.live
        for hop in options.hops
    ]
    if options.output:
        told = {"machine": machine(), "ways": found, "live": {"form": options.live_form, "sessions": sessions}}
        options.output.parent.mkdir(parents=True, exist_ok=True)
        with file_beside(options.output) as beside:
            beside.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def in_bfloat16(pipe: PerFRDiffPipeline) -> PerFRDiffPipeline:
    """The same pipeline with a denoiser that computes in bfloat16."""
    denoiser: Any = copy.deepcopy(pipe.denoiser)
    return PerFRDiffPipeline(**{**pipe.components, "denoiser": denoiser.to(torch.bfloat16)})


def compiled(pipe: PerFRDiffPipeline) -> PerFRDiffPipeline:
    """The same pipeline with a denoiser that is compiled on its first calls, once for each batch size."""
    torch._inductor.config.freezing = True  # weights are packed once for the matrix products to come
    denoiser: Any = copy.deepcopy(pipe.denoiser)
    denoiser.compile(dynamic=False)
    return PerFRDiffPipeline(**{**pipe.components, "denoiser": denoiser})


def ways_table(
    forms: dict[str, PerFRDiffPipeline], ways: list[tuple[int, str]], windows: int, latency_windows: int
) -> dict[str, dict[str, Any]]:
    """Print and give back the figures of each way, by the form of the model."""
    print("| steps, guidance | model | ten, real-time factor | one, p50 s | p95 s | one, floor s | x floor |")
    print("|---|---|---|---|---|---|---|")
    found: dict[str, dict[str, Any]] = {}
    for steps, guidance in ways:
        way = f"{steps} steps, {guidance}"
        for form, pipe in forms.items():
            ten, one = (
                Row(way, SamplingSettings(num_reactions=number, num_inference_steps=steps, **GUIDANCE[guidance]))
                for number in (10, 1)
            )
            for row in (ten, one):
                window_times(pipe, row, 1)  # compiles
            speed = product_speed()
            of_ten, of_one = window_times(pipe, ten, windows), window_times(pipe, one, latency_windows)
            speed = Speed(*np.median([speed, product_speed()], axis=0).tolist())
            operations = window_operations(pipe.denoiser, one.settings)
            p50, p95 = np.percentile([took.wall for took in of_one], (50, 95))
            figures = {
                "ten, real-time factor": median(of_ten).wall / WINDOW_SECONDS,
                "one, p50 s": p50,
                "one, p95 s": p95,
                "one, floor s": operations / speed.wall,
                "one, x floor": median(of_one).processor * speed.processor / operations,
            }
            found.setdefault(way, {})[form] = {name: float(f"{value:.4g}") for name, value in figures.items()}
            print(f"| {way} | {form} | {' | '.join(f'{value:.3g}' for value in figures.values())} |", flush=True)
    return found


def parts_table(form: str, pipe: PerFRDiffPipeline, steps: int, windows: int) -> None:
    """Where the time of one reaction goes: processor time by kind of operator, and what is between operators."""
    row = Row("", SamplingSettings(num_reactions=1, num_inference_steps=steps, guidance_scale=1.0))
    window_times(pipe, row, 1)
    plain = median(window_times(pipe, row, windows)).processor
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        window_times(pipe, row, windows)
    spent = dict.fromkeys(PARTS, 0.0)
    for event in profiler.key_averages():
        part = next(name for name, begins in PARTS.items() if event.key.startswith(begins))
        # `window_times` runs one window of a single step beside those that it times.
        spent[part] += event.self_cpu_time_total / 1e6 / (windows + 1 / steps)
    print(f"\n| {form}, one reaction, {steps} steps: {1000 * plain:.1f} ms a window | ms | share |\n|---|---|---|")
    spent["between operators (Python, launching)"] = max(0.0, plain - sum(spent.values()))
    for part, seconds in spent.items():
        print(f"| {part} | {1000 * seconds:.2f} | {seconds / max(plain, sum(spent.values())):.2f} |", flush=True)


def live(pipe: PerFRDiffPipeline, listeners: int, hop: int, steps: int, minutes: float) -> dict[str, float]:
    """Many listeners at once, each one's session begun at another moment, heard frame by frame as time goes."""
    shifts = pipe.personalise(histories(listeners))
    settings: dict[str, Any] = {"num_reactions": 1, "num_inference_steps": steps, "guidance_scale": 1.0, "hop": hop}
    streams = [pipe.stream(weight_shifts=shifts.listener(row), **settings) for row in range(listeners)]
    for row, stream in enumerate(streams):
        stream.push(**behaviour(1, 1 + row * hop // listeners))
    chunk, delays, segments = behaviour(1, 1), [], 0
    for due in ticks(int(60 * minutes * FRAME_RATE)):
        for stream in streams:
            stream.hear(**chunk)
        while served := serve(streams):
            delays += [time.perf_counter() - due] * len(served)
            segments += len(served)
    expected = listeners * int(60 * minutes * FRAME_RATE) // hop
    p50, p95, longest = np.percentile(delays, (50, 95, 100)) if delays else (np.nan,) * 3
    late = sum(delay > hop / FRAME_RATE for delay in delays)
    print(
        f"\n{listeners} listeners, hop {hop}, {steps} evaluations, {minutes:g} minutes: {segments} segments of about "
        f"{expected}; delay p50 {p50:.3f} s, p95 {p95:.3f} s, longest {longest:.3f} s; {late} later than the next was "
        "due",
        flush=True,
    )
    return {
        "listeners": listeners, "hop": hop, "steps": steps, "minutes": minutes, "segments": segments,
        "p50 s": float(f"{p50:.4g}"), "p95 s": float(f"{p95:.4g}"), "longest s": float(f"{longest:.4g}"), "late": late,
    }  # fmt: skip


def ticks(frames: int) -> Iterator[float]:
    """The moments at which frames come; where one is late, the next comes at once and waits no longer."""
    begin = time.perf_counter()
    for frame in range(frames):
        due = begin + frame / FRAME_RATE
        time.sleep(max(0.0, due - time.perf_counter()))
        yield due


def machine() -> dict[str, Any]:
    """On what was measured."""
    return {"processor": platform.processor() or platform.machine(), "threads": torch.get_num_threads(),
            "torch": torch.__version__}  # fmt: skip


if __name__ == "__main__":
    main()
