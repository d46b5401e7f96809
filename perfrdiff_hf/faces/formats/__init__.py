"""The formats of face tracks, one file each. A further one is a file with a `TrackFormat` and an entry here."""

from __future__ import annotations

from . import arkit_json, gltf, live_link, llv, npz, openface, pyfeat, react2024
from .common import RecordedTrack, TrackFile, TrackFormat
from .react2024 import write_coefficients_npy, write_emotion_csv


__all__ = [
    "FORMATS",
    "RecordedTrack",
    "TrackFile",
    "TrackFormat",
    "recognise",
    "write_coefficients_npy",
    "write_emotion_csv",
]

# The first that recognises a file reads it. REACT's columns are the least telling, so it comes last.
FORMATS: tuple[TrackFormat, ...] = (
    arkit_json.FORMAT,
    gltf.FORMAT,
    live_link.FORMAT,
    llv.FORMAT,
    npz.FORMAT,
    openface.FORMAT,
    pyfeat.FORMAT,
    react2024.FORMAT,
)


def recognise(file: TrackFile) -> TrackFormat:
    """The format of a file.

    Raises:
        ValueError: if it is none of these, or no csv file.
    """
    for form in FORMATS:
        if form.recognises(file):
            return form
    raise ValueError(
        f"{file.path} is no known face track; it has {file.table.described_header()}. "
        f"Known are {', '.join(form.described for form in reversed(FORMATS))}."
    )
