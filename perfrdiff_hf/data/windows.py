"""Training examples cut from `ClipArrays`: one item depends on (seed, epoch, index) and on nothing else.

Give any of these datasets to a `torch.utils.data.DataLoader`, with as many workers and, under Accelerate, processes as
you like: the examples are the same, since each draws from a generator of its own. Call `set_epoch` before each epoch;
the epoch lies in shared memory, so that workers that live on see it too.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch.utils.data import Dataset

from ..behaviour import MEAN_FACE, WINDOW_SIZE
from .arrays import ClipArrays


Example = dict[str, torch.Tensor]
AnyExamples = TypeVar("AnyExamples", bound="_Examples")


class _Draws:
    """The randomness of one epoch's items: a generator for each, which ends where that of the next item begins.

    Making a generator costs more than all that is drawn from it, so one is set to each item's key in turn. It belongs
    to one call, since two threads must not set the same one.
    """

    def __init__(self, seed: int, epoch: int) -> None:
        self._first = epoch << 32
        self._bits = np.random.Philox(key=[seed, 0])
        self._start = self._bits.state

    def of(self, index: int) -> np.random.Generator:
        """The generator of one item; it must be done with before the next is asked for."""
        self._start["state"]["key"][1] = self._first + index
        self._bits.state = self._start
        return np.random.Generator(self._bits)


class _Examples(Dataset):
    """What the datasets share: the seed, the epoch, and the randomness of their items."""

    def __init__(self, arrays: ClipArrays, seed: int) -> None:
        self.arrays = arrays
        self.seed = seed
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch's examples the items are from now on."""
        self._epoch.fill_(epoch)

    def at_epoch(self: AnyExamples, epoch: int) -> AnyExamples:
        """The same dataset at an epoch of its own, whatever `set_epoch` says; nothing large is copied."""
        examples = copy.copy(self)
        examples._epoch = torch.tensor(epoch)
        return examples

    def __len__(self) -> int:
        return len(self.arrays)

    def _draws(self) -> _Draws:
        return _Draws(self.seed, int(self._epoch))

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} examples.")
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Example]:
        raise NotImplementedError


class EmotionWindows(_Examples):
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
        _check_lengths(arrays, window_size, f"a window of {window_size} frames")
        _check_streams(arrays, "emotion")
        self._windows = {
            stream: _windows(arrays.flat[stream], window_size)
            for stream in ("emotion", "coefficients")
            if stream in arrays.flat
        }

    def __getitems__(self, indices: Sequence[int]) -> list[Example]:
        spare = self.arrays.num_frames[indices] - self.window_size + 1
        draws = self._draws()
        starts = [draws.of(index).integers(count) for index, count in zip(indices, spare)]
        frames = self.arrays.offsets[indices] + starts
        return _items({stream: windows[frames] for stream, windows in self._windows.items()})


