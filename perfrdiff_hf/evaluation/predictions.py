"""Folders of predictions: one file of reactions for each clip, and beside them what made them.

A clip's file is named after the listener who reacts, SITE/SESSION/PERSON/CLIP, with the ending npz (an array
`reactions`, (reactions, frames, 25), and perhaps `coefficients`, (reactions, frames, 58)), npy (the first array, or
(frames, 25) for a single reaction) or csv (the 25 channels as named columns; several reactions stand below each other,
told apart by a column `reaction`). Files without coefficients are scored by their emotion alone.

Folders that this package fills hold `settings.json`: the digest of the model's weights, the digest of the data and how
reactions were drawn. Predictions made in one way are never taken for those of another, and the same settings go on
where an interrupted run stopped.
"""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline

from ..baselines.reference import Predictions, Row
from ..behaviour import COEFFICIENT_CHANNELS, EMOTION_CHANNELS, EMOTION_NAMES
from ..data.arrays import ClipArrays
from ..faces.formats.react2024 import load_emotion_csv
from ..files import file_beside
from .task import Task, clip_paths


logger = logging.getLogger(__name__)

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


def write_reactions(
    folder: str | Path, clip: str, reactions: np.ndarray, coefficients: np.ndarray | None = None
) -> None:
    """One clip's predictions, whole or not at all.

    Args:
        folder: of the system.
        clip: "site/session/person/clip" of the listener.
        reactions: `(reactions, frames, 25)`.
        coefficients: `(reactions, frames, 58)` of the same reactions; kept in half precision.

    Raises:
        ValueError: if the two do not fit each other.
    """
    arrays = {"reactions": reactions}
    if coefficients is not None:
        if coefficients.shape != (*reactions.shape[:2], COEFFICIENT_CHANNELS):
            raise ValueError(
                f"coefficients must have the reactions and frames of reactions and {COEFFICIENT_CHANNELS} channels, "
                f"{(*reactions.shape[:2], COEFFICIENT_CHANNELS)}; it has {coefficients.shape}."
            )
        # Half precision halves what would be most of a folder (1.7 MB a clip). At a pitch of pi its steps are 0.002
        # radians: head speed and nods of recorded clips, even slowed down twentyfold, change by less than 0.5 %.
        arrays["coefficients"] = coefficients.astype(np.float16)
    path = Path(folder) / f"{clip}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_beside(path) as beside:
        np.savez(beside, **arrays)  # type: ignore[arg-type]


def missing_clips(folder: str | Path, clips: Sequence[str]) -> list[int]:
    """The numbers of the clips to which a folder has no predictions of ours yet, coefficients included."""
    return [number for number, clip in enumerate(clips) if not has_coefficients(Path(folder) / f"{clip}.npz")]


def has_coefficients(path: str | Path) -> bool:
    """Whether a file is one of ours that holds coefficients beside the reactions."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {"reactions.npy", "coefficients.npy"} <= set(archive.namelist())
    except (FileNotFoundError, zipfile.BadZipFile):
        return False


def prediction_rows(folder: str | Path, task: Task) -> Row:
    """A folder of predictions as a system that can be scored: from clip numbers to the predictions for these.

    Coefficients are among them if every file has some.

    Raises:
        FileNotFoundError: if the folder does not exist or a clip has no file; files are read when they are asked for.
    """
    files = prediction_files(folder, task.paths)
    without = [file for file in files if not has_coefficients(file)]
    if 0 < len(without) < len(files):
        logger.warning(
            f"{folder} is scored by emotion alone: {without[0]} has no coefficients, one of {len(without)}."
        )
    return partial(_read, files, task.num_frames, not without)


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


def _read(files: Sequence[Path], frames: int, with_coefficients: bool, clips: np.ndarray) -> Predictions:
    emotion = np.stack([read_reactions(files[clip], frames) for clip in clips])
    if not with_coefficients:
        return Predictions(emotion)
    return Predictions(emotion, np.stack([read_coefficients(files[clip], frames) for clip in clips]))


def read_coefficients(path: str | Path, frames: int) -> np.ndarray:
    """The coefficients in one npz file, `(reactions, frames, 58)` float32, cut to `frames`.

    Raises:
        ValueError: if the file is incomplete, or does not hold coefficients of at least that many frames.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            coefficients = archive["coefficients"]
    except (ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a complete file of coefficients: {error}") from error
    return _cut(path, "coefficients", coefficients, frames, COEFFICIENT_CHANNELS)


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
    except (ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a complete file of reactions: {error}") from error
    reactions = reactions[None] if reactions.ndim == 2 else reactions
    return _cut(path, "reactions", reactions, frames, EMOTION_CHANNELS)


def _cut(path: str | Path, what: str, values: np.ndarray, frames: int, channels: int) -> np.ndarray:
    """The first frames, as float32."""
    if values.ndim != 3 or values.shape[1] < frames or values.shape[2] != channels:
        raise ValueError(
            f"{path} must hold {what} of shape (reactions, at least {frames} frames, {channels}); "
            f"it holds {values.shape}."
        )
    return values[:, :frames].astype(np.float32)


def _read_csv(path: Path) -> np.ndarray:
    header, table = load_emotion_csv(path)
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
