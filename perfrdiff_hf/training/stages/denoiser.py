"""Stage `denoiser`: GAFRG, the generic generator, learns several recorded reactions to one speaker at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...baselines.recipe import Recipe
from ...baselines.stage import Examples, Parts
from ...data.corpus import Corpus
from ...data.windows import ReactionWindows
from ...feature_extraction import PerFRDiffFeatureExtractor
from ...models.conditions import FILLED_CONDITIONS
from ...models.gafrg import FRAME_CONDITIONS, GAFRGTransformer1DModel
from .denoising import DenoisingObjective, DenoisingStage, new_scheduler


class DenoiserStage(DenoisingStage):
    """Trains the generator with its speaker behaviour encoder (equations 4, 9 and 10)."""

    name = "denoiser"
    title = "reaction generator (GAFRG)"
    model = GAFRGTransformer1DModel
    needs = ("emotion_vae",)
    reads = ("data.window_size", "data.num_reactions", "data.drop_all_conditions", "models.scheduler")
    setting = "MAFRG, generic"
    personal = False

    def new_model(self, recipe: Recipe, parts: Parts) -> GAFRGTransformer1DModel:
        """See `Stage`."""
        sizes = {"latent_size": parts["emotion_vae"].config.hidden_size}
        denoiser = GAFRGTransformer1DModel(**(sizes | recipe.arguments(self.name)))
        untrainable = set(denoiser.condition_widths) - set(FILLED_CONDITIONS)
        if untrainable:
            raise ValueError(
                f"conditions {sorted(untrainable)} cannot be trained here; use some of {FILLED_CONDITIONS}."
            )
        _check_window(denoiser, recipe.data.window_size)
        return denoiser

    def examples(self, corpus: Corpus, split: str, recipe: Recipe) -> Examples:
        """Speaker windows with several recorded reactions; see `ReactionWindows`."""
        part = corpus.split(split)
        return ReactionWindows(
            part.arrays,
            part.appropriate,
            num_reactions=recipe.data.num_reactions,
            window_size=recipe.data.window_size,
            seed=recipe.seed,
            mean_face=corpus.mean_face(),
        )

    def objective(
        self, model: Any, parts: Parts, feature_extractor: PerFRDiffFeatureExtractor, recipe: Recipe
    ) -> GAFRGObjective:
        """See `Stage`."""
        return GAFRGObjective(model, feature_extractor, parts, new_scheduler(recipe))


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


def _check_window(denoiser: Any, window_size: int) -> None:
    """See that the denoiser has a position for every token of a window's condition, and for the time step."""
    tokens = 1 + sum(window_size if kind in FRAME_CONDITIONS else 1 for kind in denoiser.condition_widths)
    if tokens > denoiser.config.max_positions:
        raise ValueError(
            f"data.window_size ({window_size}) gives {tokens} tokens, more than max_positions "
            f"({denoiser.config.max_positions})."
        )
