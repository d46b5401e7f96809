"""The emotion VAE against the official one, its posterior, and storage."""

from __future__ import annotations

import pytest
import torch

from perfrdiff_hf.conversion.models import convert_emotion_vae
from perfrdiff_hf.models.emotion_vae import EmotionVAEModel


@pytest.fixture
def model() -> EmotionVAEModel:
    torch.manual_seed(1)
    return EmotionVAEModel(hidden_size=16, latent_size=8, decoder_sizes=(12, 10)).eval()


@torch.no_grad()
def test_every_output_is_the_official_one(golden_file):
    file = golden_file("rnn_vae")
    model = convert_emotion_vae(file.state)
    emotion = file["in.emotion"]
    assert (model.encode(emotion[:, :50]).hidden_state - file["f32.encode_first50"]).abs().max() < 1e-5
    output = model(emotion.reshape(-1, 50, 25))
    for name, value in (
        ("prediction", output.emotion.reshape(-1, 100, 25)),
        ("coefficients_3dmm", output.coefficients.reshape(-1, 100, 58)),
        ("mu", output.mean),
        ("logvar", output.logvar),
    ):
        assert (value - file[f"f32.{name}"]).abs().max() < 1e-5, name


def test_official_sizes_have_the_official_number_of_parameters():
    assert sum(parameter.numel() for parameter in EmotionVAEModel().parameters()) == 3_358_675


@torch.no_grad()
def test_float64_changes_nothing_but_rounding(model):
    emotion = torch.rand(2, 20, 25)
    single = model(emotion)
    double = model.double()(emotion.double())
    for name in ("emotion", "coefficients", "mean", "logvar"):
        torch.testing.assert_close(getattr(single, name).double(), getattr(double, name), atol=1e-6, rtol=0)


@torch.no_grad()
def test_a_draw_from_the_posterior_follows_its_generator_and_its_spread(model):
    emotion = torch.rand(2, 20, 25)
    draws = [
        model(emotion, sample_posterior=True, generator=torch.Generator().manual_seed(seed)).emotion
        for seed in (0, 0, 1)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    # With no spread left, the draw is the mean.
    model.to_logvar.weight.zero_()
    model.to_logvar.bias.fill_(-200.0)
    narrow = model(emotion, sample_posterior=True, generator=torch.Generator().manual_seed(1)).emotion
    torch.testing.assert_close(narrow, model(emotion).emotion, atol=1e-6, rtol=0)


@torch.no_grad()
def test_the_regressor_works_frame_by_frame_on_any_shape(model):
    emotion = torch.rand(2, 3, 20, 25)
    coefficients = model.to_coefficients(emotion)
    assert coefficients.shape == (2, 3, 20, 58)
    torch.testing.assert_close(coefficients[1, 2, 7], model.to_coefficients(emotion[1, 2, 7]), atol=1e-6, rtol=0)


@torch.no_grad()
def test_decoding_is_causal_and_of_any_length(model):
    latent = torch.randn(2, 8)
    torch.testing.assert_close(model.decode(latent, 30)[:, :10], model.decode(latent, 10), atol=1e-6, rtol=0)


@torch.no_grad()
def test_saved_and_loaded_to_the_bit(model, tmp_path):
    model.save_pretrained(str(tmp_path))
    loaded = EmotionVAEModel.from_pretrained(str(tmp_path)).eval()
    emotion = torch.rand(2, 20, 25)
    assert torch.equal(loaded(emotion).coefficients, model(emotion).coefficients)
