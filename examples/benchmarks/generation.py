"""How fast reactions are generated, as one table of ratios in one run.

    python examples/benchmarks/generation.py  # official sizes, random weights
    python examples/benchmarks/generation.py --whole-clip  # also the whole job: ten reactions to 30 s at 50 steps
    python examples/benchmarks/generation.py --hour  # also a stream of an hour: memory, and the same bits

The plain path is what the official program does: keys and values of the speaker are computed again in every denoising
step, and one reaction follows the other. Every other row shares them. Times are from the last frame of a speaker's
window to the segment in hand. The floor is the counted multiply-adds at the speed of a large matrix product, measured
in the same run; "x floor" compares processor times, which other programs on the machine disturb least.

Cached against plain differs by rounding only: matrix products of other sizes add in another order. Where MKL is told
to add in one order (`MKL_CBWR=AVX512,STRICT`, or `AVX2,STRICT`), the float32 difference with guidance is exactly zero.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch._inductor.config
from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler
from measuring import Seconds, Speed, median, memory, peak_megabytes, product_speed, reset_peak, timed_once
from official import (
    WINDOW_SECONDS,
    Row,
    behaviour,
    histories,
    official_pipeline,
    open_stream,
    window_operations,
    window_times,
)
from torch import Tensor

from perfrdiff_hf import GAFRGTransformer1DModel, PerFRDiffPipeline, WeightShifts, serve
from perfrdiff_hf.behaviour import FRAME_RATE, WINDOW_SIZE
from perfrdiff_hf.models.weight_shifts import FullShift
from perfrdiff_hf.pipelines.sampling import SamplingSettings, WindowSampler


class PlainSampler(WindowSampler):
    """The official way: no cache, and one reaction after the other."""

    @torch.no_grad()
    def sample(self, tokens: Tensor, latents: Tensor, held: Tensor | None = None) -> Tensor:
        """As `WindowSampler.sample`."""
        halves = torch.cat([torch.zeros_like(tokens), tokens])
        reactions = [self._sample_one(halves, latents[:, number]) for number in range(latents.shape[1])]
        return torch.stack(reactions, dim=1)

    def _sample_one(self, halves: Tensor, latents: Tensor) -> Tensor:
        scheduler, options = self.scheduler, self._step_options()
        scheduler.set_timesteps(self.settings.num_inference_steps)
        for timestep in scheduler.timesteps:
            both = self.denoiser(latents.repeat(2, 1, 1), timestep, halves, self.weight_shifts).sample
            unconditional, conditional = both.chunk(2)
            guided = unconditional + self.settings.guidance_scale * (conditional - unconditional)
            latents = scheduler.step(guided, timestep, latents, **options).prev_sample
        return latents.clamp(-1.0, 1.0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=3, help="windows measured for each slow row")
    parser.add_argument("--latency-windows", type=int, default=0, help="windows for p50 and p95 with one reaction")
    parser.add_argument("--whole-clip", action="store_true", help="run the whole job of 15 windows as well")
    parser.add_argument("--hour", action="store_true", help="run a stream of an hour as well, with two steps")
    parser.add_argument("--steps", type=int, default=50)
    options = parser.parse_args()
    pipe = official_pipeline()
    print(
        f"{torch.get_num_threads()} threads, {pipe.denoiser.num_parameters() / 1e6:.1f} M parameters in the denoiser\n"
    )
    print_differences(pipe)
    table(pipe, options.steps, options.windows)
    faster_arithmetic_table(pipe, options.steps, options.windows)
    personal_table(pipe, options.steps, options.windows)
    served_table(pipe, options.windows)
    print_personalising(pipe)
    if options.latency_windows:
        latency_table(pipe, options.latency_windows)
    if options.whole_clip:
        whole_clip(pipe)
    if options.hour:
        hour(pipe)


def table(pipe: PerFRDiffPipeline, steps: int, windows: int) -> None:
    """The plain path against cached and batched ones, and fewer steps; one listener, generic."""
    ten = SamplingSettings(num_reactions=10, num_inference_steps=steps)
    one = replace(ten, num_reactions=1)
    rows = [
        Row("plain, ten reactions one by one", ten, sampler=PlainSampler),
        Row("cached, ten at once", ten),
        Row("plain, one reaction", one, sampler=PlainSampler),
        Row("cached, one reaction", one),
        *(Row(f"cached, ten at once, {n} steps", replace(ten, num_inference_steps=n)) for n in (20, 10, 5, 2)),
        *(Row(f"cached, one reaction, {n} steps", replace(one, num_inference_steps=n)) for n in (20, 10, 5, 2)),
        Row("cached, ten at once, guidance in the first half", replace(ten, guidance_interval=(0.0, 0.5))),
        *(
            Row(f"ten at once, 10 steps, {kind.__name__}", replace(ten, num_inference_steps=10), scheduler=kind)
            for kind in (DPMSolverMultistepScheduler, UniPCMultistepScheduler)
        ),
    ]
    took, peaks, speed = in_turns(pipe, rows, windows)
    print(f"large matrix product meanwhile: {speed.wall / 1e9:.0f} GFLOP/s\n")
    print(f"| {steps} steps unless said | p50 s | p95 s | real-time factor | x plain | floor s | x floor | peak MB |")
    print("|---|---|---|---|---|---|---|---|")
    plain: dict[int, float] = {}
    for row, times, peak in zip(rows, took, peaks):
        p50, p95 = np.percentile([each.wall for each in times], (50, 95))
        processor = median(times).processor
        reactions = row.settings.num_reactions
        plain.setdefault(reactions, processor)
        operations = window_operations(pipe.denoiser, row.settings)
        print(
            f"| {row.name} | {p50:.3f} | {p95:.3f} | {p50 / WINDOW_SECONDS:.2f} | {plain[reactions] / processor:.2f} "
            f"| {operations / speed.wall:.3f} | {processor * speed.processor / operations:.2f} | {peak:.0f} |",
            flush=True,
        )


def in_turns(
    pipe: PerFRDiffPipeline, rows: Sequence[Row], windows: int
) -> tuple[list[list[Seconds]], list[float], Speed]:
    """Times and peak memory of each row, and the speed of a large matrix product meanwhile.

    One window of each row, then the next of each: whatever else the machine does falls on all rows alike.
    """
    took: list[list[Seconds]] = [[] for _ in rows]
    peaks = [0.0 for _ in rows]
    speeds = []
    for _ in range(windows):
        speeds.append(product_speed())
        for number, row in enumerate(rows):
            reset_peak()
            took[number] += window_times(pipe, row, 1)
            peaks[number] = max(peaks[number], peak_megabytes())
    return took, peaks, Speed(*np.median(speeds, axis=0).tolist())


def faster_arithmetic_table(pipe: PerFRDiffPipeline, steps: int, windows: int) -> None:
    """Compiled, and in bfloat16, against float32 as it is; what that changes in the denoiser's output."""
    print(f"\n| {steps} steps | ten reactions, s | x float32 | one reaction, s | x float32 | difference of one call |")
    print("|---|---|---|---|---|---|")
    rows = [Row("", SamplingSettings(num_reactions=count, num_inference_steps=steps)) for count in (10, 1)]
    first: list[float] = []
    for name in ("float32", "float32, compiled", "bfloat16", "bfloat16, compiled"):
        denoiser: Any = copy.deepcopy(pipe.denoiser)
        if "bfloat16" in name:
            denoiser.to(torch.bfloat16)
        if "compiled" in name:
            torch._inductor.config.freezing = True  # weights are packed once for the matrix products to come
            denoiser.compile(dynamic=False)
        changed = PerFRDiffPipeline(**{**pipe.components, "denoiser": denoiser})
        times = [median(window_times(changed, row, windows)).wall for row in rows]
        first = first or times
        difference = (one_call(denoiser).float() - one_call(pipe.denoiser)).abs().max()
        columns = [f"{seconds:.3f} | {plain / seconds:.2f}" for seconds, plain in zip(times, first)]
        print(f"| {name} | {' | '.join(columns)} | {difference:.1e} |", flush=True)


