from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler

from perfrdiff_hf import PerFRDiffPipeline


FAST = {"num_reactions": 3, "num_inference_steps": 3}


def test_output_shapes_and_ranges(pipeline, speaker, histories, seeded):
    output = pipeline(**speaker, listener_history=histories, generator=seeded(), **FAST)
    assert output.reactions.shape == (2, 3, 130, 25)
    assert output.coefficients.shape == (2, 3, 130, 58)
    assert output.reactions.abs().max() <= 1
    decoded = pipeline.emotion_vae.to_coefficients(output.reactions)
    assert torch.equal(output.coefficients, pipeline.feature_extractor.add_mean_face(decoded))


def test_numpy_tuple_output_is_the_same(pipeline, speaker, seeded):
    tensors = pipeline(**speaker, generator=seeded(), **FAST)
    reactions, coefficients = pipeline(**speaker, generator=seeded(), output_type="np", return_dict=False, **FAST)
    assert np.array_equal(reactions, tensors.reactions.numpy())
    assert np.array_equal(coefficients, tensors.coefficients.numpy())


def test_tensors_and_arrays_are_taken_alike(pipeline, speaker, seeded):
    tensors = {name: torch.from_numpy(values) for name, values in speaker.items()}
    a = pipeline(**speaker, generator=seeded(), **FAST).reactions
    assert torch.equal(a, pipeline(**tensors, generator=seeded(), **FAST).reactions)


def test_seed_decides_the_reactions(pipeline, speaker, seeded):
    first = pipeline(**speaker, generator=seeded(), **FAST).reactions
    assert torch.equal(first, pipeline(**speaker, generator=seeded(), **FAST).reactions)
    other = pipeline(**speaker, generator=torch.Generator().manual_seed(8), **FAST).reactions
    assert not torch.allclose(first, other)
    assert not torch.allclose(first[:, 0], first[:, 1])


def test_window_depends_on_earlier_windows_only(pipeline, speaker, seeded):
    changed = {name: values.copy() for name, values in speaker.items()}
    for values in changed.values():
        values[:, 50:100] += 0.5
    a = pipeline(**speaker, generator=seeded(), **FAST).reactions
    b = pipeline(**changed, generator=seeded(), **FAST).reactions
    assert torch.equal(a[:, :, :100], b[:, :, :100])
    assert not torch.allclose(a[:, :, 100:], b[:, :, 100:])


def test_previous_reaction_is_fed_back_in_paper_mode(make_pipeline, speaker, seeded):
    paper = make_pipeline(conditions=("audio", "coefficients", "speaker_latent", "past_emotion"))
    seen = []

    def nudge(pipeline, step, timestep, tensors):
        seen.append(step)
        # Only the first window's last step is changed; the second window must notice.
        return {"latents": tensors["latents"] + 0.3} if step == 2 else tensors

    a = paper(**speaker, generator=seeded(), **FAST).reactions
    b = paper(**speaker, generator=seeded(), callback_on_step_end=nudge, **FAST).reactions
    assert seen == list(range(9))
    assert not torch.allclose(a[:, :, 50:], b[:, :, 50:])


def test_speakers_of_a_batch_are_kept_apart_in_paper_mode(make_pipeline, speaker):
    """Each reaction is a condition of its own there, and must be that of its own speaker."""
    paper = make_pipeline(conditions=("audio", "coefficients", "speaker_latent", "past_emotion"))
    paper.denoiser.double()
    paper.emotion_vae.double()

    def react(rows):
        generators = [torch.Generator().manual_seed(row) for row in rows]
        clips = {name: values[rows] for name, values in speaker.items()}
        return paper(**clips, generator=generators, **FAST).reactions

    together = react([0, 1])
    for row in (0, 1):
        torch.testing.assert_close(together[row : row + 1], react([row]), rtol=0, atol=1e-9)


@pytest.mark.parametrize("hop", [50, 40])
def test_the_past_reaction_ends_where_the_window_begins(make_pipeline, speaker, seeded, monkeypatch, hop):
    paper = make_pipeline(conditions=("audio", "coefficients", "speaker_latent", "past_emotion"))
    encode, pasts = paper.denoiser.encode_condition, []

    def watched(conditions, *arguments, **options):
        pasts.append(conditions["past_emotion"].unflatten(0, (2, 3)))
        return encode(conditions, *arguments, **options)

    monkeypatch.setattr(paper.denoiser, "encode_condition", watched)
    reactions = paper(**speaker, generator=seeded(), hop=hop, **FAST).reactions
    with_silence = torch.cat([torch.zeros_like(reactions[:, :, :50]), reactions], dim=2)
    assert len(pasts) == 3
    for number, past in enumerate(pasts):
        begin = number * hop
        assert torch.equal(past, with_silence[:, :, begin : begin + 50]), number


