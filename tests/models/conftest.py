"""Golden tensors of the official models, as the tests of our models use them."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from perfrdiff_hf.models.gafrg import GAFRGTransformer1DModel


@dataclass
class GoldenFile:
    """One golden file: the official state dict, the other tensors by name, and the settings as text."""

    state: dict[str, Tensor]
    tensors: dict[str, Tensor]
    settings: dict[str, str]

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    @property
    def branch_order(self) -> list[str]:
        return ast.literal_eval(self.settings["branch_order"])

    def conditions(self, kinds: tuple[str, ...], dtype: torch.dtype) -> dict[str, Tensor]:
        inputs = {
            "audio": self["in.speaker_audio_encodings"],
            "coefficients": self["in.speaker_3dmm_encodings"],
            "speaker_emotion": self["in.speaker_emotion_encodings"],
            "speaker_latent": self["in.speaker_latent_embed"][:, 0],
            "listener_latent": self["in.listener_latent_embed"][:, 0],
            "past_emotion": self["in.past_listener_emotion"],
            "personal": self["in.listener_personal_embed"][:, 0],
        }
        return {kind: inputs[kind].to(dtype) for kind in kinds}


@pytest.fixture(scope="session")
def golden_file(golden: Path) -> Callable[[str], GoldenFile]:
    def load(name: str) -> GoldenFile:
        with safe_open(golden / f"{name}.safetensors", framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            settings = file.metadata() or {}
        state = {key.removeprefix("state."): tensors.pop(key) for key in list(tensors) if key.startswith("state.")}
        return GoldenFile(state, tensors, settings)

    return load


@pytest.fixture
def denoiser() -> GAFRGTransformer1DModel:
    """A small denoiser with the official kinds of condition, in eval mode."""
    torch.manual_seed(1)
    return GAFRGTransformer1DModel(
        hidden_size=32, num_layers=2, num_heads=4, feed_forward_size=64, latent_size=32, style_size=32
    ).eval()


@pytest.fixture
def speaker() -> dict[str, Tensor]:
    """Conditions of three windows of ten frames."""
    generator = torch.Generator().manual_seed(2)
    return {
        "audio": torch.randn(3, 10, 78, generator=generator),
        "coefficients": torch.randn(3, 10, 58, generator=generator),
        "speaker_latent": torch.randn(3, 32, generator=generator),
    }
