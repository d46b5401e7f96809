"""What the page and the server say to each other, as bytes and as JSON, and what is refused of it.

Binary messages begin with a byte that says what they are, in those of the page three zeros follow; numbers are
little-endian.

| who | first byte | then |
|---|---|---|
| the page | 1, faces | rows of 57 float32, see `FACE_WIDTH` |
| the page | 2, sound | int16 samples, mono, 16,000 a second |
| the server | 3, a segment | see `encode_segment` |

Everything else is a JSON object with a `type`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..behaviour import BLENDSHAPE_NAMES, COEFFICIENT_CHANNELS, EMOTION_CHANNELS
from ..faces.motion import FaceMotion
from .refusals import RefusedError


SAMPLE_RATE = 16_000
FACES, SOUND, SEGMENT = 1, 2, 3
# A row of a face: seconds since the session began; 1 if a face is seen, else 0, and what follows means nothing; 52
# blendshapes on MediaPipe's scale in the order of `BLENDSHAPE_NAMES`; pitch, yaw and roll in radians as in
# `FaceMotion`.
FACE_WIDTH = 2 + len(BLENDSHAPE_NAMES) + 3
# Of one live message: a second and a half of sound, or of faces at the highest rate.
MOST_FACE_RATE = 60
MOST_SAMPLES = 3 * SAMPLE_RATE // 2
MOST_FACES = 3 * MOST_FACE_RATE // 2
# Beyond these no tracker goes; blendshapes end at 1.
LARGEST_BLENDSHAPE = 1.5
LARGEST_ANGLE = np.pi
MOST_LISTENERS = 3
MOST_REACTIONS = 3
STEPS = (2, 50)
HOPS = (5, 50)
# The listener that is nobody in particular.
GENERIC = ""
_HEADER = struct.Struct("<B3x")
_SEGMENT_HEADER = struct.Struct("<BBHII")


@dataclass(frozen=True)
class Wishes:
    """What a page asks for when it begins a session.

    Args:
        model: name of one of the server's models.
        listeners: names of saved listeners, one to three; "" is the generic model.
        sound: whether sound will come.
        face: whether faces will come.
        num_reactions: of each listener, 1 to 3.
        num_inference_steps: 2 to 50; None: as saved with the model.
        hop: frames that each window gives, 5 to 50; None: as saved with the model.
        seed: of the noise; None: another one each time.
    """

    model: str
    listeners: tuple[str, ...] = (GENERIC,)
    sound: bool = True
    face: bool = True
    num_reactions: int = 1
    num_inference_steps: int | None = None
    hop: int | None = None
    seed: int | None = None


def decode_json(text: str) -> dict[str, Any]:
    """A JSON message.

    Raises:
        RefusedError: if it is no JSON object with a `type`.
    """
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"A text message must be JSON; it is not: {error}.") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise RefusedError("A text message must be a JSON object with a type.")
    return message


def decode_wishes(message: Mapping[str, Any]) -> Wishes:
    """What a `start` message asks for.

    Raises:
        RefusedError: if something is missing, unknown or out of range; the message names it.
    """
    known = {"type", "model", "listeners", "sound", "face", "num_reactions", "num_inference_steps", "hop", "seed"}
    if message.get("type") != "start":
        raise RefusedError(f"The first message must be of type start; given: {message.get('type')!r}.")
    unknown = sorted(set(message) - known)
    if unknown:
        raise RefusedError(f"A start message has no {', '.join(map(repr, unknown))}; it may have {sorted(known)}.")
    wishes = Wishes(
        model=_text(message, "model"),
        listeners=_listeners(message),
        sound=_flag(message, "sound"),
        face=_flag(message, "face"),
        num_reactions=_whole(message, "num_reactions", 1, MOST_REACTIONS) or 1,
        num_inference_steps=_whole(message, "num_inference_steps", *STEPS),
        hop=_whole(message, "hop", *HOPS),
        seed=_whole(message, "seed", 0, 2**31 - 1),
    )
    if not (wishes.sound or wishes.face):
        raise RefusedError("sound, face or both must be true: there would be nothing to react to.")
    return wishes


def decode_binary(data: bytes) -> tuple[int, np.ndarray]:
    """A binary message of the page.

    Returns:
        `FACES` and `(rows, 57)` float32, or `SOUND` and `(samples,)` float32 in [-1, 1].

    Raises:
        RefusedError: if it is too short, too long, of an unknown kind, ends within a number or a row, or holds NaN,
            infinite or far too large values.
    """
    if len(data) <= _HEADER.size or data[1:4] != b"\0\0\0":
        raise RefusedError(f"A binary message must have a header of 4 bytes and more; given: {len(data)} bytes.")
    kind, body = data[0], data[_HEADER.size :]
    if kind == FACES:
        return kind, decode_faces(body, MOST_FACES)
    if kind == SOUND:
        return kind, _decode_sound(body)
    raise RefusedError(f"A binary message must begin with {FACES} (faces) or {SOUND} (sound); given: {kind}.")


def decode_faces(body: bytes, most: int) -> np.ndarray:
    """Rows `(rows, 57)` of faces, in rising order of their seconds.

    Args:
        body: their bytes.
        most: how many may come at once.

    Raises:
        RefusedError: as `decode_binary`; also if seconds run backwards.
    """
    width = 4 * FACE_WIDTH
    if not body or len(body) % width or len(body) > most * width:
        raise RefusedError(
            f"Faces must be 1 to {most} rows of {FACE_WIDTH} float32, which are {width} bytes each; given: "
            f"{len(body)} bytes."
        )
    rows = np.frombuffer(body, dtype="<f4").reshape(-1, FACE_WIDTH).astype(np.float32)
    if not np.isfinite(rows).all():
        row, column = np.argwhere(~np.isfinite(rows))[0]
        raise RefusedError(f"Faces must hold finite numbers; row {row}, column {column} does not.")
    shapes, angles = rows[:, 2:-3], rows[:, -3:]
    if shapes.min() < -0.01 or shapes.max() > LARGEST_BLENDSHAPE:
        raise RefusedError(f"Blendshapes must lie in [0, 1]; they reach from {shapes.min():g} to {shapes.max():g}.")
    if np.abs(angles).max() > LARGEST_ANGLE:
        raise RefusedError(f"Angles must lie in [-pi, pi]; one is {angles.flat[np.abs(angles).argmax()]:g}.")
    if (rows[:, 0] < 0).any() or (np.diff(rows[:, 0]) < 0).any():
        raise RefusedError("Seconds of faces must begin at 0 or later, and not run backwards.")
    return rows


def decode_reaction(body: bytes, most_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """A recorded reaction as the page sends it back: rows of 83 float32, emotion and coefficients of a frame.

    Returns:
        Emotion `(frames, 25)` and coefficients `(frames, 58)`.

    Raises:
        RefusedError: if it is empty, too long, ends within a row, or holds NaN or infinite values.
    """
    width = 4 * (EMOTION_CHANNELS + COEFFICIENT_CHANNELS)
    if not body or len(body) % width or len(body) > most_frames * width:
        raise RefusedError(
            f"A reaction must be 1 to {most_frames} frames of {width} bytes (83 float32); given: {len(body)} bytes."
        )
    rows = np.frombuffer(body, dtype="<f4").reshape(-1, width // 4).astype(np.float32)
    if not np.isfinite(rows).all() or np.abs(rows).max() > 100:
        raise RefusedError("A reaction must hold finite numbers as they came from here.")
    return rows[:, :EMOTION_CHANNELS], rows[:, EMOTION_CHANNELS:]


def encode_segment(listener: int, start: int, motions: list[FaceMotion], reactions: np.ndarray) -> bytes:
    """New frames of one listener's reactions.

    Args:
        listener: which of the session's, from 0.
        start: index of the first frame since the session began, at 25 a second.
        motions: what an avatar shows of each reaction.
        reactions: `(num_reactions, frames, 83)` emotion and coefficients.

    Returns:
        uint8 3, uint8 listener, uint16 number of reactions, uint32 start, uint32 frames; then for each reaction
        float32 `(frames, 55)`, blendshapes and rotation, and after all of them the reactions, float32.
    """
    number, frames = reactions.shape[:2]
    shown = [np.concatenate([motion.blendshapes, motion.rotation], axis=1).astype("<f4") for motion in motions]
    parts = [_SEGMENT_HEADER.pack(SEGMENT, listener, number, start, frames), *(one.tobytes() for one in shown)]
    return b"".join([*parts, reactions.astype("<f4").tobytes()])


def _decode_sound(body: bytes) -> np.ndarray:
    if len(body) % 2 or len(body) > 2 * MOST_SAMPLES:
        raise RefusedError(f"Sound must be 1 to {MOST_SAMPLES} samples of 2 bytes; given: {len(body)} bytes.")
    return np.frombuffer(body, dtype="<i2").astype(np.float32) / 32768


def _text(message: Mapping[str, Any], name: str) -> str:
    if not isinstance(message.get(name), str):
        raise RefusedError(f"{name} must be a text; given: {message.get(name)!r}.")
    return message[name]


def _flag(message: Mapping[str, Any], name: str) -> bool:
    value = message.get(name, True)
    if not isinstance(value, bool):
        raise RefusedError(f"{name} must be true or false; given: {value!r}.")
    return value


def _whole(message: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    value = message.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise RefusedError(f"{name} must be a whole number from {least} to {most}; given: {value!r}.")
    return value


def _listeners(message: Mapping[str, Any]) -> tuple[str, ...]:
    value: Collection[Any] = message.get("listeners", [GENERIC])
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_LISTENERS:
        raise RefusedError(f"listeners must be a list of 1 to {MOST_LISTENERS} names; given: {value!r}.")
    if not all(isinstance(name, str) for name in value):
        raise RefusedError(f"listeners must be names; given: {value!r}.")
    return tuple(value)
