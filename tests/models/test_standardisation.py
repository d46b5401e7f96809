"""Standard scores inside models."""

from __future__ import annotations

import pytest
import torch

from perfrdiff_hf import GAFRGTransformer1DModel, PSSLConfig, PSSLModel
from perfrdiff_hf.models.standardisation import LEAST_SPREAD, Standardiser


def test_scores_have_mean_zero_and_spread_one_and_are_undone():
    values = 3 + torch.tensor([1.0, 10.0, 100.0]) * torch.randn(4000, 3, generator=torch.Generator().manual_seed(0))
    standardiser = Standardiser(3)
    assert torch.equal(standardiser(values), values)
    standardiser.fit(values.mean(0), values.std(0))
    scores = standardiser(values)
    torch.testing.assert_close(scores.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(scores.std(0), torch.ones(3))
    torch.testing.assert_close(standardiser.restore(scores), values)


def test_a_channel_that_never_moves_is_not_blown_up():
    standardiser = Standardiser(2)
    standardiser.fit(torch.zeros(2), torch.tensor([2.0, 0.0]))
    assert standardiser.spread.tolist() == pytest.approx([2.0, 2 * LEAST_SPREAD])


def test_statistics_of_another_number_of_channels_are_refused():
    with pytest.raises(ValueError, match=r"mean and spread must have shape \(3,\)"):
        Standardiser(3).fit(torch.zeros(2), torch.ones(2))
    with pytest.raises(ValueError, match="above 0 in at least one channel"):
        Standardiser(2).fit(torch.zeros(2), torch.zeros(2))


def test_an_encoder_of_movement_reads_neither_pose_nor_scale():
    torch.manual_seed(0)
    encoder = PSSLModel(
        PSSLConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, style_size=8,
                   movement=True)
    ).eval()  # fmt: skip
    clip = torch.randn(2, 40, 58)
    with torch.no_grad():
        style = encoder(clip).style
        torch.testing.assert_close(encoder(clip + 5 * torch.randn(2, 1, 58)).style, style, atol=1e-4, rtol=1e-4)
        scale = torch.rand(58) + 0.5
        encoder.standardiser.fit(torch.zeros(58), scale)
        torch.testing.assert_close(encoder(clip * scale).style, style, atol=1e-5, rtol=1e-4)


def test_statistics_are_saved_with_the_weights(tmp_path):
    sizes = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "feed_forward_size": 16, "latent_size": 8}
    denoiser = GAFRGTransformer1DModel(**sizes, in_channels=83, standardised=True)
    denoiser.reaction_scores.fit(torch.arange(83.0), torch.arange(1.0, 84))
    denoiser.speaker_scores["audio"].fit(torch.ones(78), 2 * torch.ones(78))
    denoiser.save_pretrained(tmp_path)
    loaded = GAFRGTransformer1DModel.from_pretrained(tmp_path)
    assert torch.equal(loaded.to_scores(torch.zeros(1, 83)), denoiser.to_scores(torch.zeros(1, 83)))
    assert torch.equal(loaded.speaker_scores["audio"].spread, 2 * torch.ones(78))


def test_standard_scores_are_what_the_condition_is_made_of():
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "feed_forward_size": 16}
    denoiser = GAFRGTransformer1DModel(
        **sizes, conditions=("audio", "past_emotion"), standardised=True, context_windows=2
    )
    audio, past = torch.randn(1, 100, 78), torch.randn(1, 50, 25)
    tokens = denoiser.encode_condition({"audio": audio, "past_emotion": past})
    assert tokens.shape == (1, 150, 16)
    denoiser.speaker_scores["audio"].fit(torch.full((78,), 3.0), torch.full((78,), 7.0))
    denoiser.reaction_scores.fit(torch.full((25,), 2.0), torch.full((25,), 5.0))
    same = denoiser.encode_condition({"audio": 3 + 7 * audio, "past_emotion": 2 + 5 * past})
    torch.testing.assert_close(same, tokens, atol=1e-5, rtol=1e-4)
    # Where a kind of frames is missing, it leaves as many empty tokens as it would have.
    assert denoiser.encode_condition({"past_emotion": past}).shape == tokens.shape
    assert denoiser.encode_condition({"audio": audio}).shape == tokens.shape


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_channels": 58}, "in_channels must be 25 .* or 83"),
        ({"max_shown_frames": 0}, "max_shown_frames must be at least 1 and less than window_size"),
        ({"max_shown_frames": 50}, "max_shown_frames must be at least 1 and less than window_size"),
        ({"context_windows": 0}, "context_windows must be at least 1"),
    ],
)
def test_impossible_sizes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        GAFRGTransformer1DModel(hidden_size=16, num_layers=1, num_heads=2, feed_forward_size=16, **options)
