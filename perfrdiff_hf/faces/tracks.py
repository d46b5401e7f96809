"""Face tracks of common tools -> `Behaviour` at 25 frames per second, and back.

| format | recognised by | time | lost rows |
|---|---|---|---|
| REACT2024 coefficients | an npy file, `(frames, 58)` or `(frames, 1, 58)` | 25 fps | none |
| REACT2024 emotion csv | columns AU1 ... Contempt | 25 fps | blank rows |
| Live Link Face csv | column Timecode | time code, 60 ticks a second | BlendShapeCount 0 |
| LLV csv | columns fps_num, fps_den | frame, subframe | blank rows |
| py-feat csv | columns AU01 ... | frame, at the video's rate | blank or NaN rows |
| OpenFace 2 csv | columns AU01_r ..., success | timestamp, or frame at the video's rate | success 0 |
| ARKit frames, json | an object or a list | time | blendShapes null |
| animated glTF | a glb file | the animation's | none |
| behaviour, npz | an npz file with emotion and coefficients | 25 fps | none |

Both streams are always returned: what a format lacks is derived by the rules of `faces.rules`, and the report says so.
`write_face_track` writes all but py-feat's and OpenFace's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..behaviour import FRAME_RATE, Behaviour
from ..files import file_beside
from .formats import FORMATS, RecordedTrack, TrackFile, recognise
from .motion import face_motion
from .rules import binary_action_units


# Longer gaps are not drawn out into one slow movement: the face stays, and moves on in the last half second.
LONGEST_BRIDGE_SECONDS = 1.0
RETURN_SECONDS = 0.5


@dataclass(frozen=True)
class TrackReport:
    """What was found in a face track and what was made of it.

    Args:
        path: the file.
        format: the name of its format.
        rows: rows in the file.
        row_rate: rows per second.
        lost_rows: rows in which the tracker had lost the face.
        longest_gap_seconds: the longest time between two rows that show the face, if rows were lost; else 0.
        num_frames: frames at 25 fps.
        recorded: which channels the file itself holds.
        notes: what was assumed or derived.
    """

    path: Path
    format: str
    rows: int
    row_rate: float
    lost_rows: int
    longest_gap_seconds: float
    num_frames: int
    recorded: str
    notes: tuple[str, ...]

    def __str__(self) -> str:
        lines = [
            f"{self.path}: {self.format}, {self.rows} rows at {self.row_rate:.1f} a second -> {self.num_frames} "
            f"frames ({self.num_frames / FRAME_RATE:.1f} s); recorded: {self.recorded}"
        ]
        if self.lost_rows:
            lines.append(
                f"{self.lost_rows} rows of lost tracking were bridged; the longest time without a face is "
                f"{self.longest_gap_seconds:.2f} s"
            )
        return "\n  ".join([*lines, *self.notes])


@dataclass(frozen=True)
class FaceTrack:
    """A face track at 25 fps (`behaviour` holds emotion and coefficients) and how it came about."""

    behaviour: Behaviour
    report: TrackReport


def read_face_track(path: str | Path, *, fps: float | None = None, calibrate: bool = True) -> FaceTrack:
    """Read a face track of any known format, bridge lost rows and resample it to 25 fps.

    Args:
        path: a csv, npy, npz, json or glb file; its format is recognised by its content.
        fps: the rate of the video that was tracked, for formats that only count frames (py-feat, OpenFace). If it is
            None, OpenFace's timestamps are used where they make sense, and 25 is assumed elsewhere.
        calibrate: whether blendshapes on Apple's scale are moved to REACT's (see `faces.rules`). Models trained on
            REACT need it; turn it off for a model that was trained on such tracks themselves.

    Returns:
        Emotion `(frames, 25)` with binary action units and coefficients `(frames, 58)`, mean face included, with a
        report of what was bridged, derived and assumed.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the format is unknown; columns are missing; the file is empty, truncated, of the wrong shape or
            on another scale; cells hold NaN; no row shows a face; times run backwards; or `fps` is given for a format
            with a clock of its own.

    Example:
        ```python
        from perfrdiff_hf.faces import read_face_track

        track = read_face_track("listener.csv")
        print(track.report)  # the format, what was bridged, derived and assumed
        track.behaviour.coefficients  # (frames, 58) at 25 fps
        ```
    """
    path = Path(path)
    if fps is not None and not (np.isfinite(fps) and fps > 0):
        raise ValueError(f"fps must be a positive number; it is {fps}.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no face track at {path}.")
    track = _recorded_track(path, fps, calibrate)
    return at_frame_rate(track, path)


def at_frame_rate(track: RecordedTrack, path: Path) -> FaceTrack:
    """A track as recorded, bridged and resampled to 25 fps.

    Args:
        track: the track.
        path: the file that it was read from, for the report and for messages.

    Raises:
        ValueError: if no row shows a face, or times run backwards.
    """
    if not track.seen.any():
        raise ValueError(f"{path}: tracking was lost in all {len(track.seen)} rows, so there is no face to use.")
    times = track.times - track.times[0]
    step = _typical_step(path, times)
    num_frames = max(1, int((times[-1] + step) * FRAME_RATE + 1e-6))
    behaviour = Behaviour(
        emotion=binary_action_units(resample_track(times, track.seen, track.emotion, num_frames)),
        coefficients=resample_track(times, track.seen, track.coefficients, num_frames),
    )
    report = TrackReport(
        path=path,
        format=track.format,
        rows=len(times),
        row_rate=1 / step,
        lost_rows=int((~track.seen).sum()),
        longest_gap_seconds=_longest_gap(times, track.seen, step),
        num_frames=num_frames,
        recorded=track.recorded,
        notes=track.notes,
    )
    return FaceTrack(behaviour, report)


def write_face_track(
    behaviour: Behaviour,
    path: str | Path,
    format: str = "react2024",
    *,
    calibrate: bool = True,
    neutral: np.ndarray | None = None,
) -> None:
    """Write behaviour as a face track that other programs and `read_face_track` read; whole or not at all.

    | format | what is written | what is lost |
    |---|---|---|
    | react2024, to .csv | emotion, six figures | coefficients |
    | react2024, to .npy | coefficients, to the bit | emotion |
    | npz | both, to the bit | nothing |
    | live_link, llv, arkit_json | 52 blendshapes in [0, 1], the head's rotation | emotion, translation, see below |
    | glb | the same, as an animation of our own head (`faces.formats.gltf` animates others) | the same |

    On Apple's scale a face rests at 0. So with `calibrate` a coefficient below REACT's mean face is written as 0, and
    read back as the mean face's; one that is beyond Apple's 1 is written as 1. Without it the numbers stay as they
    are, and must be read without it again. The eyeballs' own angles are written as 0 to csv: the eyeLook blendshapes
    say where the eyes turn.

    Args:
        behaviour: what to write.
        path: the file, in a folder that exists.
        format: "react2024", "npz", "live_link", "llv", "arkit_json" or "glb".
        calibrate: whether blendshapes are moved from REACT's scale to Apple's, for all but the first two.
        neutral: `(58,)` how this person rests, which becomes the avatar's resting face (see `faces.motion`); None:
            REACT's mean face does. Not for the first two formats.

    Raises:
        ValueError: if the format is unknown or cannot be written, `behaviour` lacks the stream, the suffix does not
            tell which of REACT's files is meant, or the head is turned by more than 90 degrees.
        FileNotFoundError: if the folder does not exist.

    Example:
        ```python
        reaction = Behaviour(emotion=emotion, coefficients=coefficients)
        write_face_track(reaction, "reaction.csv", "live_link")  # for whatever plays Live Link Face takes
        write_face_track(reaction, "reaction.glb", "glb")  # for any viewer of glTF
        ```
    """
    path = Path(path)
    forms = {form.name: form for form in FORMATS if form.write or form.write_motion}
    if format not in forms:
        raise ValueError(f"format must be one of {', '.join(sorted(forms))}; given: {format!r}.")
    form = forms[format]
    if form.write is not None and neutral is not None:
        raise ValueError(f"neutral is for avatars; {form.name} keeps behaviour as it is.")
    with file_beside(path) as beside:
        if form.write is not None:
            form.write(behaviour, beside)
        elif behaviour.coefficients is None:
            raise ValueError("behaviour must hold coefficients: this format has blendshapes and no emotion.")
        elif form.write_motion is not None:
            form.write_motion(face_motion(behaviour.coefficients, neutral=neutral, calibrate=calibrate), beside)


def combine_tracks(emotion: FaceTrack, coefficients: FaceTrack) -> Behaviour:
    """One person's emotion from one track and coefficients from another, as REACT2024 keeps them; the shorter counts.

    Raises:
        ValueError: if the lengths differ by more than a second, so that they can hardly be of the same recording.
    """
    frames = sorted((len(emotion.behaviour), len(coefficients.behaviour)))
    if frames[1] - frames[0] > FRAME_RATE:
        raise ValueError(
            f"{emotion.report.path} has {len(emotion.behaviour)} frames and {coefficients.report.path} "
            f"{len(coefficients.behaviour)}; two tracks of one recording may differ by {FRAME_RATE} at most."
        )
    return Behaviour(
        emotion=emotion.behaviour[: frames[0]].emotion,
        coefficients=coefficients.behaviour[: frames[0]].coefficients,
    )


def resample_track(times: np.ndarray, seen: np.ndarray, values: np.ndarray, num_frames: int) -> np.ndarray:
    """Values at 25 fps by linear interpolation over true times, with lost rows bridged.

    Before the first and after the last row that shows the face, that row is held. A gap of more than a second holds
    the last face, and moves on to the next one within its last half second.

    Args:
        times: `(rows,)` seconds, rising, the first 0.
        seen: `(rows,)` bool, at least one of them True.
        values: `(rows, channels)`; rows that were not seen are ignored.
        num_frames: frames to return; frame `k` stands at `k / 25` seconds.

    Returns:
        `(num_frames, channels)` float32.
    """
    known_times, known = times[seen], values[seen]
    long = np.flatnonzero(np.diff(known_times) > LONGEST_BRIDGE_SECONDS)
    known_times = np.insert(known_times, long + 1, known_times[long + 1] - RETURN_SECONDS)
    known = np.insert(known, long + 1, known[long], axis=0)
    at = np.arange(num_frames) / FRAME_RATE
    return np.stack([np.interp(at, known_times, channel) for channel in known.T], axis=1).astype(np.float32)


def _recorded_track(path: Path, fps: float | None, calibrate: bool) -> RecordedTrack:
    file = TrackFile(path)
    form = recognise(file)
    if fps is not None and not form.takes_fps:
        raise ValueError(f"fps was given, but {path} has a clock of its own; leave fps out.")
    return form.read(file, calibrate, fps)


def _typical_step(path: Path, times: np.ndarray) -> float:
    if len(times) == 1:
        return 1 / FRAME_RATE
    steps = np.diff(times)
    if (steps <= 0).any():
        raise ValueError(f"{path}: time does not move forward from row {int(np.argmax(steps <= 0)) + 1} to the next.")
    return float(np.median(steps))


def _longest_gap(times: np.ndarray, seen: np.ndarray, step: float) -> float:
    """The longest time without a face, in seconds, counting from the row before to the row after."""
    if seen.all():
        return 0.0
    known = np.concatenate([[-step], times[seen], [times[-1] + step]])
    lost_between = np.diff(np.concatenate([[-1], np.flatnonzero(seen), [len(seen)]])) > 1
    return float(np.diff(known)[lost_between].max())
