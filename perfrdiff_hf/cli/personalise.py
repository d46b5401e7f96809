"""A video or face track of a listener to a listener that `perfrdiff react --listener` takes.

    perfrdiff personalise alice.mp4 --model MODEL --output alice
    perfrdiff personalise alice.csv --model MODEL --output alice
    perfrdiff react --model MODEL --speaker talk.mp4 --listener alice --output OUT

Half a minute of how the person moves their face is enough. OUTPUT is a folder with one file, which fits the model that
it was made with and no other.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .options import (
    add_device_option,
    add_rate_option,
    add_tracking_options,
    check_rate,
    check_tracking,
    load_pipeline,
    tracking_settings,
)
from .react import personal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Who, with which model, and where to."""
    parser.add_argument("face", nargs="+", help="the listener: a video or face track; of REACT2024, csv and npy")
    add_rate_option(parser)
    parser.add_argument("--model", required=True, help="folder of a saved pipeline, or its name on the Hub")
    parser.add_argument("--output", required=True, type=Path, help="folder to write; a listener in it is replaced")
    add_device_option(parser)
    add_tracking_options(parser)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Read, personalise, save."""
    from ..data.recordings import read_face

    check_rate(options, "face_fps", options.face)
    check_tracking(options, options.face)
    pipeline = personal(load_pipeline(options.model, options.device), options.model)  # before minutes of tracking
    recorded = read_face(options.face, options.face_fps, tracking_settings(options))
    print("\n".join(recorded.notes))
    pipeline.personalise(recorded.behaviour).save_pretrained(options.output)
    print(f"The listener is in {options.output}")
    return {"output": options.output, "frames": len(recorded.behaviour), "notes": recorded.notes}
