"""Made-up clips whose every value tells where it was cut from."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Array2D, Dataset, Features, Value

from perfrdiff_hf.behaviour import STREAM_WIDTHS
from perfrdiff_hf.data.arrays import ClipArrays


PAIRS, FRAMES, W = 12, 60, 10


def made_up(people: list[str], frames: list[int], streams: dict[str, int] = STREAM_WIDTHS) -> Dataset:
    """Rows whose every value tells where it was cut from: row + frame / 1000, the same in all channels."""
    rows = len(people)
    columns = {
        "listener_id": people,
        "clip": [str(people[:row].count(who) + 1) for row, who in enumerate(people)],
        "partner": [(row + rows // 2) % rows for row in range(rows)],
        "num_frames": frames,
    }
    for stream, width in streams.items():
        columns[stream] = [np.full((n, width), row) + np.arange(n)[:, None] / 1000 for row, n in enumerate(frames)]
    arrays = {stream: Array2D((None, width), "float32") for stream, width in streams.items()}
    strings, numbers = dict.fromkeys(["listener_id", "clip"], Value("string")), Value("int64")
    return Dataset.from_dict(columns, Features({**strings, "partner": numbers, "num_frames": numbers, **arrays}))


# Row r and row r + 12 are the two sides of a clip; six people have four clips each.
PEOPLE = [f"N/{row % PAIRS // 4}/{'b' if row < PAIRS else 'a'}" for row in range(2 * PAIRS)]


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    return ClipArrays.from_dataset(made_up(PEOPLE, [FRAMES] * 2 * PAIRS), tmp_path_factory.mktemp("arrays"))


@pytest.fixture(scope="module")
def appropriate():
    return (np.random.default_rng(0).random((2 * PAIRS, 2 * PAIRS)) < 0.4) | np.eye(2 * PAIRS, dtype=bool)


def origin(window) -> tuple[int, int, int]:
    """Row, first frame and length that a made-up window was cut from, after checking that it is one stretch."""
    values = np.asarray(window)[:, 0]
    row = int(values[0])
    frames = np.rint((values - row) * 1000).astype(int)
    assert (np.asarray(window) == np.asarray(window)[:, :1]).all()
    np.testing.assert_array_equal(np.diff(frames), 1)
    return row, int(frames[0]), len(values)
