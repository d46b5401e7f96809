"""A rule of our own for appropriateness, for dyads that have no official matrix.

REACT's matrix says which speakers behaved alike, so that what one's listener did is appropriate to the other; how it
was computed was never published. This rule calls two speaker clips alike if they lie within a threshold under the
weighted time-warping distance of FRdist: warping distances of groups of channels, each weighted by the number of its
channels, added up. FRdist's own groups are those of the face; the loudness of the sound is one more.

What a threshold is worth can be measured wherever there is a matrix to compare with. In the synthetic `bench` world,
where the truth is which clips play the same script:

| by | threshold | precision and recall, val | test |
|---|---|---|---|
| sound | 6.3 | 0.81, 0.58 | 0.98, 0.58 |
| sound | 8.0 | 0.75, 0.80 | 0.86, 0.83 |
| face | 16.5 | 0.27, 0.29 | 0.33, 0.29 |
| both | 30 | 0.57, 0.57 | 0.59, 0.49 |

So there the sound alone tells best who did the same: a face shows each person's own style, and their reactions to the
other, as much as what they say. To see it for other material:

    perfrdiff similarity DATA_DIR --split train

prints precision and recall over thresholds, and with `--threshold T --write` leaves `neighbour_emotion_<split>.npy` in
a folder that has no matrix, for the loader to find.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..behaviour import FRAME_RATE
from ..data.arrays import ClipArrays
from ..data.audio import SUBFRAMES
from ..metrics.inputs import CHANNEL_GROUPS, GROUP_WEIGHTS


# Clips are averaged to this many stretches: at 0.4 s each, warping 30 s costs a hundredth of the full rate's time.
STRETCHES = 75
# Unlimited warping lays nearly any two clips upon each other. Straying by this many seconds costs as much as behaving
# independently.
DRIFT = 4.0
# Log-energy of the two sub-frames.
LOUDNESS = slice(0, SUBFRAMES)
CHOICES = ("sound", "face", "both")


def speaker_distances(
    arrays: ClipArrays,
    by: str = "sound",
    drift: float | None = DRIFT,
    stretches: int = STRETCHES,
    among: np.ndarray | None = None,
) -> np.ndarray:
    """How differently the speakers of any two rows behaved.

    Every clip is averaged over `stretches` equal stretches of time. "face" compares what FRdist compares (action
    units, valence and arousal, expressions, weighted 1/15, 1 and 1/8), "sound" the loudness over time in units of its
    standard deviation, "both" adds the two. Sums over time are scaled as if at 25 frames per second, so that a
    threshold means about the same whatever the number of stretches.

    Args:
        arrays: the clips, with audio for "sound" and emotion for "face".
        by: "sound", "face" or "both".
        drift: seconds by which the warping may stray until that costs as much as behaving independently; None: it
            may stray without limit, as in FRdist.
        stretches: into how many stretches a clip is averaged; no more than the frames of the shortest clip.
        among: `(rows, rows)` bool and symmetric, the rows whose speakers are compared at all, such as those with the
            same prompt; None: all.

    Returns:
        `(rows, rows)` float64, symmetric, zero on the diagonal, infinite where nothing was compared.

    Raises:
        ValueError: if `by`, `drift` or `stretches` makes no sense, or the arrays lack a stream.
    """
    if by not in CHOICES:
        raise ValueError(f"by must be one of {', '.join(CHOICES)}; given: {by!r}.")
    if drift is not None and drift <= 0:
        raise ValueError(f"drift must be positive, in seconds; given: {drift}.")
    if stretches < 1:
        raise ValueError(f"stretches must be at least 1; given: {stretches}.")
    stretches = min(stretches, int(arrays.num_frames.min()))
    frames = float(np.median(arrays.num_frames))
    groups = [
        (weight, values if drift is None else _with_clock(values, frames / FRAME_RATE / drift))
        for weight, values in _groups(arrays, by, stretches)
    ]
    # Clips are a row's listener; with whom a speaker is compared stands in the row of the speaker's partner.
    by_partner = np.ix_(arrays.partner, arrays.partner)
    wanted = np.ones((len(arrays), len(arrays)), dtype=bool) if among is None else among[by_partner]
    return (_distances(groups, wanted) * np.sqrt(frames / stretches))[by_partner]


def similar_speakers(distances: np.ndarray, threshold: float) -> np.ndarray:
    """The appropriateness matrix of our rule: bool `(rows, rows)`, true where speakers are within the threshold.

    Args:
        distances: `(rows, rows)` of `speaker_distances`.
        threshold: the largest distance at which two speakers count as alike; a real reaction always is appropriate.
    """
    return (distances <= threshold) | np.eye(len(distances), dtype=bool)


def precision_recall(matrix: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Of the pairs that the matrix calls appropriate, the share that truly are; and of the true ones, the share found.

    The diagonal does not count: a real reaction is always appropriate to its own clip.
    """
    others = ~np.eye(len(truth), dtype=bool)
    found, true = matrix & others, truth & others
    hits = int((found & true).sum())
    return hits / max(1, int(found.sum())), hits / max(1, int(true.sum()))


