"""The real list structure of REACT2024: both sites, every session, every clip number, in made-up small contents."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from perfrdiff_hf.data.react2024.appropriateness import load_appropriateness
from perfrdiff_hf.data.react2024.check import check_folder
from perfrdiff_hf.data.react2024.dataset import load_react2024


NOXI = ("Expert_video", "Novice_video")
RECOLA = {
    "group-1": ("train", ("P25", "P26")),
    "group-2": ("val", ("P41", "P42")),
    "group-3": ("test", ("P45", "P46")),
}
TEST_SESSIONS = {2, 6, 12, 18, 24, 25, *range(66, 76), *range(82, 85)}
PAIRS = {"train": 1593, "val": 562, "test": 806}
FRAMES = 2


@pytest.fixture(scope="module")
def listing(realdata: Path) -> dict[str, list]:
    """The sessions of each split, from the real index. Which are for validation is made up; the counts are real."""
    with open(realdata / "sessions.csv", newline="") as file:
        clips = {
            row["session"]: [str(number + 1) for number in range(int(row["clips"]))] for row in csv.DictReader(file)
        }
    noxi = {session: numbers for session, numbers in clips.items() if session not in RECOLA}
    rest = [session for session in noxi if int(session[:3]) not in TEST_SESSIONS]
    validation = _sessions_with(553, {session: len(noxi[session]) for session in rest})
    splits: dict[str, list] = {split: [] for split in PAIRS}
    for session, numbers in noxi.items():
        split = "test" if session not in rest else "val" if session in validation else "train"
        splits[split].append(("NoXI", session, NOXI, numbers))
    for session, (split, people) in RECOLA.items():
        splits[split].append(("RECOLA", session, people, clips[session]))
    return splits


def _sessions_with(total: int, sizes: dict[str, int], count: int = 18) -> set[str]:
    """Some `count` sessions with `total` clips together."""
    reached: dict[tuple[int, int], tuple[str, ...]] = {(0, 0): ()}
    for session, size in sizes.items():
        for (number, clips), chosen in list(reached.items()):
            reached.setdefault((number + 1, clips + size), (*chosen, session))
    return set(reached[count, total])


def test_lists_matrices_and_files_of_the_real_structure(listing, make_dyads, tmp_path):
    assert {split: sum(len(clips) for *_, clips in parts) for split, parts in listing.items()} == PAIRS
    root = make_dyads(tmp_path / "react", listing, FRAMES, streams=("Emotion",))
    assert check_folder(root, ("emotion",), FRAMES, num_proc=2).problems == []
    for split, pairs in PAIRS.items():
        options = {"cache_dir": tmp_path / "cache", "streams": ("emotion",)}
        dataset = load_react2024(root, split, **options)
        personal = load_react2024(root, split, personal=True, **options)
        assert (len(dataset), len(personal)) == (2 * pairs, 2 * (pairs - len(listing[split])))
        assert set(zip(dataset["site"], dataset["session"])) == {part[:2] for part in listing[split]}
        assert load_appropriateness(root, split, personal=True).shape == (len(personal), len(personal))
