from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

from perfrdiff_hf.cli import main
from perfrdiff_hf.data.problems import BrokenDataError
from perfrdiff_hf.data.react2024.check import check_folder
from perfrdiff_hf.data.react2024.dataset import load_react2024


EMOTION = "val/Emotion/NoXI/002_Paris/P1/1.csv"
COEFFICIENTS = "val/3D_FV_files/NoXI/002_Paris/Expert_video/1.npy"
AUDIO = "val/Audio_files/NoXI/002_Paris/Expert_video/1.wav"


class Breakage(NamedTuple):
    """One way to break a folder, what the check must call it, and a word of the explanation."""

    file: str
    do: Callable[[Path], object]
    kind: str
    says: str


def _cut_off(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _edit(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    np.save(path, change(np.load(path)))


def _edit_rows(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")


def _with_nan(values: np.ndarray) -> np.ndarray:
    values[7, 0, 3] = np.nan
    return values


def _in_degrees(values: np.ndarray) -> np.ndarray:
    values[..., 52:55] *= 180 / np.pi
    return values


def _copy_over(name: str) -> Callable[[Path], object]:
    return lambda path: shutil.copy(path, path.parent / name)


BREAKAGES = {
    "lost sound": Breakage(AUDIO, Path.unlink, "missing", "Expert_video/1.wav"),
    "lost emotion": Breakage(EMOTION, Path.unlink, "missing", "P1/1.csv"),
    "lost folder": Breakage("val/3D_FV_files", shutil.rmtree, "missing", "whole folder of coefficients"),
    "cut-off npy": Breakage(COEFFICIENTS, _cut_off, "unreadable", "1.npy"),
    "cut-off csv": Breakage(EMOTION, _cut_off, "unreadable", "1.csv"),
    "cut-off wav": Breakage(AUDIO, _cut_off, "wrong length", "s of sound for 4.80 s of video"),
    "empty file": Breakage(EMOTION, lambda path: path.write_bytes(b""), "unreadable", "the file is empty"),
    "a web page": Breakage(AUDIO, lambda path: path.write_text("<html>login</html>"), "unreadable", "1.wav"),
    "pickled npy": Breakage(
        COEFFICIENTS, lambda path: np.save(path, np.array([{}]), allow_pickle=True), "unreadable", "1.npy"
    ),
    "header only": Breakage(EMOTION, lambda path: _edit_rows(path, lambda rows: rows[:1]), "unreadable", "below the"),
    "fewer columns": Breakage(
        EMOTION, lambda path: _edit_rows(path, lambda rows: [row.rpartition(",")[0] for row in rows]),
        "wrong shape", "25 columns, it has 24; missing: Contempt",
    ),
    "other width": Breakage(
        COEFFICIENTS, lambda path: _edit(path, lambda values: values[..., :52]), "wrong shape", "found (121, 52)"
    ),
    "fewer frames": Breakage(
        EMOTION, lambda path: _edit_rows(path, lambda rows: rows[:80]), "wrong length", "79 frames, but"
    ),
    "NaN": Breakage(COEFFICIENTS, lambda path: _edit(path, _with_nan), "NaN", "frame 7, channel 3"),
    "degrees": Breakage(COEFFICIENTS, lambda path: _edit(path, _in_degrees), "out of range", "rotation is in radians"),
    "percent": Breakage(
        EMOTION, lambda path: _edit_rows(path, lambda rows: [*rows[:-1], ",".join(["70"] * 25)]),
        "out of range", "action units lie in [0, 1]",
    ),
    "copied clip": Breakage(COEFFICIENTS, _copy_over("2.npy"), "duplicate", "the same as that of"),
}  # fmt: skip


@pytest.fixture
def own_dyads(dyads, tmp_path):
    return shutil.copytree(dyads, tmp_path / "dyads")


@pytest.mark.parametrize("breakage", BREAKAGES.values(), ids=BREAKAGES.keys())
def test_the_check_and_the_loader_name_what_is_broken_in_the_same_words(own_dyads, tmp_path, breakage):
    breakage.do(own_dyads / breakage.file)
    problems = check_folder(own_dyads).problems
    assert [problem.kind for problem in problems] == [breakage.kind]
    assert breakage.says in str(problems[0])
    with pytest.raises(BrokenDataError) as refusal:
        load_react2024(own_dyads, "val", cache_dir=tmp_path / "cache")
    assert refusal.value.problems == problems
    assert problems[0].detail in str(refusal.value)


def test_many_things_broken_at_once_are_all_found(own_dyads):
    """Ten of the ways at once, each in a recording of its own."""
    recordings = [
        (site, session, person, str(clip), side)
        for site, session, people, clips in (
            ("NoXI", "001_Paris", ("Expert_video", "Novice_video"), (1, 2, 3)),
            ("RECOLA", "group-1", ("P25", "P26"), (1, 10, 2)),
        )
        for side, person in enumerate(people)
        for clip in clips
    ]
    names = ("lost sound", "lost emotion", "cut-off npy", "cut-off csv", "cut-off wav", "a web page", "fewer columns",
             "other width", "NaN", "degrees")  # fmt: skip
    for name, (site, session, person, clip, side) in zip(names, recordings):
        stream = BREAKAGES[name].file.split("/")[1]
        folder = own_dyads / "train" / stream / site / session / (f"P{side + 1}" if stream == "Emotion" else person)
        BREAKAGES[name].do(folder / (clip + Path(BREAKAGES[name].file).suffix))
    problems = check_folder(own_dyads, num_proc=2).problems
    assert sorted(problem.kind for problem in problems) == sorted(BREAKAGES[name].kind for name in names)


def _lists_twice(root: Path) -> None:
    with open(root / "val.csv", "a") as file:
        file.write("9,NoXI/002_Paris/Expert_video/1,NoXI/002_Paris/Novice_video/1\n")


def _in_both_lists(root: Path) -> None:
    shutil.copytree(root / "val", root / "train", dirs_exist_ok=True)
    (root / "train.csv").write_text((root / "val.csv").read_text())


def _smaller_matrix(root: Path) -> None:
    _edit(root / "Approprirate_facial_reaction.npy", lambda values: values[:-1, :-1])


def _lonely_row(root: Path) -> None:
    def change(values: np.ndarray) -> np.ndarray:
        values[6] = 0  # the first clip of val, the seventh of the index
        return values

    _edit(root / "Approprirate_facial_reaction.npy", change)


def _shorter_index(root: Path) -> None:
    _edit_rows(root / "data_indices.csv", lambda rows: rows[:-1])


def _other_cut(root: Path) -> None:
    np.save(root / "neighbour_emotion_val.npy", np.zeros((4, 4)))


@pytest.mark.parametrize(
    ("do", "kind", "says"),
    [
        (_lists_twice, "list", "more than once"),
        (_in_both_lists, "list", "NoXI/002_Paris/Novice_video/1 is also in train.csv"),
        (lambda root: (root / "val.csv").unlink(), "list", "There is no list"),
        (_smaller_matrix, "matrix", "must have shape (16, 16), twice the 8 clips"),
        (_lonely_row, "matrix", "1 rows of val have no appropriate reaction, the first is row 0"),
        (_shorter_index, "matrix", "does not name clip 2 of NoXI/002_Paris"),
        (_other_cut, "matrix", "entries differ from the full matrix"),
    ],
)
def test_lists_and_matrices_are_checked(own_dyads, do, kind, says):
    do(own_dyads)
    assert any(problem.kind == kind and says in problem.detail for problem in check_folder(own_dyads).problems)


def test_a_clip_short_in_all_its_files_is_found_by_the_expected_number_of_frames(own_dyads):
    for side, person in enumerate(("Expert_video", "Novice_video")):
        session = own_dyads / "val"
        _edit_rows(session / f"Emotion/NoXI/002_Paris/P{side + 1}/1.csv", lambda rows: rows[:61])
        _edit(session / f"3D_FV_files/NoXI/002_Paris/{person}/1.npy", lambda values: values[:61])
        sound = session / f"Audio_files/NoXI/002_Paris/{person}/1.wav"
        soundfile.write(sound, soundfile.read(sound)[0][: 60 * 320], 8000)
    assert check_folder(own_dyads).problems == []
    assert [problem.kind for problem in check_folder(own_dyads, frames=120).problems] == ["wrong length"] * 2


def test_two_people_may_share_one_sound(own_dyads, tmp_path):
    shutil.copy(own_dyads / AUDIO, own_dyads / AUDIO.replace("Expert", "Novice"))
    assert check_folder(own_dyads).problems == []
    assert len(load_react2024(own_dyads, "val", cache_dir=tmp_path)) == 4


def test_command_tells_scripts_by_its_exit_code(dyads, own_dyads, tmp_path, capsys):
    assert main(["check", str(dyads), "--num-proc", "1"]) == 0
    assert "6 pairs, 12 recordings, 12 of 120 frames" in capsys.readouterr().out
    (own_dyads / AUDIO).unlink()
    assert main(["check", str(own_dyads), "--num-proc", "1"]) == 1
    said = capsys.readouterr().out
    assert "1 problem in" in said and "download these files again" in said and AUDIO in said
    assert main(["check", str(own_dyads), "--num-proc", "1", "--streams", "emotion", "coefficients"]) == 0
    (tmp_path / "empty").mkdir()
    for folder, message in (("nowhere", "is not a folder"), ("empty", "nothing to check")):
        assert main(["check", str(tmp_path / folder)]) == 1
        assert message in capsys.readouterr().err
