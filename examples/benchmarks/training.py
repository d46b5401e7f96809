"""Personalised training (PWSG): a batch of listeners at once, against one listener at a time through merged weights.

    python examples/benchmarks/training.py  # low rank, official sizes
    python examples/benchmarks/training.py --shift_type full  # 1.6 billion parameters: see --memory_only
    python examples/benchmarks/training.py --shift_type full --memory_only  # counts, without training anything
    python examples/benchmarks/training.py --size small --device cuda

The official program writes the edited weights into the layers, so that a batch holds one listener and every listener
costs an optimiser step. Both ways are measured here on the same random data with the same models, each in a process of
its own, and with as many optimiser steps as it needs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from typing import Any

import torch
from diffusers import DDIMScheduler
from torch import Tensor, nn
from torch.func import functional_call

from perfrdiff_hf import (
    EmotionVAEModel,
    GAFRGTransformer1DModel,
    PerFRDiffFeatureExtractor,
    PSSLConfig,
    PSSLModel,
    PWSGConfig,
    PWSGModel,
)
from perfrdiff_hf.behaviour import STREAM_WIDTHS, WINDOW_SIZE
from perfrdiff_hf.pipelines.perfrdiff import OFFICIAL_SCHEDULER_CONFIG
from perfrdiff_hf.training.stages import PWSGObjective


GIGABYTE = 1e9
HISTORY_FRAMES = 750
EDITED_COMPONENTS = ["cross_attention", "mapping"]
SIZES: dict[str, dict[str, Any]] = {
    "official": {"denoiser": {}, "vae": {}, "style": {}, "pwsg": {}},
    "small": {
        "denoiser": {"hidden_size": 128, "feed_forward_size": 256, "latent_size": 128},
        "vae": {"hidden_size": 128},
        "style": {"hidden_size": 128, "intermediate_size": 256, "style_size": 128},
        "pwsg": {"hidden_size": 256, "style_size": 128},
    },
}


class MergedWeights(nn.Module):
    """The denoiser with one listener's weights in place of its own, called as the denoiser is."""

    def __init__(self, denoiser: GAFRGTransformer1DModel):
        super().__init__()
        self.denoiser = denoiser
        self.condition_widths = denoiser.condition_widths
        self.encode_condition = denoiser.encode_condition

    def forward(self, noisy: Tensor, timestep: Tensor, tokens: Tensor, weight_shifts: Any) -> Any:
        """Merge, then run: gradients reach the shifts through the merged weights."""
        weights = {}
        for name, shift in weight_shifts.items():
            weight = self.denoiser.get_submodule(name).weight
            weights[f"{name}.weight"] = weight + shift.weight_change(weight)[0]
        return functional_call(self.denoiser, weights, (noisy, timestep, tokens))


def build(options: argparse.Namespace, merged: bool) -> PWSGObjective:
    """The objective of stage weight_shift_generator with random weights; `merged` as the official program would."""
    sizes = SIZES[options.size]
    torch.manual_seed(0)
    denoiser = GAFRGTransformer1DModel(**sizes["denoiser"])
    layers = denoiser.editable_layers(EDITED_COMPONENTS, options.layers)
    config = PWSGConfig(edited_layers=layers, shift_type=options.shift_type, rank=options.rank, **sizes["pwsg"])
    generator = PWSGModel(config)
    parts: dict[str, Any] = {
        "denoiser": MergedWeights(denoiser) if merged else denoiser,
        "emotion_vae": EmotionVAEModel(**sizes["vae"]),
        "style_encoder": PSSLModel(PSSLConfig(**sizes["style"])),
    }
    scheduler = DDIMScheduler(**OFFICIAL_SCHEDULER_CONFIG)
    return PWSGObjective(generator, PerFRDiffFeatureExtractor(), parts, scheduler)


