"""Folders of predictions: one file of reactions for each clip, and beside them what made them.

A clip's file is named after the listener who reacts, SITE/SESSION/PERSON/CLIP, with the ending npz (an array
`reactions`, (reactions, frames, 25)), npy (the same array, or (frames, 25) for a single reaction) or csv (the 25
channels as named columns; several reactions stand below each other, told apart by a column `reaction`).

Folders that this package fills hold `settings.json`: the digest of the model's weights, the digest of the data and how
reactions were drawn. Predictions made in one way are never taken for those of another, and the same settings go on
where an interrupted run stopped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline

from ..baselines.reference import Row
from ..behaviour import EMOTION_CHANNELS, EMOTION_NAMES
from ..data.arrays import ClipArrays
from ..files import file_beside
from .task import Task, clip_paths


ENDINGS = (".npz", ".npy", ".csv")
SETTINGS_FILE = "settings.json"


def begin_predictions(folder: str | Path, settings: Mapping[str, Any], overwrite: bool = False) -> None:
    """Make a folder ready for predictions that are made with some settings.

    Args:
        folder: of one system; it is made if need be.
        settings: what made the predictions: plain values by name.
        overwrite: forget predictions that were made with other settings.

    Raises:
        ValueError: if the folder holds predictions made with other settings, or that do not tell with which, and they
            are not to be overwritten; the message names what differs.
    """
    folder = Path(folder)
    path = folder / SETTINGS_FILE
    settings = json.loads(json.dumps(dict(settings)))  # as it will be read: tuples are lists then
    made_with = read_settings(folder)
    if made_with == settings:
        return
    held = list(folder.rglob("*.npz"))
    if held and not overwrite:
        raise ValueError(
            f"{folder} holds predictions that {_difference(made_with, settings)}. Write to another folder, or let "
            "overwrite replace them."
        )
    # The settings go first and come last: a run that dies in between leaves no predictions of an unknown origin.
    path.unlink(missing_ok=True)
    for file in held:
        file.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    with file_beside(path) as beside:
        beside.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def read_settings(folder: str | Path) -> dict[str, Any] | None:
    """What made the predictions of a folder; None if it does not say."""
    path = Path(folder) / SETTINGS_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _difference(made_with: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> str:
    if made_with is None:
        return f"do not tell what made them: there is no {SETTINGS_FILE}"
    names = [name for name in {**made_with, **settings} if made_with.get(name) != settings.get(name)]
    none = "not given"
    differing = ", ".join(f"{name} {made_with.get(name, none)}, now {settings.get(name, none)}" for name in names)
    return f"were made in another way ({differing})"


def write_reactions(folder: str | Path, clip: str, reactions: np.ndarray) -> None:
    """One clip's predictions, whole or not at all.

    Args:
        folder: of the system.
        clip: "site/session/person/clip" of the listener.
        reactions: `(reactions, frames, 25)`.
    """
    path = Path(folder) / f"{clip}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_beside(path) as beside:
        np.savez(beside, reactions=reactions)


def missing_clips(folder: str | Path, clips: Sequence[str]) -> list[int]:
    """The numbers of the clips to which a folder has no predictions of ours yet."""
    return [number for number, clip in enumerate(clips) if not (Path(folder) / f"{clip}.npz").is_file()]


def prediction_rows(folder: str | Path, task: Task) -> Row:
    """A folder of predictions as a system that can be scored: from clip numbers to `(batch, reactions, frames, 25)`.

    Raises:
        FileNotFoundError: if the folder does not exist or a clip has no file; files are read when they are asked for.
    """
    return partial(_read, prediction_files(folder, task.paths), task.num_frames)


def prediction_files(folder: str | Path, clips: Sequence[str]) -> list[Path]:
    """The file of each clip.

    Raises:
        FileNotFoundError: if the folder does not exist or a clip has no file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder of predictions at {folder}.")
    found = [next((file for end in ENDINGS if (file := folder / f"{clip}{end}").is_file()), None) for clip in clips]
    missing = [clip for clip, file in zip(clips, found) if file is None]
    if missing:
        raise FileNotFoundError(
            f"{folder} has no predictions for {len(missing)} of {len(clips)} clips; the first would be "
            f"{folder / missing[0]} with the ending {', '.join(ENDINGS)}."
        )
    return [file for file in found if file is not None]