def _groups(arrays: ClipArrays, by: str, stretches: int) -> list[tuple[float, np.ndarray]]:
    """The weight of each group of channels and its `(clips, stretches, channels)`."""
    groups = []
    if by != "face":
        sound = np.stack([_averaged(arrays.audio(row)[:, LOUDNESS], stretches) for row in range(len(arrays))])
        # Whoever speaks up or sits nearer to the microphone is louder all the time; what counts is when.
        sound -= sound.mean(axis=1, keepdims=True)
        groups.append((1 / SUBFRAMES, sound / max(float(sound.std()), 1e-6)))
    if by != "sound":
        face = np.stack([_averaged(arrays.emotion(row), stretches) for row in range(len(arrays))])
        groups += [(GROUP_WEIGHTS[name], face[..., part]) for name, part in CHANNEL_GROUPS.items()]
    return groups


def _averaged(values: np.ndarray, stretches: int) -> np.ndarray:
    edges = np.linspace(0, len(values), stretches + 1).astype(int)
    return np.add.reduceat(values, edges[:-1], axis=0) / np.diff(edges)[:, None]


def _with_clock(values: np.ndarray, drifts: float) -> np.ndarray:
    """One more channel, the time, which spans `drifts` times the distance of independent behaviour."""
    independent = np.sqrt(2 * values.var(axis=(0, 1)).sum())
    clock = np.linspace(0, drifts * independent, values.shape[1])
    return np.concatenate([values, np.broadcast_to(clock[:, None], (*values.shape[:2], 1))], axis=2)


def _distances(groups: list[tuple[float, np.ndarray]], wanted: np.ndarray) -> np.ndarray:
    """Weighted warping distances between the wanted pairs of clips, on all cores; infinite between others."""
    from ..metrics.search.warping import Warp, num_threads  # compiles with numba: half a second to import

    weighted = [(weight, np.ascontiguousarray(values, dtype=np.float32)) for weight, values in groups]
    clips = len(weighted[0][1])
    pairs = np.argwhere(np.triu(wanted, 1))

    def measure(some: np.ndarray) -> np.ndarray:
        return np.sum([weight * np.sqrt(Warp(values, values).costs(some)) for weight, values in weighted], axis=0)

    distances = np.full((clips, clips), np.inf)
    np.fill_diagonal(distances, 0)
    if not len(pairs):
        return distances
    with ThreadPoolExecutor(num_threads()) as threads:
        parts = list(threads.map(measure, np.array_split(pairs, max(1, len(pairs) // 1024))))
    found = np.concatenate(parts)
    distances[tuple(pairs.T)] = found
    distances[tuple(pairs.T[::-1])] = found
    return distances
