"""What the stages minimise: which weights move, what is frozen, and what a batch means."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from perfrdiff_hf.feature_extraction import PerFRDiffFeatureExtractor
from perfrdiff_hf.models.emotion_vae import EmotionVAEModel
from perfrdiff_hf.models.gafrg import GAFRGOutput, GAFRGTransformer1DModel
from perfrdiff_hf.models.pssl import PSSLConfig, PSSLModel
from perfrdiff_hf.models.pwsg import PWSGConfig, PWSGModel
from perfrdiff_hf.pipelines.perfrdiff import OFFICIAL_SCHEDULER_CONFIG
from perfrdiff_hf.training.stages import EmotionVAEObjective, GAFRGObjective, PSSLObjective, PWSGObjective
from perfrdiff_hf.training.stages.denoising import DiffusionDraws, LossWeights
from perfrdiff_hf.training.stages.weight_shift_generator import StyleDraws


WINDOW = 10
EDITED = {"layers.1.cross_attention.to_q": [16, 16], "layers.1.cross_attention.to_v": [16, 16], "mapping": [25, 16]}


def denoiser(dropout: float = 0.0, **options: Any) -> GAFRGTransformer1DModel:
    sizes = {"hidden_size": 16, "num_layers": 2, "num_heads": 2, "feed_forward_size": 16, "latent_size": 8}
    return GAFRGTransformer1DModel(**sizes, dropout=dropout, **options)


def vae() -> EmotionVAEModel:
    return EmotionVAEModel(hidden_size=8, latent_size=4, decoder_sizes=[8])


def style_encoder(dropout: float = 0.0) -> PSSLModel:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    return PSSLModel(PSSLConfig(**sizes, style_size=8, dropout=dropout))


def weight_shift_generator(shift_type: str) -> PWSGModel:
    return PWSGModel(PWSGConfig(style_size=8, hidden_size=8, edited_layers=EDITED, shift_type=shift_type, rank=2))


def scheduler() -> DDIMScheduler:
    return DDIMScheduler(**OFFICIAL_SCHEDULER_CONFIG)


def reaction_batch(clips: int, reactions: int, kinds: int = 3, history: bool = False) -> dict[str, Tensor]:
    batch = {
        "speaker_audio": torch.randn(clips, WINDOW, 78),
        "speaker_emotion": torch.rand(clips, WINDOW, 25),
        "speaker_coefficients": torch.randn(clips, WINDOW, 58),
        "reactions": torch.rand(clips, reactions, WINDOW, 25),
        "past_reactions": torch.rand(clips, reactions, WINDOW, 25),
        "noise": torch.randn(clips, reactions, WINDOW, 25),
        "timestep": torch.randint(1000, (clips,)),
        "dropped": torch.rand(clips, kinds) < 0.3,
    }
    return batch | ({"history": torch.randn(clips, 30, 58)} if history else {})


def rows(batch: dict[str, Tensor], index: int) -> dict[str, Tensor]:
    return {name: values[index : index + 1] for name, values in batch.items()}


def pwsg_objective(
    shift_type: str = "low_rank", dropout: float = 0.0, extractor: PerFRDiffFeatureExtractor | None = None
) -> PWSGObjective:
    parts = {"denoiser": denoiser(dropout), "emotion_vae": vae(), "style_encoder": style_encoder(dropout)}
    generator = weight_shift_generator(shift_type)
    torch.nn.init.normal_(generator.heads[0].core.weight if shift_type == "low_rank" else generator.trunk[0].weight)
    return PWSGObjective(generator, extractor or PerFRDiffFeatureExtractor(), parts, scheduler())


def test_gafrg_loss_is_equation_10_spelled_out() -> None:
    model, encoder = denoiser(), vae()
    objective = GAFRGObjective(model, PerFRDiffFeatureExtractor(), {"emotion_vae": encoder}, scheduler())
    batch = reaction_batch(3, 4)
    alphas = scheduler().alphas_cumprod
    errors = []
    for clip in range(3):
        conditions = {
            "audio": batch["speaker_audio"][clip],
            "coefficients": PerFRDiffFeatureExtractor().remove_mean_face(batch["speaker_coefficients"][clip]),
            "speaker_latent": encoder.encode(batch["speaker_emotion"][clip][None]).hidden_state[0],
        }
        lost = dict(zip(conditions, batch["dropped"][clip]))
        tokens = model.encode_condition(
            {kind: values[None] for kind, values in conditions.items()},
            {kind: flag[None] for kind, flag in lost.items()},
        )
        step = batch["timestep"][clip]
        for reaction in range(4):
            clean, noise = batch["reactions"][clip, reaction], batch["noise"][clip, reaction]
            noisy = alphas[step].sqrt() * clean + (1 - alphas[step]).sqrt() * noise
            errors.append((model(noisy[None], step, tokens).sample[0] - clean).square().mean())
    torch.testing.assert_close(objective(batch)["loss"], torch.stack(errors).mean())


def test_past_reactions_belong_to_their_own_reactions() -> None:
    """Equation 9: swapping two reactions together with their pasts changes nothing, swapping the pasts alone does."""
    conditions = ("audio", "speaker_latent", "past_emotion")
    model = denoiser(conditions=conditions)
    objective = GAFRGObjective(model, PerFRDiffFeatureExtractor(), {"emotion_vae": vae()}, scheduler())
    batch = reaction_batch(2, 3)
    batch["dropped"] = torch.zeros_like(batch["dropped"])
    loss = objective(batch)["loss"]
    order = [2, 0, 1]
    together = {name: batch[name][:, order] for name in ("reactions", "past_reactions", "noise")}
    torch.testing.assert_close(objective(batch | together)["loss"], loss)
    alone = {"past_reactions": batch["past_reactions"][:, order]}
    assert not torch.isclose(objective(batch | alone)["loss"], loss, rtol=1e-6)


def test_dropped_conditions_do_not_reach_the_denoiser() -> None:
    objective = GAFRGObjective(denoiser(), PerFRDiffFeatureExtractor(), {"emotion_vae": vae()}, scheduler())
    batch = reaction_batch(2, 2)
    batch["dropped"] = torch.tensor([[True, True, True], [True, False, False]])
    other = {
        "speaker_audio": torch.randn(2, WINDOW, 78),
        "speaker_coefficients": torch.cat([torch.randn(1, WINDOW, 58), batch["speaker_coefficients"][1:]]),
        "speaker_emotion": torch.cat([torch.rand(1, WINDOW, 25), batch["speaker_emotion"][1:]]),
    }
    assert torch.equal(objective(batch)["loss"], objective(batch | other)["loss"])


@pytest.mark.parametrize("shift_type", ["low_rank", "full"])
def test_pwsg_batch_of_listeners_equals_one_by_one(shift_type: str) -> None:
    objective = pwsg_objective(shift_type)
    batch = reaction_batch(5, 1, history=True)
    losses = torch.stack([objective(rows(batch, index))["loss"] for index in range(5)])
    torch.testing.assert_close(objective(batch)["loss"], losses.mean())
    objective(batch)["loss"].backward()
    together = [parameter.grad.clone() for parameter in objective.parameters()]
    objective.zero_grad()
    for index in range(5):
        (objective(rows(batch, index))["loss"] / 5).backward()
    for parameter, gradient in zip(objective.parameters(), together, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("shift_type", ["low_rank", "full"])
def test_pwsg_equals_the_official_way_of_merged_weights(shift_type: str) -> None:
    """Batch 1 with the edited weights written into the layers gives the loss that our argument gives."""
    objective = pwsg_objective(shift_type)
    batch = reaction_batch(1, 1, history=True)
    history = objective.feature_extractor.remove_mean_face(batch["history"])
    shifts = objective.trained(objective.frozen["style_encoder"](history).style)
    merged = denoiser()
    merged.load_state_dict(objective.frozen["denoiser"].state_dict())
    for name, shift in shifts.items():
        layer = merged.get_submodule(name)
        layer.weight.data += shift.weight_change(layer.weight)[0].detach()
    generic = objective.denoising_loss(merged, batch)
    torch.testing.assert_close(objective(batch)["loss"], generic)
    assert not torch.isclose(objective.denoising_loss(objective.frozen["denoiser"], batch), generic, rtol=1e-5)


def test_pwsg_freezes_the_rest_and_keeps_its_dropout_asleep() -> None:
    objective = pwsg_objective(dropout=0.5)
    objective.train()
    batch = reaction_batch(3, 1, history=True)
    first, second = objective(batch)["loss"], objective(batch)["loss"]
    assert torch.equal(first, second)
    first.backward()
    trained = {id(parameter) for parameter in objective.trained.parameters()}
    assert {id(parameter) for parameter in objective.parameters()} == trained
    assert all(parameter.grad is not None for parameter in objective.parameters())
    for model in objective.frozen.values():
        assert not model.training
        assert all(parameter.grad is None and not parameter.requires_grad for parameter in model.parameters())
    assert set(objective.state_dict()) == {f"trained.{name}" for name in objective.trained.state_dict()}


def test_pssl_batches_are_contrasted_apart() -> None:
    objective = PSSLObjective(style_encoder(), PerFRDiffFeatureExtractor())
    batches = [
        {
            "coefficients": torch.randn(clips, 12, 58),
            "label": torch.arange(clips) // 2,
            "group": torch.zeros(clips, dtype=torch.long),
            "batch_index": torch.full((clips,), index),
        }
        for index, clips in enumerate((6, 4))
    ]
    together = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
    losses = torch.stack([objective(batch)["loss"] for batch in batches])
    torch.testing.assert_close(objective(together)["loss"], losses.mean())


def test_pssl_contrasts_those_who_answer_the_same_speaker() -> None:
    """Equation 11: clips of one person are pulled together within the reactions to one speaker, not across them."""
    objective = PSSLObjective(style_encoder(), PerFRDiffFeatureExtractor())
    batch = {
        "coefficients": torch.randn(8, 12, 58),
        "label": torch.tensor([0, 0, 1, 1, 0, 0, 2, 2]),
        "group": torch.arange(8) // 4,
        "batch_index": torch.zeros(8, dtype=torch.long),
    }
    halves = [{name: values[part] for name, values in batch.items()} for part in (slice(0, 4), slice(4, 8))]
    alone = torch.stack([objective(half)["loss"] for half in halves])
    torch.testing.assert_close(objective(batch)["loss"], alone.mean())
    mixed = objective(batch | {"group": torch.zeros(8, dtype=torch.long)})["loss"]
    assert not torch.isclose(mixed, alone.mean(), rtol=1e-3)


@pytest.mark.parametrize("stage", ["emotion_vae", "style_encoder", "denoiser", "weight_shift_generator"])
def test_the_mean_face_of_the_data_is_removed(stage: str) -> None:
    """Faces around one mean with that mean face in the extractor teach what faces around zero do without one."""
    mean = torch.arange(58) * 0.25 - 7
    batch = {
        "emotion_vae": {
            "emotion": torch.rand(3, WINDOW, 25),
            "coefficients": torch.randn(3, WINDOW, 58),
            "latent_noise": torch.randn(3, 4),
        },
        "style_encoder": {
            "coefficients": torch.randn(4, 12, 58),
            "label": torch.tensor([0, 0, 1, 1]),
            "group": torch.zeros(4, dtype=torch.long),
            "batch_index": torch.zeros(4, dtype=torch.long),
        },
        "denoiser": reaction_batch(3, 2),
        "weight_shift_generator": reaction_batch(3, 1, history=True),
    }[stage]

    def loss(mean_face: Tensor, batch: dict[str, Tensor]) -> Tensor:
        torch.manual_seed(4)
        extractor = PerFRDiffFeatureExtractor(mean_face=mean_face.tolist())
        objective = {
            "emotion_vae": lambda: EmotionVAEObjective(vae(), extractor),
            "style_encoder": lambda: PSSLObjective(style_encoder(), extractor),
            "denoiser": lambda: GAFRGObjective(denoiser(), extractor, {"emotion_vae": vae()}, scheduler()),
            "weight_shift_generator": lambda: pwsg_objective(extractor=extractor),
        }[stage]()
        return objective(batch)["loss"]

    faces = [name for name in batch if name in ("coefficients", "speaker_coefficients", "history")]
    assert faces
    expected = loss(torch.zeros(58), batch)
    torch.testing.assert_close(loss(mean, batch | {name: batch[name] + mean for name in faces}), expected)
    for name in faces:
        assert not torch.isclose(loss(mean, batch | {name: batch[name] + 2 * mean}), expected, rtol=1e-5)


def test_vae_decodes_the_given_draw() -> None:
    model = vae()
    objective = EmotionVAEObjective(model, PerFRDiffFeatureExtractor())
    batch = {"emotion": torch.rand(3, WINDOW, 25), "coefficients": torch.randn(3, WINDOW, 58)}
    at_mean = objective(batch | {"latent_noise": torch.zeros(3, 4)})
    output = model(batch["emotion"])
    expected = (output.emotion - batch["emotion"]).square().mean()
    torch.testing.assert_close(at_mean["emotion_loss"], expected)
    elsewhere = objective(batch | {"latent_noise": torch.ones(3, 4)})
    assert not torch.isclose(elsewhere["emotion_loss"], expected)


def test_diffusion_draws_lose_conditions_as_often_as_they_should() -> None:
    draws = DiffusionDraws(num_timesteps=1000, num_kinds=3, drop_each=0.2, drop_all=0.1)
    example = {"reactions": torch.zeros(1, 2, 25)}
    generator = torch.Generator().manual_seed(0)
    drawn = [draws(example, generator) for _ in range(4000)]
    dropped = torch.stack([one["dropped"] for one in drawn]).float()
    assert dropped.mean().item() == pytest.approx(0.1 + 0.9 * 0.2, abs=0.02)
    assert dropped.prod(dim=1).mean().item() == pytest.approx(0.1 + 0.9 * 0.2**3, abs=0.015)
    steps = torch.stack([one["timestep"] for one in drawn])
    assert steps.min() < 10 and steps.max() > 989 and steps.float().mean().item() == pytest.approx(499.5, abs=20)


def test_style_noise_turns_the_style_by_as_much_as_was_asked_for_and_keeps_its_length() -> None:
    objective = pwsg_objective()
    batch = reaction_batch(2, 1, history=True)
    styles: list[Tensor] = []
    objective.trained.register_forward_pre_hook(lambda module, given: styles.append(given[0]))
    size = objective.trained.config.style_size
    draws = StyleDraws(lambda example, generator: {}, 0.5, size)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([draws({}, generator)["style_noise"] for _ in range(2000)])
    assert drawn.square().sum(dim=1).mean().item() == pytest.approx(0.25, rel=0.1)
    objective(batch)
    objective(batch | {"style_noise": drawn[:2]})
    expected = torch.nn.functional.normalize(styles[0] + drawn[:2], dim=-1)
    torch.testing.assert_close(styles[1], expected)


def test_errors_weigh_what_their_channel_and_their_time_step_say() -> None:
    weights = LossWeights(expression=0.5, pose=3.0, max_snr=5.0)
    of_channels = weights.of_channels(torch.zeros(2, 83))
    assert of_channels.tolist() == [1.0] * 25 + [0.5] * 52 + [3.0] * 6
    assert weights.of_channels(torch.zeros(2, 25)).tolist() == [1.0] * 25
    # A signal that is a tenth, three quarters and nearly all of the variance.
    weighed = weights.of_timesteps(torch.tensor([2, 1, 0]), torch.tensor([0.999, 0.75, 0.1]))
    torch.testing.assert_close(weighed, torch.tensor([1.0, 3.0, 5.0]))


def test_the_loss_is_the_mean_of_weighed_errors() -> None:
    torch.manual_seed(0)
    batch = reaction_batch(3, 2)
    model, encoder = denoiser(), vae()
    plain, weighed = (
        GAFRGObjective(model, PerFRDiffFeatureExtractor(), {"emotion_vae": encoder}, scheduler(), weights)
        for weights in (LossWeights(), LossWeights(max_snr=5.0))
    )
    each = torch.stack([plain(rows(batch, index))["loss"] for index in range(3)])
    alphas = scheduler().alphas_cumprod[batch["timestep"]]
    expected = (each * (alphas / (1 - alphas)).clamp(1, 5)).mean()
    torch.testing.assert_close(weighed(batch)["loss"], expected)


def test_only_new_frames_are_learned_and_shown_ones_stand_there_without_noise() -> None:
    model = denoiser(max_shown_frames=WINDOW - 3, window_size=WINDOW, standardised=True)
    model.reaction_scores.fit(torch.rand(25), 0.5 + torch.rand(25))
    objective = GAFRGObjective(model, PerFRDiffFeatureExtractor(), {"emotion_vae": vae()}, scheduler())
    batch = reaction_batch(3, 2) | {"shown_frames": WINDOW - torch.tensor([3, 7, WINDOW])}
    given: list[tuple[Tensor, Tensor]] = []
    predicted = torch.randn(6, WINDOW, 25)

    def watched(hidden: Tensor, *arguments: Any, shown: Tensor, **options: Any) -> GAFRGOutput:
        given.append((hidden, shown))
        return GAFRGOutput(sample=predicted)

    model.forward = watched  # type: ignore[method-assign, assignment]
    loss = objective(batch)["loss"]
    ((hidden, shown),) = given
    scores = model.to_scores(batch["reactions"]).flatten(0, 1)
    errors = []
    for row, hop in enumerate((3, 3, 7, 7, WINDOW, WINDOW)):
        assert shown[row].tolist() == [True] * (WINDOW - hop) + [False] * hop
        assert torch.equal(hidden[row, : WINDOW - hop], scores[row, : WINDOW - hop])
        assert not torch.isclose(hidden[row, WINDOW - hop :], scores[row, WINDOW - hop :]).all()
        errors.append((predicted[row] - scores[row]).square()[WINDOW - hop :])
    torch.testing.assert_close(loss, torch.cat(errors).mean())

    # Noise on shown frames is as much as was drawn for the example.
    objective(batch | {"shown_noise": torch.tensor([0.5, 0.0, 0.5])})
    hidden = given[-1][0]
    noise = batch["noise"].flatten(0, 1)
    torch.testing.assert_close(hidden[0, : WINDOW - 3], (scores + 0.5 * noise)[0, : WINDOW - 3])
    assert torch.equal(hidden[2, : WINDOW - 7], scores[2, : WINDOW - 7])