class ReactionWindows(_Examples):
    """For GAFRG and PWSG: a speaker window and reactions to it that were recorded one window later.

    Item `i` belongs to the speaker of row `i` (the listener of row `partner[i]`). With start `s`:

    | key | shape | frames |
    |---|---|---|
    | `speaker_audio`, `speaker_emotion`, `speaker_coefficients` | `(window_size, 78, 25, 58)` | `[s, s + w)` |
    | `reactions` | `(num_reactions, window_size, 25)` | `[s + w, s + 2w)` |
    | `past_reactions` | `(num_reactions, window_size, 25)` | `[s, s + w)` |
    | `history` | `(history_frames, 58)` | another clip of the same listener |

    The first reaction is the one that was recorded with the speaker; the others are drawn without repetition from the
    other appropriate ones, with repetition if all together are fewer. `s` is uniform over `[0, frames - 2w]`; with
    probability `w / frames` it is `-w` instead, which is the first window of a clip: nothing of the speaker or of the
    listener has been seen, so that audio and emotion are zeros and the coefficients are the mean face. Streams that
    the arrays lack have no key.

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

    Raises:
        ValueError: if a clip is shorter than two windows, the matrix does not fit, a row has no appropriate reaction,
            or there is history and `num_reactions` is not 1, coefficients are lacking or a listener has one clip only.
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
    ) -> None:
        super().__init__(arrays, seed)
        # What a speaker who has not yet been seen shows: silence, no emotion, and the mean face.
        self._unseen = {"audio": np.float32(0), "emotion": np.float32(0), "coefficients": mean_face}
        self.num_reactions = num_reactions
        self.window_size = window_size
        self.history_frames = history_frames
        _check_lengths(arrays, 2 * window_size, f"two windows of {window_size} frames")
        _check_streams(arrays, "emotion")
        self.appropriate = appropriate
        self._reactions = appropriate_rows(arrays, appropriate)
        self._windows = {stream: _windows(values, window_size) for stream, values in arrays.flat.items()}
        self._clips_of: dict[str, np.ndarray] = {}
        if history_frames is not None:
            self._clips_of = _check_history(arrays, num_reactions, history_frames)

    def __getitems__(self, indices: Sequence[int]) -> list[Example]:
        draws = self._draws()
        drawn = [self._draw(int(index), draws.of(int(index))) for index in indices]
        starts = np.array([start for start, _, _ in drawn])
        rows = np.array([rows for _, rows, _ in drawn])
        first = starts < 0
        seen = np.where(first, 0, starts)
        speakers = self.arrays.offsets[self.arrays.partner[indices]] + seen
        batch = {}
        for stream, windows in self._windows.items():
            batch[f"speaker_{stream}"] = windows[speakers]
            batch[f"speaker_{stream}"][first] = self._unseen[stream]
        reactions = self.arrays.offsets[rows]
        batch["reactions"] = self._windows["emotion"][reactions + (starts + self.window_size)[:, None]]
        batch["past_reactions"] = self._windows["emotion"][reactions + seen[:, None]]
        batch["past_reactions"][first] = self._unseen["emotion"]
        if self.history_frames is not None:
            batch["history"] = np.stack([history for _, _, history in drawn if history is not None])
        return _items(batch)

    def _draw(self, index: int, generator: np.random.Generator) -> tuple[int, np.ndarray, np.ndarray | None]:
        """The start of an item's windows, the rows of its reactions, and its history."""
        frames = int(self.arrays.num_frames[index])
        start = int(generator.integers(frames - 2 * self.window_size + 1))
        if generator.random() < self.window_size / frames:
            start = -self.window_size
        rows = self._rows(index, start, generator)
        if self.history_frames is None:
            return start, rows, None
        return start, rows, self._history(index, int(rows[0]), generator)

    def _rows(self, index: int, start: int, generator: np.random.Generator) -> np.ndarray:
        """The rows of an item's reactions: the recorded one, and others that reach far enough."""
        drawn = np.full(self.num_reactions, index)
        if self.num_reactions > 1:
            others = self._reactions[index]
            others = others[(others != index) & (self.arrays.num_frames[others] >= start + 2 * self.window_size)]
            if len(others) >= self.num_reactions - 1:
                drawn[1:] = generator.permutation(others)[: self.num_reactions - 1]
            else:
                others = np.append(others, index)
                drawn[1:] = others[generator.integers(len(others), size=self.num_reactions - 1)]
        return drawn

    def _history(self, index: int, row: int, generator: np.random.Generator) -> np.ndarray:
        others = self._clips_of[self.arrays.listener_ids[row]]
        others = others[others != row]
        fitting = others[self.appropriate[index, others]]
        choice = fitting if len(fitting) else others
        clip = self.arrays.coefficients(int(choice[generator.integers(len(choice))]))
        return random_cut(clip, self.history_frames or len(clip), generator)


