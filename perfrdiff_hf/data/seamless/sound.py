"""A person's wav to audio features, piece by piece: a recording of an hour never lies in memory as a whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...behaviour import FRAME_RATE
from ...files import file_beside
from ..audio import LOWEST_SAMPLE_RATE, mfcc_features


FRAMES_AT_ONCE = 1500


def features_of_wav(path: Path) -> np.ndarray | None:
    """The audio features `(frames, 78)` of a whole wav; None if it is no sound or lasts less than a frame.

    Features of a frame depend on the sound of that frame alone, so that pieces give what the whole would.
    """
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            size = int(file.samplerate / FRAME_RATE)
            frames = file.frames // size
            if frames == 0 or file.samplerate < LOWEST_SAMPLE_RATE:
                return None
            pieces = []
            for first in range(0, frames, FRAMES_AT_ONCE):
                count = min(FRAMES_AT_ONCE, frames - first)
                heard = file.read(count * size, dtype="float32", always_2d=True)
                pieces.append(mfcc_features(heard, file.samplerate, count))
    except (soundfile.SoundFileError, RuntimeError, ValueError):
        return None
    return np.concatenate(pieces)


def keep_features(wav: Path, path: Path) -> bool:
    """Write the audio features of a wav; False, and nothing written, if it is no sound."""
    features = features_of_wav(wav)
    if features is None:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_beside(path) as beside:
        np.save(beside, features)
    return True
