r"""React to a speaker whose sound and face are named apart; `perfrdiff react` takes them, and videos, as they come.

    perfrdiff generate --model MODEL --speaker_audio speech.wav --speaker_face speaker.csv \
        --listener_history listener.csv --output OUT

The files that it reads and what OUT then holds are those of `perfrdiff react`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from . import react


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The files to read, and how to react."""
    parser.add_argument("--speaker_audio", help="the speaker's sound (wav, flac, mp3, ..., or a video)")
    parser.add_argument(
        "--speaker_face", nargs="+", help="the speaker's face track or video; for REACT2024, its csv and npy"
    )
    parser.add_argument("--speaker_fps", type=float, help="rate of the tracked video, for py-feat and OpenFace")
    parser.add_argument(
        "--listener_history", nargs="+", help="a face track of the listener; without it, reactions are generic"
    )
    parser.add_argument("--history_fps", type=float, help="the same as speaker_fps for the history")
    react.add_reacting_options(parser)


def check_options(options: argparse.Namespace) -> None:
    """There must be somebody to react to."""
    if not (options.speaker_audio or options.speaker_face):
        raise argparse.ArgumentTypeError("give speaker_audio, speaker_face or both")
    react.check_options(options)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """From the files that the options name to the output folder."""
    return react.produce(
        options,
        options.speaker_audio,
        options.speaker_face,
        options.listener_history,
        options.history_fps,
        described(options),
    )


def described(options: argparse.Namespace) -> str:
    """What was put together, by file names: sound, face and history need not be of the same conversation."""
    sound = [options.speaker_audio] if options.speaker_audio else None
    parts = {"sound": sound, "face": options.speaker_face, "listener": options.listener_history}
    named = [f"{part} {' + '.join(Path(path).name for path in paths)}" for part, paths in parts.items() if paths]
    return ", ".join(named) + ("" if options.listener_history else " (generic)")
