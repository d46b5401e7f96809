"""Stage `student_denoiser`: a copy of the generator learns to need few evaluations, of one pass each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...baselines.recipe import Recipe
from ...baselines.stage import Draws, Examples, Parts, Validation
from ...data.corpus import Corpus
from ...feature_extraction import PerFRDiffFeatureExtractor
from ...models.conditions import takes_style
from ...models.gafrg import GAFRGTransformer1DModel
from ...pipelines.perfrdiff import PerFRDiffPipeline
from ...pipelines.students import student_sampling
from .denoising import DenoisingStage, LossWeights, new_scheduler, personal_windows
from .distillation import (
    STUDENT_DENOISER,
    Distillation,
    StudentDraws,
    StudentObjective,
    guidance_scales,
    student_scheduler,
    teacher_settings,
)
from .weight_shift_generator import StyleDraws


class StudentDenoiserStage(DenoisingStage):
    """Trains a copy of the generator on what its teacher does, with weight shifts of random listeners and without."""

    name = STUDENT_DENOISER
    title = "distilled reaction generator"
    model = GAFRGTransformer1DModel
    needs = ("emotion_vae", "style_encoder", "denoiser", "weight_shift_generator")
    reads = (
        "data.window_size",
        "data.history_frames",
        "data.drop_all_conditions",
        "data.expression_weight",
        "data.pose_weight",
        "data.max_snr_weight",
        "data.shown_noise",
        "data.style_noise",
        "data.whole_windows",
        "models.denoiser",
        "models.scheduler",
        "models.sampling",
    )
    setting = "PMAFRG, personalised"
    personal = True

    def argument_names(self) -> set[str]:
        """See `Distillation`; everything else is as in the teacher."""
        return set(Distillation.__annotations__)

    def new_model(self, recipe: Recipe, parts: Parts) -> GAFRGTransformer1DModel:
        """See `Stage`; a copy of the teacher.

        Raises:
            ValueError: if the arguments are impossible, or the teacher is not the one that the recipe describes.
        """
        told, teacher = Distillation.of(recipe), parts["denoiser"]
        _check_teacher(teacher, parts["weight_shift_generator"], recipe)
        if (timesteps := new_scheduler(recipe).config.num_train_timesteps) % told.teacher_steps:
            raise ValueError(f"teacher_steps must divide {timesteps} time steps; given: {told.teacher_steps}.")
        settings = {name: value for name, value in dict(teacher.config).items() if not name.startswith("_")}
        settings["distilled"] = {
            "num_inference_steps": told.num_inference_steps,
            "guidance_scale": teacher_settings(recipe).guidance_scale,
            "guidance_scales": list(guidance_scales(recipe)),
        }
        student = GAFRGTransformer1DModel(**settings)
        # What the student has more is how it takes the guidance scale, which begins as nothing.
        student.load_state_dict(student.state_dict() | teacher.state_dict())
        return student

    def look_at_data(self, model: GAFRGTransformer1DModel, corpus: Corpus, recipe: Recipe, parts: Parts) -> None:
        """Nothing of the data; but from here on the student takes the weight shifts of its teacher."""
        edited = parts["weight_shift_generator"].config.edited_layers
        known = {**model.config.distilled, "weight_digests": parts["denoiser"].weight_digests(edited)}
        model.register_to_config(distilled=known)

    def examples(self, corpus: Corpus, split: str, recipe: Recipe) -> Examples:
        """Speaker windows, each with a history of the listener who reacts, and perhaps frames that were shown."""
        return personal_windows(corpus, split, recipe, recipe.data.whole_windows)

    def objective(
        self, model: Any, parts: Parts, feature_extractor: PerFRDiffFeatureExtractor, recipe: Recipe
    ) -> StudentObjective:
        """See `Stage`."""
        return StudentObjective(
            model,
            feature_extractor,
            parts,
            student_scheduler(recipe),
            LossWeights.of(recipe),
            Distillation.of(recipe),
            teacher_settings(recipe),
        )

    def draws(self, recipe: Recipe, objective: Any) -> Draws:
        """Noise, which conditions go missing, noise on the style, which windows have no listener, and the guidance."""
        of_diffusion, length = super().draws(recipe, objective), recipe.data.style_noise
        width = objective.frozen["style_encoder"].config.style_size
        others = StyleDraws(of_diffusion, length, width) if length else of_diffusion
        usual = teacher_settings(recipe).guidance_scale
        return StudentDraws(others, Distillation.of(recipe).generic, usual, guidance_scales(recipe))

    def figures(self, objective: Any, validation: Validation) -> dict[str, float]:
        """FRCorr and FRdist of the student's reactions to a fixed set of clips, on PMAFRG."""
        frozen = {name: part for name, part in objective.frozen.items() if name != "denoiser"}
        pipeline = student_pipeline(
            {**frozen, "denoiser": objective.trained}, objective.feature_extractor, validation.recipe
        )
        return validation.reaction_scores(pipeline, self.personal)


def student_pipeline(
    components: Mapping[str, Any], feature_extractor: PerFRDiffFeatureExtractor, recipe: Recipe
) -> PerFRDiffPipeline:
    """A pipeline whose denoiser is a student, with defaults of sampling of its own."""
    steps = Distillation.of(recipe).num_inference_steps
    return PerFRDiffPipeline(
        **components,
        scheduler=student_scheduler(recipe),
        feature_extractor=feature_extractor,
        sampling=student_sampling(recipe.arguments("sampling"), steps),
    )


def _check_teacher(teacher: Any, generator: Any, recipe: Recipe) -> None:
    """See that a teacher can teach, and is the one that the recipe describes.

    Raises:
        ValueError: if not.
    """
    if teacher.config.distilled:
        raise ValueError("The teacher is a student itself; take the generator that it was distilled from.")
    if takes_style(teacher):
        raise ValueError(
            "The teacher takes the style as an input; students are made of generators with weight shifts."
        )
    if generator.config.shift_mode == "weight":
        raise ValueError(
            "The teacher's weight shifts replace its weights (shift_mode 'weight'), so that it cannot teach what it "
            "does without a listener; train them with shift_mode 'shift' or 'offset'."
        )
    for name, asked in recipe.arguments("denoiser").items():
        found = teacher.config[name]
        if found != asked and list(found if isinstance(found, (list, tuple)) else [found]) != asked:
            raise ValueError(
                f"The teacher does not fit the configuration: its denoiser has {name} {found!r}, and models.denoiser "
                f"says {asked!r}. Give the configuration with which the teacher was trained."
            )
