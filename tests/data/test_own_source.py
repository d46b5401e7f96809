"""People's own data in a layout of its own: real dyads of two action units, in a source that is one class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset

from perfrdiff_hf import load_dyads
from perfrdiff_hf.behaviour import EMOTION_NAMES
from perfrdiff_hf.data.catalogue import SOURCES, register_source
from perfrdiff_hf.data.dyads import Recording, build_dyads, check_split, fingerprint_of, listeners, select_rows
from perfrdiff_hf.data.histories import history_row
from perfrdiff_hf.data.masks import ChannelMask
from perfrdiff_hf.data.source import DyadSource
from perfrdiff_hf.faces.formats.openface import ONSET
from perfrdiff_hf.faces.table import Table
from perfrdiff_hf.faces.tracks import resample_track
from perfrdiff_hf.metrics.synchrony import best_offsets, lag_per_clip
from tests.golden_files import SHARED


DYADS = SHARED / "realdata" / "dyads"
UNITS = ("AU6", "AU12")
pytestmark = pytest.mark.skipif(not DYADS.is_dir(), reason="the real dyads do not lie beside this checkout")


class VideoCalls(DyadSource):
    """csv files dyadNN_<session>.csv with AU6 and AU12 of both people at 30 frames a second; three sessions a dyad."""

    name = "video_calls"

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        return any(folder.glob("dyad*_1080p.csv"))

    def mask(self) -> ChannelMask:
        return ChannelMask.of_measured(UNITS)

    def rows(self, split: str, personal: bool = False, streams: Sequence[str] = ("emotion",)) -> Dataset:
        check_split(split)
        paths = sorted(self.data_dir.glob("dyad*.csv"))
        sides = [[recording(path, side) for side in (0, 1)] for path in paths]
        pairs = [(first, second) for first, second in sides]
        found = build_dyads(
            self.name,
            split,
            pairs,
            ("emotion",),
            partial(read_row, self.data_dir),
            fingerprint=fingerprint_of(
                "1", ((row.path, str(file_of(self.data_dir, row))) for row in listeners(pairs))
            ),
            cache_dir=self.cache_dir,
        )
        return select_rows(found, list(range(2 * len(pairs))))

    def appropriate(self, split: str, personal: bool = False, dataset: Dataset | None = None) -> np.ndarray:
        return np.eye(len(dataset if dataset is not None else self.rows(split)), dtype=bool)


def recording(path: Path, side: int) -> Recording:
    dyad, session = path.stem.split("_")
    return Recording("calls", session, f"{dyad}{'AB'[side]}", session, side, listener=f"{dyad}{'AB'[side]}")


def file_of(folder: Path, row: Recording) -> Path:
    return folder / f"{row.person[:-1]}_{row.session}.csv"


def read_row(folder: Path, listener: Recording, speaker: Recording) -> dict[str, Any]:
    who = "AB"[listener.side]
    values = Table(file_of(folder, listener)).numbers([f"{who}_AU06_r", f"{who}_AU12_r"])
    frames = len(values) * 25 // 30
    seen = np.ones(len(values), dtype=bool)
    units = resample_track(np.arange(len(values)) / 30, seen, values / (2 * ONSET), frames).clip(0, 1)
    emotion = np.zeros((frames, len(EMOTION_NAMES)), dtype=np.float32)
    emotion[:, [EMOTION_NAMES.index(unit) for unit in UNITS]] = units
    return {"num_frames": frames, "emotion": emotion}


@pytest.fixture
def source() -> Iterator[type[DyadSource]]:
    yield register_source(VideoCalls)
    del SOURCES[VideoCalls.name]


def test_real_dyads_through_the_door(source: type[DyadSource], tmp_path: Path) -> None:
    dyads = load_dyads(None, DYADS, "train", streams=("emotion",), cache_dir=tmp_path)
    arrays, known = dyads.arrays, dyads.mask.available("emotion")
    assert len(arrays) == 60 and set(arrays.num_frames.tolist()) == {4500} and known.sum() == 2
    assert not arrays.flat["emotion"][:, ~known].any()
    # 30 to 25 frames: the same share of the time in which a face smiles.
    raw = np.loadtxt(DYADS / "dyad01_1080p.csv", delimiter=",", skiprows=1)
    row = int(np.flatnonzero((arrays.listener_ids == "dyad01B") & (arrays.sessions == "1080p"))[0])
    smiles = arrays.emotion(row)[:, EMOTION_NAMES.index("AU12")] > 0.5
    assert abs(smiles.mean() - (raw[:, 3] > ONSET).mean()) < 0.005
    for row in range(len(arrays)):
        history = history_row(arrays, row)
        assert arrays.listener_ids[history] == arrays.listener_ids[row]
        assert arrays.sessions[history] != arrays.sessions[row]


def test_recorded_partners_are_more_in_step_than_shuffled_ones(source: type[DyadSource], tmp_path: Path) -> None:
    """FRSyn: the lag at which a reaction goes best with the speaker is smaller where they saw each other."""
    arrays = load_dyads("video_calls", DYADS, "train", streams=("emotion",), cache_dir=tmp_path).arrays
    known = VideoCalls(DYADS).mask().available("emotion")
    # Minutes, so that there are enough of them; of one session, so that shuffled partners belong together otherwise.
    clips = np.stack([arrays.emotion(row)[:, known].reshape(3, 1500, 2) for row in range(60)])
    recorded = np.concatenate([clips[:30], clips[30:]])
    partners = np.concatenate([clips[30:], clips[:30]])
    dyads = [str(name)[:-1] for name in arrays.listener_ids]
    shuffled = np.roll(partners, 3, axis=0)  # the same session of the dyad before
    assert all(dyads[row] != dyads[(row - 3) % 60] for row in range(60))
    lags = {
        name: lag_per_clip(best_offsets(recorded.reshape(-1, 1, 1500, 2), other.reshape(-1, 1500, 2)), "corrected")
        for name, other in (("recorded", partners), ("shuffled", shuffled))
    }
    assert np.nanmean(lags["recorded"]) < np.nanmean(lags["shuffled"]) - 3
