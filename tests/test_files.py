"""Whole or not at all: what folders do when something is in their place already."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pytest

from perfrdiff_hf.files import file_beside, folder_beside


def fill(path: Path, content: str, existing: Literal["replace", "keep", "refuse"]) -> None:
    with folder_beside(path, existing) as beside:
        (beside / "deep").mkdir()
        (beside / "deep" / "file").write_text(content)


def test_a_folder_replaces_keeps_or_refuses_an_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder"
    fill(path, "first", "keep")
    fill(path, "second", "keep")
    assert (path / "deep" / "file").read_text() == "first"
    with pytest.raises(FileExistsError, match="not an empty folder"):
        fill(path, "third", "refuse")
    fill(path, "fourth", "replace")
    assert (path / "deep" / "file").read_text() == "fourth"
    assert os.listdir(path.parent) == ["folder"]


def test_an_empty_folder_is_taken_over_and_one_that_was_filled_meanwhile_is_not(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    fill(path, "first", "refuse")
    assert (path / "deep" / "file").is_file()
    with pytest.raises(FileExistsError), folder_beside(tmp_path / "late", "refuse") as beside:
        (beside / "ours").write_text("")
        (tmp_path / "late").mkdir()
        (tmp_path / "late" / "theirs").write_text("")
    assert os.listdir(tmp_path / "late") == ["theirs"]
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        fill(tmp_path / "file", "", "keep")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder", "late"]


def test_threads_that_fill_one_folder_do_not_meet(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: fill(tmp_path / "folder", str(number), "keep"), range(32)))
    assert os.listdir(tmp_path) == ["folder"]
    assert (tmp_path / "folder" / "deep" / "file").read_text().isdigit()


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    fill(tmp_path / "folder", "first", "replace")
    (tmp_path / "file.txt").write_text("first")
    with pytest.raises(OSError, match="full"), folder_beside(tmp_path / "folder"):
        raise OSError("full")
    with pytest.raises(OSError, match="full"), file_beside(tmp_path / "file.txt") as beside:
        beside.write_text("half")
        raise OSError("full")
    assert sorted(os.listdir(tmp_path)) == ["file.txt", "folder"]
    assert (tmp_path / "folder" / "deep" / "file").read_text() == (tmp_path / "file.txt").read_text() == "first"
