"""How fast reactions are generated, as one table of ratios in one run.

    python examples/benchmark_generation.py                 # official sizes, random weights
    python examples/benchmark_generation.py --whole-clip    # also the whole job: ten reactions to 30 s at 50 steps

The plain path is what the official program does: keys and values of the speaker are computed again in every denoising
step, and one reaction follows the other. Every other row shares them. Times are from the last frame of a speaker's
window to the segment in hand. The floor is the counted multiply-adds at the speed of a large matrix product, measured
in the same run.
"""

from __future__ import annotations

import argparse
import copy
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Optional

import numpy as np
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from perfrdiff_hf import (
    EmotionVAEModel,
    GAFRGTransformer1DModel,
    PerFRDiffFeatureExtractor,
    PerFRDiffPipeline,
    PSSLConfig,
    PSSLModel,
    PWSGConfig,
    PWSGModel,
    WeightShifts,
)
from perfrdiff_hf.behaviour import FRAME_RATE, MEAN_FACE, WINDOW_SIZE
from perfrdiff_hf.pipelines.sampling import OFFICIAL_SCHEDULER_CONFIG, SamplingSettings, WindowSampler
from perfrdiff_hf.pipelines.streaming import ReactionStream


WINDOW_SECONDS = WINDOW_SIZE / FRAME_RATE


class PlainSampler(WindowSampler):
    """The official way: no cache, and one reaction after the other."""

    @torch.no_grad()
    def sample(self, tokens: Tensor, latents: Tensor, held: Optional[Tensor] = None) -> Tensor:
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


@dataclass
class Row:
    """One setting of the table."""

    name: str
    settings: SamplingSettings
    listeners: int = 1
    shifts: Optional[WeightShifts] = None
    sampler: type[WindowSampler] = WindowSampler


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=3, help="windows measured for each slow row")
    parser.add_argument("--latency-windows", type=int, default=0, help="windows for p50 and p95 with one reaction")
    parser.add_argument("--whole-clip", action="store_true", help="run the whole job of 15 windows as well")
    parser.add_argument("--steps", type=int, default=50)
    options = parser.parse_args()
    pipe = official_pipeline()
    print(f"{torch.get_num_threads()} threads, {parameters(pipe.denoiser) / 1e6:.1f} M parameters in the denoiser\n")
    speed = product_speed()
    check_equality(pipe)
    table(pipe, options.steps, options.windows, speed)
    faster_arithmetic_table(pipe, options.steps, options.windows)
    personal_table(pipe, options.steps, options.windows)
    print_personalising(pipe)
    if options.latency_windows:
        latency_table(pipe, options.latency_windows)
    if options.whole_clip:
        whole_clip(pipe, speed)


def official_pipeline() -> PerFRDiffPipeline:
    """The official sizes with random weights, and our low-rank PWSG with shifts that are not zero."""
    torch.manual_seed(0)
    denoiser = GAFRGTransformer1DModel().eval()
    generator = PWSGModel(PWSGConfig(shift_type="low_rank")).eval()
    for head in generator.heads:
        torch.nn.init.normal_(head.core.weight, std=0.01)  # type: ignore[arg-type]
    return PerFRDiffPipeline(
        denoiser,
        EmotionVAEModel().eval(),
        DDIMScheduler(**OFFICIAL_SCHEDULER_CONFIG),
        PerFRDiffFeatureExtractor(),
        PSSLModel(PSSLConfig()).eval(),
        generator,
    )


def table(pipe: PerFRDiffPipeline, steps: int, windows: int, speed: float) -> None:
    """The plain path against cached and batched ones, and fewer steps; one listener, generic."""
    ten = SamplingSettings(num_reactions=10, num_inference_steps=steps)
    one = replace(ten, num_reactions=1)
    rows = [
        Row("plain, ten reactions one by one", ten, sampler=PlainSampler),
        Row("cached, ten at once", ten),
        Row("plain, one reaction", one, sampler=PlainSampler),
        Row("cached, one reaction", one),
        *(Row(f"cached, ten at once, {n} steps", replace(ten, num_inference_steps=n)) for n in (20, 10, 5, 2)),
        Row("cached, ten at once, guidance in the first half", replace(ten, guidance_interval=(0.0, 0.5))),
    ]
    print(f"| {steps} steps unless said | s per window | real-time factor | x plain | floor | x floor | peak MB |")
    print("|---|---|---|---|---|---|---|")
    plain: dict[int, float] = {}
    for row in rows:
        seconds = float(np.median(window_times(pipe, row, windows)))
        reactions = row.settings.num_reactions
        plain.setdefault(reactions, seconds)
        floor = window_operations(pipe.denoiser, row.settings) / speed
        print(
            f"| {row.name} | {seconds:.3f} | {seconds / WINDOW_SECONDS:.2f} | {plain[reactions] / seconds:.2f} "
            f"| {floor:.3f} | {seconds / floor:.2f} | {peak_megabytes():.0f} |",
            flush=True,
        )


