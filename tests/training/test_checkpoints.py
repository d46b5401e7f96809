"""Checkpoints: what is saved comes back to the last bit, the newest whole one is used, and a full disk is survived."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from torch import nn

from perfrdiff_hf.behaviour import MEAN_FACE
from perfrdiff_hf.pipelines.perfrdiff import PerFRDiffPipeline
from perfrdiff_hf.training.checkpoints import CheckpointFolder, TrainingState


SETTINGS = {"seed": 3}


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


def new_state(accelerator: Accelerator, optimizer: str = "adamw", seed: int = 0) -> TrainingState:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    kinds = {
        "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1),
        "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9),
    }
    ema = EMAModel(model.parameters(), decay=0.9)
    prepared, prepared_optimizer = accelerator.prepare(model, kinds[optimizer](model.parameters()))
    return TrainingState(prepared, prepared_optimizer, ema)


def train(state: TrainingState, accelerator: Accelerator, steps: int) -> None:
    for _ in range(steps):
        inputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(state.step))
        accelerator.backward(state.model(inputs).square().mean())
        state.optimizer.step()
        state.optimizer.zero_grad()
        assert state.ema is not None
        state.ema.step(state.model.parameters())
        state.step += 1


def everything(state: TrainingState) -> list[torch.Tensor]:
    assert state.ema is not None
    moments = [value for values in state.optimizer.state.values() for value in values.values()]
    return [*state.model.state_dict().values(), *moments, *state.ema.shadow_params]


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_resumed_equals_uninterrupted(tmp_path: Path, accelerator: Accelerator, optimizer: str) -> None:
    whole = new_state(accelerator, optimizer)
    train(whole, accelerator, 12)

    first = new_state(accelerator, optimizer)
    train(first, accelerator, 5)
    folder = CheckpointFolder(tmp_path, 2, accelerator)
    assert folder.save(first, SETTINGS)

    second = new_state(accelerator, optimizer, seed=99)
    assert folder.load(second, "latest") == SETTINGS
    assert second.step == 5
    train(second, accelerator, 7)
    for expected, resumed in zip(everything(whole), everything(second), strict=True):
        assert torch.equal(expected, resumed)


def test_newest_are_kept_and_nothing_partial(tmp_path: Path, accelerator: Accelerator) -> None:
    state, folder = new_state(accelerator), CheckpointFolder(tmp_path, 2, accelerator)
    for _ in range(4):
        train(state, accelerator, 3)
        folder.save(state, SETTINGS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000009", "step-00000012"]
    assert {path.suffix for path in folder.path(12).iterdir()} == {".safetensors", ".json"}


@pytest.mark.parametrize("damage", ["truncated tensors", "empty tensors", "no tensors", "truncated json"])
def test_broken_checkpoint_is_passed_over(
    tmp_path: Path, accelerator: Accelerator, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    state, folder = new_state(accelerator), CheckpointFolder(tmp_path, 3, accelerator)
    for _ in range(2):
        train(state, accelerator, 3)
        folder.save(state, SETTINGS)
    tensors, plain = folder.path(6) / "state.safetensors", folder.path(6) / "state.json"
    if damage == "truncated tensors":
        tensors.write_bytes(tensors.read_bytes()[:-10])
    elif damage == "empty tensors":
        tensors.write_bytes(b"")
    elif damage == "no tensors":
        tensors.unlink()
    else:
        plain.write_text(plain.read_text()[:-5])
    folder.load(state, "latest")
    assert state.step == 3
    assert "step-00000006 is broken" in caplog.text


def test_other_folders_are_no_checkpoints(tmp_path: Path, accelerator: Accelerator) -> None:
    state, folder = new_state(accelerator), CheckpointFolder(tmp_path, 1, accelerator)
    for name in ("step-00001000.bak", "step-latest", ".step-00000002.partial-abc"):
        (tmp_path / name).mkdir()
    assert folder.steps() == []
    assert folder.load(state, "latest") is None
    train(state, accelerator, 3)
    assert folder.save(state, SETTINGS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000003", "step-00001000.bak", "step-latest"]


def test_settings_are_compared_before_anything_is_restored(tmp_path: Path, accelerator: Accelerator) -> None:
    state, folder = new_state(accelerator), CheckpointFolder(tmp_path, 1, accelerator)
    train(state, accelerator, 3)
    folder.save(state, SETTINGS)
    fresh = new_state(accelerator, seed=9)
    before = [value.clone() for value in everything(fresh)]

    def check(settings: dict[str, Any]) -> None:
        assert settings == SETTINGS
        raise ValueError("other settings")

    with pytest.raises(ValueError, match="other settings"):
        folder.load(fresh, "latest", check)
    assert fresh.step == 0
    assert all(torch.equal(old, new) for old, new in zip(before, everything(fresh), strict=True))


def test_all_broken_or_unknown(tmp_path: Path, accelerator: Accelerator) -> None:
    state, folder = new_state(accelerator), CheckpointFolder(tmp_path, 3, accelerator)
    assert folder.load(state, "latest") is None
    with pytest.raises(FileNotFoundError, match="no step-00000007"):
        folder.load(state, "step-00000007")
    train(state, accelerator, 3)
    folder.save(state, SETTINGS)
    (folder.path(3) / "state.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(ValueError, match="Every checkpoint"):
        folder.load(state, "latest")


def test_full_disk_is_reported_and_the_earlier_one_stays(
    tmp_path: Path, accelerator: Accelerator, caplog: pytest.LogCaptureFixture
) -> None:
    state, folder = new_state(accelerator), CheckpointFolder(tmp_path, 3, accelerator)
    train(state, accelerator, 3)
    folder.save(state, SETTINGS)
    train(state, accelerator, 3)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # no file may grow beyond 1000 bytes
    try:
        assert not folder.save(state, SETTINGS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "could not be written" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000003"]
    folder.load(state, "latest")
    assert state.step == 3


def test_nothing_is_pickled(tmp_path: Path, accelerator: Accelerator) -> None:
    state, folder = new_state(accelerator), CheckpointFolder(tmp_path, 1, accelerator)
    train(state, accelerator, 2)
    folder.save(state, SETTINGS)
    assert sorted(path.name for path in folder.path(2).iterdir()) == ["state.json", "state.safetensors"]
    assert json.loads((folder.path(2) / "state.json").read_text())["step"] == 2


def test_the_saved_model_is_the_moving_average(workshop: Any, tmp_path: Path, read_weights: Callable) -> None:
    saved = {}
    for steps, decay in ((1, 0.0), (2, 0.0), (2, 0.9)):
        changes = {"max_steps": steps, "ema_decay": decay, "schedule": "constant", "learning_rate": 0.01}
        output = tmp_path / f"{steps}-{decay}"
        workshop.train("emotion_vae", output, changes={"stages": {"emotion_vae": changes}})
        saved[steps, decay] = read_weights(output, "emotion_vae")
    # The average is the first step's weights, and then follows with a decay that begins at 2/11.
    for name, averaged in saved[2, 0.9].items():
        first, second = saved[1, 0.0][name], saved[2, 0.0][name]
        torch.testing.assert_close(averaged, first * 2 / 11 + second * 9 / 11, rtol=0, atol=1e-6)
    assert any(not torch.allclose(saved[2, 0.9][name], last, atol=1e-4) for name, last in saved[2, 0.0].items())


def test_the_saved_pipeline_knows_the_data_and_its_parts(
    trained: Path, small_world: Path, read_weights: Callable
) -> None:
    pipeline = PerFRDiffPipeline.from_pretrained(str(trained / "model"))
    mean_face = np.load(small_world / "mean_face.npy")
    np.testing.assert_allclose(pipeline.feature_extractor.mean_face, mean_face, rtol=1e-6)
    assert np.abs(mean_face - MEAN_FACE).max() > 0.1
    assert pipeline.window_size == 20  # that of the training, not the default
    for stage, component in zip(
        ("emotion_vae", "style_encoder", "denoiser", "weight_shift_generator"),
        ("emotion_vae", "style_encoder", "denoiser", "weight_shift_generator"),
    ):
        state = getattr(pipeline, component).state_dict()
        for name, value in read_weights(trained, stage).items():
            assert torch.equal(state[name], value), name
