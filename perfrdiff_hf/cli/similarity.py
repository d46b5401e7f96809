"""Compute which reactions are appropriate, for dyads that have no official matrix.

    perfrdiff similarity DATA --split train
    perfrdiff similarity DATA --split train --threshold 8 --write

Two speaker clips are alike if they lie within a threshold; then what one's listener did is appropriate to the other.
The first line shows how many reactions each threshold gives a clip and, where the folder has a matrix already, its
precision and recall; the second leaves `neighbour_emotion_<split>.npy` in a folder that has none.
"""

from __future__ import annotations

import argparse

from .options import add_cache_option, add_split_option


# Which distances are shown as thresholds: few of all pairs of clips are alike.
QUANTILES = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which clips, and which rule."""
    parser.add_argument("data_dir", help="a folder of dyads")
    add_split_option(parser, "train")
    parser.add_argument("--by", default="sound", help="what makes speakers alike: sound (default), face or both")
    parser.add_argument("--threshold", type=float, help="the largest distance at which speakers count as alike")
    parser.add_argument("--write", action="store_true", help="write the matrix of this threshold into the folder")
    add_cache_option(parser)


def check_options(options: argparse.Namespace) -> None:
    """A matrix needs a threshold."""
    if options.write and options.threshold is None:
        raise argparse.ArgumentTypeError("--write needs a --threshold")


def run(options: argparse.Namespace) -> None:
    """Measure, print, and write if that is asked for."""
    import numpy as np

    from ..data.catalogue import load_dyads
    from ..evaluation.similarity import precision_recall, similar_speakers, speaker_distances

    streams = ("emotion",) if options.by == "face" else ("audio", "emotion")
    dyads = load_dyads(None, options.data_dir, options.split, streams=streams, cache_dir=options.cache_dir)
    among = dyads.source.comparable(options.split, dyads.dataset)
    distances = speaker_distances(dyads.arrays, options.by, among=among)
    try:
        truth = dyads.appropriate
    except FileNotFoundError:
        truth = None
    others = distances[np.isfinite(distances) & ~np.eye(len(distances), dtype=bool)]
    if not len(others):
        print("No two speakers have the same prompt and the same known role: every clip has its own reaction alone.")
        others = np.zeros(1)
    thresholds = [options.threshold] if options.threshold is not None else np.quantile(others, QUANTILES).tolist()
    print("threshold  reactions per clip" + "  precision  recall" * (truth is not None))
    for threshold in thresholds:
        matrix = similar_speakers(distances, threshold)
        line = f"{threshold:9.2f}  {matrix.sum(axis=1).mean():18.1f}"
        print(line if truth is None else f"{line}  {'{:9.3f}  {:6.3f}'.format(*precision_recall(matrix, truth))}")
    if options.write:
        print(f"Wrote {dyads.source.write_appropriate(options.split, matrix)}.")
