"""Listeners in a folder, each a folder of its own with the weight shifts that make somebody's manner."""

from __future__ import annotations

import re
import shutil
import threading
from pathlib import Path

import numpy as np

from ..behaviour import FRAME_RATE
from ..files import PathLike, folder_beside
from ..models.weight_shifts import WEIGHTS_NAME, WeightShifts
from ..pipelines.perfrdiff import PerFRDiffPipeline
from ..pipelines.reaction_pipeline import ReactionPipeline
from .refusals import RefusedError, refusing


# Names become folders, so that nothing but these may stand in them.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _-]{0,39}")
MOST_LISTENERS = 500
LEAST_SECONDS = 10


class ListenerShelf:
    """Listeners that `WeightShifts.save_pretrained` wrote, or that are made here.

    Args:
        folder: where they lie; it is made when the first is saved.
        is_fixed: whether visitors may neither make nor remove listeners, as where everybody can come in.
    """

    def __init__(self, folder: PathLike, is_fixed: bool = False):
        self.folder, self.is_fixed = Path(folder), is_fixed
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """Who is there, in alphabetical order."""
        if not self.folder.is_dir():
            return []
        saved = [path.name for path in self.folder.iterdir() if (path / WEIGHTS_NAME).is_file()]
        return sorted(name for name in saved if _NAME.fullmatch(name))

    def load(self, name: str, pipeline: ReactionPipeline) -> WeightShifts:
        """A listener, ready for a pipeline.

        Raises:
            RefusedError: if there is none of this name, it was made for another model, or the model knows none.
        """
        folder = self._folder_of(name)
        if not (folder / WEIGHTS_NAME).is_file():
            raise RefusedError(f"There is no listener {name}.", 404)
        personal = _personal(pipeline)
        with refusing(ValueError):
            return personal.load_listener(folder)

    def make(self, name: str, pipeline: ReactionPipeline, history: np.ndarray) -> None:
        """Make a listener from how a person moves, and save it.

        Args:
            name: letters, digits, blanks, `_` and `-`, 40 at most.
            pipeline: for which.
            history: `(frames, 58)` at 25 a second, 10 seconds at least.

        Raises:
            RefusedError: if the shelf is fixed, there is one of this name, the name or the history cannot be used, or
                the model knows no listeners.
        """
        self._check_open()
        folder, personal = self._folder_of(name), _personal(pipeline)
        least = max(FRAME_RATE * LEAST_SECONDS, pipeline.window_size)
        if len(history) < least:
            raise RefusedError(
                f"A listener needs {least / FRAME_RATE:.0f} s of a face or more; this recording has "
                f"{len(history) / FRAME_RATE:.1f} s."
            )
        with self._lock:
            if folder.exists():
                raise RefusedError(
                    f"There is a listener {name} already. Choose another name, or remove that one.", 409
                )
            if len(self.names()) >= MOST_LISTENERS:
                raise RefusedError(f"There are {MOST_LISTENERS} listeners already; remove some.")
            shifts = personal.personalise(history[None])
            with folder_beside(folder, existing="refuse") as beside:
                shifts.save_pretrained(beside)

    def remove(self, name: str) -> None:
        """Forget a listener.

        Raises:
            RefusedError: if the shelf is fixed, or there is none of this name.
        """
        self._check_open()
        with self._lock:
            if name not in self.names():
                raise RefusedError(f"There is no listener {name}.", 404)
            shutil.rmtree(self._folder_of(name))

    def _check_open(self) -> None:
        if self.is_fixed:
            raise RefusedError("The listeners of this server are fixed: visitors make and remove none.", 403)

    def _folder_of(self, name: str) -> Path:
        if not _NAME.fullmatch(name) or name != name.strip():
            raise RefusedError(
                f"A listener's name is 1 to 40 letters, digits, blanks, _ and -, and begins with a letter or digit; "
                f"given: {name!r}."
            )
        return self.folder / name


def _personal(pipeline: ReactionPipeline) -> PerFRDiffPipeline:
    if not isinstance(pipeline, PerFRDiffPipeline) or not can_personalise(pipeline):
        raise RefusedError("This model knows no listeners: it has no style encoder or no weight-shift generator.")
    return pipeline


def can_personalise(pipeline: ReactionPipeline) -> bool:
    """Whether listeners can be made for a pipeline."""
    return pipeline.is_personal and getattr(pipeline, "weight_shift_generator", None) is not None
