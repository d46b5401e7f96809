"""Training examples that are clips rather than windows: a speaker and the reaction that was recorded with it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .arrays import ClipArrays
from .examples import (
    ClipExamples,
    Example,
    appropriate_rows,
    as_items,
    check_inappropriate,
    check_lengths,
    check_streams,
    inappropriate_rows,
)


class ReactionClips(ClipExamples):
    """For systems that learn clips: one to one, frame by frame.

    Item `i` belongs to the speaker of row `i` (the listener of row `partner[i]`), over the same random stretch:

    | key | shape |
    |---|---|
    | `speaker_audio`, `speaker_emotion`, `speaker_coefficients` | `(frames, 78, 25, 58)` |
    | `emotion`, `coefficients` | `(frames, 25)`, `(frames, 58)` of the reaction |
    | `negative_emotion`, `negative_coefficients` | the same of a reaction that is not appropriate, if asked for |

    Streams that the arrays lack have no key.

    Args:
        arrays: the clips.
        frames: of an item; None takes as many as the shortest clip has.
        seed: fixes the stretches.
        appropriate: bool `(rows, rows)` of `load_appropriateness`, in the row order of `arrays`; None: no item has a
            negative reaction.

    Raises:
        ValueError: if a clip is shorter than an item, there is no emotion, the matrix does not fit, or every reaction
            is appropriate to a clip.
    """

    def __init__(
        self,
        arrays: ClipArrays,
        frames: int | None = None,
        seed: int = 0,
        appropriate: np.ndarray | None = None,
    ) -> None:
        super().__init__(arrays, seed)
        self.frames = int(arrays.num_frames.min()) if frames is None else frames
        check_lengths(arrays, self.frames, f"the {self.frames} frames of an item")
        check_streams(arrays, "emotion")
        self.appropriate = appropriate
        if appropriate is not None:
            appropriate_rows(arrays, appropriate)
            check_inappropriate(arrays, appropriate)

    def __getitems__(self, indices: Sequence[int]) -> list[Example]:
        draws, rows = self.draws(), np.asarray(indices)
        spare = self.arrays.num_frames[rows] - self.frames + 1
        drawn = [self._draw(int(index), int(count), draws.of(int(index))) for index, count in zip(indices, spare)]
        starts, negatives = (np.array(values) for values in zip(*drawn))
        flat, partner = self.arrays.flat, self.arrays.partner[rows]
        batch = {f"speaker_{stream}": self._cut(stream, partner, starts) for stream in flat}
        for stream in ("emotion", "coefficients"):
            if stream in flat:
                batch[stream] = self._cut(stream, rows, starts)
                if self.appropriate is not None:
                    batch[f"negative_{stream}"] = self._cut(stream, negatives, starts)
        return as_items(batch)

    def _draw(self, index: int, starts: int, generator: np.random.Generator) -> tuple[int, int]:
        """Where an item begins, and the row of its negative reaction."""
        start = int(generator.integers(starts))
        if self.appropriate is None:
            return start, index
        return start, int(generator.choice(inappropriate_rows(self.arrays, self.appropriate, index)))

    def _cut(self, stream: str, rows: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """`(items, frames, width)` of a stream from frame `starts` of each row on."""
        frames = (self.arrays.offsets[rows] + starts)[:, None] + np.arange(self.frames)
        return self.arrays.flat[stream][frames]
