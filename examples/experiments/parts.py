"""Stages of a row of an experiment that another row has trained already."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from perfrdiff_hf.progress import quieten_libraries


def speak() -> None:
    """Training tells how it goes on, as `perfrdiff train` does."""
    quieten_libraries()
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("perfrdiff_hf").setLevel(logging.INFO)


def borrow(source: Path, folder: Path, stages: Sequence[str]) -> None:
    """Stages that were trained in another folder stand in this one by reference.

    Raises:
        FileNotFoundError: if one was not trained there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for stage in stages:
        if not (source / stage).exists():
            raise FileNotFoundError(f"{folder.name} needs the {stage} of {source}, which is not trained.")
        if not (folder / stage).exists():
            (folder / stage).symlink_to((source / stage).resolve())
