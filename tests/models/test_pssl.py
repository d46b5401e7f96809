"""PSSL against the official style encoder, long histories, and storage."""

from __future__ import annotations

import math

import pytest
import torch

from perfrdiff_hf.conversion.models import convert_pssl
from perfrdiff_hf.models import pssl
from perfrdiff_hf.models.pssl import PSSLConfig, PSSLModel, sinusoidal_positions


@pytest.fixture
def model() -> PSSLModel:
    torch.manual_seed(1)
    config = PSSLConfig(hidden_size=32, num_hidden_layers=2, intermediate_size=64, style_size=16, max_frames=40)
    return PSSLModel(config).eval()


@pytest.mark.parametrize(("dtype", "prefix", "tolerance"), [("float32", "f32", 1e-5), ("float64", "f64", 1e-9)])
@torch.no_grad()
def test_style_and_features_are_the_official_ones(golden_file, monkeypatch, dtype, prefix, tolerance):
    file = golden_file("pssl")
    model = convert_pssl(file.state, num_heads=4).to(getattr(torch, dtype))
    if dtype == "float64":
        # The official table of positions is float32 in the float64 run too, and the last bit of its sines depends on
        # the machine; feed the recorded table, and all the rest is float64 throughout.
        monkeypatch.setattr(pssl, "sinusoidal_positions", lambda count, width: file["pos_encoding"][:count])
    output = model(file["in.x"].to(getattr(torch, dtype)))
    assert (output.style - file[f"{prefix}.proj"]).abs().max() < tolerance
    assert (output.features - file[f"{prefix}.feat"]).abs().max() < tolerance


def test_positions_are_the_official_ones(golden_file):
    recorded = golden_file("pssl")["pos_encoding"]
    assert (sinusoidal_positions(*recorded.shape) - recorded).abs().max() < 2e-6


def test_positions_follow_their_formula():
    table = sinusoidal_positions(7, 6)
    for position in range(7):
        for pair in range(3):
            angle = position / 10_000 ** (2 * pair / 6)
            assert table[position, 2 * pair] == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[position, 2 * pair + 1] == pytest.approx(math.cos(angle), abs=1e-6)


def test_official_sizes_have_the_official_number_of_parameters():
    assert sum(parameter.numel() for parameter in PSSLModel(PSSLConfig()).parameters()) == 8_967_168


@torch.no_grad()
def test_a_style_has_unit_norm_and_depends_on_the_order_of_frames(model):
    history = torch.randn(3, 30, 58)
    style = model(history).style
    torch.testing.assert_close(style.norm(dim=1), torch.ones(3))
    assert (model(history.flip(1)).style - style).abs().max() > 1e-3


@torch.no_grad()
def test_a_long_history_is_read_in_pieces_of_equal_length(model):
    history = torch.randn(2, 100, 58)
    pieces = [model(piece).style for piece in torch.tensor_split(history, 3, dim=1)]
    expected = torch.nn.functional.normalize(torch.stack(pieces).mean(dim=0), dim=-1)
    torch.testing.assert_close(model(history).style, expected, atol=1e-6, rtol=0)


@torch.no_grad()
def test_saved_and_loaded_to_the_bit(model, tmp_path):
    model.class_token.normal_()
    model.save_pretrained(str(tmp_path))
    loaded = PSSLModel.from_pretrained(str(tmp_path))
    assert not loaded.training
    history = torch.randn(2, 100, 58)
    assert torch.equal(loaded(history).style, model(history).style)
    assert torch.equal(loaded(history).features, model(history).features)


@torch.no_grad()
def test_two_readings_agree_in_eval_mode_and_differ_in_training(model):
    history = torch.randn(2, 30, 58)
    assert torch.equal(model(history).style, model(history).style)
    model.train()
    assert not torch.equal(model(history).style, model(history).style)


@pytest.mark.parametrize("shape", [(30, 58), (2, 30, 57), (2, 0, 58)])
def test_a_history_of_a_wrong_shape_is_refused(model, shape):
    with pytest.raises(ValueError, match="coefficients"):
        model(torch.zeros(shape))
