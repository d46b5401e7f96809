"""Sound to audio features: 78 numbers for each video frame, computed over the whole clip at once.

A video frame owns `int(sample_rate / 25)` samples. In them lie two sub-frames of 25 ms, 10 ms apart, each turned into
13 Kaldi-style cepstral coefficients (REACT's definition: log-energy as the first, 23 mel bins from 20 Hz to Nyquist,
lifter 22, no dither). Their deltas and delta-deltas follow; with two sub-frames these reduce to `0.3 * (x1 - x0)` and
to zero. The order of the 78 channels is `perfrdiff_hf.behaviour.AUDIO_NAMES`.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import fft

from ..behaviour import AUDIO_CHANNELS, FRAME_RATE
from ..faces.tracking.video import is_video, read_sound


FRAMES_AT_ONCE = 50
SUBFRAMES = 2
CEPSTRA = 13
MEL_BINS = 23
LIFTER = 22
PREEMPHASIS = 0.97
LOWEST_SAMPLE_RATE = 8000
# Louder than this in units of full scale, and the samples are integers that nobody divided.
LOUDEST = 4.0
SMALLEST = float(np.finfo(np.float32).eps)


def mfcc_features(waveform: np.ndarray, sample_rate: int, num_frames: int) -> np.ndarray:
    """The audio features of REACT for a clip.

    Args:
        waveform: `(samples,)` or `(samples, channels)` floating-point sound in [-1, 1]; channels are averaged. Sound
            that is too short is padded with silence, sound that is too long is cut.
        sample_rate: samples per second, at least 8000. Any rate will do; nothing is resampled.
        num_frames: number of video frames (25 per second) to describe.

    Returns:
        `(num_frames, 78)` float32; channel `26 * part + 2 * cepstrum + subframe`, part 0 static, 1 delta, 2
        delta-delta.

    Raises:
        TypeError: if the waveform does not hold floating-point numbers.
        ValueError: if the waveform's rank is wrong, it holds NaN, infinite or far too large values, the sample rate is
            below 8000 or `num_frames` below 1.
    """
    waveform = _check_waveform(waveform, sample_rate, num_frames)
    samples_per_frame = int(sample_rate / FRAME_RATE)
    # A matrix product averages the channels many times faster than `mean` over a short axis.
    mono = (
        waveform @ np.full(waveform.shape[1], 1 / waveform.shape[1], waveform.dtype)
        if waveform.ndim == 2
        else waveform
    )
    sound = np.zeros(num_frames * samples_per_frame, dtype=np.float32)
    sound[: len(mono)] = mono[: len(sound)]
    frames = sound.reshape(num_frames, samples_per_frame)
    # A few frames at a time stay in the processor's cache, which is twice as fast as all at once.
    pieces = np.array_split(frames, -(-num_frames // FRAMES_AT_ONCE))
    cepstra = np.concatenate([_cepstra(piece, int(sample_rate)) for piece in pieces])

    features = np.zeros((num_frames, 3, CEPSTRA, SUBFRAMES), dtype=np.float32)
    features[:, 0] = cepstra.transpose(0, 2, 1)
    # A five-point delta over two frames with repeated edges, the same in both; so the delta of the delta is zero.
    features[:, 1] = 0.3 * (cepstra[:, 1] - cepstra[:, 0])[..., None]
    return features.reshape(num_frames, AUDIO_CHANNELS)


def read_audio(path: str | os.PathLike) -> tuple[np.ndarray, int]:
    """The sound of a file that `soundfile` can read (wav, flac, ogg, mp3, ...), or of a video (with PyAV).

    Returns:
        The waveform `(samples, channels)` float32 in [-1, 1], and its sample rate. A video's begins with its first
        picture.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file cannot be read as sound or holds no samples.
        ImportError: if it is a video, and PyAV is not installed.
    """
    import soundfile

    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no sound file {os.fspath(path)}.")
    if is_video(Path(path)):
        found = read_sound(Path(path))
        if found is None:
            raise ValueError(f"{os.fspath(path)} is a video without sound.")
        return found
    try:
        waveform, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise ValueError(f"{os.fspath(path)} cannot be read as sound: {error}") from error
    if not len(waveform):
        raise ValueError(f"{os.fspath(path)} holds no samples.")
    return waveform, sample_rate


class _Analysis(NamedTuple):
    """What the cepstra of one sample rate need: sizes in samples, and constant arrays."""

    length: int
    shift: int
    fft_size: int
    window: np.ndarray  # (length,)
    mel: np.ndarray  # (fft_size // 2 + 1, 23)
    cosines: np.ndarray  # (23, 13), the lifter included


@lru_cache(maxsize=8)
def _analysis(sample_rate: int) -> _Analysis:
    from transformers.audio_utils import mel_filter_bank, optimal_fft_length, window_function

    length, shift = int(sample_rate * 0.025), int(sample_rate * 0.010)
    fft_size = optimal_fft_length(length)
    mel = mel_filter_bank(
        fft_size // 2 + 1, MEL_BINS, 20.0, sample_rate / 2, sample_rate,
        mel_scale="kaldi", triangularize_in_mel_space=True,
    )  # fmt: skip
    cosines = fft.dct(np.eye(MEL_BINS), type=2, norm="ortho", axis=1)[:, :CEPSTRA]
    lifter = 1 + LIFTER / 2 * np.sin(np.pi * np.arange(CEPSTRA) / LIFTER)
    window = window_function(length, "povey", periodic=False)
    return _Analysis(length, shift, fft_size, window.astype(np.float32), mel.astype(np.float32), cosines * lifter)


def _cepstra(frames: np.ndarray, sample_rate: int) -> np.ndarray:
    """`(frames, samples)` sound to `(frames, 2, 13)` cepstral coefficients, the first replaced by the log-energy."""
    plan = _analysis(sample_rate)
    starts = [plan.shift * subframe for subframe in range(SUBFRAMES)]
    pieces = np.stack([frames[:, start : start + plan.length] for start in starts], axis=1)
    pieces -= pieces.mean(axis=-1, keepdims=True)
    energy = np.einsum("fsn,fsn->fs", pieces, pieces)
    # The sample before the first one is taken to be equal to it.
    pieces[..., 1:] -= PREEMPHASIS * pieces[..., :-1]
    pieces[..., 0] *= 1 - PREEMPHASIS
    pieces *= plan.window
    spectrum = fft.rfft(pieces, plan.fft_size, axis=-1)
    power = spectrum.real**2 + spectrum.imag**2
    cepstra = np.log(np.maximum(power @ plan.mel, SMALLEST)) @ plan.cosines
    cepstra[..., 0] = np.log(np.maximum(energy, 1.0))
    return cepstra


def _check_waveform(waveform: np.ndarray, sample_rate: int, num_frames: int) -> np.ndarray:
    waveform = np.asarray(waveform)
    if waveform.dtype.kind != "f":
        raise TypeError(
            f"waveform must hold floating-point numbers in [-1, 1]; its dtype is {waveform.dtype}. "
            "Divide integer samples by their full scale (16 bits: 32768)."
        )
    if waveform.ndim not in (1, 2):
        raise ValueError(f"waveform must have shape (samples,) or (samples, channels); it has {waveform.shape}.")
    if waveform.ndim == 2 and waveform.shape[1] > max(waveform.shape[0], 8):
        raise ValueError(f"waveform must have shape (samples, channels); {waveform.shape} looks transposed.")
    if sample_rate < LOWEST_SAMPLE_RATE:
        raise ValueError(f"sample_rate must be at least {LOWEST_SAMPLE_RATE} per second; given: {sample_rate}.")
    if num_frames < 1:
        raise ValueError(f"num_frames must be at least 1; given: {num_frames}.")
    loudest = np.abs(waveform).max(initial=0)
    if not loudest <= LOUDEST:
        raise ValueError(f"waveform must hold finite numbers in [-1, 1]; its largest magnitude is {loudest}.")
    return waveform
