"""What the formats of face tracks share: what a reader gives, and the parts that several readers need.

Head angles are turned into REACT's convention: pitch is positive when the face looks down (and recorded near pi), yaw
when it turns to the person's own left, roll when the head leans to the person's own right. The signs of the trackers
were found in recordings: the eyes turn against the head while they rest on the camera, and OpenFace's landmarks show
the head itself. The sign of Live Link Face's roll could not be seen in any recording and is assumed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ...behaviour import BLENDSHAPES, FRAME_RATE, MEAN_FACE, ROTATION, Behaviour
from .. import rules
from ..motion import AHEAD, FaceMotion
from ..table import Table


DERIVED = "derived from the action units (perfrdiff_hf.faces.rules)"
NO_HEAD_ANGLES = "rotation and translation are the mean face's"
# No tracker follows a face farther than this, in radians: larger angles in a file are degrees.
FARTHEST_TURN = np.pi / 2
_NPY_MAGIC = b"\x93NUMPY"


@dataclass(frozen=True)
class RecordedTrack:
    """A face track as recorded: one entry per row of the file, at the file's own times.

    Args:
        format: the name of the format.
        times: `(rows,)` seconds since the first row, rising.
        seen: `(rows,)` whether the face was tracked; the other arrays mean nothing where it was not.
        emotion: `(rows, 25)` with graded action units in [0, 1].
        coefficients: `(rows, 58)`.
        recorded: what the file itself holds; everything else follows from it.
        notes: what was assumed or derived.
    """

    format: str
    times: np.ndarray
    seen: np.ndarray
    emotion: np.ndarray
    coefficients: np.ndarray
    recorded: str
    notes: tuple[str, ...]


class TrackFile:
    """A face track on the disk, by which formats recognise what is theirs; a csv file is read once, when asked for.

    Args:
        path: an npy, npz, json, glb or csv file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with open(path, "rb") as file:
            begin = file.read(64)
        self.is_npy = begin.startswith(_NPY_MAGIC) or path.suffix == ".npy"
        self.is_npz = begin.startswith(b"PK\x03\x04")
        self.is_glb = begin.startswith(b"glTF")
        self.is_json = not self.is_npy and begin.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")

    @cached_property
    def table(self) -> Table:
        """The columns of a csv file; `ValueError` if it is none."""
        return Table(self.path)

    def has(self, *columns: str) -> bool:
        """Whether this is a csv file with all these columns."""
        return not (self.is_npy or self.is_npz or self.is_json or self.is_glb) and self.table.has(columns)


@dataclass(frozen=True)
class TrackFormat:
    """One format of face tracks: everything that the importer and the exporter need to know of it.

    Args:
        name: what `write_face_track` calls it.
        described: the same in words, for messages.
        recognises: whether a file is of this format.
        read: turns a file into a track, given whether blendshapes are moved to REACT's scale, and the rate of the
            tracked video (None: not known; always None unless `takes_fps`).
        takes_fps: whether the file counts frames only, so that the rate of the video says when they were.
        write: writes behaviour to a path; None: this format cannot be written, or holds what avatars understand.
        write_motion: writes an avatar's motion of 25 frames per second to a path; None: it does not hold one.
        suffix: of its files.
    """

    name: str
    described: str
    recognises: Callable[[TrackFile], bool]
    read: Callable[[TrackFile, bool, float | None], RecordedTrack]
    takes_fps: bool = False
    write: Callable[[Behaviour, Path], None] | None = None
    write_motion: Callable[[FaceMotion, Path], None] | None = None
    suffix: str = ".csv"


def coefficients_of(blendshapes: np.ndarray, rotation: np.ndarray | None) -> np.ndarray:
    """`(rows, 58)`: the blendshapes, the head's rotation, and what is unknown as in the mean face."""
    coefficients = np.tile(MEAN_FACE, (len(blendshapes), 1))
    coefficients[:, BLENDSHAPES] = blendshapes
    if rotation is not None:
        coefficients[:, ROTATION] = rotation
    return coefficients


def on_scale(arkit: np.ndarray, calibrate: bool, notes: list[str]) -> np.ndarray:
    """Blendshapes `(rows, 52)` on Apple's scale as they are, or moved to REACT's."""
    if not calibrate:
        notes.append("blendshapes are on the tracker's scale, not REACT's")
        return arkit
    notes.append("blendshapes are moved from the tracker's scale to REACT's (a fixed affine map per channel)")
    return rules.react_blendshapes(rules.arkit_activation(arkit))


def head_angles(
    table: Table, names: tuple[str, str, str], signs: tuple[int, int, int], seen: np.ndarray, notes: list[str]
) -> np.ndarray | None:
    """Pitch, yaw and roll `(rows, 3)` in REACT's convention, or None if the track holds none.

    Args:
        table: the file.
        names: its columns of pitch, yaw and roll.
        signs: of each in REACT's convention.
        seen: `(rows,)` whether the face was tracked.
        notes: what was assumed is added here.
    """
    if not table.has(names):
        notes.append(NO_HEAD_ANGLES)
        return None
    angles = table.numbers(names, rows=seen)
    table.complete_rows(angles, names, rows=seen, may_be_lost=False)
    largest = np.abs(angles[seen]).max(initial=0)
    if largest == 0:
        notes.append("all head angles are 0, so none were recorded: " + NO_HEAD_ANGLES)
        return None
    if largest > FARTHEST_TURN:
        notes.append("head angles are taken to be degrees")
        angles = np.deg2rad(angles)
    notes.append("translation is the mean face's")
    return angles * np.array(signs) + AHEAD


def tracker_angles(rotation: np.ndarray, signs: tuple[int, int, int]) -> np.ndarray:
    """The inverse of `head_angles`: a motion's rotation `(rows, 3)` as a tracker's pitch, yaw and roll in radians.

    Raises:
        ValueError: if a head is turned farther than any tracker follows, which would be read back as degrees.
    """
    far = np.abs(rotation) > FARTHEST_TURN
    if far.any():
        frame, axis = np.argwhere(far)[0]
        raise ValueError(
            f"coefficients: the head's {('pitch', 'yaw', 'roll')[axis]} in frame {frame} is "
            f"{np.rad2deg(rotation[frame, axis]):.0f} degrees off the camera; 90 at most can be written."
        )
    return rotation * np.array(signs)


def counted_times(table: Table, fps: float | None, notes: list[str]) -> np.ndarray:
    """Seconds of each row by its `frame` column (by its place if there is none) at the rate of the video."""
    assumed = "" if fps else " (assumed: no fps was given)"
    notes.append(f"rows are counted by the frame column, at {fps or FRAME_RATE:g} frames per second{assumed}")
    if not table.has(["frame"]):
        return np.arange(len(table)) / (fps or FRAME_RATE)
    frames = table.numbers(["frame"])
    table.complete_rows(frames, ["frame"], may_be_lost=False)
    if len(np.unique(frames)) < len(frames):
        raise ValueError(
            f"{table.path} has several rows for one frame, so several faces. Keep the rows of one face and read it "
            "again."
        )
    return frames[:, 0] / (fps or FRAME_RATE)


def padded(unit: str) -> str:
    """An action unit as py-feat and OpenFace spell it: AU1 is AU01."""
    return f"AU{int(unit[2:]):02d}"
