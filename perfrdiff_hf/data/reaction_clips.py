"""Training examples that are clips rather than windows: a speaker and the reaction that was recorded with it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .arrays import ClipArrays
from .examples import ClipExamples, Example, as_items, check_lengths, check_streams


class ReactionClips(ClipExamples):
    """For systems that learn clips: one to one, frame by frame.

    Item `i` belongs to the speaker of row `i` (the listener of row `partner[i]`), over the same random stretch:

    | key | shape |
    |---|---|
    | `speaker_audio`, `speaker_emotion`, `speaker_coefficients` | `(frames, 78, 25, 58)` |
    | `emotion`, `coefficients` | `(frames, 25)`, `(frames, 58)` of the reaction |

    Streams that the arrays lack have no key.

    Args:
        arrays: the clips.
        frames: of an item; None takes as many as the shortest clip has.
        seed: fixes the stretches.

    Raises:
        ValueError: if a clip is shorter than an item, or there is no emotion.
    """

    def __init__(self, arrays: ClipArrays, frames: int | None = None, seed: int = 0) -> None:
        super().__init__(arrays, seed)
        self.frames = int(arrays.num_frames.min()) if frames is None else frames
        check_lengths(arrays, self.frames, f"the {self.frames} frames of an item")
        check_streams(arrays, "emotion")

    def __getitems__(self, indices: Sequence[int]) -> list[Example]:
        draws, rows = self.draws(), np.asarray(indices)
        spare = self.arrays.num_frames[rows] - self.frames + 1
        starts = np.array([draws.of(int(index)).integers(count) for index, count in zip(indices, spare)])
        flat, partner = self.arrays.flat, self.arrays.partner[rows]
        batch = {f"speaker_{stream}": self._cut(stream, partner, starts) for stream in flat}
        batch |= {stream: self._cut(stream, rows, starts) for stream in ("emotion", "coefficients") if stream in flat}
        return as_items(batch)

    def _cut(self, stream: str, rows: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """`(items, frames, width)` of a stream from frame `starts` of each row on."""
        frames = (self.arrays.offsets[rows] + starts)[:, None] + np.arange(self.frames)
        return self.arrays.flat[stream][frames]
