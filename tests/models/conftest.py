"""Golden tensors of the official models, as the tests of our models use them."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from perfrdiff_hf.models.gafrg import GAFRGTransformer1DModel
from tests.golden_files import golden_folder


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
        names = {
            "audio": "speaker_audio_encodings",
            "coefficients": "speaker_3dmm_encodings",
            "speaker_emotion": "speaker_emotion_encodings",
            "speaker_latent": "speaker_latent_embed",
            "listener_latent": "listener_latent_embed",
            "past_emotion": "past_listener_emotion",
            "personal": "listener_personal_embed",
        }
        inputs = {kind: self[f"in.{names[kind]}"].to(dtype) for kind in kinds}
        # The official program gives latents and style a middle axis of their own, of one token.
        return {kind: values if values.shape[1] > 1 else values[:, 0] for kind, values in inputs.items()}

    def compare(self, values: dict[str, Tensor], prefix: str, tolerance: float) -> None:
        """See that what was computed is what was recorded, as far as it was recorded."""
        recorded = {key: self.tensors[f"{prefix}.{key}"] for key in values if f"{prefix}.{key}" in self.tensors}
        assert {"pred_uncond_then_cond", "output_guided"} <= recorded.keys()
        # Inner values, which stand `(tokens, batch, width)`, were kept of some of the batch only.
        kept = ast.literal_eval(self.settings.get("inner_rows", "None"))
        for key, expected in recorded.items():
            value = values[key]
            if value.shape != expected.shape and kept is not None:
                value = value[:, kept]
            assert value.shape == expected.shape, key
            assert (value - expected).abs().max() < tolerance, key


@pytest.fixture(scope="session")
def golden_file() -> Callable[[str], GoldenFile]:
    def read(name: str) -> tuple[dict[str, Tensor], dict[str, str]]:
        file_name = f"{name}.safetensors"
        with safe_open(golden_folder(file_name) / file_name, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            settings = file.metadata() or {}
        if "rest_from" in settings:  # what is the same in two files is kept once
            tensors = read(settings["rest_from"])[0] | tensors
        return tensors, settings

    def load(name: str) -> GoldenFile:
        tensors, settings = read(name)
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
