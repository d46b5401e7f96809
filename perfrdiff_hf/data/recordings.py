"""One person's files to behaviour: a sound file and face tracks, over the same frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..behaviour import FRAME_RATE, Behaviour
from ..faces.formats import TrackFile, recognise
from ..faces.formats.npz import load_npz
from ..faces.tracking import TrackingSettings, track_video
from ..faces.tracking.video import is_video, streams_of
from ..faces.tracks import combine_tracks, read_face_track
from ..files import PathLike
from .audio import mfcc_features, read_audio


# Of the largest sample: 80 dB below full scale, which nobody hears.
_SILENCE = 1e-4


@dataclass(frozen=True)
class Recorded:
    """One person's behaviour as read from files.

    Args:
        behaviour: the streams, over the same frames at 25 per second.
        notes: what was found, assumed, derived, held or padded, in sentences.
        sound: the waveform `(samples, channels)` in [-1, 1] and its sample rate; None without sound.
    """

    behaviour: Behaviour
    notes: tuple[str, ...]
    sound: tuple[np.ndarray, int] | None = None


def read_face(
    paths: PathLike | Sequence[PathLike], fps: float | None = None, tracking: TrackingSettings | None = None
) -> Recorded:
    """One person's face from one track or video, or from REACT2024's csv (emotion) and npy (coefficients) together.

    Args:
        paths: one face track of any format that `read_face_track` knows, or a video, or both of REACT2024's files.
        fps: the rate of the tracked video, for formats that count frames only (py-feat, OpenFace).
        tracking: how a video is tracked.

    Raises:
        FileNotFoundError, ValueError: see `read_face_track` and `track_video`; also if several files are not
            REACT2024's two, or `fps` is given for a video.
        ImportError: if it is a video, and the extra `tracking` is not installed.
    """
    if not isinstance(paths, (list, tuple)):
        paths = [paths]  # type: ignore[list-item]
    if not paths:
        raise ValueError("paths must name at least one face track; it is empty.")
    if len(paths) == 1 and is_video(Path(paths[0])):
        if fps is not None:
            raise ValueError(f"fps was given, but {paths[0]} is a video, which has a clock of its own; leave fps out.")
        track = track_video(paths[0], tracking)
        return Recorded(track.behaviour, (str(track.report),))
    tracks = [read_face_track(Path(path), fps=fps) for path in paths]
    notes = tuple(str(track.report) for track in tracks)
    if len(tracks) == 1:
        return Recorded(tracks[0].behaviour, notes)
    by_content = {track.report.recorded: track for track in tracks}
    if len(tracks) != 2 or set(by_content) != {"emotion", "coefficients"}:
        named = ", ".join(str(path) for path in paths)
        raise ValueError(f"Several face files must be REACT2024's csv and npy of one recording; given: {named}.")
    return Recorded(combine_tracks(by_content["emotion"], by_content["coefficients"]), notes)


def counts_frames(path: PathLike) -> bool:
    """Whether a face track may need the `fps` of `read_face`; videos and the other formats have a clock of their own.

    Raises:
        FileNotFoundError, ValueError: if there is no such file, or it is neither a video nor a known face track.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no face track at {path}.")
    return not is_video(path) and recognise(TrackFile(path)).takes_fps


