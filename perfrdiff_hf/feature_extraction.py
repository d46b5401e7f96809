"""From recorded behaviour to what the models read: sound to audio features, coefficients without the mean face."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from transformers import AutoFeatureExtractor, BatchFeature, FeatureExtractionMixin

from .behaviour import COEFFICIENT_CHANNELS, FRAME_RATE, MEAN_FACE, WINDOW_SIZE, Behaviour
from .data.audio import mfcc_features
from .data.masks import ChannelMask
from .models.pssl import PSSLConfig


Array = TypeVar("Array", np.ndarray, Tensor)


class PerFRDiffFeatureExtractor(FeatureExtractionMixin):
    """What a saved pipeline knows of its inputs: the mean face that training removed, and the length of a window.

    Args:
        mean_face: 58 values, the mean of the coefficients as recorded; None is REACT's (`behaviour.MEAN_FACE`).
        window_size: frames of a window, w of the paper.
        unavailable: names of channels that its training data did not have: they were not trained, and the pipeline
            gives neutral values there (0 in emotion, the mean face in coefficients). None: every channel was there.
        frame_rate: frames per second; 25, the rate of the audio features and of all data. It is written down so that
            a saved pipeline says what it takes.

    Raises:
        ValueError: if `mean_face` does not hold 58 numbers, `window_size` is not positive, `frame_rate` is another, or
            `unavailable` names what is no channel.
    """

    model_input_names = ["audio", "emotion", "coefficients"]

    def __init__(
        self,
        mean_face: Sequence[float] | None = None,
        window_size: int = WINDOW_SIZE,
        frame_rate: int = FRAME_RATE,
        unavailable: Sequence[str] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        mean = np.asarray(MEAN_FACE if mean_face is None else mean_face, dtype=np.float32)
        if mean.shape != (COEFFICIENT_CHANNELS,):
            raise ValueError(f"mean_face must hold {COEFFICIENT_CHANNELS} values; its shape is {mean.shape}.")
        if window_size < 1:
            raise ValueError(f"window_size must be at least 1 frame; given: {window_size}.")
        if frame_rate != FRAME_RATE:
            raise ValueError(
                f"frame_rate must be {FRAME_RATE}: audio features and models are made for it; given: {frame_rate}. "
                f"Resample behaviour to {FRAME_RATE} frames per second, as read_face_track does."
            )
        self.mean_face = mean.tolist()
        self.window_size = window_size
        self.frame_rate = frame_rate
        self.unavailable = list(ChannelMask(unavailable=tuple(unavailable or ())).unavailable)

    def available(self, stream: str) -> Tensor | None:
        """Which channels of "emotion" or "coefficients" were trained, `(channels,)` bool; None: all of both."""
        if not self.unavailable:
            return None
        return torch.from_numpy(ChannelMask(unavailable=tuple(self.unavailable)).available(stream))

    def neutralise(self, emotion: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Generated emotion `(..., 25)` and coefficients `(..., 58)` with neutral values where nothing was trained."""
        if not self.unavailable:
            return emotion, coefficients
        of_emotion, of_coefficients = (self.available(stream) for stream in ("emotion", "coefficients"))
        assert of_emotion is not None and of_coefficients is not None
        neutral = self._mean_like(coefficients)
        return (
            torch.where(of_emotion.to(emotion.device), emotion, torch.zeros_like(emotion)),
            torch.where(of_coefficients.to(coefficients.device), coefficients, neutral),
        )

    def remove_mean_face(self, coefficients: Array) -> Array:
        """Coefficients as recorded `(..., 58)` to what the models read."""
        return coefficients - self._mean_like(coefficients)

    def add_mean_face(self, coefficients: Array) -> Array:
        """Coefficients as the models give them `(..., 58)` to coefficients as recorded."""
        return coefficients + self._mean_like(coefficients)

    def _mean_like(self, coefficients: Array) -> Array:
        if isinstance(coefficients, Tensor):
            return torch.tensor(self.mean_face, dtype=coefficients.dtype, device=coefficients.device)
        return np.asarray(self.mean_face, dtype=np.float32)

    def __call__(
        self,
        waveform: np.ndarray | None = None,
        sampling_rate: int | None = None,
        emotion: np.ndarray | None = None,
        coefficients: np.ndarray | None = None,
        num_frames: int | None = None,
        return_tensors: str | None = None,
    ) -> BatchFeature:
        """Turn one person's recording into the streams that the pipeline takes.

        Args:
            waveform: `(samples,)` or `(samples, channels)` in [-1, 1].
            sampling_rate: samples per second of `waveform`.
            emotion: `(frames, 25)`, passed through.
            coefficients: `(frames, 58)` as recorded, passed through: the pipeline itself removes the mean face.
            num_frames: frames of audio features; by default those of the other streams, or the sound's own length.
            return_tensors: `"pt"` or `"np"`; by default NumPy arrays.

        Returns:
            A `BatchFeature` with `speaker_audio`, `speaker_emotion` and `speaker_coefficients`, those that were given,
            each `(1, frames, width)`: `pipe(**features)` takes it as it is.

        Raises:
            ValueError: if the sampling rate is missing, or the streams do not fit (see `Behaviour`).
        """
        audio = None
        if waveform is not None:
            if sampling_rate is None:
                raise ValueError("sampling_rate must be given with waveform, in samples per second.")
            if num_frames is None:
                face = emotion if emotion is not None else coefficients
                num_frames = len(face) if face is not None else len(waveform) * FRAME_RATE // sampling_rate
            audio = mfcc_features(waveform, sampling_rate, num_frames)
        streams = Behaviour(audio=audio, emotion=emotion, coefficients=coefficients).streams
        names = {"audio": "speaker_audio", "emotion": "speaker_emotion", "coefficients": "speaker_coefficients"}
        features = {names[stream]: values[None] for stream, values in streams.items()}
        return BatchFeature(features, tensor_type=return_tensors)


# From here on `AutoFeatureExtractor.from_pretrained` knows it. transformers asks for a configuration to file it under;
# the style encoder's reads what this extractor prepares.
AutoFeatureExtractor.register(PSSLConfig, PerFRDiffFeatureExtractor, exist_ok=True)
