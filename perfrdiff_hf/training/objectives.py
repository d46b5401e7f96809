"""What each stage minimises: a module that holds the trained model, and turns a batch into losses.

Frozen models are kept outside the module tree. So `train()` cannot wake their dropout, data parallelism does not
carry them around, and checkpoints hold what is trained and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..feature_extraction import PerFRDiffFeatureExtractor
from ..models.emotion_vae import EmotionVAEModel
from ..models.gafrg import GAFRGTransformer1DModel
from ..models.pssl import PSSLModel
from ..models.pwsg import PWSGModel
from ..models.weight_shifts import WeightShifts
from .losses import emotion_vae_losses, supervised_contrastive_loss


TRAINABLE_CONDITIONS = ("audio", "coefficients", "speaker_emotion", "speaker_latent", "past_emotion")


class Objective(nn.Module):
    """A trained model and the frozen ones that its loss needs.

    Args:
        trained: the model that is optimised and saved.
        feature_extractor: removes the mean face from coefficients.
        frozen: models that stay as they are, by component name; they are put into eval mode for good.
    """

    def __init__(
        self, trained: nn.Module, feature_extractor: PerFRDiffFeatureExtractor, frozen: Mapping[str, Any] = {}
    ):
        super().__init__()
        self.trained = trained
        self.feature_extractor = feature_extractor
        self._frozen = {name: model.eval().requires_grad_(False) for name, model in frozen.items()}

    @property
    def frozen(self) -> Mapping[str, Any]:
        """The frozen models by component name."""
        return self._frozen

    def place(self, device: torch.device) -> Objective:
        """Move everything, the frozen models too, to a device."""
        for model in self._frozen.values():
            model.to(device)
        return self.to(device)

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The `loss` of a batch, and what else is worth logging, all scalars."""
        raise NotImplementedError


class EmotionVAEObjective(Objective):
    """Reconstruction, regression of the coefficients, and KL (official facts of the emotion VAE)."""

    trained: EmotionVAEModel

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Batch: `emotion` (b, w, 25), `coefficients` (b, w, 58), `latent_noise` (b, latent)."""
        emotion = batch["emotion"]
        encoded = self.trained.encode(emotion)
        latent = encoded.mean + torch.exp(0.5 * encoded.logvar) * batch["latent_noise"]
        decoded = self.trained.decode(latent, emotion.shape[1])
        regressed = self.trained.to_coefficients(decoded)
        coefficients = self.feature_extractor.remove_mean_face(batch["coefficients"])
        return emotion_vae_losses(emotion, coefficients, decoded, regressed, encoded.mean, encoded.logvar)


class PSSLObjective(Objective):
    """Equation 11, on each contrastive batch by itself."""

    trained: PSSLModel

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Batch: `coefficients` (clips, frames, 58); `label`, `group` and `batch_index` (clips,)."""
        style = self.trained(self.feature_extractor.remove_mean_face(batch["coefficients"])).style
        losses = []
        for index in batch["batch_index"].unique():
            rows = batch["batch_index"] == index
            losses.append(supervised_contrastive_loss(style[rows], batch["label"][rows], batch["group"][rows]))
        return {"loss": torch.stack(losses).mean()}


class ReactionObjective(Objective):
    """Equation 10: the mean squared error of the predicted clean reaction.

    Args:
        trained: the denoiser, or the weight-shift generator.
        feature_extractor: removes the mean face from coefficients.
        frozen: see the stages.
        scheduler: of the diffusion, from diffusers.
    """

    def __init__(
        self,
        trained: nn.Module,
        feature_extractor: PerFRDiffFeatureExtractor,
        frozen: Mapping[str, Any],
        scheduler: Any,
    ):
        super().__init__(trained, feature_extractor, frozen)
        self.scheduler = scheduler

    def denoising_loss(
        self, denoiser: GAFRGTransformer1DModel, batch: Mapping[str, Tensor], shifts: WeightShifts | None = None
    ) -> Tensor:
        """Equation 10 for a batch of speaker windows with `k` reactions each.

        Args:
            denoiser: the generator.
            batch: `reactions`, `noise` and `past_reactions` (b, k, w, 25); `timestep` (b,); `dropped` (b, kinds);
                `speaker_audio` (b, w, 78), `speaker_emotion` (b, w, 25), `speaker_coefficients` (b, w, 58).
            shifts: of `b` listeners; None trains the generic generator.
        """
        reactions, timestep = batch["reactions"], batch["timestep"]
        noisy = self.scheduler.add_noise(reactions, batch["noise"], timestep)
        conditions, repeats = self.conditions(denoiser, batch)
        kinds = tuple(denoiser.condition_widths)
        dropped = {kind: batch["dropped"][:, place] for place, kind in enumerate(kinds)}
        if repeats > 1:  # each reaction has a past of its own, so each has a condition of its own
            dropped = {kind: rows.repeat_interleave(repeats) for kind, rows in dropped.items()}
            timestep = timestep.repeat_interleave(repeats)
        tokens = denoiser.encode_condition(conditions, dropped)
        predicted = denoiser(noisy.flatten(0, 1), timestep, tokens, weight_shifts=shifts).sample
        return functional.mse_loss(predicted, reactions.flatten(0, 1))

    def conditions(
        self, denoiser: GAFRGTransformer1DModel, batch: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], int]:
        """The denoiser's conditions, and how many rows each speaker window has in them."""
        kinds = tuple(denoiser.condition_widths)
        values: dict[str, Tensor] = {
            "audio": batch["speaker_audio"],
            "coefficients": self.feature_extractor.remove_mean_face(batch["speaker_coefficients"]),
            "speaker_emotion": batch["speaker_emotion"],
        }
        if "speaker_latent" in kinds:
            values["speaker_latent"] = self._frozen["emotion_vae"].encode(batch["speaker_emotion"]).hidden_state
        if "past_emotion" not in kinds:
            return {kind: values[kind] for kind in kinds}, 1
        repeats = batch["reactions"].shape[1]
        values = {kind: rows.repeat_interleave(repeats, dim=0) for kind, rows in values.items()}
        values["past_emotion"] = batch["past_reactions"].flatten(0, 1)
        return {kind: values[kind] for kind in kinds}, repeats


class GAFRGObjective(ReactionObjective):
    """Trains the generator, with its speaker behaviour encoder, to denoise several recorded reactions at once."""

    trained: GAFRGTransformer1DModel

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Batch: see `denoising_loss`."""
        return {"loss": self.denoising_loss(self.trained, batch)}


class PWSGObjective(ReactionObjective):
    """Trains the weight-shift generator alone; every example brings the history of a listener of its own."""

    trained: PWSGModel

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Batch: see `denoising_loss`, with `k` = 1, and `history` (b, frames, 58)."""
        with torch.no_grad():
            history = self.feature_extractor.remove_mean_face(batch["history"])
            style = self._frozen["style_encoder"](history).style
        shifts = self.trained(style)
        return {"loss": self.denoising_loss(self._frozen["denoiser"], batch, shifts)}