def personal_table(pipe: PerFRDiffPipeline, steps: int, windows: int) -> None:
    """Several listeners in one batch against the generic model at the same batch."""
    print(f"\n| one reaction each, {steps} steps | s per window | x generic | shifts MB | peak MB |")
    print("|---|---|---|---|---|")
    settings = SamplingSettings(num_reactions=1, num_inference_steps=steps)
    for listeners in (1, 8, 32):
        shifts = pipe.personalise(histories(listeners))
        rows = [Row("generic", settings, listeners), Row("low-rank shifts", settings, listeners, shifts)]
        if listeners == 8:
            rows.append(Row("full shifts", settings, listeners, full_shifts(pipe, shifts)))
        took, peaks, _ = in_turns(pipe, rows, windows)
        generic = median(took[0]).processor
        for row, times, peak in zip(rows, took, peaks):
            print(
                f"| {listeners} listeners, {row.name} | {median(times).wall:.3f} "
                f"| {median(times).processor / generic:.3f} | {megabytes(row.shifts):.1f} | {peak:.0f} |",
                flush=True,
            )


def served_table(pipe: PerFRDiffPipeline, windows: int) -> None:
    """Streams at different points of their sessions, each with its own listener: one batch against one by one."""
    listeners, frames = 8, WINDOW_SIZE
    shifts = pipe.personalise(histories(listeners))
    options: dict[str, Any] = {"num_reactions": 1, "num_inference_steps": 10}
    streams = [pipe.stream(weight_shifts=shifts.listener(row), **options) for row in range(listeners)]
    for row, stream in enumerate(streams):
        stream.push(**behaviour(1, 1 + 6 * row))  # each is six frames ahead of the one before
    together, apart = [], []
    for _ in range(windows):
        for stream in streams:
            stream.hear(**behaviour(1, frames))
        together.append(timed_once(lambda: serve(streams)))
        for stream in streams:
            stream.hear(**behaviour(1, frames))
        apart.append(timed_once(lambda: [list(stream.segments()) for stream in streams]))
    print(
        f"\n{listeners} streams of different phase, one reaction, 10 steps: {median(together).wall:.3f} s as one "
        f"batch, {median(apart).wall:.3f} s one after the other ({median(apart).wall / median(together).wall:.2f} x)"
    )


