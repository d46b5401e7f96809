"""Training examples cut from `ClipArrays`: windows of emotion, and windows of speakers with the reactions to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..behaviour import MEAN_FACE, WINDOW_SIZE
from .arrays import ClipArrays
from .channels import clip_means
from .examples import (
    ClipExamples,
    Example,
    appropriate_rows,
    as_items,
    check_inappropriate,
    check_lengths,
    check_streams,
    inappropriate_rows,
    random_cut,
)
from .histories import history_rows


class EmotionWindows(ClipExamples):
    """For the emotion VAE: one random window of each row's own behaviour.

    An item is `{"emotion": (window_size, 25), "coefficients": (window_size, 58)}`; the latter only if there are
    coefficients.

    Args:
        arrays: the clips.
        window_size: frames of a window.
        seed: fixes the windows.

    Raises:
        ValueError: if a clip is shorter than a window, or there is no emotion.
    """

    def __init__(self, arrays: ClipArrays, window_size: int = WINDOW_SIZE, seed: int = 0) -> None:
        super().__init__(arrays, seed)
        self.window_size = window_size
        check_lengths(arrays, window_size, f"a window of {window_size} frames")
        check_streams(arrays, "emotion")
        self._windows = {
            stream: _windows(arrays.flat[stream], window_size)
            for stream in ("emotion", "coefficients")
            if stream in arrays.flat
        }

    def __getitems__(self, indices: Sequence[int]) -> list[Example]:
        spare = self.arrays.num_frames[indices] - self.window_size + 1
        draws = self.draws()
        starts = [draws.of(index).integers(count) for index, count in zip(indices, spare)]
        frames = self.arrays.offsets[indices] + starts
        return as_items({stream: windows[frames] for stream, windows in self._windows.items()})


class ReactionWindows(ClipExamples):
    """For GAFRG and PWSG: what a speaker did, and recorded reactions that follow.

    Item `i` belongs to the speaker of row `i` (the listener of row `partner[i]`). With `h` new frames from frame
    `t` on, and windows of `w` frames:

    | key | shape | frames |
    |---|---|---|
    | `speaker_audio`, `speaker_emotion`, `speaker_coefficients` | `(context_windows w, 78, 25, 58)` | until `t` |
    | `reactions` | `(num_reactions, w, channels)` | `[t + h - w, t + h)` |
    | `past_reactions` | `(num_reactions, w, channels)` | the window before |
    | `shown_frames` | `()`, only with `max_shown_frames` | `w - h`, how many were shown already |
    | `negatives` | `(negatives, w, channels)` | as `reactions`, of rows that are not appropriate |
    | `history` | `(history_frames, 58)` | another clip of the same listener, see `histories` |

    Without `max_shown_frames`, `h` is `w`, and `t` is uniform over `[w, frames - w]`; with probability `w / frames` it
    is 0, the first window of a clip. With `max_shown_frames`, `h` is `w` in `whole_windows` of the items and else
    uniform over `[w - max_shown_frames, w]`; then `t` lies anywhere in the first window where it would be 0. Of the
    time before a clip nothing has been seen: audio, emotion and movement are zeros, and the coefficients are the mean
    face. Streams that the arrays lack have no key.

    With a `lag` below `w` the speaker's frames end `w - lag` frames later, with the reaction's own window where it is
    0, as systems see it that are not online; `t` is then uniform over `[0, frames - w]`.

    The first reaction is the one that was recorded with the speaker; the others are drawn without repetition from the
    other appropriate ones, with repetition if all together are fewer. Its channels are the 25 of emotion, and with
    `with_movement` the 58 coefficients without the mean of their clip, too.

    The history is raw coefficients of another clip of the listener who reacts, one that is appropriate to the same
    speaker clip if there is one, cut at random to `history_frames`, or looped if it is shorter.

    Args:
        arrays: the clips.
        appropriate: bool `(rows, rows)` of `load_appropriateness`, in the row order of `arrays`.
        num_reactions: reactions for each speaker window.
        window_size: frames of a window, `w`.
        history_frames: frames of history; None: no history.
        seed: fixes the examples.
        mean_face: `(58,)`, the face of a speaker who has not been seen yet.
        context_windows: windows of the speaker before `t`.
        max_shown_frames: see above.
        whole_windows: see above; in [0, 1].
        with_movement: see above.
        lag: see above, from 0 to `window_size`; None is the latter.
        negatives: inappropriate reactions for each speaker window, drawn with repetition; 0 has none.

    Raises:
        ValueError: if a clip is shorter than two windows, `lag` is out of range or meets `max_shown_frames`,
            `context_windows` are longer than all data, the matrix does not fit, a row has no appropriate reaction or,
            with `negatives`, no other, coefficients are lacking where movement is wanted, or there is history and
            `num_reactions` is not 1, coefficients are lacking or a listener has one clip only.
    """

    def __init__(
        self,
        arrays: ClipArrays,
        appropriate: np.ndarray,
        num_reactions: int = 10,
        window_size: int = WINDOW_SIZE,
        history_frames: int | None = None,
        seed: int = 0,
        mean_face: np.ndarray = MEAN_FACE,
        context_windows: int = 1,
        max_shown_frames: int | None = None,
        whole_windows: float = 1.0,
        with_movement: bool = False,
        lag: int | None = None,
        negatives: int = 0,
    ) -> None:
        super().__init__(arrays, seed)
        # What a speaker who has not yet been seen shows: silence, no emotion, and the mean face.
        self._unseen = {"audio": np.float32(0), "emotion": np.float32(0), "coefficients": mean_face}
        self.num_reactions = num_reactions
        self.window_size = window_size
        self.context_frames = context_windows * window_size
        self.history_frames = history_frames
        self.max_shown_frames = max_shown_frames
        self.whole_windows = whole_windows
        self.lag = window_size if lag is None else lag
        if not 0 <= self.lag <= window_size:
            raise ValueError(f"lag must lie between 0 and window_size ({window_size}); given: {lag}.")
        if self.lag < window_size and max_shown_frames is not None:
            raise ValueError("max_shown_frames is for systems that are online: lag must be window_size, or None.")
        check_lengths(arrays, 2 * window_size, f"two windows of {window_size} frames")
        check_streams(arrays, "emotion")
        self.appropriate = appropriate
        self._others = [rows[rows != row] for row, rows in enumerate(appropriate_rows(arrays, appropriate))]
        self._shortest = [arrays.num_frames[rows].min(initial=arrays.num_frames.max()) for rows in self._others]
        self.negatives = negatives
        if negatives:
            check_inappropriate(arrays, appropriate)
        if (total := int(arrays.num_frames.sum())) < self.context_frames:
            raise ValueError(f"context_windows ({context_windows}) must fit into the data, which have {total} frames.")
        lengths = (window_size, self.context_frames)
        self._windows = {
            (stream, count): _windows(values, count) for stream, values in arrays.flat.items() for count in lengths
        }
        self._rest: np.ndarray | None = None
        if with_movement:
            check_streams(arrays, "coefficients")
            self._rest = clip_means(arrays, "coefficients")
        self._histories: list[np.ndarray] = []
        if history_frames is not None:
            self._histories = _histories(arrays, num_reactions, history_frames)

    def __getitems__(self, indices: Sequence[int]) -> list[Example]:
        draws = self.draws()
        drawn = [self._draw(int(index), draws.of(int(index))) for index in indices]
        first, hops = (np.array([one[place] for one in drawn]) for place in (0, 1))
        rows = np.array([one[2] for one in drawn])
        begin = (first + hops - self.window_size)[:, None]
        speakers = self.arrays.partner[indices]
        heard = first + self.window_size - self.lag - self.context_frames
        batch = {
            f"speaker_{stream}": self._frames(stream, speakers, heard, self.context_frames)
            for stream in self.arrays.flat
        }
        batch["reactions"] = self._reactions_from(rows, begin)
        batch["past_reactions"] = self._reactions_from(rows, begin - self.window_size)
        if self.negatives:
            batch["negatives"] = self._reactions_from(np.array([one[4] for one in drawn]), begin)
        if self.max_shown_frames is not None:
            batch["shown_frames"] = self.window_size - hops
        if self.history_frames is not None:
            batch["history"] = np.stack([one[3] for one in drawn if one[3] is not None])
        return as_items(batch)

    def _frames(self, stream: str, rows: np.ndarray, begin: np.ndarray, count: int) -> np.ndarray:
        """`(..., count, width)` of a stream from frame `begin` of each row on; both `(...)`."""
        # Whole windows are copied several times as fast as frames that are looked up one by one.
        flat, offsets, windows = self.arrays.flat[stream], self.arrays.offsets[rows], self._windows[stream, count]
        early = begin < 0
        if not early.any():
            return windows[offsets + begin]
        values = windows[np.where(early, 0, offsets + begin)]
        values[begin <= -count] = self._unseen[stream]
        cut = early & (begin > -count)
        if cut.any():
            frames = begin[cut][:, None] + np.arange(count)
            seen = flat[offsets[cut][:, None] + np.maximum(frames, 0)]
            seen[frames < 0] = self._unseen[stream]
            values[cut] = seen
        return values

    def _reactions_from(self, rows: np.ndarray, begin: np.ndarray) -> np.ndarray:
        """A window of the reactions of rows `(items, num_reactions)`, from frame `begin` `(items, 1)` on."""
        begin = np.broadcast_to(begin, rows.shape)
        emotion = self._frames("emotion", rows, begin, self.window_size)
        if self._rest is None:
            return emotion
        movement = self._frames("coefficients", rows, begin, self.window_size) - self._rest[rows][..., None, :]
        if (begin < 0).any():
            movement[begin[..., None] + np.arange(self.window_size) < 0] = 0
        return np.concatenate([emotion, movement], axis=-1)

    def _draw(
        self, index: int, generator: np.random.Generator
    ) -> tuple[int, int, np.ndarray, np.ndarray | None, np.ndarray]:
        """The first new frame of an item, its hop, the rows of its reactions, its history, and the rows of others."""
        size, frames = self.window_size, int(self.arrays.num_frames[index])
        if self.lag < size:
            first = int(generator.integers(frames - size + 1))
        else:
            first = size + int(generator.integers(frames - 2 * size + 1))
            if generator.random() < size / frames:
                first = 0
        hop = size
        if self.max_shown_frames is not None and generator.random() >= self.whole_windows:
            hop = int(generator.integers(size - self.max_shown_frames, size + 1))
            first = first or int(generator.integers(size))
        rows = self._rows(index, first + hop, generator)
        history = None if self.history_frames is None else self._history(index, int(rows[0]), generator)
        others = inappropriate_rows(self.arrays, self.appropriate, index) if self.negatives else rows[:0]
        return first, hop, rows, history, generator.choice(others, self.negatives) if self.negatives else others

    def _rows(self, index: int, end: int, generator: np.random.Generator) -> np.ndarray:
        """The rows of an item's reactions: the recorded one, and others that reach as far as frame `end`."""
        drawn = np.full(self.num_reactions, index)
        if self.num_reactions > 1:
            others = self._others[index]
            if self._shortest[index] < end:
                others = others[self.arrays.num_frames[others] >= end]
            if len(others) >= self.num_reactions - 1:
                drawn[1:] = generator.permutation(others)[: self.num_reactions - 1]
            else:
                others = np.append(others, index)
                drawn[1:] = others[generator.integers(len(others), size=self.num_reactions - 1)]
        return drawn

    def _history(self, index: int, row: int, generator: np.random.Generator) -> np.ndarray:
        others = self._histories[row]
        fitting = others[self.appropriate[index, others]]
        choice = fitting if len(fitting) else others
        clip = self.arrays.coefficients(int(choice[generator.integers(len(choice))]))
        return random_cut(clip, self.history_frames or len(clip), generator)


