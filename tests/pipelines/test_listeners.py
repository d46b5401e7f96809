"""Listeners in the pipeline: what their histories decide, how they are kept, and whose they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from perfrdiff_hf import PerFRDiffPipeline, WeightShifts


FAST = {"num_reactions": 3, "num_inference_steps": 3}


def test_zero_shifts_change_nothing(make_pipeline, speaker, histories, seeded):
    fresh = make_pipeline(fresh=True)
    generic = fresh(**speaker, generator=seeded(), **FAST)
    personal = fresh(**speaker, listener_history=histories, generator=seeded(), **FAST)
    assert torch.equal(generic.reactions, personal.reactions)
    assert torch.equal(generic.coefficients, personal.coefficients)


def test_history_decides_the_reactions(pipeline, speaker, histories, seeded):
    def react(history):
        return pipeline(**speaker, listener_history=history, generator=seeded(), **FAST).reactions

    first = react(histories)
    assert torch.equal(first, react(histories))
    assert not torch.allclose(first, react(histories[::-1].copy()))
    assert not torch.allclose(first, pipeline(**speaker, generator=seeded(), **FAST).reactions)


def test_shifts_can_be_kept(pipeline, speaker, histories, seeded, tmp_path):
    shifts = pipeline.personalise(histories)
    direct = pipeline(**speaker, listener_history=histories, generator=seeded(), **FAST).reactions
    assert torch.equal(direct, pipeline(**speaker, weight_shifts=shifts, generator=seeded(), **FAST).reactions)
    shifts.save_pretrained(tmp_path / "both")
    loaded = WeightShifts.from_pretrained(tmp_path / "both")
    assert torch.equal(direct, pipeline(**speaker, weight_shifts=loaded, generator=seeded(), **FAST).reactions)


def test_each_row_has_its_own_listener(pipeline, speaker, histories):
    def generators():
        return [torch.Generator().manual_seed(seed) for seed in (3, 4)]

    both = pipeline(**speaker, listener_history=histories, generator=generators(), **FAST).reactions
    for row in range(2):
        alone = pipeline(
            **{name: values[row : row + 1] for name, values in speaker.items()},
            listener_history=histories[row : row + 1],
            generator=generators()[row : row + 1],
            **FAST,
        ).reactions
        assert torch.allclose(both[row], alone[0], atol=1e-4)


def test_one_listener_serves_all_speakers(pipeline, speaker, histories, seeded):
    # Without guidance, which would multiply differences of rounding.
    options = {**FAST, "guidance_scale": 1.0}
    one = pipeline(**speaker, listener_history=histories[:1], generator=seeded(), **options).reactions
    twice = pipeline(**speaker, listener_history=histories[[0, 0]], generator=seeded(), **options).reactions
    assert torch.allclose(one, twice, atol=1e-5)


def test_histories_of_different_lengths(pipeline, histories):
    shifts = pipeline.personalise([histories[0], histories[1, :60]])
    again = pipeline.personalise(histories[:1])
    assert shifts.num_listeners == 2
    name = next(iter(shifts))
    assert torch.allclose(shifts[name].weight_change(None)[0], again[name].weight_change(None)[0], atol=1e-6)


def test_a_history_is_not_rounded_before_the_mean_face_is_removed(make_pipeline, histories):
    """In half precision, a head pitch near its mean of 3.2 would lose what sets it apart from that mean."""
    pipeline = make_pipeline()
    pipeline.style_encoder.to(torch.bfloat16)
    read = []
    pipeline.style_encoder.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0]))
    pipeline.personalise(histories)
    exact = torch.from_numpy(histories - np.asarray(pipeline.feature_extractor.mean_face, np.float32))
    assert torch.equal(read[0], exact.to(torch.bfloat16))


@pytest.mark.parametrize(("dtype", "bound"), [(torch.bfloat16, 0.005), (torch.float16, 0.001)])
def test_the_mean_face_is_removed_before_rounding(make_pipeline, histories, monkeypatch, dtype, bound):
    """A head's pitch lies about 3.2, far from zero: rounded first, a tenth of its spread is lost in bfloat16."""
    pipeline = make_pipeline()
    pipeline.to(dtype)
    read = []
    encode = pipeline.style_encoder.forward
    monkeypatch.setattr(pipeline.style_encoder, "forward", lambda values: read.append(values) or encode(values))
    shifts = pipeline.personalise(histories)
    assert read[0].dtype == dtype
    centred = histories[..., 52] - np.float32(pipeline.feature_extractor.mean_face[52])
    error = read[0][..., 52].float().numpy() - centred
    assert error.std() < bound * centred.std()
    assert shifts["mapping"].up.dtype == dtype


def test_fused_listeners_react_like_given_ones_and_are_not_saved(pipeline, speaker, histories, seeded, tmp_path):
    options = {**FAST, "guidance_scale": 1.0}
    alice = pipeline.personalise(histories[:1])
    given = pipeline(**speaker, weight_shifts=alice, generator=seeded(), **options).reactions
    generic = pipeline(**speaker, generator=seeded(), **options).reactions
    pipeline.denoiser.fuse_weight_shifts(alice)
    try:
        fused = pipeline(**speaker, generator=seeded(), **options).reactions
        assert torch.allclose(fused, given, atol=1e-5)
        assert not torch.allclose(fused, generic, atol=1e-2)
        for extra in ({"weight_shifts": alice}, {"listener_history": histories}):
            with pytest.raises(ValueError, match="fused already"):
                pipeline(**speaker, **extra, **options)
        pipeline.save_pretrained(str(tmp_path))
    finally:
        pipeline.denoiser.unfuse_weight_shifts()
    loaded = PerFRDiffPipeline.from_pretrained(str(tmp_path))
    loaded.set_progress_bar_config(disable=True)
    assert torch.equal(loaded(**speaker, generator=seeded(), **options).reactions, generic)


def test_a_listener_knows_its_generator(make_pipeline, speaker, histories, tmp_path):
    pipeline = make_pipeline()
    pipeline.personalise(histories[:1]).save_pretrained(tmp_path)
    listener = pipeline.load_listener(tmp_path)
    retrained = make_pipeline()
    with torch.no_grad():
        for parameter in retrained.denoiser.parameters():
            parameter += 1e-3
    with pytest.raises(ValueError, match="another generator"):
        retrained.load_listener(tmp_path)
    for use in (retrained, lambda **options: retrained.stream(weight_shifts=options["weight_shifts"])):
        with pytest.raises(ValueError, match="another generator"):
            use(**speaker, weight_shifts=listener, **FAST)
    retrained.denoiser = pipeline.denoiser.to(torch.bfloat16)
    assert retrained.load_listener(tmp_path)["mapping"].up.dtype == torch.bfloat16
    with pytest.raises(FileNotFoundError, match="No weight shifts"):
        pipeline.load_listener(tmp_path / "nobody")


def test_history_and_shifts_exclude_each_other(pipeline, speaker, histories):
    shifts = pipeline.personalise(histories)
    with pytest.raises(ValueError, match="not both"):
        pipeline(**speaker, listener_history=histories, weight_shifts=shifts, **FAST)


def test_shifts_of_another_generator_are_refused(pipeline, speaker, histories):
    shifts = pipeline.personalise(histories)
    foreign = WeightShifts({f"other.{name}": shift for name, shift in shifts.items()})
    with pytest.raises(ValueError, match="not a linear layer"):
        pipeline(**speaker, weight_shifts=foreign, **FAST)