def latency_table(pipe: PerFRDiffPipeline, windows: int) -> None:
    """From the last frame of a window to the segment in hand, one reaction."""
    print(f"\n| one reaction, {windows} windows | p50 s | p95 s |\n|---|---|---|")
    for steps in (50, 20, 10, 5, 2):
        row = Row(f"{steps} steps", SamplingSettings(num_reactions=1, num_inference_steps=steps))
        p50, p95 = np.percentile([took.wall for took in window_times(pipe, row, windows)], (50, 95))
        print(f"| {row.name} | {p50:.3f} | {p95:.3f} |", flush=True)


def print_personalising(pipe: PerFRDiffPipeline) -> None:
    """Seconds from 30 s of history to weight shifts."""
    took = median([timed_once(lambda: pipe.personalise(histories(1))) for _ in range(6)])
    print(f"\npersonalising one listener from 30 s of history: {took.wall:.3f} s")


def whole_clip(pipe: PerFRDiffPipeline) -> None:
    """Ten reactions to a 30 s clip with 50 steps and guidance."""
    settings = SamplingSettings(num_reactions=10, num_inference_steps=50)
    speaker = behaviour(1, 750)
    pipe.set_progress_bar_config(disable=True)
    before = product_speed()
    reset_peak()
    took = timed_once(
        lambda: pipe(speaker["audio"], speaker["emotion"], speaker["coefficients"], num_inference_steps=50)
    )
    peak, after = peak_megabytes(), product_speed()
    speed = Speed((before.wall + after.wall) / 2, (before.processor + after.processor) / 2)
    operations = 15 * window_operations(pipe.denoiser, settings)
    print(
        f"\nten reactions to a 30 s clip, 50 steps, guidance: {took.wall:.0f} s, {took.processor:.0f} s of processor "
        f"time; floor {operations / speed.wall:.0f} s at {speed.wall / 1e9:.0f} GFLOP/s; "
        f"{took.processor * speed.processor / operations:.2f} x floor; peak {peak:.0f} MB",
        flush=True,
    )