class StyleClips(_Examples):
    """For PSSL: one item is a whole batch of clips of several listeners, several clips of each.

    An item is `{"coefficients": (clips, frames, 58), "label": (clips,) int64, "group": (clips,) int64}`; the label is
    the listener, the group the speaker clip that they react to. Use it with `batch_size=None`.

    The variant "within" takes, for each of `speakers` speaker clips, up to `listeners` of the listeners with at least
    two appropriate reactions, and 2 to `max_clips` of these. Where fewer than two listeners have that many, others
    with one appropriate reaction join, and their further clips complete theirs. So pass the matrix of all listeners,
    not the personal one. The variant "random" draws as many listeners without regard to what they react to; all are
    one group.

    Args:
        arrays: the clips, with coefficients.
        appropriate: bool `(rows, rows)`, in the row order of `arrays`.
        variant: "within" or "random".
        speakers: speaker clips in an item.
        listeners: at most so many listeners for each.
        max_clips: at most so many clips of each listener in a group.
        frames: length to which clips are cut at random; None: that of the shortest clip in the data.
        seed: fixes the items.

    Raises:
        ValueError: if the variant is unknown, the matrix does not fit, coefficients are lacking, or fewer than two
            listeners have two clips.
    """

    def __init__(
        self,
        arrays: ClipArrays,
        appropriate: np.ndarray,
        variant: str = "within",
        speakers: int = 3,
        listeners: int = 4,
        max_clips: int = 16,
        frames: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(arrays, seed)
        if variant not in ("within", "random"):
            raise ValueError(f'variant must be "within" or "random"; given: {variant!r}.')
        _check_streams(arrays, "coefficients")
        self.variant = variant
        self.speakers = speakers
        self.listeners = listeners
        self.max_clips = max_clips
        self.frames = int(arrays.num_frames.min()) if frames is None else frames
        self._reactions = appropriate_rows(arrays, appropriate)
        _, self._labels = np.unique(arrays.listener_ids, return_inverse=True)
        self._clips_of = {label: np.flatnonzero(self._labels == label) for label in np.unique(self._labels)}
        self._several = np.array([label for label, rows in self._clips_of.items() if len(rows) > 1])
        if len(self._several) < 2:
            raise ValueError("Style is learned by contrast: at least two listeners must have two clips each.")

    def __len__(self) -> int:
        return -(-len(self.arrays) // self.speakers)

    def __getitems__(self, indices: Sequence[int]) -> list[Example]:
        return [self._batch(int(index)) for index in indices]

    def _batch(self, index: int) -> Example:
        # Every speaker clip has its turn once an epoch: the order is one permutation for all items.
        draws = self._draws()
        order = draws.of(0).permutation(len(self.arrays))
        generator = draws.of(index + 1)
        if self.variant == "random":
            groups = [self._some_of(self._several, None, self.speakers * self.listeners, generator)]
        else:
            clips = order[index * self.speakers : (index + 1) * self.speakers]
            groups = [self._group(clip, generator) for clip in clips]
        rows = np.concatenate(groups)
        cuts = [random_cut(self.arrays.coefficients(row), self.frames, generator) for row in rows]
        group = np.repeat(np.arange(len(groups)), [len(members) for members in groups])
        return {
            "coefficients": torch.from_numpy(np.stack(cuts)),
            "label": torch.from_numpy(self._labels[rows]).long(),
            "group": torch.from_numpy(group).long(),
        }

    def _group(self, clip: int, generator: np.random.Generator) -> np.ndarray:
        """The rows of the listeners who react to one speaker clip."""
        rows = self._reactions[clip]
        labels, counts = np.unique(self._labels[rows], return_counts=True)
        often = labels[counts > 1]
        candidates = often if len(often) > 1 else np.intersect1d(labels, self._several)
        return self._some_of(candidates if len(candidates) else self._several, rows, self.listeners, generator)

    def _some_of(
        self, candidates: np.ndarray, rows: np.ndarray | None, most: int, generator: np.random.Generator
    ) -> np.ndarray:
        """Clips of at most `most` of the candidates, from `rows` where these hold two of theirs or more."""
        chosen = []
        for label in generator.permutation(candidates)[:most]:
            clips = self._clips_of[label]
            among = clips if rows is None else np.intersect1d(clips, rows)
            clips = generator.permutation(among if len(among) > 1 else clips)
            chosen.append(clips[: generator.integers(2, max(2, min(self.max_clips, len(clips))) + 1)])
        return np.concatenate(chosen) if chosen else np.empty(0, dtype=np.int64)


def appropriate_rows(arrays: ClipArrays, appropriate: np.ndarray) -> list[np.ndarray]:
    """For each row, the rows of the appropriate reactions.

    Raises:
        ValueError: if the matrix is not bool `(rows, rows)`, or a row has no appropriate reaction.
    """
    expected = (len(arrays), len(arrays))
    if appropriate.shape != expected or appropriate.dtype != bool:
        raise ValueError(
            f"appropriate must be bool {expected}, one row and column for each row of arrays; "
            f"it is {appropriate.dtype} {appropriate.shape}."
        )
    rows = [np.flatnonzero(row) for row in appropriate]
    if empty := [number for number, row in enumerate(rows) if not len(row)]:
        raise ValueError(f"appropriate: {len(empty)} rows have no appropriate reaction, the first is row {empty[0]}.")
    return rows


def random_cut(clip: np.ndarray, frames: int, generator: np.random.Generator) -> np.ndarray:
    """A random stretch of `frames` frames of a clip; a clip that is shorter is looped."""
    if len(clip) < frames:
        return np.resize(clip, (frames, clip.shape[1]))
    start = int(generator.integers(len(clip) - frames + 1))
    return clip[start : start + frames]


def _windows(flat: np.ndarray, window_size: int) -> np.ndarray:
    """Every window of an array `(frames, width)`, `(frames - window_size + 1, window_size, width)`, not copied."""
    return np.lib.stride_tricks.as_strided(
        flat,
        (len(flat) - window_size + 1, window_size, flat.shape[1]),
        (flat.strides[0], *flat.strides),
        writeable=False,
    )


def _items(batch: dict[str, np.ndarray]) -> list[Example]:
    tensors = {name: torch.from_numpy(values).unbind(0) for name, values in batch.items()}
    return [dict(zip(tensors, values)) for values in zip(*tensors.values())]


def _check_lengths(arrays: ClipArrays, frames: int, what: str) -> None:
    short = int(np.argmin(arrays.num_frames))
    if arrays.num_frames[short] < frames:
        raise ValueError(
            f"Clip {arrays.clips[short]} of {arrays.listener_ids[short]} has {arrays.num_frames[short]} frames, fewer "
            f"than {what}. Leave such clips out or choose a smaller window_size."
        )


def _check_streams(arrays: ClipArrays, stream: str) -> None:
    if stream not in arrays.flat:
        raise ValueError(f"These examples need {stream}, which the dataset was read without.")


def _check_history(arrays: ClipArrays, num_reactions: int, history_frames: int) -> dict[str, np.ndarray]:
    """The rows of each listener, after checking that each has a clip that can be history to another."""
    if num_reactions != 1:
        raise ValueError(f"A history belongs to one listener: num_reactions must be 1; given: {num_reactions}.")
    if history_frames < 1:
        raise ValueError(f"history_frames must be at least 1; given: {history_frames}.")
    _check_streams(arrays, "coefficients")
    who, inverse, counts = np.unique(arrays.listener_ids, return_inverse=True, return_counts=True)
    if (counts < 2).any():
        raise ValueError(f"{who[counts < 2][0]} has one clip only; a history must be another clip of the listener.")
    return {name: np.flatnonzero(inverse == number) for number, name in enumerate(who)}
