"""A handler for Hugging Face Inference Endpoints: a clip in, reactions out.

Put this file and a `requirements.txt` with `perfrdiff_hf` beside the model in its repository. A request is

    {"inputs": {"coefficients": [[58 numbers], ...], "emotion": [[25 numbers], ...], "audio": [[78 numbers], ...],
                "sound": "base64 of a wav or flac file"},
     "parameters": {"num_reactions": 3, "num_inference_steps": 4, "seed": 0, "history": [[58 numbers], ...]}}

with frames at 25 a second; whatever a model was trained to do without may be missing, `sound` takes the place of
`audio`, and everything in `parameters` may be missing. The answer is

    {"reactions": (num_reactions, frames, 25), "coefficients": (num_reactions, frames, 58), "frame_rate": 25}

or `{"error": ...}` that says what is wrong with the request.
"""

from __future__ import annotations

import base64
import binascii
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from perfrdiff_hf import load_system
from perfrdiff_hf.behaviour import FRAME_RATE, STREAM_WIDTHS, Behaviour, check_stream
from perfrdiff_hf.data.audio import mfcc_features, read_audio


MOST_FRAMES = 120 * FRAME_RATE
MOST_REACTIONS = 10
MOST_STEPS = 100
MOST_SOUND_BYTES = 32 * 2**20


class EndpointHandler:
    """What Inference Endpoints look for.

    Args:
        path: the folder with the model.
    """

    def __init__(self, path: str = ""):
        self.pipeline = load_system(path)
        self.pipeline.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        self.pipeline.set_progress_bar_config(disable=True)

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one request."""
        try:
            return self._react(data)
        except (ValueError, TypeError) as error:
            return {"error": str(error)}

    def _react(self, data: Mapping[str, Any]) -> dict[str, Any]:
        speaker = read_inputs(_mapping(data, "inputs"))
        parameters = _mapping(data, "parameters") if data.get("parameters") else {}
        known = {"num_reactions", "num_inference_steps", "seed", "history"}
        if set(parameters) - known:
            raise ValueError(f"parameters may hold {sorted(known)}; given: {sorted(parameters)}.")
        settings: dict[str, Any] = {"num_reactions": _whole(parameters, "num_reactions", 3, MOST_REACTIONS)}
        if "num_inference_steps" in parameters:
            settings["num_inference_steps"] = _whole(parameters, "num_inference_steps", 0, MOST_STEPS)
        if "history" in parameters:
            history = _frames("history", parameters["history"], STREAM_WIDTHS["coefficients"])
            settings["listener_history"] = Behaviour(coefficients=history)
        generator = torch.Generator().manual_seed(_whole(parameters, "seed", 0, 2**31, least=0))
        output = self.pipeline(speaker=speaker, generator=generator, output_type="np", **settings)
        return {
            "reactions": output.reactions[0].tolist(),
            "coefficients": output.coefficients[0].tolist(),
            "frame_rate": FRAME_RATE,
        }


def read_inputs(inputs: Mapping[str, Any]) -> Behaviour:
    """The speaker of a request.

    Raises:
        ValueError: if a stream is unknown, missing altogether, too long, or not what it should be.
    """
    unknown = set(inputs) - {*STREAM_WIDTHS, "sound"}
    if unknown:
        raise ValueError(f"inputs may hold {[*STREAM_WIDTHS, 'sound']}; given: {sorted(inputs)}.")
    if "audio" in inputs and "sound" in inputs:
        raise ValueError("Give audio or sound, not both.")
    given = {name: width for name, width in STREAM_WIDTHS.items() if inputs.get(name) is not None}
    streams = {name: _frames(name, inputs[name], width) for name, width in given.items()}
    if inputs.get("sound") is not None:
        frames = len(next(iter(streams.values()))) if streams else None
        streams["audio"] = _features(inputs["sound"], frames)
    return Behaviour(**streams)


def _features(sound: Any, frames: int | None) -> np.ndarray:
    if not isinstance(sound, str) or len(sound) > MOST_SOUND_BYTES:
        raise ValueError(f"sound must be a base64 text of at most {MOST_SOUND_BYTES} characters.")
    try:
        data = base64.b64decode(sound, validate=True)
    except binascii.Error as error:
        raise ValueError(f"sound must be base64: {error}.") from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sound"
        path.write_bytes(data)
        try:
            # Before it is read, as a small file may hold hours of silence.
            length = int(soundfile.info(path).duration * FRAME_RATE)
            if not 1 <= length <= MOST_FRAMES:
                raise ValueError(f"sound must have 1 to {MOST_FRAMES} frames of 40 ms; it has {length}.")
            waveform, rate = read_audio(path)
        except soundfile.SoundFileError as error:
            raise ValueError("sound cannot be read as a sound file.") from error
    frames = frames or length
    return mfcc_features(waveform, rate, frames)


def _frames(name: str, values: Any, width: int) -> np.ndarray:
    if not isinstance(values, list) or len(values) > MOST_FRAMES:
        raise ValueError(f"{name} must be a list of at most {MOST_FRAMES} frames.")
    try:
        numbers = np.array(values, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} must hold {width} numbers in each frame: {error}.") from error
    return check_stream(name, numbers, width)


def _mapping(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    if not isinstance(data.get(name), Mapping):
        raise ValueError(f"A request must hold {name} as an object; given: {type(data.get(name)).__name__}.")
    return data[name]


def _whole(parameters: Mapping[str, Any], name: str, default: int, most: int, least: int = 1) -> int:
    value = parameters.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}; given: {value!r}.")
    return value