def hour(pipe: PerFRDiffPipeline) -> None:
    """A stream of an hour in chunks of random length: memory every ten minutes, and the full-clip call's bits."""
    frames, random = int(3600 * FRAME_RATE), np.random.default_rng(2)
    speaker = behaviour(1, frames)
    options: dict[str, Any] = {"num_reactions": 1, "num_inference_steps": 2}
    stream = pipe.stream(generator=torch.Generator().manual_seed(0), **options)
    reactions = np.empty((frames + WINDOW_SIZE, 25), dtype=np.float32)
    start, next_report = 0, frames // 6
    while start < frames:
        stop = min(frames, start + int(random.integers(1, 100)))
        for segment in stream.push(**{name: values[:, start:stop] for name, values in speaker.items()}):
            new = segment.reactions[0, 0].numpy()
            reactions[segment.start : segment.start + len(new)] = new
        start = stop
        if start >= next_report:
            print(f"after {start / FRAME_RATE / 60:.0f} minutes: {memory('VmRSS'):.0f} MB", flush=True)
            next_report += frames // 6
    pipe.set_progress_bar_config(disable=True)
    whole = pipe(
        speaker["audio"],
        speaker["emotion"],
        speaker["coefficients"],
        generator=torch.Generator().manual_seed(0),
        output_type="np",
        **options,
    ).reactions[0, 0]
    same = np.array_equal(whole, reactions[:frames])
    print(f"an hour in random chunks {'equals' if same else 'DIFFERS FROM'} the full-clip call to the last bit")


@torch.no_grad()
def one_call(denoiser: GAFRGTransformer1DModel, rows: int = 10) -> Tensor:
    """One call of the denoiser on made-up input."""
    random = torch.Generator().manual_seed(0)
    tokens = torch.randn(1, 2 * WINDOW_SIZE + 1, denoiser.config.hidden_size, generator=random).to(denoiser.dtype)
    noisy = torch.randn(rows, WINDOW_SIZE, denoiser.config.in_channels, generator=random).to(denoiser.dtype)
    return denoiser(noisy, 500, denoiser.cache_condition(tokens)).sample


def print_differences(pipe: PerFRDiffPipeline) -> None:
    """Cached and batched against plain with the same seed: largest differences, as far as rounding lets them agree."""
    for name, dtype, steps in (("float32", torch.float32, 50), ("float64", torch.float64, 10)):
        models = {part: copy.deepcopy(pipe.components[part]).to(dtype) for part in ("denoiser", "emotion_vae")}
        changed = PerFRDiffPipeline(**{**pipe.components, **models})
        for scale in (1.0, 7.5):
            outputs = []
            for sampler in (PlainSampler, WindowSampler):
                settings = SamplingSettings(10, steps, scale, generator=torch.Generator().manual_seed(0))
                stream = open_stream(changed, Row("", settings, sampler=sampler))
                stream.hear(**behaviour(1, 1))
                outputs.append(next(stream.segments()).reactions)
            difference = (outputs[0] - outputs[1]).abs().max()
            print(
                f"cached against plain, ten reactions, {steps} steps, guidance scale {scale}, {name}: "
                f"largest difference {difference:.1e}",
                flush=True,
            )
    print()


def full_shifts(pipe: PerFRDiffPipeline, shifts: WeightShifts) -> WeightShifts:
    """The same shifts with every entry of every matrix written out."""
    weights = dict(pipe.denoiser.named_parameters())
    return WeightShifts({n: FullShift(s.weight_change(weights[f"{n}.weight"])) for n, s in shifts.items()})


def megabytes(shifts: WeightShifts | None) -> float:
    """Size of some listeners' shifts."""
    if shifts is None:
        return 0.0
    values = [value for shift in shifts.values() for value in vars(shift).values()]
    return sum(value.nbytes for value in values if isinstance(value, Tensor)) / 2**20


if __name__ == "__main__":
    main()
