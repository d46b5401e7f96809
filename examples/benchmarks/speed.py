"""How fast a teacher and its students are at the official size, in six forms, and where the time goes.

    python examples/benchmarks/speed.py --output results/sampling/speed.json  # an hour on free cores
    python examples/benchmarks/speed.py --eager --steps 4 2 1 --guidance none

Time follows from the steps and how many of them are guided, not from what the weights are: they are random here. The
floor is the counted multiply-adds at the speed of a large matrix product, measured in the same run.
Compiled: with packed weights, as docs/live.md says; what is compiled or exported is measured as students are sampled,
and the other ways plainly. `report.py --check sampling` reads the file; what it holds already stays there.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._inductor.config
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from measuring import Speed, machine, median, product_speed
from official import (
    WINDOW_SECONDS,
    Row,
    in_bfloat16,
    in_onnx_runtime,
    official_pipeline,
    window_operations,
    window_times,
)
from torch.profiler import ProfilerActivity, profile

from perfrdiff_hf import PerFRDiffPipeline
from perfrdiff_hf.files import file_beside
from perfrdiff_hf.pipelines.sampling import SamplingSettings


# Steps and guidance, in the words of the table of quality.
GUIDANCE: dict[str, dict[str, Any]] = {
    "none": {"guidance_scale": 1.0},
    "interval": {"guidance_scale": 3.0, "guidance_interval": (0.0, 0.5)},
    "full": {"guidance_scale": 3.0},
}
WAYS = [(steps, guidance) for steps in (50, 20, 10, 6, 4, 2, 1) for guidance in GUIDANCE]
OF_STUDENTS = [(steps, "none") for steps in (4, 2, 1)]
PLAIN = ("eager", "bfloat16")
ONNX = "ONNX Runtime"
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
    parser.add_argument("--eager", action="store_true", help="leave out what is compiled or exported")
    parser.add_argument("--steps", type=int, nargs="+", help="only ways of so many steps")
    parser.add_argument("--guidance", choices=tuple(GUIDANCE), nargs="+", help="only ways with such guidance")
    options = parser.parse_args()
    pipe = official_pipeline()
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, timestep_spacing="trailing")
    forms = {"eager": pipe, "bfloat16": in_bfloat16(pipe)}
    if not options.eager:
        forms |= {"compiled": compiled(pipe), "bfloat16, compiled": compiled(forms["bfloat16"])}
        forms |= {ONNX: in_onnx_runtime(pipe), f"int8, {ONNX}": in_onnx_runtime(pipe, int8=True)}
    ways = [
        (steps, guidance) for steps, guidance in WAYS
        if steps in (options.steps or [steps]) and guidance in (options.guidance or GUIDANCE)
    ]  # fmt: skip
    found = ways_table(forms, ways, options.windows, options.latency_windows)
    for name, form in forms.items():
        if ONNX not in name:  # there, nothing is seen of the operators
            parts_table(name, form, min(steps for steps, _ in ways), options.windows)
    if options.output:
        write(options.output, found)


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
            if form not in PLAIN and (steps, guidance) not in OF_STUDENTS:
                continue
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


def write(path: Path, ways: dict[str, dict[str, Any]]) -> None:
    """Write what was found, beside what the file holds already if that was measured on such a machine."""
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    told = {"machine": machine(), "ways": ways}
    if earlier.get("machine") == told["machine"]:
        kept = earlier["ways"]
        told["ways"] = {**kept, **{way: {**kept.get(way, {}), **forms} for way, forms in ways.items()}}
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_beside(path) as beside:
        beside.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
