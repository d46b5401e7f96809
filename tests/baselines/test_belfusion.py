"""BeLFusion: it trains, loads, streams, and shows what its source says of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from perfrdiff_hf.baselines import LatentDenoiserMLPModel, LatentDiffusionReactionPipeline, get_system
from perfrdiff_hf.baselines.belfusion import LatentNoiseDraws
from perfrdiff_hf.baselines.latent_denoiser import window_latents
from perfrdiff_hf.models.emotion_vae import EmotionVAEModel
from perfrdiff_hf.training.config import load_config
from tests.baselines import manners
from tests.baselines.conftest import CONFIGS


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_both_sizes_are_those_of_the_description() -> None:
    assert count(LatentDenoiserMLPModel()) == 12_300_928
    assert count(EmotionVAEModel(hidden_size=128, latent_size=128, decoder_sizes=(64, 64))) == 242_579
    small = LatentDenoiserMLPModel(latent_size=16, hidden_size=128, num_layers=6, condition_size=16)
    assert count(small) == 105_040
    for name in ("belfusion", "belfusion_bench"):
        get_system("belfusion").check_recipe(load_config(CONFIGS / f"{name}.yaml"))


def test_its_ten_noise_levels_are_those_of_the_source() -> None:
    stage: Any = get_system("belfusion").stage("latent_denoiser")
    scheduler = stage.new_scheduler(load_config(CONFIGS / "belfusion.yaml"))
    expected = [0.972, 0.899, 0.787, 0.647, 0.494, 0.341, 0.203, 0.094, 0.024, 0.00002]
    torch.testing.assert_close(scheduler.alphas_cumprod, torch.tensor(expected), atol=6e-4, rtol=0)
    assert scheduler.alphas_cumprod[-1].item() == pytest.approx(2.4e-5, rel=0.05)
    scheduler.set_timesteps(10)
    assert scheduler.timesteps.tolist() == list(range(9, -1, -1))


def test_it_trains_in_two_stages(train_system: Any, read_losses: Any) -> None:
    output = train_system("belfusion", steps=12)
    losses = read_losses(output, "latent_denoiser")
    assert len(losses) == 12 and sum(losses[-3:]) < sum(losses[:3])
    assert len(read_losses(output, "emotion_vae")) == 12


def test_online_it_reacts_to_the_past_alone(load: Any, corpus: Any) -> None:
    pipeline = load("belfusion", steps=12)
    manners.check_reactions(pipeline, corpus)
    manners.check_online(pipeline, corpus, hop=50)
    manners.check_stream(pipeline, corpus)


def test_offline_it_reacts_to_the_window_itself(load: Any, corpus: Any) -> None:
    pipeline = load("belfusion", steps=12, **{"models.latent_denoiser.online": False})
    manners.check_reactions(pipeline, corpus)
    manners.check_offline(pipeline, corpus)
    manners.check_stream(pipeline, corpus)


def test_it_loads_in_a_process_of_its_own_and_has_a_card(train_system: Any) -> None:
    output = train_system("belfusion", steps=12)
    manners.check_it_loads_alone(output, "LatentDiffusionReactionPipeline")
    manners.check_card(output, "LatentDiffusionReactionPipeline", "latent_denoiser")


def test_it_reads_emotion_alone_and_every_window_by_itself(load: Any, corpus: Any) -> None:
    pipeline = load("belfusion", steps=12)
    who = manners.speaker(corpus)

    def reactions(**streams: Any) -> torch.Tensor:
        return pipeline(**streams, num_reactions=2, generator=torch.Generator().manual_seed(1)).reactions

    alone = reactions(speaker_emotion=who.emotion[None])
    assert torch.equal(alone, reactions(speaker=who))
    with pytest.raises(ValueError, match="needs speaker_emotion"):
        reactions(speaker_audio=who.audio[None])
    early = who.emotion.copy()
    early[:50] = 0.5
    changed = (reactions(speaker_emotion=early[None]) != alone).any(dim=-1)[0, 0]
    assert changed[50:100].all() and not changed[:50].any() and not changed[100:].any()


def test_action_units_are_made_whole_numbers_where_asked(load: Any, corpus: Any) -> None:
    pipeline = load("belfusion", steps=12)
    plain, whole = (
        manners.react(pipeline, [manners.speaker(corpus)], [1], binarise_action_units=said) for said in (False, True)
    )
    assert set(whole.reactions[..., :15].unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(whole.reactions[..., :15], (plain.reactions[..., :15] > 0.5).float())
    assert torch.equal(whole.reactions[..., 15:], plain.reactions[..., 15:])
    assert torch.equal(whole.coefficients, plain.coefficients)


def test_the_number_of_steps_can_be_chosen(load: Any, corpus: Any) -> None:
    pipeline, who = load("belfusion", steps=12), manners.speaker(corpus)
    ten = manners.react(pipeline, [who], [1], num_inference_steps=10).reactions
    assert torch.equal(ten, manners.react(pipeline, [who], [1]).reactions)
    assert not torch.equal(ten, manners.react(pipeline, [who], [1], num_inference_steps=2).reactions)
    for wrong, message in ((11, "at most 10"), (0, "at least 1")):
        with pytest.raises(ValueError, match=f"num_inference_steps must be {message}"):
            manners.react(pipeline, [who], [1], num_inference_steps=wrong)


def test_latents_of_the_data_lie_within_the_range_of_the_diffusion(load: Any, corpus: Any) -> None:
    pipeline, arrays = load("belfusion", steps=12), corpus.split("train").arrays
    windows = torch.from_numpy(arrays.emotion(0)[:150].copy()).reshape(3, 50, 25)
    with torch.no_grad():
        latents = window_latents(pipeline.emotion_vae, windows, "mean")
        scaled = pipeline.latent_denoiser.scaled(latents)
    assert scaled.abs().max() <= 1 + 1e-4
    torch.testing.assert_close(pipeline.latent_denoiser.restored(scaled), latents, atol=1e-5, rtol=0)
    assert (pipeline.latent_denoiser.latent_max > pipeline.latent_denoiser.latent_min).all()


def test_only_the_best_prediction_counts() -> None:
    """A denoiser that echoes its input: of two noises, the loss is that of the smaller one."""
    vae = EmotionVAEModel(hidden_size=4, latent_size=3, decoder_sizes=(4,)).eval()
    denoiser = LatentDenoiserMLPModel(latent_size=3, hidden_size=4, num_layers=2, condition_size=4)
    denoiser.forward = lambda noisy, timestep, speaker: noisy  # type: ignore[method-assign]
    extractor = SimpleNamespace(available=lambda stream: None)
    recipe = load_config(CONFIGS / "belfusion.yaml")
    stage = get_system("belfusion").stage("latent_denoiser")
    objective = stage.objective(denoiser, {"emotion_vae": vae}, extractor, recipe)  # type: ignore[arg-type]
    emotion, near = torch.rand(2, 1, 6, 25), torch.zeros(2, 1, 3)
    batch = {"speaker_emotion": emotion[:, 0], "reactions": emotion, "timestep": torch.zeros(2, dtype=torch.long)}
    one = objective({**batch, "latent_noise": near})
    two = objective({**batch, "latent_noise": torch.cat([near + 30, near], dim=1)})
    assert torch.equal(one["loss"], two["loss"])
    worse = objective({**batch, "latent_noise": near + 30})
    assert worse["latent_loss"] > 2 * one["latent_loss"]


def test_each_example_has_one_time_and_several_noises() -> None:
    drawn = LatentNoiseDraws(10, 4, 3)({}, torch.Generator().manual_seed(0))
    assert drawn["timestep"].shape == () and drawn["latent_noise"].shape == (4, 3)


def test_models_that_do_not_fit_are_refused() -> None:
    recipe = load_config(CONFIGS / "belfusion_bench.yaml", {"models.latent_denoiser.latent_size": "8"})
    with pytest.raises(ValueError, match="latent_size is 8, but the emotion_vae has latents of 16"):
        get_system("belfusion").check_recipe(recipe)
    recipe = load_config(CONFIGS / "belfusion_bench.yaml", {"models.latent_denoiser.latent": "hidden"})
    with pytest.raises(ValueError, match="'hidden' needs an emotion_vae with equal hidden_size and latent_size"):
        get_system("belfusion").check_recipe(recipe)
    published = load_config(CONFIGS / "belfusion.yaml", {"models.latent_denoiser.latent": "hidden"})
    get_system("belfusion").check_recipe(published)
    with pytest.raises(ValueError, match="latent must be 'mean' or 'hidden'; given: 'median'"):
        LatentDenoiserMLPModel(latent="median")  # type: ignore[arg-type]
    assert LatentDiffusionReactionPipeline.settings_class().num_inference_steps is None
