"""Checking what a caller hands to the pipeline, before any work begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ..behaviour import COEFFICIENT_CHANNELS, STREAM_WIDTHS, Behaviour, check_same_frames


ArrayLike = np.ndarray | Tensor
History = ArrayLike | Behaviour | Sequence[ArrayLike | Behaviour]

ARGUMENTS = {"audio": "speaker_audio", "emotion": "speaker_emotion", "coefficients": "speaker_coefficients"}


def check_tensor(name: str, values: ArrayLike, shape: tuple[str | int, ...]) -> Tensor:
    """`values` as a tensor of floating-point numbers, or an error that says what is wrong with it.

    Args:
        name: the argument's name; error messages begin with it.
        values: array or tensor.
        shape: the expected shape; a string stands for any length of at least one.

    Raises:
        TypeError: if `values` is not an array or tensor of numbers.
        ValueError: if the shape is wrong, or a value is NaN or infinite.
    """
    if not isinstance(values, (np.ndarray, Tensor)):
        raise TypeError(f"{name} must be a NumPy array or a tensor; given: {type(values).__name__}.")
    if isinstance(values, np.ndarray) and values.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold numbers; its dtype is {values.dtype}.")
    if isinstance(values, np.ndarray):
        values = np.require(values, requirements="W")  # torch warns of memory that it must not write to
    tensor = torch.as_tensor(values)
    if tensor.is_complex():
        raise TypeError(f"{name} must hold real numbers; its dtype is {tensor.dtype}.")
    expected = f"({', '.join(map(str, shape))})"
    if tensor.dim() != len(shape):
        raise ValueError(f"{name} must have shape {expected}; given: {tuple(tensor.shape)}.")
    for length, wanted in zip(tensor.shape, shape):
        if length != wanted if isinstance(wanted, int) else length < 1:
            raise ValueError(f"{name} must have shape {expected}; given: {tuple(tensor.shape)}.")
    if not tensor.is_floating_point():
        tensor = tensor.float()
    bad = ~torch.isfinite(tensor)
    if bad.any():
        first = tuple(bad.nonzero()[0].tolist())
        raise ValueError(
            f"{name} holds {int(bad.sum())} NaN or infinite values, the first at {first}. Bridge those frames."
        )
    return tensor


def check_speaker(
    streams: Mapping[str, ArrayLike | None], min_frames: int, arguments: Mapping[str, str] = ARGUMENTS
) -> dict[str, Tensor]:
    """The speaker's streams that are given, checked and as tensors `(batch, frames, width)`.

    Args:
        streams: `"audio"`, `"emotion"` and `"coefficients"` to values or None.
        min_frames: the fewest frames that the caller can use.
        arguments: what the caller's arguments for the streams are called.

    Raises:
        TypeError, ValueError: see `check_tensor`; also if no stream is given, or they differ in batch or frames.
    """
    given = {
        stream: check_tensor(arguments[stream], values, ("batch", "frames", STREAM_WIDTHS[stream]))
        for stream, values in streams.items()
        if values is not None
    }
    if not given:
        raise ValueError(f"At least one of {', '.join(arguments.values())} must be given; all are None.")
    frames = check_same_frames({arguments[stream]: values.shape[1] for stream, values in given.items()})
    batches = {arguments[stream]: values.shape[0] for stream, values in given.items()}
    if len(set(batches.values())) > 1:
        raise ValueError(f"All streams must have the same batch size; given: {batches}.")
    if frames < min_frames:
        raise ValueError(
            f"The speaker's streams must have at least {min_frames} frames (one window); given: {frames}."
        )
    return given


def speaker_streams(
    audio: ArrayLike | None,
    emotion: ArrayLike | None,
    coefficients: ArrayLike | None,
    speaker: Behaviour | Sequence[Behaviour] | None,
) -> dict[str, ArrayLike | None]:
    """A call's streams by name, from arrays `(batch, frames, width)` or from the `Behaviour` of each speaker.

    Raises:
        TypeError: if `speaker` is neither a `Behaviour` nor a sequence of them.
        ValueError: if both are given, or the speakers differ in their streams or in their number of frames.
    """
    arrays = {"audio": audio, "emotion": emotion, "coefficients": coefficients}
    if speaker is None:
        return arrays
    given = [ARGUMENTS[stream] for stream, values in arrays.items() if values is not None]
    if given:
        raise ValueError(f"Give speaker or arrays, not both; given: speaker and {', '.join(given)}.")
    speakers = [speaker] if isinstance(speaker, Behaviour) else list(speaker)
    if not speakers or not all(isinstance(one, Behaviour) for one in speakers):
        raise TypeError(
            "speaker must be a Behaviour or a sequence of them; arrays are given as speaker_audio, speaker_emotion "
            "and speaker_coefficients."
        )
    if len({(tuple(one.streams), len(one)) for one in speakers}) > 1:
        described = "; ".join(f"{len(one)} frames of {', '.join(one.streams)}" for one in speakers)
        raise ValueError(f"All speakers must have the same streams and number of frames; given: {described}.")
    return {name: np.stack([one.streams[name] for one in speakers]) for name in speakers[0].streams}


def check_history(history: History, min_frames: int) -> list[Tensor]:
    """Listener histories as a list with one tensor `(listeners, frames, 58)` for each length.

    A single array `(listeners, frames, 58)` gives a list of one, and so does a `Behaviour`; a sequence of
    `(frames, 58)` or of `Behaviour` gives one entry a listener.

    Raises:
        TypeError, ValueError: see `check_tensor`; also if the history is empty, shorter than `min_frames`, or a
            `Behaviour` without coefficients.
    """
    if isinstance(history, Behaviour):
        history = [history]
    if isinstance(history, (np.ndarray, Tensor)):
        histories = [check_tensor("listener_history", history, ("listeners", "frames", COEFFICIENT_CHANNELS))]
    else:
        if not len(history):
            raise ValueError("listener_history must hold at least one history; given: an empty sequence.")
        histories = [
            check_tensor(f"listener_history[{index}]", _coefficients_of(one, index), ("frames", COEFFICIENT_CHANNELS))[
                None
            ]
            for index, one in enumerate(history)
        ]
    shortest = min(one.shape[1] for one in histories)
    if shortest < min_frames:
        raise ValueError(f"listener_history must have at least {min_frames} frames; given: {shortest}.")
    return histories


def _coefficients_of(one: ArrayLike | Behaviour, index: int) -> ArrayLike:
    if not isinstance(one, Behaviour):
        return one
    if one.coefficients is None:
        raise ValueError(f"listener_history[{index}] must hold coefficients; it holds {', '.join(one.streams)} only.")
    return one.coefficients
