"""Trans-VAE: it trains, loads, streams, and shows what its source says of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from perfrdiff_hf.baselines import TransVAEModel, get_system
from perfrdiff_hf.baselines.losses import sameness
from perfrdiff_hf.data.reaction_clips import ReactionClips
from perfrdiff_hf.evaluation.reacting import speaker_of
from perfrdiff_hf.training.config import load_config
from tests.baselines import manners
from tests.baselines.conftest import CONFIGS


OFFLINE = {"models.trans_vae.online": False, "data.clip_frames": 120}


def test_both_sizes_are_those_of_the_description() -> None:
    counts = {
        (width, online): sum(p.numel() for p in TransVAEModel(hidden_size=width, online=online).parameters())
        for width in (64, 128)
        for online in (False, True)
    }
    assert counts == {(64, False): 168_595, (64, True): 269_523, (128, False): 632_019, (128, True): 1_014_099}
    for name in ("trans_vae", "trans_vae_bench"):
        config = load_config(CONFIGS / f"{name}.yaml")
        get_system("trans_vae").check_recipe(config)
    assert load_config(CONFIGS / "trans_vae.yaml").stages["trans_vae"].learning_rate == 1e-5


def test_it_trains_and_says_how_it_was_measured(train_system: Any, read_losses: Any) -> None:
    output = train_system("trans_vae")
    losses = read_losses(output, "trans_vae")
    assert len(losses) == 8 and losses[-1] < losses[0]
    report = json.loads((output / "trans_vae" / "training.json").read_text())
    assert {"validation_loss", "validation_frcorr", "validation_frdist"} <= report["figures"].keys()


def test_online_it_reacts_to_the_past_alone(load: Any, corpus: Any) -> None:
    pipeline = load("trans_vae")
    manners.check_reactions(pipeline, corpus)
    manners.check_online(pipeline, corpus, hop=50)
    manners.check_stream(pipeline, corpus)


def test_it_loads_in_a_process_of_its_own_and_has_a_card(train_system: Any) -> None:
    output = train_system("trans_vae")
    manners.check_it_loads_alone(output, "TransVAEReactionPipeline")
    manners.check_card(output, "TransVAEReactionPipeline", "trans_vae")


def test_online_training_and_sampling_roll_alike(load: Any, corpus: Any) -> None:
    """The same noise gives the same windows in a loss and in a session."""
    pipeline = load("trans_vae")
    model, extractor = pipeline.trans_vae, pipeline.feature_extractor
    objective = get_system("trans_vae").stages[0].objective(model, {}, extractor, None)
    row, arrays = 0, corpus.split("val").arrays
    who = speaker_of(arrays, row)[:150]
    noise = torch.Generator().manual_seed(4)
    batch = {f"speaker_{name}": torch.from_numpy(values.copy())[None] for name, values in who.streams.items()}
    drawn = torch.stack([torch.randn(1, 64, generator=noise) for _ in range(3)], dim=1)
    with torch.no_grad():
        rolled = objective.reactions(batch, drawn)[0]
    called = pipeline(speaker=who, num_reactions=1, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(called.reactions[0], rolled[..., :25].clamp(-1, 1), atol=1e-5, rtol=0)


def test_offline_the_latent_is_blind_to_the_order_of_frames(load: Any, corpus: Any) -> None:
    pipeline = load("trans_vae", **OFFLINE)
    manners.check_reactions(pipeline, corpus)
    who = speaker_of(corpus.split("val").arrays, 0)
    audio, face = (torch.from_numpy(values.copy())[None] for values in (who.audio, who.coefficients))
    order = torch.randperm(len(who), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        mean, logvar = pipeline.trans_vae.encode(audio, face)
        shuffled = pipeline.trans_vae.encode(audio[:, order], face[:, order])
        other = pipeline.trans_vae.encode(audio + 1, face)
    torch.testing.assert_close(shuffled[0], mean, atol=1e-5, rtol=0)
    torch.testing.assert_close(shuffled[1], logvar, atol=1e-5, rtol=0)
    assert not torch.allclose(other[0], mean, atol=1e-3)
    with pytest.raises(ValueError, match="offline and reads whole clips"):
        pipeline.stream()


def test_what_it_cannot_do_is_said(load: Any, corpus: Any) -> None:
    pipeline, who = load("trans_vae"), manners.speaker(corpus)
    with pytest.raises(ValueError, match="knows no listener"):
        pipeline(speaker=who, listener_history=who)
    with pytest.raises(ValueError, match="needs speaker_audio"):
        pipeline(speaker_coefficients=who.coefficients[None])
    with pytest.raises(TypeError, match="has no setting guidance_scale; it has num_reactions, generator"):
        pipeline(speaker=who, guidance_scale=2.0)
    with pytest.raises(ValueError, match="one for each of 1 clips; given: 2"):
        pipeline(speaker=who, generator=[torch.Generator(), torch.Generator()])
    with pytest.raises(ValueError, match="num_reactions must be at least 1"):
        pipeline(speaker=who, num_reactions=0)
    with pytest.raises(ValueError, match="speaker_audio must have shape"):
        pipeline(speaker_audio=who.audio[None, :, :70], speaker_coefficients=who.coefficients[None])


def test_equal_reactions_are_most_alike() -> None:
    one = torch.randn(2, 10, 25)
    assert sameness(one, one) == 1
    assert sameness(one, one + 5) < 1e-6
    assert sameness(torch.zeros(1, 4, 25), torch.ones(1, 4, 25)).item() == pytest.approx(2.718281828**-1)


def test_clips_hold_both_people_over_the_same_frames(corpus: Any) -> None:
    arrays = corpus.split("train").arrays
    examples = ReactionClips(arrays, 90, seed=3)
    first, second = examples[1], examples[1]
    assert torch.equal(first["emotion"], second["emotion"])
    assert first["speaker_audio"].shape == (90, 78) and first["coefficients"].shape == (90, 58)
    whole = arrays.emotion(1)
    (start,) = (at for at in range(len(whole) - 89) if (whole[at : at + 90] == first["emotion"].numpy()).all())
    spoken = arrays.coefficients(int(arrays.partner[1]))[start : start + 90]
    assert (spoken == first["speaker_coefficients"].numpy()).all()
    with pytest.raises(ValueError, match="fewer than the 5000 frames of an item"):
        ReactionClips(arrays, 5000)
