"""The datagrams of Live Link Face, both ways: what Unreal's Live Link, and what listens to it, gets from a telephone.

One frame is one datagram, big-endian: version 6 (one byte), then the device's id and the subject's name as texts
(length, then UTF-8), the frame as whole number, fraction, and rate (numerator, denominator), then 61 (one byte) and 61
float32: the 52 blendshapes in Apple's order, yaw, pitch and roll of head, left eye and right eye. Where the face was
lost, a datagram ends after the rate. The layout was verified on 180 recorded datagrams of an iPhone.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from ..motion import FaceMotion, gaze
from ..names import APPLE_CHANNELS
from .arkit import HEAD_SIGNS


PORT = 11111
VERSION = 6
# Some receivers take it for granted that the device's id is as long as a UUID.
DEVICE = "00000000-0000-4000-8000-706572667264"
_VALUES = 61
_CLOCK = struct.Struct(">ifii")
# The columns of the file hold the same angles: pitch, yaw, roll there, yaw, pitch, roll here.
_TURN = (1, 0, 2)


@dataclass(frozen=True)
class Packet:
    """What one datagram says.

    Args:
        subject: the name of the face, by which receivers tell several apart.
        seconds: when, by the sender's clock.
        motion: one frame; None where the face was lost.
        eyes: `(2, 3)` pitch, yaw and roll of the left and the right eyeball, in the directions of `FaceMotion`.
    """

    subject: str
    seconds: float
    motion: FaceMotion | None
    eyes: np.ndarray


def encode(motion: FaceMotion, frame: int, fps: int, subject: str = "perfrdiff", device: str = DEVICE) -> bytes:
    """The first frame of a motion as a datagram.

    Args:
        motion: at least one frame.
        frame: the number of the frame, counted at `fps`.
        fps: frames per second.
        subject: the name of the face.
        device: the id of the sender.
    """
    eyes = gaze(motion.blendshapes[0])
    turned = [(angles * HEAD_SIGNS)[[*_TURN]] for angles in (motion.rotation[0], eyes, eyes)]
    values = np.concatenate([motion.blendshapes[0][[*APPLE_CHANNELS]], *turned]).astype(">f4")
    head = bytes([VERSION]) + _text(device) + _text(subject) + _CLOCK.pack(frame, 0.0, fps, 1)
    return head + bytes([_VALUES]) + values.tobytes()


def decode(packet: bytes) -> Packet:
    """What a datagram says.

    Raises:
        ValueError: if it is none of Live Link Face's, of another version, or too short.
    """
    if not packet or packet[0] != VERSION:
        raise ValueError(f"This is no datagram of Live Link Face, version {VERSION}; it begins with {packet[:1]!r}.")
    try:
        _, at = _read_text(packet, 1)
        subject, at = _read_text(packet, at)
        frame, part, numerator, denominator = _CLOCK.unpack_from(packet, at)
        at += _CLOCK.size
        if numerator <= 0 or denominator <= 0:
            raise ValueError(f"its rate is {numerator}/{denominator}")
        seconds = (frame + part) * denominator / numerator
        if at == len(packet):
            return Packet(subject, seconds, None, np.zeros((2, 3)))
        if packet[at] != _VALUES:
            raise ValueError(f"it holds {packet[at]} values")
        values = np.frombuffer(packet, dtype=">f4", count=_VALUES, offset=at + 1).astype(np.float32)
    except (struct.error, ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"This datagram of {len(packet)} bytes is none of Live Link Face: {error}.") from error
    blendshapes = np.empty((1, len(APPLE_CHANNELS)), dtype=np.float32)
    blendshapes[0, [*APPLE_CHANNELS]] = values[: len(APPLE_CHANNELS)]
    angles = values[len(APPLE_CHANNELS) :].reshape(3, 3)[:, [*_TURN]] * np.array(HEAD_SIGNS, dtype=np.float32)
    return Packet(subject, seconds, FaceMotion(blendshapes, angles[:1]), angles[1:])


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">i", len(encoded)) + encoded


def _read_text(packet: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">i", packet, at)
    begin = at + 4
    if not 0 <= length <= len(packet) - begin:
        raise ValueError(f"a text in it should have {length} bytes")
    return packet[begin : begin + length].decode(), begin + length