def test_save_and_load_give_the_same_output(pipeline, speaker, histories, seeded, tmp_path):
    pipeline.save_pretrained(str(tmp_path))
    loaded = PerFRDiffPipeline.from_pretrained(str(tmp_path))
    loaded.set_progress_bar_config(disable=True)
    a = pipeline(**speaker, listener_history=histories, generator=seeded(), **FAST)
    b = loaded(**speaker, listener_history=histories, generator=seeded(), **FAST)
    assert torch.equal(a.reactions, b.reactions)
    assert torch.equal(a.coefficients, b.coefficients)


def test_saved_layout_is_frozen(pipeline, tmp_path):
    # These names are part of every published pipeline: changing one breaks them all.
    pipeline.save_pretrained(str(tmp_path))
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert {name: value for name, value in index.items() if not name.startswith("_")} == {
        "denoiser": ["perfrdiff_hf.models.gafrg", "GAFRGTransformer1DModel"],
        "emotion_vae": ["perfrdiff_hf.models.emotion_vae", "EmotionVAEModel"],
        "feature_extractor": ["perfrdiff_hf.feature_extraction", "PerFRDiffFeatureExtractor"],
        "sampling": {},
        "scheduler": ["diffusers", "DDIMScheduler"],
        "style_encoder": ["perfrdiff_hf.models.pssl", "PSSLModel"],
        "weight_shift_generator": ["perfrdiff_hf.models.pwsg", "PWSGModel"],
    }


def test_generic_pipeline_has_no_personal_parts(pipeline, speaker, histories, seeded, tmp_path):
    generic = PerFRDiffPipeline(
        pipeline.denoiser, pipeline.emotion_vae, pipeline.scheduler, pipeline.feature_extractor
    )
    generic.set_progress_bar_config(disable=True)
    generic.save_pretrained(str(tmp_path))
    loaded = PerFRDiffPipeline.from_pretrained(str(tmp_path))
    loaded.set_progress_bar_config(disable=True)
    a = pipeline(**speaker, generator=seeded(), **FAST).reactions
    assert torch.equal(a, loaded(**speaker, generator=seeded(), **FAST).reactions)
    with pytest.raises(ValueError, match="generic"):
        loaded(**speaker, listener_history=histories, **FAST)


@pytest.mark.parametrize("scheduler", [DPMSolverMultistepScheduler, UniPCMultistepScheduler, DDPMScheduler])
def test_other_schedulers(make_pipeline, speaker, seeded, scheduler):
    pipeline = make_pipeline()
    with torch.no_grad():  # so that no clean value is clipped, which schedulers do in ways of their own
        pipeline.denoiser.mapping.weight *= 0.3
        pipeline.denoiser.mapping.bias *= 0.3
    options = {"num_reactions": 2, "num_inference_steps": 25, "guidance_scale": 1.0}
    official = pipeline(**speaker, generator=seeded(), **options).reactions
    pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config)
    reactions = pipeline(**speaker, generator=seeded(), **options).reactions
    assert torch.equal(reactions, pipeline(**speaker, generator=seeded(), **options).reactions)
    assert not torch.equal(reactions, official)
    assert (reactions - official).square().mean().sqrt() < 0.15 * official.std()


def test_guidance_of_one_is_the_conditional_half(pipeline, speaker, seeded):
    a = pipeline(**speaker, generator=seeded(), guidance_scale=1.0, **FAST).reactions
    b = pipeline(**speaker, generator=seeded(), guidance_scale=1.0 + 1e-6, **FAST).reactions
    assert torch.allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("given", ["speaker_audio", "speaker_emotion", "speaker_coefficients"])
def test_a_single_stream_is_enough_where_trained_for(pipeline, speaker, seeded, monkeypatch, given):
    full = pipeline(**speaker, generator=seeded(), **FAST).reactions
    part = pipeline(**{given: speaker[given]}, generator=seeded(), **FAST).reactions
    assert part.shape == full.shape
    assert not torch.allclose(part, full)
    # What is missing is what the model was trained without: its tokens are zero.
    kinds = {"speaker_audio": "audio", "speaker_emotion": "speaker_latent", "speaker_coefficients": "coefficients"}
    encode = pipeline.denoiser.encode_condition

    def without_the_others(conditions, *arguments, **options):
        batch = len(next(iter(conditions.values())))
        lost = {kind: torch.ones(batch, dtype=torch.bool) for name, kind in kinds.items() if name != given}
        return encode(conditions, lost, **options)

    monkeypatch.setattr(pipeline.denoiser, "encode_condition", without_the_others)
    assert torch.equal(part, pipeline(**speaker, generator=seeded(), **FAST).reactions)


def test_missing_stream_is_refused_where_not_trained_for(make_pipeline, speaker):
    whole = make_pipeline(condition_dropout=0.0)
    with pytest.raises(ValueError, match="needs speaker_audio"):
        whole(speaker_emotion=speaker["speaker_emotion"], speaker_coefficients=speaker["speaker_coefficients"], **FAST)


