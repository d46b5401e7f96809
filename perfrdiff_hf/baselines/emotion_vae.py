"""Stage `emotion_vae`: reconstruct windows of one person's emotion, and regress the coefficients from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..data.corpus import Corpus
from ..data.windows import EmotionWindows
from ..feature_extraction import PerFRDiffFeatureExtractor
from ..models.emotion_vae import EmotionVAEModel
from .masking import deafen, known_channels, silence
from .recipe import Recipe
from .stage import Draws, Examples, Objective, Parts, Stage


class EmotionVAEStage(Stage):
    """Trains Enc_emo of equation 4 and its decoder and regressor, as the official program does."""

    name = "emotion_vae"
    title = "emotion VAE"
    model = EmotionVAEModel
    reads = ("data.window_size",)

    def new_model(self, recipe: Recipe, parts: Parts) -> EmotionVAEModel:
        """See `Stage`."""
        return EmotionVAEModel(**recipe.arguments(self.name))

    def look_at_data(self, model: EmotionVAEModel, corpus: Corpus, recipe: Recipe, parts: Parts) -> None:
        """Which channels the data have."""
        first, last = cast(nn.Linear, model.coefficient_regressor[0]), cast(nn.Linear, model.coefficient_regressor[-1])
        silence(model.decoder_out, corpus, "emotion")
        silence(last, corpus, "coefficients")
        # Both read what the decoder gave.
        deafen(model.decoder.weight_ih, corpus, model.config.hidden_size)
        deafen(first.weight, corpus)

    def examples(self, corpus: Corpus, split: str, recipe: Recipe) -> Examples:
        """Windows of each row's own behaviour."""
        return EmotionWindows(corpus.split(split).arrays, window_size=recipe.data.window_size, seed=recipe.seed)

    def objective(
        self, model: Any, parts: Parts, feature_extractor: PerFRDiffFeatureExtractor, recipe: Recipe
    ) -> EmotionVAEObjective:
        """See `Stage`."""
        return EmotionVAEObjective(model, feature_extractor)

    def draws(self, recipe: Recipe, objective: Any) -> Draws:
        """Where in its distribution the VAE samples."""
        return LatentDraws(objective.trained.config.latent_size)


class LatentDraws:
    """Standard normal `latent_noise` `(latent_size,)`: where in its distribution the emotion VAE samples.

    Args:
        latent_size: width of the latent.
    """

    def __init__(self, latent_size: int):
        self.latent_size = latent_size

    def __call__(self, example: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        return {"latent_noise": torch.randn(self.latent_size, generator=generator)}


class EmotionVAEObjective(Objective):
    """Reconstruction, regression of the coefficients, and KL."""

    trained: EmotionVAEModel

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Batch: `emotion` (b, w, 25), `coefficients` (b, w, 58), `latent_noise` (b, latent)."""
        emotion = batch["emotion"]
        encoded = self.trained.encode(emotion)
        latent = encoded.mean + torch.exp(0.5 * encoded.logvar) * batch["latent_noise"]
        decoded = self.trained.decode(latent, emotion.shape[1])
        regressed = self.trained.to_coefficients(decoded)
        coefficients = self.feature_extractor.remove_mean_face(batch["coefficients"])
        emotion, decoded = known_channels("emotion", self.feature_extractor, emotion, decoded)
        coefficients, regressed = known_channels("coefficients", self.feature_extractor, coefficients, regressed)
        return emotion_vae_losses(emotion, coefficients, decoded, regressed, encoded.mean, encoded.logvar)


def kl_divergence(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL divergence of N(mean, exp(logvar)) from N(0, 1), summed over the latent and averaged over the batch.

    Args:
        mean: `(batch, latent)`.
        logvar: `(batch, latent)`.
    """
    return -0.5 * (1 + logvar - mean.square() - logvar.exp()).sum(dim=-1).mean()


def emotion_vae_losses(
    emotion: Tensor, coefficients: Tensor, decoded: Tensor, regressed: Tensor, mean: Tensor, logvar: Tensor
) -> dict[str, Tensor]:
    """Reconstruction of emotion, regression of the coefficients from it, and the KL term.

    Args:
        emotion: `(batch, frames, 25)` recorded emotion.
        coefficients: `(batch, frames, 58)` recorded coefficients, mean face removed.
        decoded: `(batch, frames, 25)` reconstructed emotion.
        regressed: `(batch, frames, 58)` coefficients predicted from the reconstruction, mean face removed.
        mean: `(batch, latent)`.
        logvar: `(batch, latent)`.

    Returns:
        `loss`, the sum with the KL term weighted by 1e-5, and its three parts.
    """
    parts = {
        "emotion_loss": functional.mse_loss(decoded, emotion),
        "coefficient_loss": functional.mse_loss(regressed, coefficients),
        "kl_loss": kl_divergence(mean, logvar),
    }
    loss = parts["emotion_loss"] + parts["coefficient_loss"] + 1e-5 * parts["kl_loss"]
    return {"loss": loss, **parts}
