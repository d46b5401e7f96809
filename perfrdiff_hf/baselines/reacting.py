"""What the systems to compare with share: settings of a call, noise of each clip, the offline form, and their stage.

None of them knows its listener. Each has two forms, said by `online` in the configuration of its model: the online one
sees the speaker's frames before a window, as PerFRDiff does (equation 3), the offline one those of the window itself,
as the published programs do. Fed live, an offline system is late by a window.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Generator, Tensor

from ..behaviour import EMOTION_CHANNELS
from ..data.corpus import Corpus
from ..data.windows import ReactionWindows
from ..feature_extraction import PerFRDiffFeatureExtractor
from ..models.emotion_vae import EmotionVAEModel
from ..pipelines.finishing import in_range
from ..pipelines.inputs import ARGUMENTS, History
from ..pipelines.reaction_pipeline import ReactionPipeline
from ..pipelines.windows import WindowReactor
from .recipe import Recipe
from .stage import Stage, Validation


@dataclass(frozen=True)
class ReactionSettings:
    """How a call or stream reacts; every system knows these.

    Args:
        num_reactions: to each speaker.
        generator: one source of noise, or one for each speaker, whose reactions then do not depend on the others of
            the batch.
        binarise_action_units: whether action units become 0 or 1.

    Raises:
        ValueError: if `num_reactions` is below 1.
    """

    num_reactions: int = 10
    generator: Generator | Sequence[Generator] | None = None
    binarise_action_units: bool = False

    def __post_init__(self) -> None:
        if self.num_reactions < 1:
            raise ValueError(f"num_reactions must be at least 1; given: {self.num_reactions}.")


class SystemReactor(WindowReactor):
    """A window of a system to compare with; a subclass has `react`.

    Args:
        settings: of the session.
        batch_size: speakers.
        feature_extractor: the mean face, and the length of a window.
        like: a parameter of the model, for device and precision.
        streams: of the speaker that the model cannot do without.
        online: whether a window answers the speaker until its first frame, or until its last.
        emotion_vae: whose regressor moves the face, where the model gives emotion alone.
        options: of `WindowReactor`.

    Raises:
        ValueError: if there are generators, but not one for each speaker.
    """

    def __init__(
        self,
        settings: ReactionSettings,
        batch_size: int,
        feature_extractor: PerFRDiffFeatureExtractor,
        like: Tensor,
        streams: Sequence[str],
        online: bool,
        emotion_vae: EmotionVAEModel | None = None,
        **options: Any,
    ):
        super().__init__(feature_extractor, like.device, like.dtype, settings.num_reactions, **options)
        self.settings = settings
        self.streams = tuple(streams)
        self.online = online
        self.emotion_vae = emotion_vae
        generators = self.generators
        if not isinstance(settings.generator, Generator) and generators and len(generators) != batch_size:
            raise ValueError(
                f"generator must be one, or one for each of {batch_size} clips; given: {len(generators)}."
            )

    def check_streams(self, given: Iterable[str]) -> None:
        """See that every stream is there that the model reads.

        Raises:
            ValueError: if not.
        """
        missing = [ARGUMENTS[stream] for stream in self.streams if stream not in set(given)]
        if missing:
            raise ValueError(f"This system reads {', '.join(self.streams)}, and needs {', '.join(missing)}.")

    def answered(self, start: int) -> int:
        """The speaker's frame until which the window at `start` answers: its first, or offline its last."""
        return super().answered(start) if self.online else start + self.window_size

    @property
    def generators(self) -> Sequence[Generator]:
        """The sources of noise."""
        given = self.settings.generator
        return [given] if isinstance(given, Generator) else list(given or ())

    def noise(self, batch_size: int, *shape: int) -> Tensor:
        """Standard normal noise `(batch, num_reactions, *shape)`, of each clip from its own generator."""
        given: Any = self.settings.generator
        generator = given if given is None or isinstance(given, Generator) else list(given)
        full = (batch_size, self.num_reactions, *shape)
        return randn_tensor(full, generator=generator, device=self.device, dtype=self.dtype)

    @torch.no_grad()
    def decode(self, reactions: Tensor) -> tuple[Tensor, Tensor]:
        """See `WindowReactor`; 25 channels are emotion, and 58 more movement, unless the emotion VAE implies it."""
        emotion, movement = reactions[..., :EMOTION_CHANNELS], reactions[..., EMOTION_CHANNELS:]
        if self.emotion_vae is not None:
            movement = self.emotion_vae.to_coefficients(emotion)
        elif not movement.shape[-1]:
            raise ValueError(f"{type(self).__name__} gives emotion alone and needs an emotion_vae.")
        emotion = in_range(emotion, self.settings.binarise_action_units)
        return self.feature_extractor.neutralise(emotion, self.feature_extractor.add_mean_face(movement))