def test_callback_names_are_checked(pipeline, speaker):
    with pytest.raises(ValueError, match="callback_on_step_end_tensor_inputs"):
        pipeline(
            **speaker,
            callback_on_step_end=lambda *_: {},
            callback_on_step_end_tensor_inputs=["prompt_embeds"],
            **FAST,
        )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: {"speaker_audio": s["speaker_audio"][..., :77]}, ValueError, r"speaker_audio.*78.*77"),
        (
            lambda s: {"speaker_coefficients": s["speaker_coefficients"][0]},
            ValueError,
            r"speaker_coefficients.*\(130, 58\)",
        ),
        (lambda s: {"speaker_emotion": s["speaker_emotion"][:, :129]}, ValueError, r"same number of frames.*129"),
        (lambda s: {"speaker_emotion": s["speaker_emotion"][:1]}, ValueError, "same batch size"),
        (lambda s: {name: values[:, :49] for name, values in s.items()}, ValueError, "at least 50 frames.*49"),
        (
            lambda s: {"speaker_audio": np.full_like(s["speaker_audio"], np.nan)},
            ValueError,
            "speaker_audio holds.*NaN",
        ),
        (lambda s: {"speaker_coefficients": np.full_like(s["speaker_coefficients"], np.inf)}, ValueError, "infinite"),
        (lambda s: {"speaker_audio": s["speaker_audio"].astype(str)}, TypeError, "speaker_audio must hold numbers"),
        (lambda s: {"speaker_audio": s["speaker_audio"].tolist()}, TypeError, "array or a tensor"),
        (lambda s: dict.fromkeys(s), ValueError, "At least one of speaker_audio"),
        (lambda s: {"num_reactions": 0}, ValueError, "num_reactions"),
        (lambda s: {"num_inference_steps": 0}, ValueError, "num_inference_steps"),
        (lambda s: {"output_type": "pil"}, ValueError, "output_type"),
        (lambda s: {"listener_history": np.zeros((2, 90, 57))}, ValueError, r"listener_history.*58.*57"),
        (lambda s: {"listener_history": np.zeros((90, 58))}, ValueError, r"listener_history.*\(90, 58\)"),
        (lambda s: {"listener_history": np.zeros((2, 0, 58))}, ValueError, "listener_history"),
        (lambda s: {"listener_history": []}, ValueError, "empty"),
        (lambda s: {"listener_history": np.zeros((2, 20, 58))}, ValueError, "at least 50 frames; given: 20"),
        (lambda s: {"listener_history": np.full((2, 90, 58), np.nan)}, ValueError, "NaN"),
        (lambda s: {"listener_history": np.zeros((3, 90, 58))}, ValueError, "1 or 2 listeners"),
        (lambda s: {"generator": [torch.Generator()]}, ValueError, "generator"),
    ],
)
def test_bad_input(pipeline, speaker, change, error, message):
    with pytest.raises(error, match=message):
        pipeline(**{**FAST, **speaker, **change(speaker)})


def test_a_denoiser_that_would_never_get_its_condition_is_refused(make_pipeline):
    with pytest.raises(ValueError, match=r"conditions of .*listener_latent.*nothing fills"):
        make_pipeline(conditions=("audio", "coefficients", "listener_latent"))
    with pytest.raises(ValueError, match=r"styles of the width that style_encoder gives .8.; its style_size is 512"):
        make_pipeline(conditions=("audio", "personal"))
    parts = make_pipeline(conditions=("audio", "personal"), style_size=8).components
    with pytest.raises(ValueError, match=r"conditions of .*personal.*nothing fills"):
        PerFRDiffPipeline(**{**parts, "style_encoder": None, "weight_shift_generator": None})


def test_offloading_is_refused(pipeline):
    for enable in ("enable_model_cpu_offload", "enable_sequential_cpu_offload", "enable_group_offload"):
        with pytest.raises(NotImplementedError, match=r"weight_shift_generator.to\('cpu'\)"):
            getattr(pipeline, enable)()
    assert pipeline.model_cpu_offload_seq is None


@pytest.mark.parametrize("as_tuple", [False, True])
def test_a_generator_for_each_clip_also_gives_the_noise_of_the_steps(pipeline, speaker, as_tuple):
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    both = pipeline(**speaker, generator=tuple(generators) if as_tuple else generators, eta=1.0, **FAST).reactions
    alone = pipeline(
        **{name: values[1:] for name, values in speaker.items()},
        generator=(torch.Generator().manual_seed(4),),
        eta=1.0,
        **FAST,
    ).reactions
    assert torch.allclose(both[1], alone[0], atol=1e-4)
    with pytest.raises(TypeError, match=r"generator must be a torch.Generator.*int"):
        pipeline(**speaker, generator=[3, 4], **FAST)