def _read(files: Sequence[Path], frames: int, clips: np.ndarray) -> np.ndarray:
    return np.stack([read_reactions(files[clip], frames) for clip in clips])


def read_reactions(path: str | Path, frames: int) -> np.ndarray:
    """One file's reactions, `(reactions, frames, 25)` float32, cut to `frames`.

    Raises:
        ValueError: if the file is incomplete, or does not hold reactions of at least that many frames.
    """
    path = Path(path)
    try:
        if path.suffix == ".csv":
            reactions = _read_csv(path)
        else:
            loaded = np.load(path, allow_pickle=False)
            reactions = loaded if isinstance(loaded, np.ndarray) else loaded["reactions"]
    except (ValueError, EOFError, OSError, KeyError) as error:
        raise ValueError(f"{path} is not a complete file of reactions: {error}") from error
    reactions = reactions[None] if reactions.ndim == 2 else reactions
    if reactions.ndim != 3 or reactions.shape[1] < frames or reactions.shape[2] != EMOTION_CHANNELS:
        raise ValueError(
            f"{path} must hold reactions of shape (reactions, at least {frames} frames, {EMOTION_CHANNELS}); "
            f"it holds {reactions.shape}."
        )
    return reactions[:, :frames].astype(np.float32)


def _read_csv(path: Path) -> np.ndarray:
    with open(path, encoding="utf-8-sig") as file:
        header = [name.strip() for name in file.readline().split(",")]
        table = np.loadtxt(file, delimiter=",", ndmin=2)
    missing = [name for name in EMOTION_NAMES if name not in header]
    if missing:
        raise ValueError(f"columns {', '.join(missing)} are missing")
    values = table[:, [header.index(name) for name in EMOTION_NAMES]]
    if "reaction" not in header:
        return values
    number = table[:, header.index("reaction")]
    parts = [values[number == which] for which in np.unique(number)]
    return np.stack(parts)


def digest_of_pipeline(pipeline: DiffusionPipeline) -> str:
    """What stands for a pipeline's weights and settings: the same for the same model wherever it was loaded from."""
    digest = blake2b(type(pipeline).__name__.encode(), digest_size=16)
    components = pipeline.components
    own = {name: value for name, value in pipeline.config.items() if name not in components}
    digest.update(f"{_settings_of(own)}\n".encode())
    for name, part in sorted(components.items()):
        digest.update(f"{name} {type(part).__name__} {_settings_of(part)}\n".encode())
        if isinstance(part, torch.nn.Module):
            for key, value in sorted(part.state_dict().items()):
                digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
                digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _settings_of(part: Any) -> str:
    """A component's configuration without what tells where it was loaded from and by which version."""
    settings = part if part is None else getattr(part, "config", part)
    values = settings.to_dict() if hasattr(settings, "to_dict") else dict(settings or {})
    kept = {key: value for key, value in values.items() if not key.startswith("_") and "version" not in key}
    return json.dumps(kept, sort_keys=True, default=str)


def digest_of_clips(arrays: ClipArrays) -> str:
    """What stands for the recorded behaviour of a split: clips, their order and content, wherever the folder lies."""
    digest = blake2b(" ".join(clip_paths(arrays)).encode(), digest_size=16)
    digest.update(arrays.partner.tobytes() + arrays.num_frames.tobytes())
    for stream, values in sorted(arrays.flat.items()):
        digest.update(stream.encode())
        digest.update(values.data)
    return digest.hexdigest()
