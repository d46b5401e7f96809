"""What tests share: where the golden files lie, one seed, and tiny pipelines with random weights."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.golden_files import GOLDEN, REALDATA


if TYPE_CHECKING:
    from perfrdiff_hf import PerFRDiffPipeline


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of golden tensors."""
    return GOLDEN


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of small real recordings."""
    return REALDATA


@pytest.fixture(autouse=True)
def _seeded() -> None:
    import torch

    torch.manual_seed(0)


@pytest.fixture
def clips() -> SimpleNamespace:
    """Six clips, three reactions, 70 frames: slow random movement; each clip's own target is appropriate."""
    rng = np.random.default_rng(7)

    def slow(*shape: int) -> np.ndarray:
        steps = rng.standard_normal((*shape, 70, 25)).cumsum(axis=-2)
        return (steps / np.abs(steps).max()).astype(np.float32)

    appropriate = np.eye(6, dtype=bool) | (rng.random((6, 6)) < 0.4)
    return SimpleNamespace(predictions=slow(6, 3), targets=slow(6), speaker=slow(6), appropriate=appropriate)


@pytest.fixture(scope="session")
def play_on_the_hub() -> Callable[[str, Path], dict[str, Any]]:
    """Runs a scenario of tests/ in a process of its own, without this one's Hub settings; what it says happened."""

    def play(scenario: str, folder: Path) -> dict[str, Any]:
        root = Path(__file__).resolve().parents[1]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        done = subprocess.run(
            [sys.executable, root / "tests" / scenario, folder],
            env={**kept, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return play


@pytest.fixture(scope="session")
def make_pipeline() -> Callable[..., PerFRDiffPipeline]:
    """Makes a pipeline of tiny random models; see `build_pipeline` for what can be asked of it."""
    return build_pipeline


def build_pipeline(
    conditions: Sequence[str] = ("audio", "coefficients", "speaker_latent"),
    shift_type: str = "low_rank",
    condition_dropout: float = 0.2,
    fresh: bool = False,
    sampling: Mapping[str, Any] | None = None,
    **denoiser_options: Any,
) -> PerFRDiffPipeline:
    """A pipeline of tiny random models; unless `fresh`, its low-rank heads are trained in that they are not zero.

    With `distilled`, the denoiser is a student and the pipeline has the scheduler and the sampling of one.
    """
    # Here, so that tests of small parts do not wait for the libraries.
    import torch
    from diffusers import DDIMScheduler

    from perfrdiff_hf import (
        EmotionVAEModel,
        GAFRGTransformer1DModel,
        PerFRDiffFeatureExtractor,
        PerFRDiffPipeline,
        PSSLConfig,
        PSSLModel,
        PWSGConfig,
        PWSGModel,
    )
    from perfrdiff_hf.pipelines.sampling import OFFICIAL_SCHEDULER_CONFIG
    from perfrdiff_hf.pipelines.students import student_sampling

    schedule = dict(OFFICIAL_SCHEDULER_CONFIG)
    if student := denoiser_options.get("distilled"):
        schedule["timestep_spacing"] = "trailing"
        sampling = student_sampling(sampling or {}, student["num_inference_steps"])
    torch.manual_seed(0)
    denoiser = GAFRGTransformer1DModel(
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        feed_forward_size=48,
        latent_size=16,
        conditions=conditions,
        condition_dropout=condition_dropout,
        **denoiser_options,
    )
    vae = EmotionVAEModel(hidden_size=16, latent_size=8, decoder_sizes=(8,))
    style_encoder = PSSLModel(
        PSSLConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, style_size=8)
    )
    edited = denoiser.editable_layers(["cross_attention", "mapping"], [1])
    generator = PWSGModel(
        PWSGConfig(style_size=8, hidden_size=16, edited_layers=edited, shift_type=shift_type, rank=3)
    )
    if shift_type == "low_rank" and not fresh:
        for head in generator.heads:
            torch.nn.init.normal_(head.core.weight, std=0.5)
    pipeline = PerFRDiffPipeline(
        denoiser.eval(),
        vae.eval(),
        DDIMScheduler(**schedule),
        PerFRDiffFeatureExtractor(),
        style_encoder.eval(),
        generator.eval(),
        sampling,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="session")
def seamless_world() -> Any:
    """The synthetic world that `seamless_release` holds: two dyads to train with, one each for the other splits."""
    from perfrdiff_hf.synthetic.world import WorldSize, plan_world

    return plan_world(WorldSize(dyads=(2, 1, 1), clips=4, scripts=(2, 2, 2), sample_rate=16000, sound="PCM_16"), 3)


@pytest.fixture(scope="session")
def seamless_release(seamless_world: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic world in the format of Seamless Interaction, faults included: single files and tars."""
    from perfrdiff_hf.synthetic.seamless import write_as_seamless

    return write_as_seamless(seamless_world, tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="session")
def seamless_folder(seamless_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as `load_dyads` reads it, imported from the tars. No test changes it."""
    from perfrdiff_hf.data.seamless.importing import import_files

    folder = tmp_path_factory.mktemp("seamless") / "data"
    for split in ("train", "dev", "test"):
        import_files([seamless_release / "improvised" / split / "0000"], folder, "improvised", split, "cc-by-nc-4.0")
    for name in ("interactions.csv", "filelist.csv"):
        shutil.copy(seamless_release / name, folder)
    return folder