def faster_arithmetic_table(pipe: PerFRDiffPipeline, steps: int, windows: int) -> None:
    """Compiled, and in bfloat16, against float32 as it is; what bfloat16 changes in the output."""
    print(f"\n| ten reactions, {steps} steps | s per window | x float32 | largest difference |\n|---|---|---|---|")
    row = Row("", SamplingSettings(num_reactions=10, num_inference_steps=steps))
    times, outputs = {}, {}
    for name in ("float32", "bfloat16", "float32, compiled"):
        denoiser: Any = copy.deepcopy(pipe.denoiser)
        if name == "bfloat16":
            denoiser.to(torch.bfloat16)
        if name == "float32, compiled":
            denoiser.compile_repeated_blocks(dynamic=False)
        changed = PerFRDiffPipeline(**{**pipe.components, "denoiser": denoiser})
        times[name] = float(np.median(window_times(changed, row, windows)))
        few = SamplingSettings(num_reactions=2, num_inference_steps=5, generator=torch.Generator().manual_seed(0))
        outputs[name] = next(iter(open_stream(changed, Row("", few)).push(**behaviour(1, 1)))).reactions
        difference = (outputs[name] - outputs["float32"]).abs().max()
        print(f"| {name} | {times[name]:.3f} | {times['float32'] / times[name]:.2f} | {difference:.1e} |", flush=True)


def personal_table(pipe: PerFRDiffPipeline, steps: int, windows: int) -> None:
    """Several listeners in one batch against the generic model at the same batch."""
    print(f"\n| one reaction each, {steps} steps | s per window | x generic | peak MB |\n|---|---|---|---|")
    settings = SamplingSettings(num_reactions=1, num_inference_steps=steps)
    for listeners in (1, 8, 32):
        shifts = pipe.personalise(histories(listeners))
        rows = [Row("generic", settings, listeners), Row("low-rank shifts", settings, listeners, shifts)]
        if listeners == 8:
            rows.append(Row("full shifts", settings, listeners, full_shifts(pipe, shifts)))
        # In turns, so that whatever else the machine does falls on all rows alike.
        times = np.median([[window_times(pipe, row, 1)[0] for row in rows] for _ in range(windows)], axis=0)
        for row, seconds in zip(rows, times):
            print(
                f"| {listeners} listeners, {row.name} | {seconds:.3f} | {seconds / times[0]:.3f} "
                f"| {peak_megabytes():.0f} |",
                flush=True,
            )


def latency_table(pipe: PerFRDiffPipeline, windows: int) -> None:
    """From the last frame of a window to the segment in hand, one reaction."""
    print(f"\n| one reaction, {windows} windows | p50 s | p95 s |\n|---|---|---|")
    for steps in (50, 20, 10, 5, 2):
        row = Row(f"{steps} steps", SamplingSettings(num_reactions=1, num_inference_steps=steps))
        p50, p95 = np.percentile(window_times(pipe, row, windows), (50, 95))
        print(f"| {row.name} | {p50:.3f} | {p95:.3f} |", flush=True)


def print_personalising(pipe: PerFRDiffPipeline) -> None:
    """Seconds from 30 s of history to weight shifts."""
    seconds = timed(lambda: pipe.personalise(histories(1)), repeats=5)
    print(f"\npersonalising one listener from 30 s of history: {seconds:.3f} s")


def whole_clip(pipe: PerFRDiffPipeline, speed: float) -> None:
    """Ten reactions to a 30 s clip with 50 steps and guidance."""
    settings = SamplingSettings(num_reactions=10, num_inference_steps=50)
    began, used = time.perf_counter(), time.process_time()
    window_times(pipe, Row("", settings), 15)
    seconds, used = time.perf_counter() - began, time.process_time() - used
    floor = 15 * window_operations(pipe.denoiser, settings) / speed
    print(
        f"\nten reactions to a 30 s clip, 50 steps, guidance: {seconds:.0f} s, {used:.0f} s of processor time; floor "
        f"{floor:.0f} s at {speed / 1e9:.0f} GFLOP/s; {seconds / floor:.2f} x floor; peak {peak_megabytes():.0f} MB"
    )


