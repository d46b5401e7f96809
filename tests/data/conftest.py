"""Small made-up dyads in the REACT2024 layout."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile

from perfrdiff_hf.behaviour import EMOTION_NAMES, MEAN_FACE


NOXI = ("Expert_video", "Novice_video")
FRAMES = 120
SAMPLE_RATE = 8000
SESSIONS = {
    "train": [("NoXI", "001_Paris", NOXI, ["1", "2", "3"]), ("RECOLA", "group-1", ("P25", "P26"), ["1", "10", "2"])],
    "val": [("NoXI", "002_Paris", NOXI, ["1", "2"])],
}


def write_recording(folder: Path, stream: str, clip: str, frames: int, generator: np.random.Generator) -> None:
    """One stream of one person in one clip."""
    folder.mkdir(parents=True, exist_ok=True)
    if stream == "Audio_files":
        sound = generator.uniform(-0.5, 0.5, (frames * SAMPLE_RATE // 25, 2))
        soundfile.write(folder / f"{clip}.wav", sound, SAMPLE_RATE)
    elif stream == "Emotion":
        values = generator.integers(1000, size=(frames, 25)) / 1000
        lines = [",".join(EMOTION_NAMES), *(",".join(map(str, row)) for row in values.tolist())]
        (folder / f"{clip}.csv").write_text("\n".join(lines) + "\n")
    else:
        noise = generator.standard_normal((frames + 1, 1, 58), dtype=np.float32)
        np.save(folder / f"{clip}.npy", MEAN_FACE + 0.05 * noise)


def write_world(
    root: Path,
    sessions: dict[str, list] | None = None,
    frames: int = FRAMES,
    streams: tuple[str, ...] = ("Audio_files", "Emotion", "3D_FV_files"),
) -> Path:
    """A whole folder: files, lists, index, and a matrix in which every reaction suits its own clip."""
    generator = np.random.default_rng(0)
    index = []
    for split, parts in (SESSIONS if sessions is None else sessions).items():
        lines = [",speaker_path,listener_path"]
        for site, session, people, clips in parts:
            for clip in clips:
                index.append(f"{site},{session},{clip}")
                lines.append(",".join([str(len(index)), *(f"{site}/{session}/{who}/{clip}" for who in people)]))
                for stream, (side, person) in product(streams, enumerate(people)):
                    folder = (
                        root / split / stream / site / session / (f"P{side + 1}" if stream == "Emotion" else person)
                    )
                    write_recording(folder, stream, clip, frames, generator)
        (root / f"{split}.csv").write_text("\n".join(lines) + "\n")
    (root / "data_indices.csv").write_text("\n".join(["site,chat_index,clip_index", *index]) + "\n")
    likes = generator.random((2 * len(index), 2 * len(index))) < 0.3
    np.save(root / "Approprirate_facial_reaction.npy", (likes | np.eye(len(likes), dtype=bool)).astype(np.uint8))
    return root


@pytest.fixture(scope="session")
def make_dyads() -> Callable[..., Path]:
    """The function that writes a folder of dyads."""
    return write_world


@pytest.fixture(scope="session")
def dyads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of dyads that no test changes: two sites, train and val."""
    return write_world(tmp_path_factory.mktemp("dyads"))


@pytest.fixture(autouse=True, scope="session")
def _quiet() -> None:
    import datasets

    datasets.disable_progress_bars()
