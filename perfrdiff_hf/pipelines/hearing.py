"""What a reaction stream has heard of its speakers: chunks of any length in, windows of behaviour out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from ..behaviour import AUDIO_CHANNELS, FRAME_RATE, STREAM_WIDTHS
from ..data.audio import mfcc_features
from .inputs import ArrayLike, check_speaker, check_tensor
from .windows import WindowReactor


# How far one stream of behaviour may run ahead of another before something must be wrong, in windows.
MOST_WINDOWS_AHEAD = 30


class Hearing:
    """The streams of behaviour of one session, as far back as the next window reaches.

    Args:
        reactor: which brings behaviour to its device and knows what it can do without.
        batch_size: speakers that are heard at once.
        sampling_rate: samples per second of raw sound; None if sound comes as audio features.
        streams: which of `"audio"`, `"emotion"` and `"coefficients"` the session has. Each may then come alone, the
            first chunk included. None: the first chunk decides.

    Raises:
        ValueError: if `streams` is empty, names an unknown stream, or lacks one that the reactor needs.
    """

    def __init__(
        self,
        reactor: WindowReactor,
        batch_size: int,
        sampling_rate: int | None = None,
        streams: Iterable[str] | None = None,
    ):
        self.reactor = reactor
        self.batch_size = batch_size
        self.sampling_rate = sampling_rate
        self.announced = None if streams is None else tuple(dict.fromkeys(streams))
        if self.announced is not None:
            if not self.announced or not set(self.announced) <= set(STREAM_WIDTHS):
                raise ValueError(f"streams must be some of {tuple(STREAM_WIDTHS)}; given: {self.announced}.")
            reactor.check_streams(self.announced)
        self.reset()

    def reset(self) -> None:
        """Forget everything that was heard."""
        # Each stream of behaviour is held from frame `first_frame` on; before its first frame there is silence.
        self.streams: dict[str, Tensor] = {}
        self.first_frame = -self.reactor.context_frames
        self._samples = np.zeros((self.batch_size, 0), dtype=np.float32)
        self._awaited: set[str] = set()

    @property
    def is_complete(self) -> bool:
        """Whether something was heard of every stream of behaviour that the session has."""
        return bool(self.streams) and not self._awaited

    @property
    def frames(self) -> int:
        """Frames since the session began, of the stream of behaviour that is furthest behind."""
        return self.first_frame + min((values.shape[1] for values in self.streams.values()), default=-self.first_frame)

    def take(
        self,
        audio: ArrayLike | None = None,
        emotion: ArrayLike | None = None,
        coefficients: ArrayLike | None = None,
        samples: ArrayLike | None = None,
    ) -> None:
        """Check a chunk and take it; one that does not fit raises and leaves no trace."""
        chunk, samples_left = self._check({"audio": audio, "emotion": emotion, "coefficients": coefficients}, samples)
        self.add(chunk)
        self._samples = samples_left

    def add(self, chunk: Mapping[str, Tensor]) -> None:
        """Take streams that were checked already, each `(batch, frames, width)`."""
        speaker = self.reactor.prepare(chunk)
        streams = self.streams
        if not streams:
            streams = self.reactor.silence(self.announced or speaker, self.batch_size)
            self._awaited = set(streams)
        joined = {name: torch.cat([streams[name], values], dim=1) for name, values in speaker.items()}
        self.streams = {**streams, **joined}
        self._awaited -= set(speaker)

    def before(self, frame: int) -> dict[str, Tensor]:
        """The speakers over the frames before one, as many as are a condition, each `(batch, context, width)`."""
        last = frame - self.first_frame
        return {name: values[:, last - self.reactor.context_frames : last] for name, values in self.streams.items()}

    def forget(self, frame: int) -> None:
        """Keep only what `before` needs for a frame, and what came after."""
        keep_from = frame - self.reactor.context_frames
        self.streams = {name: values[:, keep_from - self.first_frame :] for name, values in self.streams.items()}
        self.first_frame = keep_from

    def hold(self, until: int) -> None:
        """Cut all streams at the one that is furthest behind, and hold the last frames up to frame `until`."""
        missing = until - self.frames
        heard = {name: values[:, : self.frames - self.first_frame] for name, values in self.streams.items()}
        self.streams = {
            name: torch.cat([values, values[:, -1:].expand(-1, missing, -1)], dim=1) for name, values in heard.items()
        }

    def _check(
        self, streams: Mapping[str, ArrayLike | None], samples: ArrayLike | None
    ) -> tuple[dict[str, Tensor], np.ndarray]:
        """The chunk's streams, checked against those of the session, and the samples that wait for more."""
        samples_left = self._samples
        chunk: dict[str, Tensor] = {}
        if any(values is not None for values in streams.values()):
            chunk = check_speaker(streams, min_frames=1, arguments={name: name for name in streams})
        elif samples is None:
            raise ValueError(f"A chunk needs at least one of samples, {', '.join(streams)}; all are None.")
        if samples is not None:
            if "audio" in chunk:
                raise ValueError("Give audio features or samples, not both.")
            chunk["audio"], samples_left = self._hear_samples(samples)
        self._check_streams(set(chunk))
        batches = {values.shape[0] for values in chunk.values()}
        if batches != {self.batch_size}:
            raise ValueError(f"Every chunk must hold {self.batch_size} speakers; given: {sorted(batches)}.")
        self._check_in_step(chunk)
        return chunk, samples_left

    def _check_streams(self, given: set[str]) -> None:
        if self.announced is not None:
            if not given <= set(self.announced):
                raise ValueError(
                    f"A chunk may hold {sorted(self.announced)}, as the stream was opened for; given: {sorted(given)}."
                )
        elif not self.streams:
            self.reactor.check_streams(given)
        elif given != set(self.streams) and not (self.sampling_rate is not None and given <= set(self.streams)):
            raise ValueError(
                f"Every chunk must hold the streams of the first one, {sorted(self.streams)}; given: {sorted(given)}. "
                "Open the stream with streams=(...) if they come one at a time."
            )

    def _check_in_step(self, chunk: Mapping[str, Tensor]) -> None:
        lengths = {name: values.shape[1] for name, values in self.streams.items()}
        if not lengths and self.announced is not None:
            lengths = dict.fromkeys(self.announced, 0)
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
        if self.sampling_rate is None:
            raise ValueError("samples need a sampling_rate: give it to the pipeline's stream().")
        given = check_tensor("samples", samples, ("batch", "samples")).float().cpu().numpy()
        if len(given) != self.batch_size:
            raise ValueError(f"samples must hold {self.batch_size} speakers; given: {len(given)}.")
        sound = np.concatenate([self._samples, given], axis=1)
        per_frame = int(self.sampling_rate / FRAME_RATE)
        frames = sound.shape[1] // per_frame
        if not frames:
            return torch.zeros(self.batch_size, 0, AUDIO_CHANNELS), sound
        # A frame's features depend on its own samples only, so that no chunking can change them.
        features = np.stack([mfcc_features(one, self.sampling_rate, frames) for one in sound[:, : frames * per_frame]])
        return torch.from_numpy(features), sound[:, frames * per_frame :]
