"""A further source of dyads: what it must bring, and what it gets for that."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from perfrdiff_hf.data.arrays import ClipArrays
from perfrdiff_hf.data.dyads import Pairs, Recording, build_dyads, fingerprint_of, listeners, select_rows


PEOPLE = ("ann", "bo")
CLIPS = ("1", "2", "3")


def read_row(folder: Path, listener: Recording, speaker: Recording) -> dict[str, Any]:
    """One npy of emotion for each recording, all in one folder: a layout unlike REACT's."""
    emotion = np.load(folder / f"{listener.person}_{listener.clip}.npy")
    return {"num_frames": len(emotion), "emotion": emotion, "remark": f"hears {speaker.person}"}


def load(folder: Path, cache_dir: Path, num_proc: int | None = None) -> datasets.Dataset:
    """The reader of that layout, whole."""
    pairs: Pairs = [
        (Recording("Lab", "day", PEOPLE[0], clip, 0), Recording("Lab", "day", PEOPLE[1], clip, 1)) for clip in CLIPS
    ]
    files = ((row.path, str(folder / f"{row.person}_{row.clip}.npy")) for row in listeners(pairs))
    return build_dyads(
        "lab",
        "train",
        pairs,
        ("emotion",),
        partial(read_row, folder),
        fingerprint=fingerprint_of("lab, version 1", files),
        own_columns=("remark",),
        cache_dir=cache_dir,
        num_proc=num_proc,
    )


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    folder = tmp_path / "lab"
    folder.mkdir()
    for number, (person, clip) in enumerate((person, clip) for person in PEOPLE for clip in CLIPS):
        np.save(folder / f"{person}_{clip}.npy", np.full((30, 25), number, np.float32))
    return folder


def test_a_source_is_a_reader_and_nothing_else(lab: Path, tmp_path: Path) -> None:
    rows = load(lab, tmp_path / "cache")
    assert rows["person"][:] == ["bo"] * 3 + ["ann"] * 3
    assert rows["remark"][:] == ["hears ann"] * 3 + ["hears bo"] * 3
    kept = select_rows(rows, [0, 2, 3, 5])
    assert kept["clip"][:] == ["1", "3"] * 2 and kept["partner"][:] == [2, 3, 0, 1]
    assert "remark" not in kept.column_names
    arrays = ClipArrays.from_dataset(kept)
    assert [float(arrays.emotion(row)[0, 0]) for row in range(4)] == [3, 5, 0, 2]


def test_processes_do_not_change_a_source(lab: Path, tmp_path: Path) -> None:
    alone, together = load(lab, tmp_path / "one"), load(lab, tmp_path / "two", num_proc=2)
    assert alone.to_dict() == together.to_dict()


def test_a_source_is_read_again_when_a_file_changes(lab: Path, tmp_path: Path) -> None:
    before = load(lab, tmp_path / "cache")
    assert load(lab, tmp_path / "cache").cache_files == before.cache_files
    np.save(lab / "bo_1.npy", np.full((31, 25), 9, np.float32))
    assert load(lab, tmp_path / "cache")["num_frames"][0] == 31
    (lab / "bo_1.npy").unlink()
    with pytest.raises(datasets.exceptions.DatasetGenerationError):
        load(lab, tmp_path / "cache")
