"""A listener merged into the weights, and shifts that know their generator."""

from __future__ import annotations

import copy

import pytest
import torch

from perfrdiff_hf import GAFRGTransformer1DModel
from perfrdiff_hf.models.weight_shifts import FullShift, WeightShifts


@pytest.fixture
def alice(denoiser) -> WeightShifts:
    delta = torch.randn(1, 25, 32, generator=torch.Generator().manual_seed(3))
    shifts = {"mapping": FullShift(delta), "layers.1.linear_1": FullShift(torch.ones(1, 64, 32) * 0.1)}
    return WeightShifts(shifts, denoiser.weight_digests(shifts))


def inputs(denoiser, speaker):
    return torch.zeros(3, 10, 25), 5, denoiser.encode_condition(speaker)


@torch.no_grad()
def test_fused_weights_are_not_shifted_again(denoiser, speaker, alice):
    hidden, step, tokens = inputs(denoiser, speaker)
    cache = denoiser.cache_condition(tokens, alice)
    denoiser.fuse_weight_shifts(alice)
    for call in (
        lambda: denoiser(hidden, step, tokens, alice),
        lambda: denoiser(hidden, step, cache, alice),
        lambda: denoiser.cache_condition(tokens, alice),
        lambda: denoiser.fuse_weight_shifts(alice),
    ):
        with pytest.raises(ValueError, match=r"fused already.*unfuse_weight_shifts"):
            call()
    denoiser.unfuse_weight_shifts()
    denoiser(hidden, step, cache, alice)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_fused_model_is_saved_as_the_generic_one(denoiser, alice, tmp_path, dtype):
    generic = copy.deepcopy(denoiser).to(dtype).state_dict()
    denoiser.fuse_weight_shifts(alice)
    denoiser.to(dtype)
    assert not torch.equal(denoiser.mapping.weight, generic["mapping.weight"])
    denoiser.save_pretrained(tmp_path)
    saved = GAFRGTransformer1DModel.from_pretrained(tmp_path, torch_dtype=dtype).state_dict()
    for state in (saved, denoiser.state_dict(), torch.nn.ModuleList([denoiser]).state_dict()):
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(state.values(), generic.values(), strict=True))
    with pytest.raises(ValueError, match="cannot be loaded while"):
        denoiser.load_state_dict(generic)


def test_shifts_for_another_generator_of_the_same_size_are_refused(denoiser, alice):
    denoiser.check_weight_shifts(alice)
    other = copy.deepcopy(denoiser)
    with torch.no_grad():
        other.mapping.weight[3, 4] += 1e-6
        other.layers[1].linear_1.weight += 1e-2
    for shifts in (alice, alice.to(dtype=torch.float16), WeightShifts.stack([None, alice]).listener(1)):
        with pytest.raises(ValueError, match="another generator of the same size"):
            other.fuse_weight_shifts(shifts)
    of_other = WeightShifts(alice, other.weight_digests(alice))
    with pytest.raises(ValueError, match="made for the same generator"):
        WeightShifts.stack([alice, of_other])
    # A change to weights that are not edited is no other generator for these shifts, and neither are unknown ones.
    with torch.no_grad():
        denoiser.layers[0].linear_1.weight += 1
    denoiser.check_weight_shifts(alice)
    other.check_weight_shifts(WeightShifts(alice))


@pytest.mark.parametrize("made_in", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("used_in", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_a_generator_is_known_again_in_another_precision(denoiser, alice, made_in, used_in, tmp_path):
    maker = copy.deepcopy(denoiser).to(made_in)
    shifts = WeightShifts(alice, maker.weight_digests(alice))
    shifts.save_pretrained(tmp_path)
    # Loaded from the same file in its own precision, or further rounded.
    copy.deepcopy(denoiser).to(used_in).check_weight_shifts(WeightShifts.from_pretrained(tmp_path))
    other = copy.deepcopy(denoiser)
    torch.nn.init.normal_(other.mapping.weight)
    if {made_in, used_in} != {torch.bfloat16, torch.float16}:  # two roundings that nothing can compare
        with pytest.raises(ValueError, match="another generator"):
            other.to(used_in).check_weight_shifts(WeightShifts.from_pretrained(tmp_path))


def test_digests_follow_the_weights(denoiser, alice, monkeypatch):
    from perfrdiff_hf.models import fusing

    computed = []
    compute = fusing.weight_digests
    monkeypatch.setattr(fusing, "weight_digests", lambda weights: computed.append(1) or compute(weights))
    first = denoiser.weight_digests(alice)
    denoiser.fuse_weight_shifts(alice)
    assert denoiser.weight_digests(alice) == first  # those of the generic weights
    denoiser.unfuse_weight_shifts()
    assert denoiser.weight_digests(alice) == first
    assert computed == []  # the fixture had them computed before
    denoiser.mapping.weight.data[0] *= 2  # behind autograd's back
    assert denoiser.weight_digests(alice) != first
    assert computed == [1]


def test_training_does_not_pay_for_digests(denoiser, speaker, alice, monkeypatch):
    monkeypatch.setattr(denoiser, "weight_digests", lambda *_: pytest.fail("read the weights"))
    shifts = alice.map(lambda tensor: tensor.requires_grad_())
    denoiser(*inputs(denoiser, speaker), shifts).sample.sum().backward()
    assert shifts["mapping"].delta.grad is not None


def test_sinusoids_are_laid_out_for_the_window(speaker):
    options = {"position_init": "sinusoidal", "hidden_size": 16, "num_heads": 2, "feed_forward_size": 16}
    for window, model in (
        (20, GAFRGTransformer1DModel(**options, window_size=20)),
        (50, GAFRGTransformer1DModel(**options)),
    ):
        positions = model.memory_positions
        # One token for the time step, then frame after frame of the sound, then of the coefficients.
        for start in (1, 1 + window):
            assert torch.equal(positions[start : start + window], model.query_positions[:window])
        assert torch.equal(positions[1 + 2 * window], model.query_positions[0])  # the latent
