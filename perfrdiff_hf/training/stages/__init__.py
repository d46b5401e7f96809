"""The stages of PerFRDiff, of "Input p" and of students, a file each, and the systems that they make."""

from __future__ import annotations

from ...baselines.emotion_vae import EmotionVAEObjective, EmotionVAEStage
from ...baselines.recipe import Recipe
from ...baselines.stage import Parts
from ...baselines.system import System, register_system
from ...feature_extraction import PerFRDiffFeatureExtractor
from ...pipelines.perfrdiff import PerFRDiffPipeline
from ...pipelines.sampling import check_sampling
from .denoiser import DenoiserStage, GAFRGObjective
from .denoising import new_scheduler
from .distillation import StudentObjective
from .personal_denoiser import PersonalDenoiserStage, StyleInputObjective
from .student_denoiser import StudentDenoiserStage, student_pipeline
from .style_encoder import PSSLObjective, StyleEncoderStage
from .weight_shift_generator import PWSGObjective, WeightShiftGeneratorStage


class PerFRDiffSystem(System):
    """PerFRDiff, whose pipeline has a scheduler and defaults of sampling besides what is trained."""

    def assemble(
        self, parts: Parts, feature_extractor: PerFRDiffFeatureExtractor, recipe: Recipe
    ) -> PerFRDiffPipeline:
        """See `System`; how reactions are sampled is the recipe's `models.sampling`."""
        return PerFRDiffPipeline(
            **parts,
            scheduler=new_scheduler(recipe),
            feature_extractor=feature_extractor,
            sampling=recipe.arguments("sampling"),
        )

    def check_recipe(self, recipe: Recipe) -> None:
        """See `System`; also that reactions can be sampled as `models.sampling` says."""
        super().check_recipe(recipe)
        try:
            check_sampling(recipe.arguments("sampling"), recipe.data.window_size)
        except ValueError as error:
            raise ValueError(f"Configuration: models.{error}") from error


class StyleInputSystem(PerFRDiffSystem):
    """PerFRDiff's generator with the style as an input rather than as weights: the same pipeline, without PWSG."""

    def assemble(
        self, parts: Parts, feature_extractor: PerFRDiffFeatureExtractor, recipe: Recipe
    ) -> PerFRDiffPipeline:
        """See `System`; the personal generator takes the place of the generic one."""
        components = dict(parts)
        if PersonalDenoiserStage.name in components:
            components["denoiser"] = components.pop(PersonalDenoiserStage.name)
        return super().assemble(components, feature_extractor, recipe)


class StudentSystem(PerFRDiffSystem):
    """PerFRDiff distilled into few evaluations: the same pipeline, whose generator is the student."""

    def assemble(
        self, parts: Parts, feature_extractor: PerFRDiffFeatureExtractor, recipe: Recipe
    ) -> PerFRDiffPipeline:
        """See `System`; the student takes the place of its teacher, and is sampled as it was trained."""
        components = dict(parts)
        if StudentDenoiserStage.name not in components:
            return super().assemble(components, feature_extractor, recipe)
        components["denoiser"] = components.pop(StudentDenoiserStage.name)
        return student_pipeline(components, feature_extractor, recipe)


PERFRDIFF = register_system(
    PerFRDiffSystem(
        name="perfrdiff",
        title="PerFRDiff",
        pipeline=PerFRDiffPipeline,
        stages=(EmotionVAEStage(), StyleEncoderStage(), DenoiserStage(), WeightShiftGeneratorStage()),
        extra_models=("scheduler", "sampling"),
    )
)
STYLE_INPUT = register_system(
    StyleInputSystem(
        name="style_input",
        title="Input p: the style as an input (table 3)",
        pipeline=PerFRDiffPipeline,
        stages=(EmotionVAEStage(), StyleEncoderStage(), DenoiserStage(), PersonalDenoiserStage()),
        extra_models=("scheduler", "sampling"),
    )
)
STUDENT = register_system(
    StudentSystem(
        name="student",
        title="PerFRDiff, distilled into few evaluations",
        pipeline=PerFRDiffPipeline,
        stages=(*PERFRDIFF.stages, StudentDenoiserStage()),
        extra_models=("scheduler", "sampling"),
    )
)

__all__ = [
    "PERFRDIFF",
    "STUDENT",
    "STYLE_INPUT",
    "EmotionVAEObjective",
    "GAFRGObjective",
    "PSSLObjective",
    "PWSGObjective",
    "PerFRDiffSystem",
    "StudentObjective",
    "StudentSystem",
    "StyleInputObjective",
    "StyleInputSystem",
]
