"""REGNN: it trains, loads, streams, and shows what its source says of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from perfrdiff_hf.baselines import REGNNModel, REGNNReactionPipeline, get_system
from perfrdiff_hf.baselines.regnn import REGNNObjective
from perfrdiff_hf.evaluation.reacting import react_to_clips
from perfrdiff_hf.feature_extraction import PerFRDiffFeatureExtractor
from perfrdiff_hf.metrics import frdiv, frdvs
from perfrdiff_hf.models.emotion_vae import EmotionVAEModel
from perfrdiff_hf.training.config import load_config
from tests.baselines import manners
from tests.baselines.conftest import CONFIGS


# Much is learned in few steps at this rate.
LEARNING: dict[str, Any] = {"steps": 300, "stages.regnn.learning_rate": 1e-3}


def test_the_bench_size_is_that_of_the_description() -> None:
    model = REGNNModel(hidden_size=64, num_layers=2)
    assert sum(parameter.numel() for parameter in model.parameters()) == 281_297
    for name in ("regnn", "regnn_bench"):
        get_system("regnn").check_recipe(load_config(CONFIGS / f"{name}.yaml"))


def test_it_trains(train_system: Any, read_losses: Any) -> None:
    losses = read_losses(train_system("regnn", **LEARNING), "regnn")
    assert len(losses) == 300 and sum(losses[-60:]) / 60 < 0.9 * sum(losses[:30]) / 30


def test_reactions_come_back_from_the_space_of_reactions(load: Any, corpus: Any) -> None:
    model = load("regnn", **LEARNING).regnn
    windows = torch.from_numpy(corpus.split("val").arrays.emotion(0)[:200].copy()).reshape(4, 50, 25)
    with torch.no_grad():
        _, edges = model.encode_speaker(torch.randn(4, 50, 78), windows, 0.1 * torch.randn(4, 50, 58))
        back = model.from_space(model.to_space(windows, edges), edges)
    torch.testing.assert_close(back, windows, atol=1e-3, rtol=0)
    assert edges.shape == (4, 8, 25, 25) and (edges >= 0).all()


def test_before_training_reactions_have_one_scale_there(corpus: Any) -> None:
    recipe = load_config(CONFIGS / "regnn_bench.yaml")
    stage = get_system("regnn").stage("regnn")
    model: Any = stage.new_model(recipe, {})
    stage.look_at_data(model, corpus, recipe, {})
    batch = stage.collate(stage.examples(corpus, "train", recipe).__getitems__(range(18)))
    layer = model.motor[0]
    scaled = (batch["reactions"][:, 0].transpose(1, 2) + layer.shift[:, None]) * layer.log_scale.exp()[:, None]
    assert scaled.mean().abs() < 0.1 and 0.5 < scaled.std() < 1.1
    assert torch.isfinite(model.motor[1].log_scale).all()


def test_online_it_reacts_to_the_past_alone(load: Any, corpus: Any) -> None:
    pipeline = load("regnn", **LEARNING)
    manners.check_reactions(pipeline, corpus)
    manners.check_online(pipeline, corpus, hop=25)
    manners.check_stream(pipeline, corpus)


def test_offline_it_reacts_to_the_window_itself(load: Any, corpus: Any) -> None:
    pipeline = load("regnn", steps=2, **{"models.regnn.online": False})
    manners.check_reactions(pipeline, corpus)
    who = manners.speaker(corpus)
    changed = {name: values.copy() for name, values in who.streams.items()}
    changed["emotion"][120:] = 0.5
    one, other = (manners.react(pipeline, [speaker], [3]).reactions for speaker in (who, type(who)(**changed)))
    differs = (one != other).any(dim=-1)[0, 0]
    # Of the windows from frames 0, 25, 50, 75 and 100 on, the last two reach to frame 120.
    assert not differs[:75].any() and differs[75:].all()


def test_it_loads_in_a_process_of_its_own_and_has_a_card(train_system: Any) -> None:
    output = train_system("regnn", **LEARNING)
    manners.check_it_loads_alone(output, "REGNNReactionPipeline")
    manners.check_card(output, "REGNNReactionPipeline", "regnn")


def test_halves_of_windows_are_averaged(load: Any, corpus: Any) -> None:
    """Without noise: frames of a hop are the mean of what both windows that hold them say."""
    loaded = load("regnn", **LEARNING)
    model = REGNNModel.from_config({**loaded.regnn.config, "noise_std": 0.0}).eval()
    model.load_state_dict(loaded.regnn.state_dict())
    extractor = loaded.feature_extractor
    pipeline = REGNNReactionPipeline(model, loaded.emotion_vae, extractor)
    pipeline.set_progress_bar_config(disable=True)
    who = manners.speaker(corpus)
    made = pipeline(speaker=who, num_reactions=1).reactions[0, 0]
    audio, emotion = (torch.from_numpy(values.copy())[None] for values in (who.audio, who.emotion))
    movement = extractor.remove_mean_face(torch.from_numpy(who.coefficients.copy())[None])
    with torch.no_grad():
        first, second = (
            model.from_space(*model.encode_speaker(*(part[:, at : at + 50] for part in (audio, emotion, movement))))[0]
            for at in (25, 50)
        )
    expected = (first[25:] + second[:25]) / 2
    torch.testing.assert_close(made[100:125], expected.clamp(-1, 1), atol=1e-5, rtol=0)


def test_reactions_hardly_vary_and_the_speaker_explains_their_spread(load: Any, corpus: Any) -> None:
    pipeline, arrays = load("regnn", **LEARNING), corpus.split("val").arrays
    reactions = react_to_clips(pipeline, arrays, range(len(arrays)), num_reactions=4).reactions
    diversity, between = frdiv(reactions), frdvs(reactions)
    assert diversity < 0.002
    assert 1 - diversity / between > 0.9


def tiny() -> tuple[REGNNObjective, dict[str, torch.Tensor]]:
    torch.manual_seed(1)
    model = REGNNModel(hidden_size=8, num_layers=1, num_heads=2, edge_channels=2, window_size=10).eval()
    batch = {
        "speaker_audio": torch.randn(3, 10, 78), "speaker_emotion": torch.rand(3, 10, 25),
        "speaker_coefficients": torch.randn(3, 10, 58), "reactions": torch.rand(3, 2, 10, 25),
    }  # fmt: skip
    return REGNNObjective(model, PerFRDiffFeatureExtractor(window_size=10)).eval(), batch


def test_the_nearest_reaction_counts_and_their_spread() -> None:
    objective, batch = tiny()
    both = objective(batch)
    alone = [objective({**batch, "reactions": batch["reactions"][:, one : one + 1]}) for one in (0, 1)]
    assert alone[0]["spread_loss"] == 0 and both["spread_loss"] > 0
    assert both["distance_loss"] <= min(one["distance_loss"] for one in alone)
    assert both["distance_loss"] > 0


def test_speakers_that_are_near_enough_are_left_alone() -> None:
    objective, batch = tiny()
    objective.training = True  # the model itself stays in eval mode, without dropout
    first = objective(batch)
    assert first["distance_loss"] > 0 and objective.usual_distance > 0
    assert "usual_distance" in objective.state_dict()
    objective.usual_distance.fill_(1e6)
    assert objective(batch)["distance_loss"] == 0
    objective.training = False
    assert torch.equal(objective(batch)["distance_loss"], first["distance_loss"])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="kept_edges must lie between 1 and 25; given: 26"):
        REGNNModel(kept_edges=26)
    with pytest.raises(ValueError, match="noise_std must not be negative"):
        REGNNModel(noise_std=-1.0)
    with pytest.raises(ValueError, match="regnn has windows of 20 frames, feature_extractor of 50"):
        REGNNReactionPipeline(
            REGNNModel(hidden_size=8, window_size=20), EmotionVAEModel(hidden_size=4), PerFRDiffFeatureExtractor()
        )
    recipe = load_config(CONFIGS / "regnn_bench.yaml", {"models.regnn.window_size": "20"})
    with pytest.raises(ValueError, match=r"window_size must be data\.window_size \(50\)"):
        get_system("regnn").check_recipe(recipe)
