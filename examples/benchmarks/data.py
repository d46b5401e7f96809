"""How fast training examples are read, against the straightforward way.

    python examples/benchmarks/data.py  # on a small synthetic world
    python examples/benchmarks/data.py --data-dir REACT2024 --num-proc 8

The straightforward way opens, for every example, the speaker's wav, csv and npy and the csv files of ten reactions,
and computes the audio features frame by frame. An example is one speaker window with ten reactions to it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import pandas
import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler, default_collate

from perfrdiff_hf.behaviour import FRAME_RATE, WINDOW_SIZE
from perfrdiff_hf.data.arrays import ClipArrays
from perfrdiff_hf.data.audio import mfcc_features, read_audio
from perfrdiff_hf.data.dyads import listeners
from perfrdiff_hf.data.react2024.appropriateness import load_appropriateness
from perfrdiff_hf.data.react2024.dataset import load_react2024
from perfrdiff_hf.data.react2024.layout import read_pairs, stream_path
from perfrdiff_hf.data.windows import EmotionWindows, ReactionWindows
from perfrdiff_hf.synthetic.world import WorldSize, write_synthetic_world


# Few clips are enough, as long as their sound has the rate of REACT's.
WORLD = WorldSize(dyads=(6, 1, 1), clips=6, scripts=(4, 2, 2), sample_rate=44100, sound="PCM_16")
NUM_REACTIONS = 10
BATCH = 40


class StraightforwardExamples(Dataset):
    """The same examples as `ReactionWindows`, read from the source files each time."""

    def __init__(self, data_dir: str, split: str, appropriate: np.ndarray) -> None:
        self.data_dir, self.split = data_dir, split
        self.rows = listeners(read_pairs(data_dir, split))
        self.appropriate = appropriate

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        generator = np.random.default_rng(index)
        speaker = (index + len(self) // 2) % len(self)
        emotion = self._emotion(speaker)
        coefficients = np.load(self._path(speaker, "coefficients"))[:, 0].astype(np.float32)
        audio = features_frame_by_frame(*read_audio(self._path(speaker, "audio")), len(emotion))
        start = int(generator.integers(len(emotion) - 2 * WINDOW_SIZE + 1))
        now, following = slice(start, start + WINDOW_SIZE), slice(start + WINDOW_SIZE, start + 2 * WINDOW_SIZE)
        chosen = generator.choice(np.flatnonzero(self.appropriate[index]), NUM_REACTIONS)
        reactions = [self._emotion(row) for row in chosen]
        example = {
            "speaker_audio": audio[now],
            "speaker_emotion": emotion[now],
            "speaker_coefficients": coefficients[now],
            "reactions": np.stack([reaction[following] for reaction in reactions]),
            "past_reactions": np.stack([reaction[now] for reaction in reactions]),
        }
        return {name: torch.from_numpy(values) for name, values in example.items()}

    def _path(self, row: int, stream: str) -> str:
        return stream_path(self.data_dir, self.split, self.rows[row], stream)

    def _emotion(self, row: int) -> np.ndarray:
        return pandas.read_csv(self._path(row, "emotion")).to_numpy(dtype=np.float32)


def features_frame_by_frame(waveform: np.ndarray, sample_rate: int, num_frames: int) -> np.ndarray:
    """`mfcc_features`, one frame after the other."""
    size = int(sample_rate / FRAME_RATE)
    pieces = [waveform[frame * size : (frame + 1) * size] for frame in range(num_frames)]
    return np.concatenate([mfcc_features(piece, sample_rate, 1) for piece in pieces])


def examples_per_second(dataset: Dataset, workers: int, batch_size: int, examples: int) -> float:
    """How many examples a loader delivers per second once it runs: starting up and fetching ahead do not count."""
    ahead = (2 * workers + 1) * batch_size
    sampler = RandomSampler(dataset, replacement=True, num_samples=2 * ahead + examples)  # type: ignore[arg-type]
    batches = iter(DataLoader(dataset, batch_size, sampler=sampler, num_workers=workers))
    for _ in range(2 * workers + 1):
        next(batches)
    began = time.perf_counter()
    count = sum(len(next(batches)["reactions"]) for _ in range(examples // batch_size))
    return count / (time.perf_counter() - began)


def milliseconds(call: Callable[[], object], times: int = 50) -> float:
    """Median time of a call."""
    spent = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        spent.append(time.perf_counter() - began)
    return 1000 * median(spent)


def benchmark_audio() -> None:
    """The features of 30 s of sound, at once and frame by frame."""
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (44100 * 30, 2)).astype(np.float32)
    at_once = milliseconds(lambda: mfcc_features(sound, 44100, 750), 10)
    one_by_one = milliseconds(lambda: features_frame_by_frame(sound, 44100, 750), 3)
    print(f"audio features of 30 s, 44.1 kHz stereo: {at_once:.1f} ms (frame by frame {one_by_one:.0f} ms)")


def benchmark_loading(data_dir: str, split: str, cache_dir: str, num_proc: int) -> ClipArrays:
    """The first and later loads, in this process."""
    began = time.perf_counter()
    dataset = load_react2024(data_dir, split, cache_dir=cache_dir, num_proc=num_proc)
    built = time.perf_counter()
    ClipArrays.from_dataset(dataset)
    written = time.perf_counter()
    arrays = ClipArrays.from_dataset(load_react2024(data_dir, split, cache_dir=cache_dir))
    again = time.perf_counter()
    print(f"first load of {len(dataset)} clips ({num_proc} processes): {built - began:.1f} s")
    print(f"their memory-mapped arrays, written once: {written - built:.2f} s")
    print(f"later load of both: {again - written:.2f} s")
    return arrays


def time_to_first_batch(data_dir: str, split: str, cache_dir: str) -> None:
    """In a fresh process, features cached: from its start, and from after the imports, to the first batch."""
    command = [sys.executable, __file__, "--data-dir", data_dir, "--split", split, "--cache-dir", cache_dir]
    began = time.perf_counter()
    done = subprocess.run([*command, "--first-batch"], check=True, capture_output=True, text=True)
    total = time.perf_counter() - began
    print(f"first batch in a fresh process: {done.stdout.strip()} s after the imports, {total:.1f} s with them")


def first_batch(data_dir: str, split: str, cache_dir: str) -> None:
    """What `time_to_first_batch` runs: load, cut one batch, print the seconds."""
    began = time.perf_counter()
    arrays = ClipArrays.from_dataset(load_react2024(data_dir, split, cache_dir=cache_dir))
    windows = ReactionWindows(arrays, load_appropriateness(data_dir, split), NUM_REACTIONS)
    next(iter(DataLoader(windows, BATCH)))  # type: ignore[arg-type]
    print(f"{time.perf_counter() - began:.2f}")


def build_batch(dataset: EmotionWindows | ReactionWindows, rows: list[int]) -> dict[str, torch.Tensor]:
    """What a `DataLoader` without workers does for one batch."""
    return default_collate(dataset.__getitems__(rows))


def benchmark_batches(windows: ReactionWindows, arrays: ClipArrays) -> None:
    """Batches built by one process, collated."""
    order = np.random.default_rng(0).integers(len(arrays), size=BATCH).tolist()
    personal = ReactionWindows(arrays, windows.appropriate, 1, history_frames=int(arrays.num_frames.min()))
    for what, dataset, rows in (
        ("40 reaction windows, 4 speakers x 10 reactions", windows, order[:4]),
        ("40 speaker windows with 10 reactions each", windows, order),
        ("40 speaker windows with a reaction and a whole clip of history", personal, order),
        ("40 emotion windows", EmotionWindows(arrays), order),
    ):
        spent = milliseconds(partial(build_batch, dataset, rows))
        print(f"batch of {what}: {spent:.2f} ms")


def compare(
    windows: ReactionWindows, slow: StraightforwardExamples, workers: int, options: argparse.Namespace
) -> None:
    """Both ways in turn, so that whatever else the machine does slows both; the median of three rounds."""
    before, now = [], []
    for _ in range(3):
        before.append(examples_per_second(slow, workers, 4, options.slow_examples))
        now.append(examples_per_second(windows, workers, BATCH, options.examples))
    print(
        f"training examples per second, {workers} workers: {median(now):.0f} "
        f"(straightforward {median(before):.2f}): {median(now) / median(before):.0f} times",
        flush=True,
    )


def main() -> None:
    """Runs all benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", help="a folder in the REACT2024 layout; by default a synthetic world is written")
    parser.add_argument("--split", default="train")
    parser.add_argument("--cache-dir", help="where to keep the features; by default a temporary folder")
    parser.add_argument("--num-proc", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--slow-examples", type=int, default=24, help="examples a round, straightforward way")
    parser.add_argument("--examples", type=int, default=20_000, help="examples a round, from the arrays")
    parser.add_argument("--first-batch", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.first_batch:
        first_batch(options.data_dir, options.split, options.cache_dir)
        return
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        data_dir, cache_dir = options.data_dir, options.cache_dir or str(Path(scratch, "cache"))
        if data_dir is None:
            data_dir = str(Path(scratch, "world"))
            write_synthetic_world(data_dir, WORLD)
        benchmark_audio()
        arrays = benchmark_loading(data_dir, options.split, cache_dir, options.num_proc)
        time_to_first_batch(data_dir, options.split, cache_dir)
        appropriate = load_appropriateness(data_dir, options.split)
        windows = ReactionWindows(arrays, appropriate, NUM_REACTIONS)
        benchmark_batches(windows, arrays)
        slow = StraightforwardExamples(data_dir, options.split, appropriate)
        for workers in (0, 1, 2):
            compare(windows, slow, workers, options)


if __name__ == "__main__":
    main()
