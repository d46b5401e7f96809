"""Stage `personal_denoiser`: the generator learns on, with the listener's style as an input (table 3, "Input p")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...baselines.recipe import Recipe
from ...baselines.stage import Draws, Examples, Parts, Validation
from ...data.corpus import Corpus
from ...feature_extraction import PerFRDiffFeatureExtractor
from ...models.conditions import STYLE_CONDITION, takes_style
from ...models.gafrg import GAFRGTransformer1DModel
from ...pipelines.perfrdiff import PerFRDiffPipeline
from .denoiser import check_window
from .denoising import DenoisingObjective, DenoisingStage, LossWeights, new_scheduler, personal_windows
from .weight_shift_generator import StyleDraws, WeightShiftGeneratorStage, noisy_style


STYLE_FORMS = ("token", "adaptive_norm", "none")


class PersonalDenoiserStage(DenoisingStage):
    """Trains all weights of the generic generator further, on the examples that weight shifts are learned from.

    Its argument `style` says how the style enters: `"token"`, as one more token of the condition, as in the paper's
    "Input p"; `"adaptive_norm"`, by scaling and shifting what the norms give as well; `"none"`, not at all, which
    tells what the further training is worth by itself. Before training, all three react as the generic generator.
    """

    name = "personal_denoiser"
    title = "reaction generator with the style as an input"
    model = GAFRGTransformer1DModel
    needs = ("emotion_vae", "style_encoder", "denoiser")
    reads = WeightShiftGeneratorStage.reads
    setting = "PMAFRG, personalised"
    personal = True

    def argument_names(self) -> set[str]:
        """How the style enters; everything else is as in the generic generator."""
        return {"style"}

    def new_model(self, recipe: Recipe, parts: Parts) -> GAFRGTransformer1DModel:
        """See `Stage`; a copy of the generic generator, to which a style makes no difference yet."""
        form = recipe.arguments(self.name).get("style", "token")
        if form not in STYLE_FORMS:
            raise ValueError(f"style must be one of {STYLE_FORMS}; given: {form!r}.")
        generic = parts["denoiser"]
        settings = {name: value for name, value in dict(generic.config).items() if not name.startswith("_")}
        if form != "none":
            settings["conditions"] = [*settings["conditions"], STYLE_CONDITION]
            settings["style_size"] = parts["style_encoder"].config.style_size
            settings["adaptive_norm"] = form == "adaptive_norm"
        denoiser = GAFRGTransformer1DModel(**settings)
        check_window(denoiser)
        known = generic.state_dict()
        with torch.no_grad():
            for name, values in denoiser.state_dict().items():
                if name in known:
                    values.copy_(known[name])
        return denoiser

    def examples(self, corpus: Corpus, split: str, recipe: Recipe) -> Examples:
        """Speaker windows, each with one reaction and a history of the listener who reacts; see `ReactionWindows`."""
        return personal_windows(corpus, split, recipe, recipe.data.personal_whole_windows)

    def objective(
        self, model: Any, parts: Parts, feature_extractor: PerFRDiffFeatureExtractor, recipe: Recipe
    ) -> StyleInputObjective:
        """See `Stage`; the generic generator has no part in it any more."""
        frozen = {name: part for name, part in parts.items() if name != "denoiser"}
        return StyleInputObjective(model, feature_extractor, frozen, new_scheduler(recipe), LossWeights.of(recipe))

    def draws(self, recipe: Recipe, objective: Any) -> Draws:
        """Those of the diffusion, and the noise on the style."""
        of_diffusion, length = super().draws(recipe, objective), recipe.data.style_noise
        width = objective.frozen["style_encoder"].config.style_size
        return StyleDraws(of_diffusion, length, width) if length else of_diffusion

    def figures(self, objective: Any, validation: Validation) -> dict[str, float]:
        """FRCorr and FRdist of reactions to a fixed set of clips, on PMAFRG."""
        pipeline = PerFRDiffPipeline(
            **objective.frozen,
            denoiser=objective.trained,
            scheduler=objective.scheduler,
            feature_extractor=objective.feature_extractor,
            sampling=validation.recipe.arguments("sampling"),
        )
        return validation.reaction_scores(pipeline, pipeline.is_personal)


class StyleInputObjective(DenoisingObjective):
    """Trains the generator with the style of the listener who reacts; the style encoder is frozen."""

    trained: GAFRGTransformer1DModel

    @property
    def denoiser(self) -> GAFRGTransformer1DModel:
        """The generator, which is trained."""
        return self.trained

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Batch: see `denoising_loss`, with `k` = 1, `history` (b, frames, 58), perhaps `style_noise` (b, style)."""
        style = None
        if takes_style(self.denoiser):
            style = noisy_style(self.frozen["style_encoder"], self.feature_extractor, batch)
        return {"loss": self.denoising_loss(self.denoiser, batch, style=style)}
