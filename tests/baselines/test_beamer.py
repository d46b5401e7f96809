"""BEAMER: it trains, loads, streams, and shows what its source says of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from perfrdiff_hf.baselines import BEAMERModel, get_system
from perfrdiff_hf.baselines.beamer import BEAMERObjective, contrast
from perfrdiff_hf.data.reaction_clips import ReactionClips
from perfrdiff_hf.evaluation.reacting import react_to_clips, speaker_of
from perfrdiff_hf.feature_extraction import PerFRDiffFeatureExtractor
from perfrdiff_hf.metrics import frdiv, frdvs
from perfrdiff_hf.training.config import load_config
from tests.baselines import manners
from tests.baselines.conftest import CONFIGS


OFFLINE: dict[str, Any] = {"models.beamer.online": False, "models.beamer.hidden_size": 16, "data.clip_frames": 120}


def test_both_sizes_are_those_of_the_description() -> None:
    counts = [sum(p.numel() for p in BEAMERModel(hidden_size=width).parameters()) for width in (64, 128)]
    assert counts == [260_563, 996_179]
    for name in ("beamer", "beamer_bench"):
        get_system("beamer").check_recipe(load_config(CONFIGS / f"{name}.yaml"))
    recipe = load_config(CONFIGS / "beamer_bench.yaml", {"data.clip_frames": "40"})
    with pytest.raises(ValueError, match=r"data\.clip_frames \(40\) must be at least data\.window_size"):
        get_system("beamer").check_recipe(recipe)


def test_it_trains(train_system: Any, read_losses: Any) -> None:
    losses = read_losses(train_system("beamer"), "beamer")
    assert len(losses) == 8 and sum(losses[-3:]) < sum(losses[:3])


def test_online_it_reacts_to_the_past_alone(load: Any, corpus: Any) -> None:
    pipeline = load("beamer")
    manners.check_reactions(pipeline, corpus)
    manners.check_online(pipeline, corpus, hop=50)
    manners.check_stream(pipeline, corpus)


def test_it_loads_in_a_process_of_its_own_and_has_a_card(train_system: Any) -> None:
    output = train_system("beamer")
    manners.check_it_loads_alone(output, "BEAMERReactionPipeline")
    manners.check_card(output, "BEAMERReactionPipeline", "beamer")


def test_offline_it_reads_the_whole_clip(load: Any, corpus: Any) -> None:
    pipeline, who = load("beamer", **OFFLINE), manners.speaker(corpus)
    manners.check_reactions(pipeline, corpus)
    last = type(who)(**{name: np.concatenate([values[:-1], values[-1:] + 1]) for name, values in who.streams.items()})
    one, other = (manners.react(pipeline, [speaker], [3]).reactions for speaker in (who, last))
    assert (one != other).any(dim=-1).all()
    with pytest.raises(ValueError, match="offline and reads whole clips"):
        pipeline.stream()


def test_training_and_sampling_make_the_same_windows(load: Any, corpus: Any) -> None:
    """What was heard before each window is the same in a loss and in a session, beyond the context as well."""
    loaded = load("beamer")
    model = BEAMERModel.from_config({**loaded.beamer.config, "context_windows": 2}).eval()
    model.load_state_dict(loaded.beamer.state_dict())
    extractor = loaded.feature_extractor
    pipeline = type(loaded)(model, extractor)
    pipeline.set_progress_bar_config(disable=True)
    who = speaker_of(corpus.split("val").arrays, 0)[:200]
    movement = extractor.remove_mean_face(torch.from_numpy(who.coefficients.copy())[None])
    objective = BEAMERObjective(model, extractor).eval()
    noise = torch.Generator().manual_seed(4)
    with torch.no_grad():
        heard = objective._heard(torch.from_numpy(who.emotion.copy())[None], movement, 50)
        windows = []
        for behaviour in heard:
            mean, logvar = model.posterior(behaviour)
            latent = mean + (0.5 * logvar).exp() * torch.randn(1, 64, generator=noise)
            windows.append(model.decoder.read(model.decoder(latent, 50)))
    called = pipeline(speaker=who, num_reactions=1, generator=torch.Generator().manual_seed(4))
    expected = torch.cat(windows, dim=1)[..., :25].clamp(-1, 1)
    torch.testing.assert_close(called.reactions[0], expected, atol=1e-5, rtol=0)
    assert [behaviour.shape[1] for behaviour in heard] == [50, 50, 100, 100]


def test_the_speaker_explains_little_of_what_it_does(load: Any, corpus: Any) -> None:
    pipeline, arrays = load("beamer"), corpus.split("val").arrays
    reactions = react_to_clips(pipeline, arrays, range(len(arrays)), num_reactions=4).reactions
    assert 1 - frdiv(reactions) / frdvs(reactions) < 0.3


def test_pairs_contrast() -> None:
    one, other = torch.zeros(2, 5, 4), torch.zeros(2, 5, 4)
    one[..., 0], other[..., 1] = 3.0, 0.2
    assert contrast(one, one, other) == 0
    assert contrast(one, one, one) == pytest.approx(1.0)
    assert contrast(one, other, other) == pytest.approx(1.0)
    assert contrast(one, -one, -one) == pytest.approx(4.0)
    assert contrast(one, -one, one) == pytest.approx(5.0)


@pytest.mark.parametrize("online", [True, False])
def test_the_parts_of_the_loss(online: bool) -> None:
    torch.manual_seed(0)
    model = BEAMERModel(hidden_size=8, num_heads=2, online=online).eval()
    objective = BEAMERObjective(model, PerFRDiffFeatureExtractor(window_size=10)).eval()
    batch = {f"{who}emotion": torch.rand(2, 30, 25) for who in ("speaker_", "", "negative_")}
    batch |= {f"{who}coefficients": torch.randn(2, 30, 58) for who in ("speaker_", "", "negative_")}
    noise = torch.randn(2, 1, 3 if online else 1, 8)
    batch["latent_noise"] = torch.cat([noise, noise], dim=1)
    found = {name: part.detach() for name, part in objective(batch).items()}
    assert found["diversity_loss"] == pytest.approx(20)  # equal noise, equal reactions
    batch["latent_noise"] = torch.cat([noise, noise + 3], dim=1)
    assert objective(batch)["diversity_loss"].item() < 20
    assert torch.equal(objective(batch)["emotion_loss"], found["emotion_loss"])
    parts = ["emotion_loss", "expression_loss", "pose_loss", "kl_loss", "diversity_loss", "feature_loss"]
    assert set(found) == {"loss", *parts, "contrast_loss"}
    other = {**batch, "negative_emotion": torch.rand(2, 30, 25)}
    changed = [name for name in parts if not torch.equal(objective(other)[name], objective(batch)[name])]
    assert not changed and objective(other)["contrast_loss"] != objective(batch)["contrast_loss"]


def test_negatives_are_reactions_to_others_over_the_same_frames(corpus: Any) -> None:
    part = corpus.split("train")
    arrays, examples = part.arrays, ReactionClips(part.arrays, 60, 3, part.appropriate)
    plain = ReactionClips(arrays, 60, 3)
    for index in range(4):
        item = examples[index]
        assert torch.equal(item["emotion"], plain[index]["emotion"])
        (start,) = (
            at for at in range(len(arrays.emotion(index)) - 59)
            if (arrays.emotion(index)[at : at + 60] == item["emotion"].numpy()).all()
        )  # fmt: skip
        rows = [
            row for row in range(len(arrays))
            if (arrays.emotion(row)[start : start + 60] == item["negative_emotion"].numpy()).all()
            and (arrays.coefficients(row)[start : start + 60] == item["negative_coefficients"].numpy()).all()
        ]  # fmt: skip
        assert rows and not any(part.appropriate[index, row] for row in rows)
    with pytest.raises(ValueError, match="negatives: every reaction is appropriate to clip"):
        ReactionClips(arrays, 60, 3, np.ones_like(part.appropriate))
