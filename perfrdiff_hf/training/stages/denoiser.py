"""Stage `denoiser`: GAFRG, the generic generator, learns several recorded reactions to one speaker at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...baselines.masking import silence
from ...baselines.recipe import Recipe
from ...baselines.stage import Examples, Parts
from ...behaviour import EMOTION_CHANNELS
from ...data.channels import ChannelStatistics, channel_statistics, movement_statistics
from ...data.corpus import Corpus
from ...feature_extraction import PerFRDiffFeatureExtractor
from ...models.conditions import FILLED_CONDITIONS, STREAM_OF_CONDITION
from ...models.gafrg import GAFRGTransformer1DModel
from .denoising import DenoisingObjective, DenoisingStage, LossWeights, new_scheduler, reaction_windows


class DenoiserStage(DenoisingStage):
    """Trains the generator with its speaker behaviour encoder (equations 4, 9 and 10)."""

    name = "denoiser"
    title = "reaction generator (GAFRG)"
    model = GAFRGTransformer1DModel
    needs = ("emotion_vae",)
    reads = (
        "data.window_size",
        "data.num_reactions",
        "data.drop_all_conditions",
        "data.expression_weight",
        "data.pose_weight",
        "data.max_snr_weight",
        "data.shown_noise",
        "data.whole_windows",
        "models.scheduler",
    )
    setting = "MAFRG, generic"
    personal = False

    def new_model(self, recipe: Recipe, parts: Parts) -> GAFRGTransformer1DModel:
        """See `Stage`."""
        sizes = {"latent_size": parts["emotion_vae"].config.hidden_size, "window_size": recipe.data.window_size}
        denoiser = GAFRGTransformer1DModel(**(sizes | recipe.arguments(self.name)))
        untrainable = set(denoiser.condition_widths) - set(FILLED_CONDITIONS)
        if untrainable:
            raise ValueError(
                f"conditions {sorted(untrainable)} cannot be trained here; use some of {FILLED_CONDITIONS}."
            )
        check_window(denoiser)
        return denoiser

    def look_at_data(self, model: GAFRGTransformer1DModel, corpus: Corpus, recipe: Recipe, parts: Parts) -> None:
        """Which channels there are, and for a model that sees standard scores the statistics of these."""
        silence(model.mapping, corpus)
        if model.reaction_scores is None:
            return
        arrays = corpus.split("train").arrays
        of_stream = {stream: channel_statistics(arrays, stream) for stream in arrays.flat}
        if "coefficients" in of_stream:
            mean, spread = of_stream["coefficients"]
            of_stream["coefficients"] = ChannelStatistics(mean - corpus.mean_face(), spread)
        for kind, scores in model.speaker_scores.items():
            scores.fit(*map(torch.from_numpy, of_stream[STREAM_OF_CONDITION[kind]]))
        reaction = [of_stream["emotion"]]
        if model.config.in_channels > EMOTION_CHANNELS:
            reaction.append(movement_statistics(arrays))
        means, spreads = (torch.from_numpy(np.concatenate(values)) for values in zip(*reaction))
        # Twice the spread, so that most values lie within [-1, 1], the range that noise schedules are made for.
        model.reaction_scores.fit(means, 2 * spreads)

    def examples(self, corpus: Corpus, split: str, recipe: Recipe) -> Examples:
        """Speaker windows with several recorded reactions; see `ReactionWindows`."""
        return reaction_windows(
            corpus, split, recipe, num_reactions=recipe.data.num_reactions, whole_windows=recipe.data.whole_windows
        )

    def objective(
        self, model: Any, parts: Parts, feature_extractor: PerFRDiffFeatureExtractor, recipe: Recipe
    ) -> GAFRGObjective:
        """See `Stage`."""
        return GAFRGObjective(model, feature_extractor, parts, new_scheduler(recipe), LossWeights.of(recipe))


class GAFRGObjective(DenoisingObjective):
    """Trains the generator to denoise several recorded reactions at once."""

    trained: GAFRGTransformer1DModel

    @property
    def denoiser(self) -> GAFRGTransformer1DModel:
        """The generator, which is trained."""
        return self.trained

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Batch: see `denoising_loss`."""
        return {"loss": self.denoising_loss(self.denoiser, batch)}


def check_window(denoiser: GAFRGTransformer1DModel) -> None:
    """See that the denoiser has a position for every token of a window's condition, and for the time step."""
    tokens = 1 + sum(map(denoiser.tokens_of, denoiser.condition_widths))
    if tokens > denoiser.config.max_positions:
        raise ValueError(
            f"data.window_size ({denoiser.config.window_size}) gives {tokens} tokens, more than max_positions "
            f"({denoiser.config.max_positions})."
        )
