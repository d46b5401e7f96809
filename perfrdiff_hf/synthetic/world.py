"""Write a synthetic world of speakers and listeners with known styles, exactly in the layout of REACT2024.

```
perfrdiff world FOLDER --size demo --seed 0
```

The folder is read by the same loader as the real data. Its `world.json` holds the truth, from which
`oracle_reactions` samples what listeners would have done instead.

| file | what it is for |
|---|---|
| `people.py` | acts, reactions, styles; the odds and the timing of a reaction |
| `cast.py` | who plays which script with whom: the truth, `world.json` |
| `emotion.py`, `face.py`, `sound.py` | how acts and reactions look and sound |
| `recording.py` | one recording |
| `oracles.py` | reactions drawn from the truth |
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from ..behaviour import MEAN_FACE, STD_FACE, STREAMS
from ..data.dyads import SPLITS
from ..data.react2024.layout import (
    FULL_MATRIX,
    INDEX,
    INDEX_HEADER,
    MEAN_FACE_FILE,
    STD_FACE_FILE,
    stream_path,
    write_pairs,
)
from ..faces.formats.react2024 import emotion_csv
from ..files import folder_beside
from ..progress import follow
from .cast import (
    PERSONS,
    SITE,
    SIZES,
    WORLD_FILE,
    Performance,
    World,
    WorldSize,
    load_world,
    plan_world,
)
from .oracles import oracle_reactions
from .recording import calibration, render


__all__ = ["SIZES", "WorldSize", "load_world", "oracle_reactions", "write_synthetic_world"]


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
        size: `"quick"` (11 dyads, 20 MB), `"demo"` (65 dyads, 250 MB), `"bench"` (264 dyads, 2.5 GB), `"listeners"`
            (38 dyads, 36 of them to test on, 360 MB), or a `WorldSize`.
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
        with folder_beside(folder, existing="replace" if overwrite else "refuse") as beside:
            _write(beside, plan_world(world_size, seed), num_proc)
    except OSError as error:
        raise type(error)(f"Cannot write a synthetic world to {folder}: {error}") from error
    return folder


def _write(folder: Path, world: World, num_proc: int) -> None:
    _write_lists(folder, world)
    np.save(folder / MEAN_FACE_FILE, MEAN_FACE)
    np.save(folder / STD_FACE_FILE, STD_FACE)
    world.save(folder / WORLD_FILE)
    calibration()  # once, before processes split off
    write = partial(_write_recording, folder, world)
    title, total = "writing the synthetic world", len(world.recordings)
    if num_proc == 1:
        for recording in follow(world.recordings, title, "clip"):
            write(recording)
        return
    with ProcessPoolExecutor(num_proc) as pool:
        for _ in follow(pool.map(write, world.recordings, chunksize=16), title, "clip", total):
            pass


def _write_lists(folder: Path, world: World) -> None:
    """The split lists, the index of all clips, and the matrix of appropriate reactions over all of them."""
    index: list[Performance] = []
    for split in SPLITS:
        novices = [row for row in world.of_split(split) if row.person == PERSONS[1]]
        write_pairs(folder, split, [(world.partner(row).recording, row.recording) for row in novices])
        index += novices
    entries = [f"{SITE},{row.session},{row.clip}" for row in index]
    (folder / INDEX).write_text("\n".join([INDEX_HEADER, *entries]) + "\n", encoding="utf-8")
    # Rows and columns: all clips with the Expert as speaker, then all with the Novice as speaker.
    speakers = [world.partner(row) for row in index] + index
    played = np.array([(SPLITS.index(row.split), row.script, row.role) for row in speakers])
    np.save(folder / FULL_MATRIX, (played[:, None] == played[None]).all(axis=-1).astype(np.float64))


def _write_recording(folder: Path, world: World, performance: Performance) -> None:
    rendered = render(world, performance)
    files = {stream: Path(stream_path(folder, performance.split, performance.recording, stream)) for stream in STREAMS}
    for file in files.values():
        file.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(files["audio"], rendered.sound, world.size.sample_rate, subtype=world.size.sound)
    files["emotion"].write_text(emotion_csv(rendered.emotion, decimals=4), encoding="utf-8")
    np.save(files["coefficients"], rendered.coefficients[:, None, :])
