"""Clips of 30 s between the frames in which a face is lost."""

from __future__ import annotations

import numpy as np

from ...behaviour import CLIP_FRAMES
from ...behaviour import FRAME_RATE as OUR_RATE
from .layout import FRAME_RATE


# 30 s at 30 frames per second; clips begin where a frame of 25 per second does as well.
SOURCE_FRAMES = CLIP_FRAMES * FRAME_RATE // OUR_RATE
STEP = 6
LEAST_SEEN = 0.95
# What resampling bridges; longer gaps would be held faces.
LONGEST_GAP = FRAME_RATE


def plan_clips(seen: np.ndarray) -> list[int]:
    """Where clips of 900 frames begin: one after the other, each as early as it can.

    Both faces are seen in at least 95 % of a clip's frames, in its first and last one, and never lost for more than a
    second.

    Args:
        seen: `(frames,)` bool, whether both faces are seen.

    Returns:
        First frames, multiples of 6: there a frame at 30 per second and one at 25 coincide.
    """
    starts = np.arange(0, len(seen) - SOURCE_FRAMES + 1, STEP)
    lost = np.concatenate([[0], np.cumsum(~seen)])
    lost_in_clip = lost[starts + SOURCE_FRAMES] - lost[starts]
    # A gap is too long where a frame ends a second of nothing but lost frames.
    run = LONGEST_GAP + 1
    too_long = np.zeros(len(seen), dtype=bool)
    if len(seen) >= run:
        too_long[run - 1 :] = lost[run:] - lost[:-run] == run
    long_before = np.concatenate([[0], np.cumsum(too_long)])
    long_in_clip = long_before[starts + SOURCE_FRAMES] - long_before[np.minimum(starts + run - 1, len(seen))]
    fits = (lost_in_clip <= (1 - LEAST_SEEN) * SOURCE_FRAMES) & (long_in_clip <= 0)
    fits &= seen[starts] & seen[starts + SOURCE_FRAMES - 1]
    planned: list[int] = []
    for start in starts[fits].tolist():
        if not planned or start >= planned[-1] + SOURCE_FRAMES:
            planned.append(start)
    return planned
