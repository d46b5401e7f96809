"""A reaction stream: behaviour goes in as it happens, in chunks of any length, and windows of reactions come out.

The full-clip call of the pipeline is a stream that happens to be complete: both walk through the same windows with the
same numbers, so that they agree to the last bit for the same seed, however the behaviour is cut into chunks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..behaviour import AUDIO_CHANNELS, FRAME_RATE
from ..data.audio import mfcc_features
from .inputs import ArrayLike, check_speaker, check_tensor
from .windows import DueWindow, WindowReactor


# How far one stream of behaviour may run ahead of another before something must be wrong, in windows.
MOST_WINDOWS_AHEAD = 30


@dataclass
class ReactionSegment:
    """New frames of the reactions.

    Args:
        start: index of the first of them since the stream began.
        reactions: `(batch, num_reactions, frames, 25)` in [-1, 1].
        coefficients: `(batch, num_reactions, frames, 58)`, mean face included.
    """

    start: int
    reactions: Tensor
    coefficients: Tensor


class ReactionStream:
    """Reactions to behaviour that arrives bit by bit; made by a pipeline's `stream`.

    The window of reactions that begins at frame `t` depends on the speaker's frames before `t` (equation 3), and comes
    out of `push` as soon as the speaker's frame `t - 1` is in. The first one, at frame 0, depends on nothing that the
    speaker did and comes out of the first `push`. With an overlap of `o` frames, windows of `w` frames follow each
    other every `w - o` frames: the first `o` frames of each are those already shown, so that a segment holds `w - o`
    new frames, and the newest of them are `o` frames further from the speaker's behaviour that they answer.

    What is kept is one window of the speaker and of the reactions, however long the session.

    Args:
        reactor: which generates, and for which listeners.
        batch_size: speakers that are heard at once, each with their own listener.
        sampling_rate: samples per second of the sound that `push` may get; None if it gets audio features.
    """

    def __init__(
        self,
        reactor: WindowReactor,
        batch_size: int,
        sampling_rate: int | None = None,
    ):
        self.reactor = reactor
        self.batch_size = batch_size
        self._sampling_rate = sampling_rate
        self._stride = reactor.window_size - reactor.overlap
        self.reset()

    def reset(self) -> None:
        """Forget everything that was pushed; the listeners and the settings stay, the generator goes on."""
        # Each stream of behaviour is held from frame `_heard_from` on; before its first frame there is silence.
        self._heard: dict[str, Tensor] = {}
        self._heard_from = -self.reactor.window_size
        self._samples = np.zeros((self.batch_size, 0), dtype=np.float32)
        self._shown: Tensor | None = None
        self._next_window = 0

    @property
    def frames_heard(self) -> int:
        """Frames of the speaker since the stream began, of the stream of behaviour that is furthest behind."""
        return self._heard_from + min((values.shape[1] for values in self._heard.values()), default=-self._heard_from)

    def push(
        self,
        audio: ArrayLike | None = None,
        emotion: ArrayLike | None = None,
        coefficients: ArrayLike | None = None,
        samples: ArrayLike | None = None,
    ) -> list[ReactionSegment]:
        """Take the next frames of the speaker and give the segments that they complete; see `hear`."""
        self.hear(audio, emotion, coefficients, samples)
        return list(self.segments())

    def hear(
        self,
        audio: ArrayLike | None = None,
        emotion: ArrayLike | None = None,
        coefficients: ArrayLike | None = None,
        samples: ArrayLike | None = None,
    ) -> None:
        """Take the next frames of the speaker, without generating anything yet.

        The first chunk decides which streams of behaviour the session has.

        Args:
            audio: `(batch, frames, 78)` audio features.
            emotion: `(batch, frames, 25)`.
            coefficients: `(batch, frames, 58)`, mean face included.
            samples: `(batch, samples)` raw sound in [-1, 1] instead of audio features, any number of samples. It need
                not keep step with the face: either may come alone, and what is ahead waits for the other.

        Raises:
            TypeError, ValueError: if the chunk does not fit the stream: other streams of behaviour than in the first
                chunk, wrong shapes, NaN, sound that runs away from the face. The chunk is then ignored as a whole,
                and the stream goes on as before.
        """
        chunk, samples_left = self._check_chunk(audio, emotion, coefficients, samples)
        self.hear_checked(chunk)
        self._samples = samples_left

    def hear_checked(self, chunk: Mapping[str, Tensor]) -> None:
        """Take streams of the speaker that a pipeline has checked already, each `(batch, frames, width)`."""
        speaker = self.reactor.prepare(chunk)
        if not self._heard:
            self._heard = self.reactor.silence(speaker, self.batch_size)
        joined = {name: torch.cat([self._heard[name], values], dim=1) for name, values in speaker.items()}
        self._heard = {**self._heard, **joined}

    def flush(self) -> list[ReactionSegment]:
        """End the session: hold the speaker's last frame until one more window begins, and give its segment."""
        missing = self._next_window - self.frames_heard
        if not self._heard or missing == self._stride:
            return []
        end = {name: values[:, : self.frames_heard - self._heard_from] for name, values in self._heard.items()}
        self._heard = {
            name: torch.cat([values, values[:, -1:].expand(-1, missing, -1)], dim=1) for name, values in end.items()
        }
        return list(self.segments())

    def segments(self, until: int | None = None) -> Iterator[ReactionSegment]:
        """Generate what can be generated from what was heard, at most the windows that begin before frame `until`."""
        while self.is_due and (until is None or self._shown_until < until):
            window = self.due_window()
            yield self.show(self.reactor.react(window))

    def count_windows(self, frames: int) -> int:
        """How many windows begin before a frame, counted from the beginning of the stream."""
        return 1 + max(0, -(-(frames - self.reactor.window_size) // self._stride))

    @property
    def is_due(self) -> bool:
        """Whether enough was heard for the next window."""
        return bool(self._heard) and self._next_window <= self.frames_heard

    def due_window(self) -> DueWindow:
        """What the next window of reactions depends on; only where it `is_due`."""
        overlap, size = self.reactor.overlap, self.reactor.window_size
        first = self._next_window - size - self._heard_from
        speaker = {name: values[:, first : first + size] for name, values in self._heard.items()}
        if self._shown is None:
            return DueWindow(speaker, self.batch_size)
        held = self._shown[:, :, -overlap:] if overlap else None
        before = self._shown[:, :, : self._shown.shape[2] - overlap]
        # Early in a session, the reactions reach back less than a window: neutral frames stand for the rest.
        silence = before.new_zeros(*before.shape[:2], max(size - before.shape[2], 0), before.shape[3])
        previous = torch.cat([silence, before], dim=2)[:, :, -size:]
        return DueWindow(speaker, self.batch_size, previous, held)

    def show(self, reactions: Tensor) -> ReactionSegment:
        """Take the reactions `(batch, num_reactions, window, 25)` to the due window; their new frames."""
        size, overlap = self.reactor.window_size, self.reactor.overlap
        # The first window has nothing to join.
        new = reactions if self._shown is None else reactions[:, :, overlap:]
        segment = ReactionSegment(self._shown_until, new, self.reactor.decode(new))
        self._shown = new if self._shown is None else torch.cat([self._shown, new], dim=2)[:, :, -size - overlap :]
        self._next_window += self._stride
        self._forget()
        return segment

    @property
    def _shown_until(self) -> int:
        """The frame after the last one that was generated."""
        return 0 if self._shown is None else self._next_window + self.reactor.overlap

    def _forget(self) -> None:
        """Keep only what the next window needs."""
        keep_from = self._next_window - self.reactor.window_size
        self._heard = {name: values[:, keep_from - self._heard_from :] for name, values in self._heard.items()}
        self._heard_from = keep_from

    def _check_chunk(
        self,
        audio: ArrayLike | None,
        emotion: ArrayLike | None,
        coefficients: ArrayLike | None,
        samples: ArrayLike | None,
    ) -> tuple[dict[str, Tensor], np.ndarray]:
        """The chunk's streams, checked against those of the session, and the samples that wait for more."""
        streams = {"audio": audio, "emotion": emotion, "coefficients": coefficients}
        samples_left = self._samples
        chunk: dict[str, Tensor] = {}
        if any(values is not None for values in streams.values()):
            chunk = check_speaker(streams, min_frames=1, arguments={name: name for name in streams})
        elif samples is None:
            raise ValueError(f"push needs at least one of samples, {', '.join(streams)}; all are None.")
        if samples is not None:
            if "audio" in chunk:
                raise ValueError("Give audio features or samples, not both.")
            features, samples_left = self._hear_samples(samples)
            chunk["audio"] = features
        given = set(chunk)
        if self._sampling_rate is not None and self._heard:
            given |= set(self._heard)  # sound and face may come in turns
        if not self._heard:
            self.reactor.check_streams(given)
        elif given != set(self._heard):
            raise ValueError(
                f"Every chunk must hold the streams of the first one, {sorted(self._heard)}; given: {sorted(chunk)}."
            )
        batches = {values.shape[0] for values in chunk.values()}
        if batches != {self.batch_size}:
            raise ValueError(f"Every chunk must hold {self.batch_size} speakers; given: {sorted(batches)}.")
        self._check_in_step(chunk)
        return chunk, samples_left

    def _check_in_step(self, chunk: Mapping[str, Tensor]) -> None:
        lengths = {name: values.shape[1] for name, values in self._heard.items()}
        lengths.update({name: lengths.get(name, 0) + values.shape[1] for name, values in chunk.items()})
        ahead = max(lengths.values()) - min(lengths.values())
        if ahead > MOST_WINDOWS_AHEAD * self.reactor.window_size:
            fastest, slowest = max(lengths, key=lengths.__getitem__), min(lengths, key=lengths.__getitem__)
            raise ValueError(
                f"{fastest} is {ahead} frames ahead of {slowest}. Push the missing frames of {slowest} first, or "
                "reset the stream."
            )

    def _hear_samples(self, samples: ArrayLike) -> tuple[Tensor, np.ndarray]:
        """Audio features of the frames that the samples complete, `(batch, frames, 78)`, and the samples left over."""
        if self._sampling_rate is None:
            raise ValueError("samples need a sampling_rate: give it to the pipeline's stream().")
        given = check_tensor("samples", samples, ("batch", "samples")).float().cpu().numpy()
        if len(given) != self.batch_size:
            raise ValueError(f"samples must hold {self.batch_size} speakers; given: {len(given)}.")
        sound = np.concatenate([self._samples, given], axis=1)
        per_frame = int(self._sampling_rate / FRAME_RATE)
        frames = sound.shape[1] // per_frame
        if not frames:
            return torch.zeros(self.batch_size, 0, AUDIO_CHANNELS), sound
        # A frame's features depend on its own samples only, so that no chunking can change them.
        features = np.stack(
            [mfcc_features(one, self._sampling_rate, frames) for one in sound[:, : frames * per_frame]]
        )
        return torch.from_numpy(features), sound[:, frames * per_frame :]
