"""Stage `weight_shift_generator`: PWSG learns, from a listener's style, shifts of the frozen generator's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ...baselines.recipe import Recipe
from ...baselines.stage import Draws, Examples, Parts
from ...data.corpus import Corpus
from ...feature_extraction import PerFRDiffFeatureExtractor
from ...models.gafrg import GAFRGTransformer1DModel
from ...models.pssl import PSSLModel
from ...models.pwsg import OFFICIAL_EDIT, PWSGConfig, PWSGModel
from .denoising import DenoisingObjective, DenoisingStage, LossWeights, new_scheduler, personal_windows


class WeightShiftGeneratorStage(DenoisingStage):
    """Trains PWSG (equation 7) through the generator that it shifts; everything else is frozen.

    Its argument `edited` names the layers in the words of the paper's table 4, as in
    `{components: [cross_attention, mapping], layers: [4, 6]}`; their sizes are read from the denoiser.
    """

    name = "weight_shift_generator"
    title = "weight-shift generator (PWSG)"
    model = PWSGModel
    needs = ("emotion_vae", "style_encoder", "denoiser")
    reads = (
        "data.window_size",
        "data.history_frames",
        "data.drop_all_conditions",
        "data.expression_weight",
        "data.pose_weight",
        "data.max_snr_weight",
        "data.shown_noise",
        "data.style_noise",
        "data.personal_whole_windows",
        "models.denoiser",
        "models.scheduler",
    )
    setting = "PMAFRG, personalised"
    personal = True

    def argument_names(self) -> set[str]:
        """Those of the configuration, with `edited` for `edited_layers`."""
        return super().argument_names() - {"edited_layers"} | {"edited"}

    def new_model(self, recipe: Recipe, parts: Parts) -> PWSGModel:
        """See `Stage`."""
        arguments = recipe.arguments(self.name)
        edited = parts["denoiser"].editable_layers(**(OFFICIAL_EDIT | arguments.pop("edited", {})))
        sizes: dict[str, Any] = {"style_size": parts["style_encoder"].config.style_size, "edited_layers": edited}
        return PWSGModel(PWSGConfig(**(sizes | arguments)))

    def examples(self, corpus: Corpus, split: str, recipe: Recipe) -> Examples:
        """Speaker windows, each with one reaction and a history of the listener who reacts; see `ReactionWindows`."""
        return personal_windows(corpus, split, recipe, recipe.data.personal_whole_windows)

    def objective(
        self, model: Any, parts: Parts, feature_extractor: PerFRDiffFeatureExtractor, recipe: Recipe
    ) -> PWSGObjective:
        """See `Stage`."""
        return PWSGObjective(model, feature_extractor, parts, new_scheduler(recipe), LossWeights.of(recipe))

    def draws(self, recipe: Recipe, objective: Any) -> Draws:
        """Those of the diffusion, and the noise on the style."""
        of_diffusion, length = super().draws(recipe, objective), recipe.data.style_noise
        return StyleDraws(of_diffusion, length, objective.trained.config.style_size) if length else of_diffusion


class StyleDraws:
    """What other draws leave to chance, and `style_noise` `(style_size,)`.

    Args:
        others: the other draws.
        length: of the noise, in the mean square.
        style_size: width of the style.
    """

    def __init__(self, others: Draws, length: float, style_size: int):
        self.others = others
        self.spread = length * style_size**-0.5
        self.style_size = style_size

    def __call__(self, example: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        drawn = self.others(example, generator)
        return drawn | {"style_noise": self.spread * torch.randn(self.style_size, generator=generator)}


class PWSGObjective(DenoisingObjective):
    """Trains the weight-shift generator alone; every example brings the history of a listener of its own."""

    trained: PWSGModel

    @property
    def denoiser(self) -> GAFRGTransformer1DModel:
        """The generator, which is frozen."""
        return self.frozen["denoiser"]

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Batch: see `denoising_loss`, with `k` = 1, `history` (b, frames, 58), perhaps `style_noise` (b, style)."""
        style = noisy_style(self.frozen["style_encoder"], self.feature_extractor, batch)
        return {"loss": self.denoising_loss(self.denoiser, batch, self.trained(style))}


@torch.no_grad()
def noisy_style(
    style_encoder: PSSLModel, feature_extractor: PerFRDiffFeatureExtractor, batch: Mapping[str, Tensor]
) -> Tensor:
    """The styles `(b, style)` of the histories of a batch, of unit length, with noise where the batch has some."""
    with _plain_attention():
        style = style_encoder(feature_extractor.remove_mean_face(batch["history"])).style
    if "style_noise" not in batch:
        return style
    return functional.normalize(style + batch["style_noise"], dim=-1)


@contextmanager
def _plain_attention() -> Iterator[None]:
    """PyTorch's inference path for whole encoder layers takes 1.5 times as long as its attention kernels do."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
