"""The four stages: what each trains, on which examples, with which loss. The loop knows none of this."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data.corpus import Corpus
from ..data.windows import EmotionWindows, ReactionWindows, StyleClips
from ..models.emotion_vae import EmotionVAEModel
from ..models.gafrg import FRAME_CONDITIONS, GAFRGTransformer1DModel
from ..models.pssl import PSSLConfig, PSSLModel
from ..models.pwsg import PWSGConfig, PWSGModel
from .config import STAGES, TrainingConfig
from .objectives import (
    TRAINABLE_CONDITIONS,
    EmotionVAEObjective,
    GAFRGObjective,
    Objective,
    PSSLObjective,
    PWSGObjective,
)
from .order import DiffusionDraws, Draws, Examples, LatentDraws, NoDraws, join_clips, stack_examples


Parts = Mapping[str, Any]

COMPONENT_CLASSES: dict[str, Any] = {
    "emotion_vae": EmotionVAEModel,
    "style_encoder": PSSLModel,
    "denoiser": GAFRGTransformer1DModel,
    "weight_shift_generator": PWSGModel,
}
COMPONENT_OF_STAGE = dict(zip(STAGES, COMPONENT_CLASSES))
DEFAULT_EDITED = {"components": ["cross_attention", "mapping"], "layers": [4, 6]}


@dataclass(frozen=True)
class Stage:
    """What one stage of training consists of.

    Args:
        name: as on the command line.
        needs: components that earlier stages must have trained.
        new_model: from the configuration and those components to the untrained model.
        objective: from the model, the components, the feature extractor and the scheduler to what is minimised.
        examples: from the corpus, the name of a split and the configuration to training examples.
        draws: from the configuration and the objective to the random numbers that an example needs.
        collate: from examples to a batch.
    """

    name: str
    needs: tuple[str, ...]
    new_model: Callable[[TrainingConfig, Parts], nn.Module]
    objective: Callable[[nn.Module, Parts, Any, Any], Objective]
    examples: Callable[[Corpus, str, TrainingConfig], Examples]
    draws: Callable[[TrainingConfig, Objective], Draws]
    collate: Callable[[list[dict[str, Tensor]]], dict[str, Tensor]] = stack_examples

    @property
    def component(self) -> str:
        """The name of the trained model in the output folder and in the pipeline."""
        return COMPONENT_OF_STAGE[self.name]


def _new_emotion_vae(config: TrainingConfig, parts: Parts) -> nn.Module:
    return EmotionVAEModel(**config.models.emotion_vae)


def _new_style_encoder(config: TrainingConfig, parts: Parts) -> nn.Module:
    return PSSLModel(PSSLConfig(**config.models.style_encoder))


def _new_denoiser(config: TrainingConfig, parts: Parts) -> nn.Module:
    sizes = {"latent_size": parts["emotion_vae"].config.hidden_size}
    denoiser = GAFRGTransformer1DModel(**(sizes | config.models.denoiser))
    untrainable = set(denoiser.condition_widths) - set(TRAINABLE_CONDITIONS)
    if untrainable:
        raise ValueError(
            f"conditions {sorted(untrainable)} cannot be trained here; use some of {TRAINABLE_CONDITIONS}."
        )
    return denoiser


def _new_weight_shift_generator(config: TrainingConfig, parts: Parts) -> nn.Module:
    arguments = dict(config.models.weight_shift_generator)
    edited = parts["denoiser"].editable_layers(**(DEFAULT_EDITED | arguments.pop("edited", {})))
    # Saved configurations are sorted, and the heads follow the order of the configuration.
    edited = dict(sorted(edited.items()))
    sizes: dict[str, Any] = {"style_size": parts["style_encoder"].config.style_size, "edited_layers": edited}
    return PWSGModel(PWSGConfig(**(sizes | arguments)))


def _emotion_windows(corpus: Corpus, split: str, config: TrainingConfig) -> Examples:
    return EmotionWindows(corpus.split(split).arrays, window_size=config.data.window_size, seed=config.seed)


def _style_clips(corpus: Corpus, split: str, config: TrainingConfig) -> Examples:
    data, part = config.data, corpus.split(split)
    return StyleClips(
        part.arrays,
        part.appropriate,
        variant=data.contrast,
        speakers=data.style_speakers,
        listeners=data.style_listeners,
        max_clips=data.style_clips,
        frames=data.style_frames,
        seed=config.seed,
    )


def _generic_windows(corpus: Corpus, split: str, config: TrainingConfig) -> Examples:
    data, part = config.data, corpus.split(split)
    return ReactionWindows(
        part.arrays,
        part.appropriate,
        num_reactions=data.num_reactions,
        window_size=data.window_size,
        seed=config.seed,
        mean_face=corpus.mean_face(),
    )


def _personal_windows(corpus: Corpus, split: str, config: TrainingConfig) -> Examples:
    data, part = config.data, corpus.split(split)
    return ReactionWindows(
        part.arrays,
        part.appropriate,
        num_reactions=1,
        window_size=data.window_size,
        history_frames=data.history_frames,
        seed=config.seed,
        mean_face=corpus.mean_face(),
    )


def _latent_draws(config: TrainingConfig, objective: Any) -> Draws:
    return LatentDraws(objective.trained.config.latent_size)


def _diffusion_draws(config: TrainingConfig, objective: Any) -> Draws:
    denoiser = objective.frozen.get("denoiser", objective.trained)
    return DiffusionDraws(
        objective.scheduler.config.num_train_timesteps,
        len(denoiser.condition_widths),
        denoiser.config.condition_dropout,
        config.data.drop_all_conditions,
    )


STAGE = {
    stage.name: stage
    for stage in (
        Stage(
            name="emotion_vae",
            needs=(),
            new_model=_new_emotion_vae,
            objective=lambda model, parts, extractor, scheduler: EmotionVAEObjective(model, extractor),
            examples=_emotion_windows,
            draws=_latent_draws,
        ),
        Stage(
            name="pssl",
            needs=(),
            new_model=_new_style_encoder,
            objective=lambda model, parts, extractor, scheduler: PSSLObjective(model, extractor),
            examples=_style_clips,
            draws=lambda config, objective: NoDraws(),
            collate=join_clips,
        ),
        Stage(
            name="gafrg",
            needs=("emotion_vae",),
            new_model=_new_denoiser,
            objective=lambda model, parts, extractor, scheduler: GAFRGObjective(model, extractor, parts, scheduler),
            examples=_generic_windows,
            draws=_diffusion_draws,
        ),
        Stage(
            name="pwsg",
            needs=("emotion_vae", "style_encoder", "denoiser"),
            new_model=_new_weight_shift_generator,
            objective=lambda model, parts, extractor, scheduler: PWSGObjective(model, extractor, parts, scheduler),
            examples=_personal_windows,
            draws=_diffusion_draws,
        ),
    )
}


def get_stages(name: str) -> list[Stage]:
    """The stages that a name on the command line stands for: one of them, or `"all"` in order.

    Raises:
        ValueError: if there is no such stage.
    """
    if name == "all":
        return list(STAGE.values())
    if name not in STAGE:
        raise ValueError(f"--stage must be one of {', '.join(STAGES)}, all; given: {name!r}.")
    return [STAGE[name]]


def load_parts(stage: Stage, output_dir: Path) -> dict[str, Any]:
    """The components that a stage needs, from the folder into which earlier stages wrote them.

    Raises:
        FileNotFoundError: if one is missing; the message says how to train it.
    """
    parts: dict[str, Any] = {}
    for component in stage.needs:
        check_part(stage, component, output_dir)
        parts[component] = COMPONENT_CLASSES[component].from_pretrained(str(output_dir / component))
    return parts


def check_part(stage: Stage, component: str, output_dir: Path) -> None:
    """See that a component which a stage needs has been trained.

    Raises:
        FileNotFoundError: if not.
    """
    if not (output_dir / component / "config.json").is_file():
        earlier = next(name for name, part in COMPONENT_OF_STAGE.items() if part == component)
        raise FileNotFoundError(
            f"Stage {stage.name} needs the {component} of stage {earlier}, which is not in {output_dir / component}. "
            f"Train it first: python examples/train.py --stage {earlier} --output_dir {output_dir} ..."
        )


def check_models(config: TrainingConfig) -> None:
    """Build all four models without memory, so that impossible sizes are found before any training.

    Raises:
        ValueError: if the arguments of a model are unknown or do not fit together.
    """
    accepted = {
        "emotion_vae": set(inspect.signature(EmotionVAEModel.__init__).parameters) - {"self"},
        "style_encoder": set(PSSLConfig.__annotations__),
        "denoiser": set(inspect.signature(GAFRGTransformer1DModel.__init__).parameters) - {"self"},
        "weight_shift_generator": set(PWSGConfig.__annotations__) - {"edited_layers"} | {"edited"},
    }
    parts: dict[str, Any] = {}
    for stage in STAGE.values():
        name = stage.component
        unknown = set(getattr(config.models, name)) - accepted[name]
        if unknown:
            raise ValueError(
                f"Configuration: unknown key models.{name}.{sorted(unknown)[0]}. "
                f"Known keys: {', '.join(sorted(accepted[name]))}."
            )
        try:
            with torch.device("meta"):
                parts[name] = stage.new_model(config, parts)
        except Exception as error:  # the libraries raise their own kinds: assertions, validation errors, type errors
            raise ValueError(f"Configuration: models.{name}: {error}") from error
    _check_window(config, parts["denoiser"])


def _check_window(config: TrainingConfig, denoiser: Any) -> None:
    """See that the denoiser has a position for every token of a window's condition, and for the time step."""
    window = config.data.window_size
    tokens = 1 + sum(window if kind in FRAME_CONDITIONS else 1 for kind in denoiser.condition_widths)
    if tokens > denoiser.config.max_positions:
        raise ValueError(
            f"Configuration: data.window_size ({window}) gives {tokens} tokens, more than "
            f"models.denoiser.max_positions ({denoiser.config.max_positions})."
        )