def read_speaker(
    audio: PathLike | None = None,
    face: PathLike | Sequence[PathLike] | None = None,
    fps: float | None = None,
    tracking: TrackingSettings | None = None,
) -> Recorded:
    """A speaker's streams over the same frames: as many as the longer of sound and face has.

    Sound that ends first is followed by silence; of a face that ends first the last frame is held. One of the two may
    be missing, for a model that was trained to do without.

    Args:
        audio: a sound file (wav, flac, mp3, ...), or a video.
        face: a face track, a video, or REACT2024's csv and npy; see `read_face`.
        fps: the rate of the tracked video; see `read_face`.
        tracking: how a video is tracked.

    Raises:
        FileNotFoundError: if a file does not exist.
        ValueError: if neither is given, or a file cannot be read; see `read_audio` and `read_face`.

    Example:
        ```python
        from perfrdiff_hf import PerFRDiffPipeline
        from perfrdiff_hf.data.recordings import read_face, read_speaker

        speaker = read_speaker("speech.wav", "speaker.csv")
        listener = read_face("listener.csv")
        for note in (*speaker.notes, *listener.notes):
            print(note)
        pipe = PerFRDiffPipeline.from_pretrained("path/to/model")
        output = pipe(speaker=speaker.behaviour, listener_history=listener.behaviour)
        ```
    """
    if audio is None and face is None:
        raise ValueError("audio, face or both must be given; both are None.")
    sound = None if audio is None else read_audio(audio)
    seen = None if face is None else read_face(face, fps, tracking)
    notes = [] if seen is None else list(seen.notes)
    sound_frames = 0 if sound is None else len(sound[0]) * FRAME_RATE // sound[1]
    face_frames = 0 if seen is None else len(seen.behaviour)
    frames = max(sound_frames, face_frames, 1)
    streams: dict[str, np.ndarray] = {}
    if sound is None:
        notes.append("the speaker's sound is not given; the model must have been trained to do without")
    else:
        notes.append(f"{audio}: {sound_frames / FRAME_RATE:.1f} s of sound -> {frames} frames")
        if np.abs(sound[0]).max() < _SILENCE:
            notes.append("this sound is silence, to which a model that listens hardly reacts")
        streams["audio"] = mfcc_features(*sound, num_frames=frames)
        if sound_frames < face_frames:
            silence = (frames - sound_frames) / FRAME_RATE
            notes.append(f"the sound is shorter than the face: {silence:.1f} s of silence follow")
    if seen is None:
        notes.append("the speaker's face is not given; the model must have been trained to do without")
    else:
        streams |= {name: _held(values, frames) for name, values in seen.behaviour.streams.items()}
        if face_frames < frames:
            held = (frames - face_frames) / FRAME_RATE
            notes.append(f"the face is shorter than the sound: its last frame is held for {held:.1f} s")
    return Recorded(Behaviour(**streams), tuple(notes), sound)


def read_reactions(path: PathLike) -> list[Behaviour]:
    """The reactions in the `reactions.npz` of `perfrdiff react`; none if the file is another.

    Raises:
        ValueError: if the file is damaged, or its arrays are not `(number, frames, 25)` and `(number, frames, 58)`.
    """
    if Path(path).suffix != ".npz" or not Path(path).is_file():
        return []
    held = load_npz(Path(path))
    if not {"reactions", "coefficients"} <= set(held):
        return []
    emotion, coefficients = held["reactions"], held["coefficients"]
    if emotion.ndim != 3 or coefficients.ndim != 3 or len(emotion) != len(coefficients):
        raise ValueError(
            f"{path}: reactions and coefficients must have shapes (number, frames, 25) and (number, frames, 58); "
            f"they have {emotion.shape} and {coefficients.shape}."
        )
    return [Behaviour(emotion=one, coefficients=other) for one, other in zip(emotion, coefficients)]


def sort_files(
    paths: Sequence[PathLike], sound: Sequence[PathLike] = (), face: Sequence[PathLike] = ()
) -> tuple[PathLike | None, list[PathLike]]:
    """Which of one person's files holds the sound, and which the face: `audio` and `face` of `read_speaker`.

    Args:
        paths: videos, sounds and face tracks; a video gives both, or what the other files do not.
        sound: a file of which the sound alone is wanted.
        face: files of which the face alone is wanted.

    Raises:
        FileNotFoundError: if a file does not exist.
        ValueError: if there are two sounds, or a video's face and another, or nothing is left for a video to give.
    """
    given = [*paths, *sound, *face]
    if missing := [path for path in given if not Path(path).is_file()]:
        raise FileNotFoundError(f"There is no file {missing[0]}.")
    held = {path: _held_by(Path(path)) for path in paths}
    videos = [path for path in paths if "pictures" in held[path]]
    sounds = [*sound, *(path for path in paths if held[path] == {"sound"})]
    tracks = [*face, *(path for path in paths if not held[path])]
    is_mixed = len(tracks) > 1 and any(is_video(Path(path)) for path in tracks)
    if len(videos) > 1 or len(sounds) > 1 or is_mixed:
        named = ", ".join(str(path) for path in given)
        raise ValueError(
            "One person has one sound and one face at most (a video, a track, or REACT2024's csv and npy). Say which "
            f"file is meant as sound and which as face, if only one part of it is; given: {named}."
        )
    if videos and tracks and (sounds or "sound" not in held[videos[0]]):
        raise ValueError(f"Nothing is left for {videos[0]} to give beside the other files; leave it out.")
    sounds += [path for path in videos if "sound" in held[path]]
    return (sounds[0] if sounds else None), (tracks or videos)


def _held_by(path: Path) -> set[str]:
    """What a file holds: "pictures", "sound", both, or neither: then it is a face track."""
    import soundfile

    if is_video(path):
        return streams_of(path)
    try:
        soundfile.info(str(path))
    except (soundfile.SoundFileError, RuntimeError):
        return set()
    return {"sound"}


def _held(values: np.ndarray, frames: int) -> np.ndarray:
    return np.pad(values, ((0, frames - len(values)), (0, 0)), mode="edge")
