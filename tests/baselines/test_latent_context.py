"""Latent diffusion with context: it trains, loads, streams, and every window knows of the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from perfrdiff_hf.baselines import LatentSequenceDenoiserModel, get_system
from perfrdiff_hf.baselines.latent_context import SequenceNoiseDraws
from perfrdiff_hf.training.config import load_config
from tests.baselines import manners
from tests.baselines.conftest import CONFIGS


SMALL: dict[str, Any] = {"steps": 12, "data.clip_frames": 250, "models.latent_sequence_denoiser.hidden_size": 32}
OFFLINE: dict[str, Any] = {**SMALL, "models.latent_sequence_denoiser.online": False}


def test_both_sizes_can_be_built() -> None:
    sizes = ({"hidden_size": 96, "num_layers": 3}, {"hidden_size": 128, "num_layers": 4})
    counts = [
        sum(weights.numel() for weights in LatentSequenceDenoiserModel(16, **size, online=False).parameters())
        for size in sizes
    ]
    assert counts == [370_288, 844_048]
    for name in ("latent_context", "latent_context_bench"):
        get_system("latent_context").check_recipe(load_config(CONFIGS / f"{name}.yaml"))
    assert "after FRDiff's abstract" in get_system("latent_context").title
    with pytest.raises(ValueError, match="context_windows must be at least 1"):
        LatentSequenceDenoiserModel(16, context_windows=0)
    recipe = load_config(CONFIGS / "latent_context_bench.yaml", {"data.clip_frames": "40"})
    with pytest.raises(ValueError, match=r"data\.clip_frames \(40\) must be at least data\.window_size \(50\)"):
        get_system("latent_context").check_recipe(recipe)


def test_it_trains_in_two_stages(train_system: Any, read_losses: Any) -> None:
    losses = read_losses(train_system("latent_context", **SMALL), "latent_sequence_denoiser")
    assert len(losses) == 12 and sum(losses[-4:]) < sum(losses[:4])


def test_online_it_reacts_to_the_past_alone(load: Any, corpus: Any) -> None:
    pipeline = load("latent_context", **SMALL)
    manners.check_reactions(pipeline, corpus, num_inference_steps=4)
    manners.check_online(pipeline, corpus, hop=50, num_inference_steps=4)
    manners.check_stream(pipeline, corpus, num_inference_steps=4)


def test_it_loads_in_a_process_of_its_own_and_has_a_card(train_system: Any) -> None:
    output = train_system("latent_context", **SMALL)
    manners.check_it_loads_alone(output, "LatentContextReactionPipeline")
    manners.check_card(output, "LatentContextReactionPipeline", "latent_sequence_denoiser")


def test_offline_every_window_knows_the_whole_speaker(load: Any, corpus: Any) -> None:
    pipeline, who = load("latent_context", **OFFLINE), manners.speaker(corpus)
    manners.check_reactions(pipeline, corpus, num_inference_steps=4)
    last = type(who)(**{name: np.concatenate([values[:-1], values[-1:] + 1]) for name, values in who.streams.items()})
    one, other = (manners.react(pipeline, [speaker], [3]).reactions for speaker in (who, last))
    assert all((one != other)[:, :, start : start + 50].any() for start in range(0, 230, 50))
    with pytest.raises(ValueError, match="offline and reads whole clips"):
        pipeline.stream()


def test_online_an_early_window_matters_to_all_that_follow(load: Any, corpus: Any) -> None:
    """Which is what a system of independent windows does not have."""
    pipeline, who = load("latent_context", **SMALL), manners.speaker(corpus)
    early = {name: values.copy() for name, values in who.streams.items()}
    early["emotion"][:50] = 0.5
    one, other = (manners.react(pipeline, [speaker], [3]).reactions for speaker in (who, type(who)(**early)))
    differs = (one != other).any(dim=-1)[0, 0]
    assert not differs[:50].any()
    assert all(differs[start : start + 50].any() for start in (50, 100, 150, 200))


def model(**changes: Any) -> LatentSequenceDenoiserModel:
    torch.manual_seed(0)
    sizes = {"latent_size": 4, "hidden_size": 16, "num_layers": 2, "num_heads": 2, **changes}
    return LatentSequenceDenoiserModel(**sizes).eval()


@torch.no_grad()
def test_a_window_sees_what_was_settled_before_it_and_nothing_else() -> None:
    denoiser = model()
    noisy, settled, speaker = torch.randn(2, 5, 4), torch.randn(2, 5, 4), torch.randn(2, 5, 16)
    times = torch.tensor([3, 20])
    plain = denoiser(noisy, times, speaker, settled)

    def changed(place: int, which: str) -> list[bool]:
        given = {"noisy": noisy.clone(), "speaker": speaker.clone(), "settled": settled.clone()}
        given[which][:, place] += 1
        made = denoiser(given["noisy"], times, given["speaker"], given["settled"])
        return [not torch.allclose(made[:, window], plain[:, window], atol=1e-6) for window in range(5)]

    assert changed(2, "noisy") == [False, False, True, False, False]
    assert changed(2, "settled") == changed(2, "speaker") == [False, False, False, True, True]
    assert changed(4, "settled") == changed(4, "speaker") == [False] * 5


@torch.no_grad()
def test_all_windows_at_once_are_what_one_after_the_other_are() -> None:
    """Training predicts the windows of a clip together, sampling the last of those that are known."""
    denoiser = model()
    noisy, settled, speaker = torch.randn(2, 5, 4), torch.randn(2, 5, 4), torch.randn(2, 5, 16)
    times = torch.tensor([3, 20])
    together = denoiser(noisy, times, speaker, settled)
    for window in range(5):
        until = slice(0, window + 1)
        given = torch.cat([torch.zeros_like(noisy[:, :window]), noisy[:, window : window + 1]], dim=1)
        alone = denoiser(given, times, speaker[:, until], settled[:, until])[:, -1]
        torch.testing.assert_close(alone, together[:, window], atol=1e-5, rtol=0)


def test_kept_latents_are_those_of_the_emotion(load: Any, corpus: Any) -> None:
    """What a window hands on decodes to what it gave, the last window last, and no more than the context is kept."""
    loaded = load("latent_context", **SMALL)
    denoiser = LatentSequenceDenoiserModel.from_config(
        {**loaded.latent_sequence_denoiser.config, "context_windows": 2}
    )
    denoiser.load_state_dict(loaded.latent_sequence_denoiser.state_dict())
    pipeline = type(loaded)(denoiser.eval(), loaded.emotion_vae, loaded.scheduler, loaded.feature_extractor)
    stream = pipeline.stream(num_reactions=2, generator=torch.Generator().manual_seed(1))
    who = manners.speaker(corpus)
    segments = stream.push(**{name: values[None] for name, values in who.streams.items()})
    assert len(segments) == 5
    kept = segments[-1].whole[..., 25:].flatten(2)[..., :32].unflatten(2, (2, 16))
    for place, segment in enumerate(segments[-2:]):
        with torch.no_grad():
            emotion = pipeline.emotion_vae.decode(denoiser.restored(kept[:, :, place].flatten(0, 1)), 50)
        torch.testing.assert_close(emotion.clamp(-1, 1).unflatten(0, (1, 2)), segment.reactions, atol=1e-5, rtol=0)


def test_steps_go_from_the_noisiest_down(load: Any, corpus: Any) -> None:
    pipeline, who = load("latent_context", **SMALL), manners.speaker(corpus)
    assert pipeline.scheduler.config.num_train_timesteps == 50
    pipeline.scheduler.set_timesteps(10)
    assert pipeline.scheduler.timesteps.tolist() == list(range(49, 0, -5))
    plain = manners.react(pipeline, [who], [1]).reactions
    assert torch.equal(plain, manners.react(pipeline, [who], [1], num_inference_steps=10).reactions)
    with pytest.raises(ValueError, match="num_inference_steps must be at most 50"):
        manners.react(pipeline, [who], [1], num_inference_steps=51)


def test_each_clip_has_one_time_and_a_noise_for_each_window() -> None:
    drawn = SequenceNoiseDraws(50, 20, 3)({"emotion": torch.zeros(70, 25)}, torch.Generator().manual_seed(0))
    assert drawn["timestep"].shape == () and drawn["latent_noise"].shape == (3, 3)