def _windows(flat: np.ndarray, window_size: int) -> np.ndarray:
    """Every window of an array `(frames, width)`, `(frames - window_size + 1, window_size, width)`, not copied."""
    return np.lib.stride_tricks.as_strided(
        flat,
        (len(flat) - window_size + 1, window_size, flat.shape[1]),
        (flat.strides[0], *flat.strides),
        writeable=False,
    )


def _histories(arrays: ClipArrays, num_reactions: int, history_frames: int) -> list[np.ndarray]:
    """For each row, the rows that may be its history, after checking that there is one."""
    if num_reactions != 1:
        raise ValueError(f"A history belongs to one listener: num_reactions must be 1; given: {num_reactions}.")
    if history_frames < 1:
        raise ValueError(f"history_frames must be at least 1; given: {history_frames}.")
    check_streams(arrays, "coefficients")
    who, inverse = np.unique(arrays.listener_ids, return_inverse=True)
    clips_of = [np.flatnonzero(inverse == number) for number in range(len(who))]
    found = [history_rows(arrays, row, clips_of[number]) for row, number in enumerate(inverse)]
    if lonely := sorted(arrays.listener_ids[row] for row, rows in enumerate(found) if len(rows) == 0):
        raise ValueError(f"{lonely[0]} has one clip only; a history must be another clip of the listener.")
    return found