def check_equality(pipe: PerFRDiffPipeline) -> None:
    """Plain and cached, same seed: the largest difference."""
    outputs = []
    for sampler in (PlainSampler, WindowSampler):
        settings = SamplingSettings(num_reactions=2, num_inference_steps=5, generator=torch.Generator().manual_seed(0))
        stream = open_stream(pipe, Row("", settings, sampler=sampler))
        outputs.append(torch.cat([segment.reactions for segment in stream.push(**behaviour(1, 100))], dim=2))
    print(f"cached against plain, same seed: largest difference {(outputs[0] - outputs[1]).abs().max():.1e}\n")


def window_times(pipe: PerFRDiffPipeline, row: Row, windows: int) -> list[float]:
    """Seconds for each of some windows, from the speaker's last frame to the segment."""
    warm_up = replace(row, settings=replace(row.settings, num_inference_steps=1))
    open_stream(pipe, warm_up).push(**behaviour(row.listeners, 1))
    stream = open_stream(pipe, row)
    chunk = behaviour(row.listeners, WINDOW_SIZE)
    times = []
    for _ in range(windows):
        stream.hear(**chunk)
        began = time.perf_counter()
        next(stream.segments())
        times.append(time.perf_counter() - began)
    return times


def open_stream(pipe: PerFRDiffPipeline, row: Row) -> ReactionStream:
    """A stream with the row's way of sampling."""
    return ReactionStream(
        pipe, row.sampler(pipe.denoiser, pipe.scheduler, row.settings, row.shifts), batch_size=row.listeners
    )


def behaviour(batch: int, frames: int) -> dict[str, np.ndarray]:
    """Made-up behaviour of some speakers."""
    random = np.random.default_rng(0)
    return {
        "audio": random.standard_normal((batch, frames, 78)).astype(np.float32),
        "emotion": random.uniform(0, 1, (batch, frames, 25)).astype(np.float32),
        "coefficients": (MEAN_FACE + 0.1 * random.standard_normal((batch, frames, 58))).astype(np.float32),
    }


def histories(listeners: int) -> np.ndarray:
    """Made-up histories of 30 s."""
    return behaviour(listeners, 750)["coefficients"] + np.random.default_rng(1).normal(0, 0.1, (listeners, 1, 58))


def full_shifts(pipe: PerFRDiffPipeline, shifts: WeightShifts) -> WeightShifts:
    """The same shifts with every entry of every matrix written out."""
    from perfrdiff_hf.models.weight_shifts import FullShift

    weights = dict(pipe.denoiser.named_parameters())
    return WeightShifts({n: FullShift(s.weight_change(weights[f"{n}.weight"])) for n, s in shifts.items()})


def window_operations(denoiser: GAFRGTransformer1DModel, settings: SamplingSettings) -> float:
    """Floating-point operations (two for each multiply-add) that one window needs at least."""
    config = denoiser.config
    width, inner, frames = config.hidden_size, config.feed_forward_size, WINDOW_SIZE
    memory = 2 * WINDOW_SIZE + 1  # audio and coefficients frame by frame, and the speaker's latent
    per_frame = 4 * width * width + 2 * frames * width  # self-attention
    per_frame += 2 * width * width + 2 * (memory + 1) * width  # cross-attention, keys and values at hand
    per_frame += 2 * width * inner
    per_pass = frames * (config.num_layers * per_frame + 2 * config.in_channels * width)
    passes = sum(2 if settings.is_guided(step) else 1 for step in range(settings.num_inference_steps))
    cached = config.num_layers * 2 * memory * width * width
    return 2.0 * (settings.num_reactions * passes * per_pass + cached)


def product_speed() -> float:
    """Operations per second of a large matrix product."""
    a, b = torch.rand(2000, 2000), torch.rand(2000, 2000)
    speed = 2 * 2000**3 / timed(lambda: a @ b, repeats=10)
    print(f"large matrix product: {speed / 1e9:.0f} GFLOP/s")
    return speed


def timed(function: Callable[[], Any], repeats: int) -> float:
    """Median seconds of a call."""
    function()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def parameters(model: Any) -> int:
    """How many parameters a model has."""
    return sum(parameter.numel() for parameter in model.parameters())


def peak_megabytes() -> float:
    """Peak memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