def random_batch(listeners: int, device: torch.device) -> dict[str, Tensor]:
    """Windows of different listeners, each with a history of its own."""
    draw = torch.Generator().manual_seed(1)
    frames = (listeners, WINDOW_SIZE)
    reactions = (listeners, 1, WINDOW_SIZE, STREAM_WIDTHS["emotion"])
    batch = {f"speaker_{name}": torch.randn(*frames, width, generator=draw) for name, width in STREAM_WIDTHS.items()}
    batch |= {
        "reactions": torch.rand(*reactions, generator=draw),
        "noise": torch.randn(*reactions, generator=draw),
        "timestep": torch.randint(1000, (listeners,), generator=draw),
        "dropped": torch.rand(listeners, 3, generator=draw) < 0.2,
        "history": torch.randn(listeners, HISTORY_FRAMES, STREAM_WIDTHS["coefficients"], generator=draw),
    }
    return {name: value.to(device) for name, value in batch.items()}


def measure(options: argparse.Namespace, merged: bool, results: Any) -> None:
    """Train for some rounds; a round takes every listener once."""
    device = torch.device(options.device)
    objective = build(options, merged)
    objective.place(device)
    optimizer = torch.optim.SGD(objective.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)
    batch = random_batch(options.batch_size, device)
    ways = [batch]
    if merged:
        ways = [{name: value[i : i + 1] for name, value in batch.items()} for i in range(options.batch_size)]
    seconds = {"forward and backward": 0.0, "optimiser": 0.0}
    for round_number in range(options.rounds + 1):
        if round_number == 1:  # the first round warms up
            seconds = dict.fromkeys(seconds, 0.0)
        for examples in ways[: 1 if round_number == 0 else None]:
            began = clock(device)
            loss = objective(examples)["loss"]
            loss.backward()
            between = clock(device)
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
            seconds["forward and backward"] += between - began
            seconds["optimiser"] += clock(device) - between
    on_gpu = device.type == "cuda"
    peak = torch.cuda.max_memory_allocated() if on_gpu else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    examples_seen = options.rounds * options.batch_size
    results.put({name: value / examples_seen for name, value in seconds.items()} | {"peak": peak / GIGABYTE})


def clock(device: torch.device) -> float:
    """Now, once the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def count_memory(options: argparse.Namespace) -> dict[str, float]:
    """Gigabytes in float32 that training needs at least, counted from the shapes: nothing is allocated."""
    with torch.device("meta"):
        objective = build(options, merged=False)
    trained = sum(parameter.numel() for parameter in objective.parameters())
    frozen = sum(parameter.numel() for model in objective.frozen.values() for parameter in model.parameters())
    edited = sum(rows * columns for rows, columns in objective.trained.config.edited_layers.values())
    shifts = edited if options.shift_type == "full" else 0
    parts = {
        "weights of PWSG": trained,
        "their gradients": trained,
        "their momentum (SGD; AdamW keeps two)": trained,
        "frozen models": frozen,
        f"shifts of {options.batch_size} listeners and their gradients": 2 * options.batch_size * shifts,
    }
    return {name: 4 * numbers / GIGABYTE for name, numbers in parts.items()} | {"parameters (billions)": trained / 1e9}


def main() -> None:
    """Print a table of both ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=sorted(SIZES), default="official")
    parser.add_argument("--shift_type", choices=["low_rank", "full"], default="low_rank")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--layers", type=int, nargs="+", default=[4, 6], help="layers whose cross-attention is edited")
    parser.add_argument("--batch_size", type=int, default=16, help="listeners in a batch")
    parser.add_argument("--rounds", type=int, default=2, help="how often each listener is trained on")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory_only", action="store_true", help="count the memory instead of training")
    options = parser.parse_args()
    print(json.dumps({name: round(value, 3) for name, value in count_memory(options).items()}, indent=2))
    if options.memory_only:
        return
    context = multiprocessing.get_context("spawn")
    rates = []
    print("| way | examples/s | forward and backward | optimiser | peak memory |\n|---|---|---|---|---|")
    for way, merged in ((f"batch of {options.batch_size} listeners", False), ("one at a time, merged", True)):
        results = context.SimpleQueue()
        process = context.Process(target=measure, args=(options, merged, results))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"{way}: the process ended with {process.exitcode}; is the memory too small?")
        took = results.get()
        rates.append(1 / (took["forward and backward"] + took["optimiser"]))
        print(
            f"| {way} | {rates[-1]:.2f} | {took['forward and backward']:.3f} s/example "
            f"| {took['optimiser']:.3f} s/example | {took['peak']:.1f} GB |"
        )
    print(f"\n{rates[0] / rates[1]:.1f} times as many examples in the same time.")


if __name__ == "__main__":
    main()
