"""A denoiser with the style as an input: each listener their own, alone, in batches, in streams and saved."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from perfrdiff_hf import PerFRDiffPipeline
from perfrdiff_hf.evaluation.controls import GENERIC, PERSONALISED, manners_of


FAST = {"num_reactions": 2, "num_inference_steps": 2, "guidance_scale": 1.5}


@pytest.fixture(params=[False, True], ids=["token", "adaptive norm"])
def pipeline(request, make_pipeline) -> PerFRDiffPipeline:
    made = make_pipeline(conditions=("audio", "coefficients", "personal"), style_size=8, adaptive_norm=request.param)
    if request.param:
        for layer in made.denoiser.layers:
            torch.nn.init.normal_(layer.modulation.weight, std=0.1)
    parts = {name: part for name, part in made.components.items() if name != "weight_shift_generator"}
    pipeline = PerFRDiffPipeline(**parts)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def speaker() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "speaker_audio": rng.standard_normal((2, 100, 78), dtype=np.float32),
        "speaker_coefficients": rng.standard_normal((2, 100, 58), dtype=np.float32),
    }


@pytest.fixture
def histories() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((2, 80, 58), dtype=np.float32).cumsum(axis=1)


def noise(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_a_listeners_style_changes_reactions_and_batches_do_not(pipeline, speaker, histories):
    assert pipeline.is_personal and [manner.name for manner in manners_of(pipeline, _Clips)] == [PERSONALISED, GENERIC]
    both = pipeline(**speaker, listener_history=histories, generator=noise(0, 1), **FAST).reactions
    for row in (0, 1):
        one = {name: values[row : row + 1] for name, values in speaker.items()}
        alone = pipeline(**one, listener_history=histories[row : row + 1], generator=noise(row), **FAST).reactions
        torch.testing.assert_close(alone[0], both[row], atol=1e-5, rtol=0)
        other = pipeline(**one, listener_history=histories[1 - row : 2 - row], generator=noise(row), **FAST).reactions
        generic = pipeline(**one, generator=noise(row), **FAST).reactions
        assert (other - alone).abs().max() > 1e-3 and (generic - alone).abs().max() > 1e-3
    for_all = pipeline(**speaker, listener_history=histories[:1], generator=noise(0, 1), **FAST).reactions
    torch.testing.assert_close(for_all[0], both[0], atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="listener_history must hold 1 or 2 listeners"):
        pipeline(**speaker, listener_history=np.repeat(histories[:1], 3, axis=0), **FAST)
    with pytest.raises(ValueError, match="no weight_shift_generator"):
        pipeline.personalise(histories)


def test_sessions_share_a_batch_and_keep_their_styles(pipeline, speaker, histories):
    heard = [{name: values[row : row + 1] for name, values in speaker.items()} for row in (0, 1)]

    def streams() -> list:
        return [
            pipeline.stream(histories[row : row + 1], generator=torch.Generator().manual_seed(row), **FAST)
            for row in (0, 1)
        ]

    together = streams()
    reactors = [stream.reactor for stream in together]
    assert reactors[0].batch_key(1) == reactors[1].batch_key(1)
    assert reactors[0].batch_key(1) != pipeline.stream(generator=noise(0)[0], **FAST).reactor.batch_key(1)
    joint = reactors[0].join(reactors[1:], [1, 1])
    assert torch.equal(joint.style, torch.cat([reactor.style for reactor in reactors]))
    whole = pipeline(**speaker, listener_history=histories, generator=noise(0, 1), **FAST).reactions
    for row, stream in enumerate(streams()):
        streams_of = {name.removeprefix("speaker_"): values for name, values in heard[row].items()}
        segments = list(stream.push(**streams_of))
        first = torch.cat([segment.reactions for segment in segments], dim=2)[0]
        torch.testing.assert_close(first[:, :100], whole[row][:, : first.shape[1]], atol=1e-5, rtol=0)


def test_saved_and_loaded(pipeline, speaker, histories, tmp_path):
    before = pipeline(**speaker, listener_history=histories, generator=noise(0, 1), **FAST).reactions
    pipeline.save_pretrained(str(tmp_path))
    again = PerFRDiffPipeline.from_pretrained(str(tmp_path))
    after = again(**speaker, listener_history=histories, generator=noise(0, 1), **FAST).reactions
    assert again.is_personal and torch.equal(before, after)


class _Clips:
    """No clips: what manners there are does not depend on them."""
