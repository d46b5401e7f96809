"""Stage `style_encoder`: PSSL, personalised style space learning by supervised contrast (equation 11)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...baselines.recipe import Recipe
from ...baselines.stage import Example, Examples, Objective, Parts, Stage, Validation
from ...data.channels import movement_statistics
from ...data.corpus import Corpus
from ...data.style_clips import StyleClips
from ...feature_extraction import PerFRDiffFeatureExtractor
from ...models.pssl import PSSLConfig, PSSLModel
from ..pictures import draw_styles


MOST_STYLES = 256


class StyleEncoderStage(Stage):
    """Trains PSSL on batches of clips of several people."""

    name = "style_encoder"
    title = "style encoder (PSSL)"
    model = PSSLModel
    reads = ("data.contrast", "data.style_frames", "data.style_speakers", "data.style_listeners", "data.style_clips")
    whole_batches = True

    def new_model(self, recipe: Recipe, parts: Parts) -> PSSLModel:
        """See `Stage`."""
        return PSSLModel(PSSLConfig(**recipe.arguments(self.name)))

    def look_at_data(self, model: PSSLModel, corpus: Corpus, recipe: Recipe, parts: Parts) -> None:
        """The spread of each coefficient, for a model that reads movement."""
        if model.standardiser is not None:
            statistics = movement_statistics(corpus.split("train").arrays)
            model.standardiser.fit(*map(torch.from_numpy, statistics))

    def examples(self, corpus: Corpus, split: str, recipe: Recipe) -> Examples:
        """Contrastive batches; see `StyleClips`."""
        data, part = recipe.data, corpus.split(split)
        return StyleClips(
            part.arrays,
            part.appropriate,
            variant=data.contrast,
            speakers=data.style_speakers,
            listeners=data.style_listeners,
            max_clips=data.style_clips,
            frames=data.style_frames,
            seed=recipe.seed,
        )

    def objective(
        self, model: Any, parts: Parts, feature_extractor: PerFRDiffFeatureExtractor, recipe: Recipe
    ) -> PSSLObjective:
        """See `Stage`."""
        return PSSLObjective(model, feature_extractor)

    def collate(self, examples: list[Example]) -> Example:
        """Several contrastive batches as one, end to end; `batch_index` `(clips,)` tells them apart."""
        joined = {name: torch.cat([example[name] for example in examples]) for name in examples[0]}
        sizes = torch.tensor([len(example["label"]) for example in examples])
        joined["batch_index"] = torch.repeat_interleave(torch.arange(len(examples)), sizes)
        return joined

    def figures(self, objective: Any, validation: Validation) -> dict[str, float]:
        """Mean cosine of two clips' styles, of the same person and of different people."""
        arrays = validation.corpus.split("val").arrays
        rows = np.unique(np.linspace(0, len(arrays) - 1, min(len(arrays), MOST_STYLES)).round().astype(np.int64))
        clips = (torch.from_numpy(np.array(arrays.coefficients(row)))[None].to(validation.device) for row in rows)
        remove_mean_face = objective.feature_extractor.remove_mean_face
        styles = torch.cat([objective.trained(remove_mean_face(clip)).style for clip in clips])
        labels = np.unique(arrays.listener_ids[rows], return_inverse=True)[1]
        similarity = (styles @ styles.T).cpu().numpy()
        same = labels[:, None] == labels[None, :]
        apart = ~np.eye(len(rows), dtype=bool)
        if validation.draws_pictures:
            path = validation.output_dir / "pictures" / "styles.png"
            draw_styles(styles.cpu().numpy(), labels, path, validation.recipe.seed)
        return {
            "style_similarity_within": float(similarity[same & apart].mean()) if (same & apart).any() else 0.0,
            "style_similarity_between": float(similarity[~same].mean()) if (~same).any() else 0.0,
        }


class PSSLObjective(Objective):
    """Equation 11, on each contrastive batch by itself."""

    trained: PSSLModel

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Batch: `coefficients` (clips, frames, 58); `label`, `group` and `batch_index` (clips,)."""
        style = self.trained(self.feature_extractor.remove_mean_face(batch["coefficients"])).style
        index, group = batch["batch_index"], batch["group"]
        # Batches are told apart, and counted, without asking the device for numbers in the middle of a step.
        losses = contrastive_losses(style, batch["label"], group + index * (group.max() + 1))
        share = 1 / (index[:, None] == index[None, :]).sum(dim=1)
        return {"loss": (losses * share).sum() / share.sum()}


def supervised_contrastive_loss(
    style: Tensor, label: Tensor, group: Tensor | None = None, temperature: float = 0.07
) -> Tensor:
    """Pull together what one person shows, push apart what different people show (equation 11).

    Args:
        style: `(clips, width)` styles of unit length.
        label: `(clips,)` integers, equal for clips of the same person.
        group: `(clips,)` integers: clips are compared only with those of their own group, in the paper the reactions
            that are appropriate to the same speaker behaviour. None: one group.
        temperature: what the similarities are divided by.

    Returns:
        The mean over all clips, a scalar; a clip without another of the same person in its group contributes zero.
    """
    return contrastive_losses(style, label, group, temperature).mean()


def contrastive_losses(style: Tensor, label: Tensor, group: Tensor | None = None, temperature: float = 0.07) -> Tensor:
    """The loss `(clips,)` of each clip; see `supervised_contrastive_loss`."""
    others = ~torch.eye(len(label), dtype=torch.bool, device=label.device)
    if group is not None:
        others &= group[:, None] == group[None, :]
    positives = others & (label[:, None] == label[None, :])
    with torch.autocast(style.device.type, enabled=False):
        style = style.float() if style.dtype in (torch.float16, torch.bfloat16) else style
        similarity = style @ style.T / temperature
    # A clip that is alone in its group has no denominator; it has no positive either, so any finite value will do.
    log_denominator = similarity.masked_fill(~others, -torch.inf).logsumexp(dim=1, keepdim=True)
    log_probability = similarity - log_denominator.nan_to_num(neginf=0.0)
    return -(log_probability * positives).sum(dim=1) / positives.sum(dim=1).clamp(min=1)