class SystemPipeline(ReactionPipeline):
    """The base of pipelines that know no listener; a subclass registers its parts and implements `new_reactor`.

    Attributes:
        settings_class: what a call accepts besides the speaker.
    """

    settings_class: ClassVar[type[ReactionSettings]] = ReactionSettings

    def new_reactor(self, settings: Any, batch_size: int) -> SystemReactor:
        """What reacts in one session.

        Args:
            settings: of `settings_class`.
            batch_size: speakers.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement new_reactor.")

    def window_reactor(
        self, listener_history: History | None = None, batch_size: int = 1, **settings: Any
    ) -> SystemReactor:
        """What turns windows of speakers into reactions in one session.

        Args:
            listener_history: must be None: the system knows no listener.
            batch_size: speakers at once.
            settings: of `settings_class`; what is None keeps its default.

        Raises:
            TypeError: if there is no such setting.
            ValueError: if a listener is given, or a setting is out of range.
        """
        if listener_history is not None:
            raise ValueError(f"{type(self).__name__} knows no listener: listener_history must be None.")
        given = {name: value for name, value in settings.items() if value is not None}
        known = [field.name for field in fields(self.settings_class)]
        if unknown := sorted(set(given) - set(known)):
            raise TypeError(f"{type(self).__name__} has no setting {unknown[0]}; it has {', '.join(known)}.")
        return self.new_reactor(self.settings_class(**given), batch_size)

    def react(self, speaker: Mapping[str, Tensor], reactor: WindowReactor) -> tuple[Tensor, Tensor]:
        """See `ReactionPipeline`; offline, the last window of a clip sees the speaker's last frame held to its end."""
        if isinstance(reactor, SystemReactor) and not reactor.online:
            frames = next(iter(speaker.values())).shape[1]
            last_start = (frames - 1) // reactor.hop * reactor.hop
            missing = reactor.answered(last_start) - frames
            held = {name: values[:, -1:].expand(-1, missing, -1) for name, values in speaker.items()}
            padded = {name: torch.cat([values, held[name]], dim=1) for name, values in speaker.items()}
            emotion, coefficients = super().react(padded, reactor)
            return emotion[:, :, :frames], coefficients[:, :, :frames]
        return super().react(speaker, reactor)


class SystemStage(Stage):
    """The stage that trains what reacts in a system to compare with; a subclass says which pipeline it becomes.

    Attributes:
        pipeline: of the system.
    """

    pipeline: ClassVar[type[SystemPipeline]]
    setting = "MAFRG"

    def windows(self, corpus: Corpus, split: str, recipe: Recipe, **options: Any) -> ReactionWindows:
        """Windows of speakers, and reactions to the window before, or offline to the window itself.

        Args:
            corpus: the data.
            split: `"train"` or `"val"`.
            recipe: whose arguments of the component say whether it is online.
            options: of `ReactionWindows`.
        """
        part, size = corpus.split(split), recipe.data.window_size
        return ReactionWindows(
            part.arrays,
            part.appropriate,
            window_size=size,
            seed=recipe.seed,
            mean_face=corpus.mean_face(),
            lag=size if recipe.arguments(self.name).get("online", True) else 0,
            **options,
        )

    def components(self, objective: Any) -> dict[str, Any]:
        """What the pipeline is made of, besides the feature extractor, with the weights to be judged."""
        return {**objective.frozen, self.name: objective.trained}

    def figures(self, objective: Any, validation: Validation) -> dict[str, float]:
        """FRCorr and FRdist on MAFRG."""
        pipeline: Any = self.pipeline
        return validation.reaction_scores(
            pipeline(**self.components(objective), feature_extractor=objective.feature_extractor)
        )
