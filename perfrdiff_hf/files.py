"""Files and folders that appear whole or not at all: written beside their place, flushed, then moved there."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal


PathLike = str | os.PathLike


@contextmanager
def file_beside(path: PathLike) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the place of `path` at the end, and vanishes if an error occurs.

    It keeps the suffix, from which libraries tell the format, and its name is this call's own.

    Raises:
        FileNotFoundError: if the folder does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent} to write {path.name} into.")
    beside = path.with_name(f".{path.stem}.partial-{secrets.token_hex(4)}{path.suffix}")
    try:
        yield beside
        _flush_to_disk(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def folder_beside(path: PathLike, existing: Literal["replace", "keep", "refuse"] = "replace") -> Iterator[Path]:
    """A new folder beside `path` to fill; it takes the place of `path` at the end, and vanishes if an error occurs.

    The folders above are made if need be.

    Args:
        path: the folder.
        existing: what becomes of a folder that is there already, or at the end. "replace": it is moved aside first
            and removed last, so that at every moment one whole folder is there: under its name or, if the process
            dies between the two moves, under the name that `previous_folder` gives. "keep": it stays, and the new one
            vanishes: of several that compute the same, the first wins. "refuse": it stays, and an error says so; an
            empty folder is taken over.

    Raises:
        FileExistsError: if a folder that holds something is to be refused, or `path` is no folder.
    """
    path = Path(path)
    if existing == "refuse":
        _refuse_content(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.partial-{secrets.token_hex(4)}")
    beside.mkdir()
    try:
        yield beside
        for file in beside.rglob("*"):
            if file.is_file():
                _flush_to_disk(file)
        if existing == "replace":
            _take_place(beside, path)
        else:
            _take_free_place(beside, path, existing == "keep")
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def previous_folder(path: PathLike) -> Path:
    """Where `folder_beside` keeps the earlier folder while the new one takes its place."""
    path = Path(path)
    return path.with_name(f".{path.name}.previous")


def remove_leftovers(folder: PathLike, name: str = "*") -> None:
    """Remove what processes that were killed have left half written in a folder.

    Only where one process at a time writes: what another is writing just now would go as well.

    Args:
        folder: where it may lie; it need not exist.
        name: of the file without its suffix, or of the folder, that was to be written; by default any.
    """
    for leftover in Path(folder).glob(f".{name}.partial-*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _take_place(beside: Path, path: Path) -> None:
    previous = previous_folder(path)
    if path.exists():
        shutil.rmtree(previous, ignore_errors=True)
        os.replace(path, previous)
    os.replace(beside, path)
    shutil.rmtree(previous, ignore_errors=True)


def _take_free_place(beside: Path, path: Path, keep: bool) -> None:
    try:
        os.replace(beside, path)  # onto an empty folder as well
    except OSError:
        if not path.is_dir() or not keep:
            _refuse_content(path)
            raise


def _refuse_content(path: Path) -> None:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(f"{path} exists and is not an empty folder.")


def _flush_to_disk(path: Path) -> None:
    """Wait until the file itself is on the disk, so that what was moved never holds less than it says."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


@contextmanager
def files_into(folder: PathLike) -> Iterator[Path]:
    """A hidden folder inside `folder` whose files move into it at the end; an error leaves nothing behind.

    What else lies in the folder stays there; a folder that was made for this goes again if an error occurs.

    Raises:
        OSError: if the folder cannot be made or written to.
    """
    folder = Path(folder)
    existed = folder.exists()
    beside = folder / f".partial-{secrets.token_hex(4)}"
    try:
        beside.mkdir(parents=True)
    except OSError as error:
        raise OSError(f"The output folder {folder} cannot be written to: {error}.") from error
    try:
        yield beside
        for file in sorted(beside.iterdir()):
            _flush_to_disk(file)
            os.replace(file, folder / file.name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        if not existed and not any(folder.iterdir()):
            folder.rmdir()
