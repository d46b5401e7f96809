"""A step in ONNX Runtime gives PyTorch's numbers, follows the weights, and says what it cannot do."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from perfrdiff_hf import PerFRDiffPipeline, extras, use_onnx_runtime, use_pytorch
from perfrdiff_hf.models.gafrg_layers import ConditionCache


@pytest.fixture
def pipeline(make_pipeline: Any) -> PerFRDiffPipeline:
    return make_pipeline(in_channels=83, max_shown_frames=5, standardised=True)


def some(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def listeners(pipeline: PerFRDiffPipeline, number: int) -> Any:
    return pipeline.personalise(some(number, 100, 58))


def step(pipeline: PerFRDiffPipeline, shifts: Any = None, rows: int = 4, timestep: int = 499, shown: int = 0) -> Any:
    """What a step predicts for two speakers."""
    denoiser = pipeline.denoiser
    cache = denoiser.cache_condition(some(2, 101, denoiser.config.hidden_size), shifts)
    marks = {"shown": (torch.arange(50) < shown).expand(rows, -1)} if shown else {}
    return denoiser(some(rows, 50, 83), timestep, cache, shifts, **marks).sample


@torch.no_grad()
def test_its_numbers_are_those_of_pytorch_for_whoever_reacts(pipeline):
    """Another time step, other listeners of the same shape and another shape; back again, nothing is left of it."""
    two = listeners(pipeline, 2)
    asked: list[dict[str, Any]] = [
        {}, {"timestep": 7}, {"shifts": two, "shown": 3}, {"shifts": two.listener([1, 0]), "shown": 5}, {"rows": 6},
    ]  # fmt: skip
    plain = [step(pipeline, **one) for one in asked]
    use_onnx_runtime(pipeline.denoiser)
    exported = [step(pipeline, **one) for one in asked]
    for one, other in zip(plain, exported):
        torch.testing.assert_close(other, one, atol=1e-4, rtol=0)
    sessions = vars(pipeline.denoiser)["forward"]._sessions
    assert len(sessions) == 3  # the second and the fourth had none of their own
    use_pytorch(pipeline.denoiser)
    use_pytorch(pipeline.denoiser)
    assert torch.equal(step(pipeline), plain[0])


@torch.no_grad()
def test_full_shifts_and_one_time_step_for_each_speaker(make_pipeline):
    pipeline = make_pipeline(shift_type="full", in_channels=83, max_shown_frames=5)
    shifts, denoiser = listeners(pipeline, 1), pipeline.denoiser
    tokens, timesteps = some(2, 101, denoiser.config.hidden_size), torch.tensor([3, 900])
    plain = denoiser(some(2, 50, 83), timesteps, tokens, shifts)
    use_onnx_runtime(denoiser)
    (exported,) = denoiser(some(2, 50, 83), timesteps, tokens, shifts, return_dict=False)
    torch.testing.assert_close(exported, plain.sample, atol=1e-4, rtol=0)


def test_reactions_of_a_whole_pipeline_are_the_same_and_it_is_saved_as_it_was(pipeline, tmp_path):
    speaker = {"speaker_audio": some(1, 100, 78), "speaker_emotion": some(1, 100, 25).clamp(0, 1)}
    speaker["speaker_coefficients"] = some(1, 100, 58)

    def react(pipe: PerFRDiffPipeline) -> torch.Tensor:
        told = {"num_reactions": 2, "num_inference_steps": 2, "guidance_scale": 2.0, "guidance_interval": (0.0, 0.5)}
        generator = torch.Generator().manual_seed(0)
        return pipe(**speaker, listener_history=some(1, 100, 58), generator=generator, hop=25, **told).reactions

    plain = react(pipeline)
    use_onnx_runtime(pipeline.denoiser)
    torch.testing.assert_close(react(pipeline), plain, atol=1e-4, rtol=0)
    pipeline.save_pretrained(str(tmp_path))
    again = PerFRDiffPipeline.from_pretrained(str(tmp_path))
    assert "forward" not in vars(again.denoiser)
    torch.testing.assert_close(react(again), plain)


@torch.no_grad()
def test_a_student_is_exported_once_for_all_guidance(make_pipeline):
    distilled = {"num_inference_steps": 2, "guidance_scale": 2.0, "guidance_scales": [1.0, 3.0]}
    pipeline = make_pipeline(in_channels=83, max_shown_frames=5, distilled=distilled, sampling={"guidance_scale": 2.0})
    denoiser = pipeline.denoiser
    torch.nn.init.normal_(denoiser.time_embedding.cond_proj.weight)
    tokens = some(2, 101, denoiser.config.hidden_size)
    caches = [denoiser.cache_condition(tokens, None, scale) for scale in (1.0, 3.0)]
    plain = [denoiser(some(4, 50, 83), 499, cache).sample for cache in caches]
    assert not torch.allclose(*plain, atol=1e-3)
    use_onnx_runtime(denoiser)
    for cache, sample in zip(caches, plain):
        torch.testing.assert_close(denoiser(some(4, 50, 83), 499, cache).sample, sample, atol=1e-4, rtol=0)
    assert len(vars(denoiser)["forward"]._sessions) == 1


@torch.no_grad()
def test_changed_weights_are_exported_anew(pipeline):
    use_onnx_runtime(pipeline.denoiser)
    before = step(pipeline)
    pipeline.denoiser.mapping.weight.mul_(1.5)
    after = step(pipeline)
    use_pytorch(pipeline.denoiser)
    torch.testing.assert_close(after, step(pipeline), atol=1e-4, rtol=0)
    assert not torch.allclose(after, before, atol=1e-2)


@torch.no_grad()
def test_a_copy_steps_with_its_own_weights(pipeline):
    use_onnx_runtime(pipeline.denoiser)
    before = step(pipeline)
    components = {**pipeline.components, "denoiser": copy.deepcopy(pipeline.denoiser)}
    other = PerFRDiffPipeline(**components)
    other.denoiser.mapping.weight.mul_(1.5)
    after = step(other)
    assert torch.equal(step(pipeline), before) and not torch.allclose(after, before, atol=1e-2)
    use_pytorch(other.denoiser)
    torch.testing.assert_close(after, step(other), atol=1e-4, rtol=0)


@torch.no_grad()
def test_a_listener_that_is_fused_reacts_and_goes_again(pipeline):
    """Fused weights are other tensors, and a second listener's may come to lie where the first one's were."""
    two, denoiser = listeners(pipeline, 2), pipeline.denoiser
    plain = [step(pipeline), *(step(pipeline, two.listener(row)) for row in range(2))]
    use_onnx_runtime(denoiser)
    exported = [step(pipeline)]
    for row in range(2):
        denoiser.fuse_weight_shifts(two.listener(row))
        exported.append(step(pipeline))
        denoiser.unfuse_weight_shifts()
    for one, other in zip(plain, exported):
        torch.testing.assert_close(other, one, atol=1e-4, rtol=0)
    torch.testing.assert_close(step(pipeline), plain[0], atol=1e-4, rtol=0)


@torch.no_grad()
def test_eight_bits_come_near(pipeline):
    plain = step(pipeline, listeners(pipeline, 1))
    use_onnx_runtime(pipeline.denoiser, int8=True)
    error = (step(pipeline, listeners(pipeline, 1)) - plain).square().mean().sqrt() / plain.std()
    assert 1e-5 < error < 0.1


def test_what_it_cannot_do_is_said(pipeline, monkeypatch):
    denoiser = pipeline.denoiser
    use_onnx_runtime(denoiser)
    with pytest.raises(RuntimeError, match="have no gradients: call under"):
        step(pipeline)
    with torch.no_grad():
        with pytest.raises(ValueError, match="A batch of 3 does not divide into 2 conditions"):
            step(pipeline, rows=3)
        cache = denoiser.cache_condition(some(2, 101, denoiser.config.hidden_size))
        denoiser.to(torch.bfloat16)
        with pytest.raises(ValueError, match=r"in float32 for ONNX Runtime; given: cpu and torch\.bfloat16"):
            denoiser(some(2, 50, 83), 3, cache)
    with pytest.raises(ValueError, match="Bring it there with"):
        use_onnx_runtime(denoiser)
    monkeypatch.setattr(extras, "find_spec", lambda module: None)
    with pytest.raises(ImportError, match=r"pip install 'perfrdiff_hf\[onnx\]'"):
        use_onnx_runtime(denoiser.to(torch.float32))


def test_a_cache_is_mapped_tensor_by_tensor():
    cache = ConditionCache((torch.ones(1), torch.ones(2)), (torch.ones(3), torch.ones(4)), (torch.ones(5),))
    doubled = cache.map(lambda tensor: 2 * tensor)
    assert [one.tolist() for one in (*doubled.keys, *doubled.values, *doubled.modulations)] == [
        [2.0] * length for length in range(1, 6)
    ]
