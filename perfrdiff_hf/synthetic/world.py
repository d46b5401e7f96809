"""Write a synthetic world of speakers and listeners with known styles, exactly in the layout of REACT2024.

```
python -m perfrdiff_hf.synthetic.world FOLDER --size demo --seed 0
```

The folder is read by the same loader as the real data. Its `world.json` holds the truth, from which
`oracle_reactions` samples what listeners would have done instead.

| file | what it is for |
|---|---|
| `synthetic_people.py` | acts, reactions, styles; the odds and the timing of a reaction |
| `synthetic_cast.py` | who plays which script with whom: the truth, `world.json` |
| `synthetic_behaviour.py`, `synthetic_face.py`, `synthetic_sound.py` | how acts and reactions look and sound |
| `synthetic_render.py` | one recording |
| `synthetic_oracles.py` | reactions drawn from the truth |
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from tqdm.auto import tqdm

from ..behaviour import ACTION_UNITS, EMOTION_NAMES, MEAN_FACE, STD_FACE
from .cast import (
    PERSONS,
    SITE,
    SIZES,
    SPLITS,
    WORLD_FILE,
    Recording,
    World,
    WorldSize,
    load_world,
    plan_world,
)
from .oracles import oracle_reactions
from .recording import calibration, render


__all__ = ["WorldSize", "load_world", "oracle_reactions", "write_synthetic_world"]

EMOTION_PERSONS = {"Expert_video": "P1", "Novice_video": "P2"}
MATRIX_FILE = "Approprirate_facial_reaction.npy"  # the official spelling


def write_synthetic_world(
    folder: str | Path,
    size: str | WorldSize = "demo",
    seed: int = 0,
    overwrite: bool = False,
    num_proc: int = 1,
) -> Path:
    """Write a world. The same size and seed give the same bytes, whatever the number of processes.

    Args:
        folder: where to; it appears only when it is complete.
        size: `"demo"` (18 dyads, 100 MB), `"bench"` (45 dyads, 900 MB), or a `WorldSize`.
        seed: of the world.
        overwrite: replace what the folder holds.
        num_proc: processes that render.

    Returns:
        The folder.

    Raises:
        ValueError: if `size` is unknown, or `num_proc` or `seed` is out of range.
        FileExistsError: if the folder is not empty and `overwrite` is False.
        OSError: if the folder cannot be written.
    """
    folder = Path(folder)
    world_size = SIZES.get(size) if isinstance(size, str) else size
    if not isinstance(world_size, WorldSize):
        raise ValueError(f"size must be one of {', '.join(SIZES)} or a WorldSize; given: {size!r}.")
    if num_proc < 1 or seed < 0:
        raise ValueError(f"num_proc must be 1 or more and seed 0 or more; given: {num_proc} and {seed}.")
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; a world needs a folder.")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise FileExistsError(f"{folder} is not empty; choose another folder, or replace it with overwrite=True.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise type(error)(f"Cannot write a synthetic world to {folder}: {error}") from error
    try:
        _write(beside / "new", plan_world(world_size, seed), num_proc)
        if folder.exists():
            os.replace(folder, beside / "old")
        os.replace(beside / "new", folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def _write(folder: Path, world: World, num_proc: int) -> None:
    folder.mkdir()
    _write_lists(folder, world)
    np.save(folder / "mean_face.npy", MEAN_FACE)
    np.save(folder / "std_face.npy", STD_FACE)
    world.save(folder / WORLD_FILE)
    calibration()  # once, before processes split off
    write = partial(_write_recording, folder, world)
    progress = partial(tqdm, total=len(world.recordings), desc="Writing the synthetic world", unit="clip")
    if num_proc == 1:
        for recording in progress(world.recordings):
            write(recording)
        return
    with ProcessPoolExecutor(num_proc) as pool:
        for _ in progress(pool.map(write, world.recordings, chunksize=16)):
            pass


def _write_lists(folder: Path, world: World) -> None:
    """The split lists, the index of all clips, and the matrix of appropriate reactions over all of them."""
    index: list[Recording] = []
    for split in SPLITS:
        novices = [row for row in world.of_split(split) if row.person == PERSONS[1]]
        pairs = [f"{n},{row.partner_id}/{row.clip},{row.listener_id}/{row.clip}" for n, row in enumerate(novices)]
        _write_lines(folder / f"{split}.csv", [",speaker_path,listener_path", *pairs])
        index += novices
    entries = [f"{SITE},{row.session},{row.clip}" for row in index]
    _write_lines(folder / "data_indices.csv", ["site,chat_index,clip_index", *entries])
    # Rows and columns: all clips with the Expert as speaker, then all with the Novice as speaker.
    speakers = [world.partner(row) for row in index] + index
    played = np.array([(SPLITS.index(row.split), row.script, row.role) for row in speakers])
    np.save(folder / MATRIX_FILE, (played[:, None] == played[None]).all(axis=-1).astype(np.float64))


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_recording(folder: Path, world: World, recording: Recording) -> None:
    rendered = render(world, recording)
    root, session = folder / recording.split, Path(SITE) / recording.session
    sound = root / "Audio_files" / session / recording.person / f"{recording.clip}.wav"
    emotion = root / "Emotion" / session / EMOTION_PERSONS[recording.person] / f"{recording.clip}.csv"
    coefficients = root / "3D_FV_files" / session / recording.person / f"{recording.clip}.npy"
    for file in (sound, emotion, coefficients):
        file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(sound, rendered.sound, world.size.sample_rate, subtype=world.size.sound)
    rows = [
        ",".join([*map(str, units), *(f"{value:.4f}" for value in rest)])
        for units, rest in zip(
            rendered.emotion[:, ACTION_UNITS].astype(int).tolist(), rendered.emotion[:, ACTION_UNITS.stop :].tolist()
        )
    ]
    _write_lines(emotion, [",".join(EMOTION_NAMES), *rows])
    np.save(coefficients, rendered.coefficients[:, None, :])


def main(arguments: list[str] | None = None) -> None:
    """Write a world from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="where to write")
    parser.add_argument("--size", choices=sorted(SIZES), default="demo")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num_proc", type=int, default=os.cpu_count() or 1, help="processes that render")
    parser.add_argument("--overwrite", action="store_true", help="replace what the folder holds")
    options = parser.parse_args(arguments)
    try:
        write_synthetic_world(options.folder, options.size, options.seed, options.overwrite, options.num_proc)
    except (OSError, ValueError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    print(f"A {options.size} world lies in {options.folder}.")


if __name__ == "__main__":
    main()
