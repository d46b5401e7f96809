"""A pipeline and a listener that version 0.1.0 saved, and what it generated with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from perfrdiff_hf import PerFRDiffPipeline


FOLDER = Path(__file__).parent / "golden" / "pipeline_0_1_0"
PERSONAL = {"num_reactions": 2, "num_inference_steps": 4, "guidance_scale": 7.5}
GENERIC = {"num_reactions": 2, "num_inference_steps": 4, "guidance_scale": 1.0, "hop": 45}


@pytest.fixture(scope="module")
def pipeline() -> PerFRDiffPipeline:
    loaded = PerFRDiffPipeline.from_pretrained(str(FOLDER / "pipeline"))
    loaded.set_progress_bar_config(disable=True)
    return loaded


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    with np.load(FOLDER / "outputs.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("kept", [True, False])
def test_it_gives_what_it_gave(pipeline, recorded, kept):
    """The same bits on the machine that made them; on others, matrix products may round differently."""
    speaker = {name: recorded[name] for name in ("speaker_audio", "speaker_emotion")}
    speaker["speaker_coefficients"] = recorded["speaker_3dmm"]
    listener = pipeline.load_listener(FOLDER / "listener") if kept else pipeline.personalise(recorded["history"])

    def react(**options):
        return pipeline(**speaker, **options, generator=torch.Generator().manual_seed(7), output_type="np")

    for name, output in (("personal", react(weight_shifts=listener, **PERSONAL)), ("generic", react(**GENERIC))):
        np.testing.assert_allclose(output.reactions, recorded[f"{name}_reactions"], rtol=0, atol=2e-5)
        np.testing.assert_allclose(output.coefficients, recorded[f"{name}_coefficients"], rtol=0, atol=2e-5)


def test_the_old_keyword_is_taken_with_a_warning(pipeline, recorded):
    options = {"num_reactions": 1, "num_inference_steps": 1, "output_type": "np"}
    new = pipeline(
        speaker_coefficients=recorded["speaker_3dmm"], generator=torch.Generator().manual_seed(7), **options
    )
    with pytest.warns(FutureWarning, match="speaker_3dmm.*speaker_coefficients"):
        old = pipeline(speaker_3dmm=recorded["speaker_3dmm"], generator=torch.Generator().manual_seed(7), **options)
    assert np.array_equal(new.reactions, old.reactions)
