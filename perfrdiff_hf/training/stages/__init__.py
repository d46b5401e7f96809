"""The four stages of PerFRDiff, a file each, and the system that they make."""

from __future__ import annotations

from ...baselines.recipe import Recipe
from ...baselines.stage import Parts
from ...baselines.system import System, register_system
from ...feature_extraction import PerFRDiffFeatureExtractor
from ...pipelines.perfrdiff import PerFRDiffPipeline
from .denoiser import DenoiserStage, GAFRGObjective
from .denoising import new_scheduler
from .emotion_vae import EmotionVAEObjective, EmotionVAEStage
from .style_encoder import PSSLObjective, StyleEncoderStage
from .weight_shift_generator import PWSGObjective, WeightShiftGeneratorStage


class PerFRDiffSystem(System):
    """PerFRDiff, whose pipeline has a scheduler besides what is trained."""

    def assemble(
        self, parts: Parts, feature_extractor: PerFRDiffFeatureExtractor, recipe: Recipe
    ) -> PerFRDiffPipeline:
        """See `System`."""
        return PerFRDiffPipeline(**parts, scheduler=new_scheduler(recipe), feature_extractor=feature_extractor)


PERFRDIFF = register_system(
    PerFRDiffSystem(
        name="perfrdiff",
        title="PerFRDiff",
        pipeline=PerFRDiffPipeline,
        stages=(EmotionVAEStage(), StyleEncoderStage(), DenoiserStage(), WeightShiftGeneratorStage()),
        extra_models=("scheduler",),
    )
)

__all__ = ["PERFRDIFF", "EmotionVAEObjective", "GAFRGObjective", "PSSLObjective", "PWSGObjective", "PerFRDiffSystem"]
