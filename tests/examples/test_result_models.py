"""The trained models among the results: they fit each other and this code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from perfrdiff_hf import PerFRDiffFeatureExtractor
from perfrdiff_hf.baselines import get_system
from perfrdiff_hf.training.config import load_config
from perfrdiff_hf.training.provenance import digest_of_model


MODELS = Path(__file__).parents[2] / "results" / "models"
FOLDERS = {
    **{name: MODELS / "shared-seed0" / name for name in ("emotion_vae", "style_encoder", "denoiser")},
    "weight_shift_generator": MODELS / "weight_editing_low_rank-seed0" / "weight_shift_generator",
}


@pytest.mark.parametrize("folder", sorted(MODELS.glob("*/*/")), ids=lambda folder: "/".join(folder.parts[-2:]))
def test_each_was_trained_with_the_others(folder):
    inputs = json.loads((folder / "training.json").read_text(encoding="utf-8"))["settings"]["inputs"]
    parts = {part: digest for part, digest in inputs.items() if part != "data"}
    seed = folder.parent.name.rpartition("-")[2]
    found = {part: [digest_of_model(made) for made in MODELS.glob(f"*-{seed}/{part}")] for part in parts}
    assert {part: [digest] for part, digest in parts.items()} == found


def test_a_history_moves_their_reactions():
    system = get_system("perfrdiff")
    components = {stage.name: stage.model.from_pretrained(str(FOLDERS[stage.name])).eval() for stage in system.stages}
    pipeline = system.assemble(components, PerFRDiffFeatureExtractor(), load_config("bench"))
    pipeline.set_progress_bar_config(disable=True)
    random = torch.Generator().manual_seed(0)
    speaker = {
        f"speaker_{name}": torch.randn(1, 100, channels, generator=random)
        for name, channels in (("audio", 78), ("emotion", 25), ("coefficients", 58))
    }
    history = torch.randn(1, 100, 58, generator=random).cumsum(dim=1) / 10

    def react(**listener: torch.Tensor) -> torch.Tensor:
        return pipeline(**speaker, **listener, num_reactions=2, generator=torch.Generator().manual_seed(1)).reactions

    own, generic = react(listener_history=history), react()
    assert own.isfinite().all() and own.shape == (1, 2, 100, 25)
    assert (own - generic).abs().mean() > 0.01
