"""What the paper argues against and does not measure: fine-tuning on the listener's history clip (LoRA, by PEFT)."""

from __future__ import annotations

import copy
import resource
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from peft import LoraConfig, get_peft_model_state_dict

from perfrdiff_hf.baselines.recipe import Recipe
from perfrdiff_hf.data.corpus import Corpus
from perfrdiff_hf.models.gafrg import GAFRGTransformer1DModel
from perfrdiff_hf.models.weight_shifts import LowRankShift, WeightShifts
from perfrdiff_hf.pipelines.perfrdiff import PerFRDiffPipeline
from perfrdiff_hf.training.stages.denoiser import DenoiserStage
from perfrdiff_hf.training.stages.denoising import reaction_windows


class FineTuned(NamedTuple):
    """A listener's adapter and what it cost.

    Args:
        shifts: the adapter as weight shifts of one listener.
        seconds: that it took.
        megabytes: the most memory that the process, or the accelerator where there is one, has needed so far.
    """

    shifts: WeightShifts
    seconds: float
    megabytes: float


def fine_tuned(
    pipeline: PerFRDiffPipeline,
    corpus: Corpus,
    recipe: Recipe,
    row: int,
    layers: Sequence[str],
    rank: int,
    steps: int,
    learning_rate: float,
    batch_size: int,
    seed: int,
) -> FineTuned:
    """Fine-tune the generic generator on one clip of a listener, with the loss and the windows of its own training.

    Args:
        pipeline: with the generic generator, which stays as it is.
        corpus: the data; the split is `"test"`.
        recipe: with which the generator was trained, and the seed of windows.
        row: the listener's history.
        layers: names of the linear layers that get an adapter.
        rank: of the adapters.
        steps: of AdamW.
        learning_rate: constant.
        batch_size: windows a step.
        seed: of adapters and noise.
    """
    started = time.monotonic()
    torch.manual_seed(seed)
    denoiser: Any = copy.deepcopy(pipeline.denoiser).train()
    denoiser.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(layers)))
    stage = DenoiserStage()
    # Copies: an objective takes its parts over.
    parts = {"emotion_vae": copy.deepcopy(pipeline.emotion_vae)}
    objective = stage.objective(denoiser, parts, pipeline.feature_extractor, recipe).place(pipeline.device)
    draws = stage.draws(recipe, objective)
    windows = reaction_windows(
        corpus, "test", recipe, num_reactions=1, whole_windows=recipe.data.personal_whole_windows
    )
    generator = torch.Generator().manual_seed(seed)
    adapters = [weights for weights in denoiser.parameters() if weights.requires_grad]
    optimiser = torch.optim.AdamW(adapters, learning_rate, weight_decay=0.0)
    for step in range(steps):
        examples = [windows.at_epoch(step * batch_size + number)[row] for number in range(batch_size)]
        examples = [example | draws(example, generator) for example in examples]
        batch = stage.collate(examples)
        loss = objective({name: values.to(pipeline.device) for name, values in batch.items()})["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    shifts = _as_shifts(denoiser, pipeline.denoiser)
    return FineTuned(shifts, time.monotonic() - started, _megabytes(pipeline.device))


def _as_shifts(adapted: Any, generic: GAFRGTransformer1DModel) -> WeightShifts:
    state = get_peft_model_state_dict(adapted)
    names = sorted(name.removesuffix(".lora_A.weight") for name in state if name.endswith(".lora_A.weight"))
    shifts = WeightShifts(
        {
            name: LowRankShift(
                down=state[f"{name}.lora_A.weight"].detach()[None], up=state[f"{name}.lora_B.weight"].detach()[None]
            )
            for name in names
        }
    )
    return WeightShifts(shifts, generic.weight_digests(shifts))


def _megabytes(device: torch.device) -> float:
    if device.type == "cuda":
        return float(np.round(torch.cuda.max_memory_allocated() / 2**20))
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
