"""One window of reactions: what it depends on, and what turns it into reactions.

A `WindowReactor` is all that streams and serving know of a system. A pipeline makes one for each session, with the
session's settings and listeners.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor

from ..behaviour import EMOTION_CHANNELS, STREAM_WIDTHS
from ..feature_extraction import PerFRDiffFeatureExtractor
from ..models.conditions import STREAM_OF_CONDITION, speaker_conditions
from ..models.emotion_vae import EmotionVAEModel
from .inputs import ARGUMENTS
from .sampling import JointSampler, WindowSampler


@dataclass
class DueWindow:
    """What a window of reactions depends on.

    Args:
        speaker: the speaker's prepared streams over the frames that are a condition, each `(batch, context, width)`.
        batch_size: speakers.
        previous: the reactions over the frames before this window, `(batch, num_reactions, window, channels)`; zeros
            stand for what was before the session.
        held: what the first frames of the window must be, `(batch, num_reactions, frames, channels)`; None where all
            frames are new.
        start: the first new frame, since its stream began.
        session: what tells the session of its stream from those before and after a reset.
    """

    speaker: Mapping[str, Tensor]
    batch_size: int
    previous: Tensor
    held: Tensor | None = None
    start: int = 0
    session: object = None

    @classmethod
    def join(cls, windows: Sequence[DueWindow]) -> DueWindow:
        """One window of several: the speakers of the first, then those of the second, and so on."""
        held = [window.held for window in windows if window.held is not None]
        return cls(
            speaker={name: torch.cat([window.speaker[name] for window in windows]) for name in windows[0].speaker},
            batch_size=sum(window.batch_size for window in windows),
            previous=torch.cat([window.previous for window in windows]),
            held=torch.cat(held) if held else None,
        )

    @property
    def kind(self) -> Hashable:
        """What windows must share to be joined."""
        return frozenset(self.speaker), self.held is None


class WindowReactor(ABC):
    """Turns windows of speakers into windows of reactions, for one session with its settings and listeners.

    A system that reacts window by window implements `react` and `decode`; the rest has defaults.

    Args:
        feature_extractor: the mean face, and the length of a window.
        device: where it reacts.
        dtype: of the streams that `react` gets.
        num_reactions: to each speaker.
        channels: of a reaction, as `react` gives it.
        hop: frames that each window gives, from 1 to the length of a window, which is what None stands for.
        max_shown_frames: how many frames of a window, its first, may be those already shown, where the new ones answer
            the speaker until the first of them. Where a hop leaves room for more, the window looks ahead: the frames
            after the hop are made, but given by later windows, which know more of the speaker. None: as many as the
            hop leaves are shown already, and the new frames answer the speaker until the window's first frame, as in
            the official program; with a short hop that was the longer ago, and the first window of a session, with
            nothing to hold, is new as a whole.
        context_windows: windows of the speaker that are a condition.

    Raises:
        ValueError: if `hop` is out of range.
    """

    def __init__(
        self,
        feature_extractor: PerFRDiffFeatureExtractor,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        num_reactions: int = 1,
        channels: int = EMOTION_CHANNELS,
        hop: int | None = None,
        max_shown_frames: int | None = None,
        context_windows: int = 1,
    ):
        self.feature_extractor = feature_extractor
        self.device = device
        self.dtype = dtype
        self.num_reactions = num_reactions
        self.channels = channels
        self.window_size = feature_extractor.window_size
        self.hop = self.window_size if hop is None else hop
        self.max_shown_frames = max_shown_frames
        self.context_frames = context_windows * self.window_size
        if not 1 <= self.hop <= self.window_size:
            raise ValueError(f"hop must lie between 1 and the {self.window_size} frames of a window; given: {hop}.")

    def given_frames(self, start: int) -> int:
        """How many frames the window gives whose first new frame is `start`, since its session began."""
        return self.hop if start or self.max_shown_frames is not None else self.window_size

    def shown_frames(self, start: int) -> int:
        """How many frames of that window, its first, were shown already."""
        room = self.window_size - self.given_frames(start)
        return room if self.max_shown_frames is None else min(room, self.max_shown_frames)

    def answered(self, start: int) -> int:
        """The speaker's frame until which that window answers."""
        return start - self.shown_frames(start) if self.max_shown_frames is None else start

    def nothing_shown(self, batch_size: int, frames: int) -> Tensor:
        """Reactions before a session, `(batch, num_reactions, frames, channels)`: zeros."""
        shape = (batch_size, self.num_reactions, frames, self.channels)
        return torch.zeros(shape, device=self.device, dtype=self.dtype)

    def check_streams(self, given: Iterable[str]) -> None:  # noqa: B027  (to be overridden where it cannot)
        """See that the system can do without the streams of behaviour that are missing; by default it can.

        Raises:
            ValueError: if not.
        """

    def prepare(self, speaker: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Bring the speaker's streams to the device and remove the mean face."""
        prepared = {name: values.to(self.device, self.dtype) for name, values in speaker.items()}
        if "coefficients" in prepared:
            prepared["coefficients"] = self.feature_extractor.remove_mean_face(prepared["coefficients"])
        return prepared

    def silence(self, streams: Iterable[str], batch_size: int) -> dict[str, Tensor]:
        """What was before the speaker's first frame: zeros, as in the official test."""
        options: dict[str, Any] = {"device": self.device, "dtype": self.dtype}
        return {name: torch.zeros(batch_size, self.context_frames, STREAM_WIDTHS[name], **options) for name in streams}

    @property
    def generators(self) -> Sequence[Generator]:
        """The sources of noise that `react` draws from, so that a window that failed can be tried again."""
        return ()

    @abstractmethod
    def react(self, window: DueWindow) -> Tensor:
        """A window of reactions, `(batch, num_reactions, window, channels)`."""

    @abstractmethod
    def decode(self, reactions: Tensor) -> tuple[Tensor, Tensor]:
        """Emotion `(..., 25)` in [-1, 1] and coefficients `(..., 58)`, mean face included, of `(..., channels)`."""

    def batch_key(self, batch_size: int) -> Hashable:
        """What reactors must share so that their windows can be one batch; by default none shares with another."""
        return id(self)

    def join(self, others: Sequence[WindowReactor], batch_sizes: Sequence[int]) -> WindowReactor:
        """One reactor for the speakers of this and others with the same `batch_key`, one after the other.

        Args:
            others: the others, without this one.
            batch_sizes: speakers of this one and of each of the others.
        """
        raise NotImplementedError(f"{type(self).__name__} shares no batch with others.")


class DenoisingReactor(WindowReactor):
    """PerFRDiff's window: encode the speaker, denoise reactions, decode their coefficients.

    With a denoiser that joins shown frames (`max_shown_frames`), new frames answer the speaker until now: equation 3
    with w = hop. With another, as converted from the official program, a hop shorter than a window makes the seam
    between windows smooth (`join_held`) and nothing else.

    Args:
        sampler: which denoises, and for which listeners.
        emotion_vae: for the speaker's latent, and from emotion to coefficients.
        feature_extractor: the mean face, and the length of a window.
        device: where it reacts.
        style: `(speakers, style_size)`, of the listener of each speaker, where the denoiser takes styles as an input;
            None reacts without.

    Raises:
        ValueError: if the hop is out of range.
    """

    def __init__(
        self,
        sampler: WindowSampler,
        emotion_vae: EmotionVAEModel,
        feature_extractor: PerFRDiffFeatureExtractor,
        device: torch.device,
        style: Tensor | None = None,
    ):
        # Noise and steps stay in float32 where the denoiser computes in less.
        dtype = torch.promote_types(sampler.denoiser.dtype, torch.float32)
        config, settings = sampler.denoiser.config, sampler.settings
        super().__init__(
            feature_extractor,
            device,
            dtype,
            settings.num_reactions,
            config.in_channels,
            settings.hop,
            config.max_shown_frames,
            config.context_windows,
        )
        self.sampler = sampler
        self.emotion_vae = emotion_vae
        self.style = style

    def check_streams(self, given: Iterable[str]) -> None:
        """See that the model was trained to do without the streams of behaviour that are missing.

        Raises:
            ValueError: if not.
        """
        denoiser, given = self.sampler.denoiser, set(given)
        needed = {STREAM_OF_CONDITION[kind] for kind in denoiser.condition_widths if kind in STREAM_OF_CONDITION}
        missing = [ARGUMENTS[stream] for stream in ARGUMENTS if stream in needed - given]
        if missing and denoiser.config.condition_dropout == 0:
            raise ValueError(
                f"This model was trained with every stream (condition_dropout 0) and needs {', '.join(missing)}."
            )

    @property
    def generators(self) -> Sequence[Generator]:
        """The sources of noise: one for all speakers, one for each, or none if the global one is used."""
        generator = self.sampler.settings.generator
        return [generator] if isinstance(generator, Generator) else (generator or ())

    @torch.no_grad()
    def encode(self, speaker: Mapping[str, Tensor], past: Tensor | None = None) -> Tensor:
        """The condition's tokens for one window of the speaker (SBE, equation 4).

        Args:
            speaker: the speaker's prepared streams, `(batch, context, width)`.
            past: the reactions of the window before, `(batch, num_reactions, window, channels)`, where the denoiser is
                conditioned on them (equation 9).

        Returns:
            `(batch, tokens, hidden_size)`, or `(batch * num_reactions, ...)` where each reaction has its own past.
        """
        denoiser = self.sampler.denoiser
        conditions = speaker_conditions(denoiser, self.emotion_vae, speaker, past, self.style)
        conditions = {kind: values.to(denoiser.dtype) for kind, values in conditions.items()}
        return denoiser.encode_condition(conditions, num_frames=self.window_size)

    @torch.no_grad()
    def react(self, window: DueWindow) -> Tensor:
        """Denoise a window of reactions, `(batch, num_reactions, window, channels)`, emotion in [-1, 1]."""
        latents = self.sampler.noise(window.batch_size, self.window_size, self.device, self.dtype)
        return self.sampler.sample(self.encode(window.speaker, window.previous), latents, window.held)

    @torch.no_grad()
    def decode(self, reactions: Tensor) -> tuple[Tensor, Tensor]:
        """See `WindowReactor`; movement goes on top of the mean face, and where there is none, emotion implies it."""
        emotion, movement = reactions[..., :EMOTION_CHANNELS], reactions[..., EMOTION_CHANNELS:]
        if not movement.shape[-1]:
            movement = self.emotion_vae.to_coefficients(emotion.to(self.emotion_vae.dtype)).to(reactions.dtype)
        return self.feature_extractor.neutralise(emotion, self.feature_extractor.add_mean_face(movement))

    def batch_key(self, batch_size: int) -> Hashable:
        """Everything but speakers, listeners and noise: the same models, scheduler and settings."""
        sampler = self.sampler
        generator = sampler.settings.generator
        return (
            id(sampler.denoiser),
            id(self.emotion_vae),
            id(self.feature_extractor),
            type(sampler.scheduler),
            repr(sorted(sampler.scheduler.config.items(), key=str)),
            replace(sampler.settings, generator=None),
            None if sampler.weight_shifts is None else sampler.weight_shifts.layout,
            generator is None,
            self.style is None,
            # One generator for several speakers cannot be told apart by row, and a callback is for its own session
            # only: such a stream stays alone.
            id(self) if sampler.is_watched or (isinstance(generator, Generator) and batch_size > 1) else None,
        )

    def join(self, others: Sequence[WindowReactor], batch_sizes: Sequence[int]) -> DenoisingReactor:
        """One reactor whose sampler knows every session's listeners and noise."""
        reactors = [self, *(other for other in others if isinstance(other, DenoisingReactor))]
        joint = JointSampler([reactor.sampler for reactor in reactors], batch_sizes)
        styles = [reactor.style for reactor in reactors if reactor.style is not None]
        style = torch.cat(styles) if styles else None
        return DenoisingReactor(joint, self.emotion_vae, self.feature_extractor, self.device, style)
