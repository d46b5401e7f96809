"""WeightShifts as a value: what a shifted layer computes, batches of listeners, files, and errors."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from perfrdiff_hf.models.weight_shifts import WEIGHTS_NAME, FullShift, LowRankShift, WeightShifts, shifted_linear


MODES = ("shift", "offset", "weight")


def full(listeners: int = 2, mode: str = "shift") -> WeightShifts:
    return WeightShifts(
        {
            "mapping": FullShift(torch.randn(listeners, 25, 32), mode),
            "layers.0.cross_attention.to_k": FullShift(torch.randn(listeners, 32, 32), mode),
        }
    )


def low_rank(listeners: int = 2) -> WeightShifts:
    return WeightShifts(
        {"layers.1.linear_1": LowRankShift(torch.randn(listeners, 3, 32), torch.randn(listeners, 64, 3))}
    )


def assert_same(first: WeightShifts, second: WeightShifts) -> None:
    assert set(first) == set(second)
    for name, shift in first.items():
        assert type(shift) is type(second[name]) and shift.mode == second[name].mode
        weight = torch.randn(shift.layer_shape)
        assert torch.equal(shift.weight_change(weight), second[name].weight_change(weight)), name


@pytest.mark.parametrize("mode", MODES)
@torch.no_grad()
def test_a_shifted_layer_equals_a_layer_with_the_edited_weight(mode):
    linear, inputs = nn.Linear(32, 25), torch.randn(6, 7, 32)
    shift = full(3, mode)["mapping"]
    edited = {"shift": linear.weight + shift.delta, "offset": linear.weight * (1 + shift.delta), "weight": shift.delta}
    expected = torch.stack(
        [nn.functional.linear(inputs[row], edited[mode][row // 2], linear.bias) for row in range(6)]
    )
    torch.testing.assert_close(shifted_linear(linear, inputs, shift), expected, atol=1e-4, rtol=0)


@torch.no_grad()
def test_a_low_rank_shift_equals_its_full_matrix():
    linear, inputs, shift = nn.Linear(32, 64), torch.randn(4, 7, 32), low_rank()["layers.1.linear_1"]
    assert shift.layer_shape == (64, 32)
    dense = FullShift(shift.up @ shift.down)
    torch.testing.assert_close(
        shifted_linear(linear, inputs, shift), shifted_linear(linear, inputs, dense), atol=1e-4, rtol=0
    )


@torch.no_grad()
def test_a_batch_of_listeners_equals_one_listener_after_the_other(denoiser, speaker):
    noisy, tokens = torch.randn(6, 10, 25), denoiser.encode_condition(speaker)
    shifts = full(3).map(lambda tensor: 0.1 * tensor)
    together = denoiser(noisy, 50, tokens, shifts).sample
    for row in range(3):
        rows = slice(2 * row, 2 * row + 2)
        alone = denoiser(noisy[rows], 50, tokens[row : row + 1], shifts.listener(row)).sample
        torch.testing.assert_close(together[rows], alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_one_listener_serves_every_condition(denoiser, speaker):
    noisy, tokens, shifts = torch.randn(3, 10, 25), denoiser.encode_condition(speaker), full(1)
    repeated = denoiser(noisy, 50, tokens, shifts.map(lambda tensor: tensor.repeat_interleave(3, 0))).sample
    torch.testing.assert_close(denoiser(noisy, 50, tokens, shifts).sample, repeated, atol=1e-5, rtol=0)


@torch.no_grad()
def test_generic_rows_in_a_stack_stay_generic_to_the_bit(denoiser, speaker):
    noisy, tokens = torch.randn(3, 10, 25), denoiser.encode_condition(speaker)
    generic = denoiser(noisy, 50, tokens).sample
    for shifts in (full(1), low_rank(1), full(1, "offset")):
        output = denoiser(noisy, 50, tokens, WeightShifts.stack([None, shifts, None])).sample
        assert torch.equal(output[[0, 2]], generic[[0, 2]])
        assert (output[1] - generic[1]).abs().max() > 1e-3


def test_stacked_listeners_come_out_again():
    first, second = full(2), full(1)
    stacked = WeightShifts.stack([first, None, second])
    assert stacked.num_listeners == 4
    assert_same(stacked.listener([0, 1]), first)
    assert_same(stacked.listener(3), second)
    assert not stacked.listener(2)["mapping"].delta.any()
    assert_same(stacked.listener(slice(0, 2)), first)


@pytest.mark.parametrize("mode", MODES)
def test_saved_and_loaded_to_the_bit(tmp_path, mode):
    shifts = full(2, mode)
    shifts.save_pretrained(tmp_path / "listener")
    assert_same(WeightShifts.from_pretrained(tmp_path / "listener"), shifts)
    assert [file.name for file in (tmp_path / "listener").iterdir()] == [WEIGHTS_NAME]


def test_a_view_of_one_listener_is_saved_as_one_listener(tmp_path):
    low_rank(50).listener(7).save_pretrained(tmp_path)
    assert (tmp_path / WEIGHTS_NAME).stat().st_size < 4 * 2 * 3 * 100 + 1000
    assert WeightShifts.from_pretrained(tmp_path).num_listeners == 1


def test_type_and_graph():
    shifts = full(1).map(lambda tensor: tensor.requires_grad_())
    assert shifts.to(dtype=torch.float16)["mapping"].delta.dtype is torch.float16
    assert not shifts.detach()["mapping"].delta.requires_grad
    assert shifts.within("layers.0")["cross_attention.to_k"].layer_shape == (32, 32)
    assert shifts.within("layers.1") is None
    assert "1 listeners" in repr(shifts)


def test_what_makes_no_sense_is_refused():
    delta = torch.zeros(2, 4, 4)
    with pytest.raises(ValueError, match="at least one layer"):
        WeightShifts({})
    with pytest.raises(ValueError, match="same number of listeners"):
        WeightShifts({"a": FullShift(delta), "b": FullShift(delta[:1])})
    with pytest.raises(ValueError, match="mode"):
        WeightShifts({"a": FullShift(delta), "b": FullShift(delta, "offset")})
    with pytest.raises(ValueError, match="mode"):
        WeightShifts({"a": FullShift(delta, "add")})
    with pytest.raises(ValueError, match="None"):
        WeightShifts.stack([None, None])
    with pytest.raises(ValueError, match="generic row"):
        WeightShifts.stack([None, full(1, "weight")])
    with pytest.raises(ValueError, match="same layers"):
        WeightShifts.stack([full(1), low_rank(1)])


def test_shifts_of_another_generator_are_refused(denoiser, speaker):
    tokens = denoiser.encode_condition(speaker)
    with pytest.raises(ValueError, match=r"layers\.9\.linear_1"):
        denoiser(
            torch.zeros(3, 10, 25), 1, tokens, WeightShifts({"layers.9.linear_1": FullShift(torch.zeros(1, 4, 4))})
        )
    with pytest.raises(ValueError, match=r"mapping.*\(25, 32\).*\(25, 64\)"):
        denoiser(torch.zeros(3, 10, 25), 1, tokens, WeightShifts({"mapping": FullShift(torch.zeros(1, 25, 64))}))
    with pytest.raises(ValueError, match="2 listeners"):
        denoiser(torch.zeros(3, 10, 25), 1, tokens, full(2))


def test_files_that_are_no_weight_shifts_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="save_pretrained"):
        WeightShifts.from_pretrained(tmp_path)
    save_file({"mapping.weight": torch.zeros(2)}, tmp_path / WEIGHTS_NAME)
    with pytest.raises(ValueError, match="mapping"):
        WeightShifts.from_pretrained(tmp_path)
