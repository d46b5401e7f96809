from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from huggingface_hub import DatasetCard

from perfrdiff_hf.behaviour import EMOTION_NAMES
from perfrdiff_hf.data.arrays import ClipArrays
from perfrdiff_hf.data.audio import mfcc_features, read_audio
from perfrdiff_hf.data.problems import BrokenDataError
from perfrdiff_hf.data.react2024.appropriateness import load_appropriateness
from perfrdiff_hf.data.react2024.check import check_folder
from perfrdiff_hf.data.react2024.dataset import load_react2024
from perfrdiff_hf.data.sharing import write_shareable


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def own_dyads(dyads, tmp_path):
    """A folder of dyads that a test may change."""
    return shutil.copytree(dyads, tmp_path / "dyads")


def test_rows_are_the_list_and_then_its_mirror(dyads, cache):
    train = load_react2024(dyads, "train", cache_dir=cache)
    novice, expert = "NoXI/001_Paris/Novice_video", "NoXI/001_Paris/Expert_video"
    second, first = "RECOLA/group-1/P26", "RECOLA/group-1/P25"
    assert train["listener_id"][:] == [novice] * 3 + [second] * 3 + [expert] * 3 + [first] * 3
    assert train["clip"][:] == ["1", "2", "3", "1", "10", "2"] * 2
    assert train["partner"][:] == [6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5]
    assert train["num_frames"][:] == [120] * 12
    assert train.features["emotion"] == datasets.Array2D((None, 25), "float32")


def test_a_row_holds_the_listeners_own_files(dyads, cache):
    row = load_react2024(dyads, "train", cache_dir=cache).with_format("numpy")[10]  # RECOLA, first column, clip 10
    place = dyads / "train"
    emotion = np.loadtxt(place / "Emotion/RECOLA/group-1/P1/10.csv", delimiter=",", skiprows=1, dtype=np.float32)
    coefficients = np.load(place / "3D_FV_files/RECOLA/group-1/P25/10.npy")[:120, 0]
    waveform, sample_rate = read_audio(place / "Audio_files/RECOLA/group-1/P25/10.wav")
    np.testing.assert_array_equal(row["emotion"], emotion)
    np.testing.assert_array_equal(row["coefficients"], coefficients)
    np.testing.assert_array_equal(row["audio"], mfcc_features(waveform, sample_rate, 120))


def test_personal_leaves_out_clip_1_of_every_session(dyads, cache):
    full = load_react2024(dyads, "train", cache_dir=cache).with_format("numpy")
    personal = load_react2024(dyads, "train", personal=True, cache_dir=cache).with_format("numpy")
    assert personal["clip"][:].tolist() == ["2", "3", "10", "2"] * 2
    assert personal["partner"][:].tolist() == [4, 5, 6, 7, 0, 1, 2, 3]
    np.testing.assert_array_equal(personal[2]["emotion"], full[4]["emotion"])


def test_the_personal_task_needs_a_clip_1_of_everybody(make_dyads, tmp_path):
    sessions = [("NoXI", "1", ("a", "b"), ["1", "2"]), ("Lab", "monday", ("c", "d"), ["01", "02"])]
    root = make_dyads(tmp_path / "dyads", {"val": sessions}, frames=30, streams=("Emotion",))
    assert len(load_react2024(root, "val", streams=("emotion",), cache_dir=tmp_path)) == 8
    with pytest.raises(ValueError, match=r"2 listeners of val have no clip 1, .* the first is Lab/monday/c"):
        load_react2024(root, "val", personal=True, streams=("emotion",), cache_dir=tmp_path)
    assert any("2 listeners have no clip 1" in note for note in check_folder(root, ("emotion",)).notes)


def test_processes_do_not_change_rows(dyads, cache, tmp_path):
    alone = load_react2024(dyads, "train", cache_dir=cache)
    together = load_react2024(dyads, "train", cache_dir=tmp_path, num_proc=3)
    assert together.to_dict() == alone.to_dict()


def test_751_frames_are_750(make_dyads, tmp_path):
    root = make_dyads(tmp_path / "dyads", {"val": [("NoXI", "1", ("a", "b"), ["1"])]}, frames=750)
    for streams in (("coefficients",), ("coefficients", "emotion")):
        assert load_react2024(root, "val", streams=streams, cache_dir=tmp_path)["num_frames"][:] == [750, 750]


def test_a_second_load_maps_the_first_ones_file(dyads, cache):
    first = load_react2024(dyads, "val", cache_dir=cache)
    times = [os.stat(file["filename"]).st_mtime_ns for file in first.cache_files]
    second = load_react2024(dyads, "val", cache_dir=cache)
    assert [os.stat(file["filename"]).st_mtime_ns for file in second.cache_files] == times
    assert ClipArrays.from_dataset(second).folder == ClipArrays.from_dataset(first).folder


def test_a_changed_file_is_noticed(own_dyads, tmp_path):
    before = load_react2024(own_dyads, "val", cache_dir=tmp_path).with_format("numpy")
    path = own_dyads / "val/3D_FV_files/NoXI/002_Paris/Novice_video/2.npy"
    np.save(path, np.load(path) + 0.25)
    after = load_react2024(own_dyads, "val", cache_dir=tmp_path).with_format("numpy")
    np.testing.assert_allclose(after[1]["coefficients"] - before[1]["coefficients"], 0.25, atol=1e-6)
    assert not np.array_equal(ClipArrays.from_dataset(before).flat["coefficients"],
                              ClipArrays.from_dataset(after).flat["coefficients"])  # fmt: skip


BUILD = """
import sys
from perfrdiff_hf.data.arrays import ClipArrays
from perfrdiff_hf.data.react2024.dataset import load_react2024
dataset = load_react2024(sys.argv[1], "train", cache_dir=sys.argv[2])
print(float(ClipArrays.from_dataset(dataset).flat["audio"].sum()), dataset.cache_files[0]["filename"])
"""


def test_two_builders_at_once_share_one_sound_cache(dyads, cache, tmp_path):
    command = [sys.executable, "-c", BUILD, str(dyads), str(tmp_path)]
    root = Path(__file__).parents[3]
    builders = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [builder.communicate(timeout=120)[0] for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0]
    assert said[0] == said[1]
    whole = ClipArrays.from_dataset(load_react2024(dyads, "train", cache_dir=cache))
    assert float(said[0].split()[0]) == float(whole.flat["audio"].sum())
    assert not list(tmp_path.rglob("*.incomplete")) and not list(tmp_path.rglob(".arrays-*"))


def test_emotion_only_needs_no_other_folder(own_dyads, tmp_path):
    shutil.rmtree(own_dyads / "val/Audio_files")
    shutil.rmtree(own_dyads / "val/3D_FV_files")
    with pytest.raises(BrokenDataError, match=r"whole folder of audio.*streams=\('emotion', 'coefficients'\)"):
        load_react2024(own_dyads, "val", cache_dir=tmp_path)
    val = load_react2024(own_dyads, "val", streams=("emotion",), cache_dir=tmp_path)
    assert "emotion" in val.column_names and not {"audio", "coefficients"} & set(val.column_names)
    with pytest.raises(ValueError, match="has no audio"):
        ClipArrays.from_dataset(val).audio(0)


def test_own_names_and_lengths(make_dyads, tmp_path):
    root = make_dyads(tmp_path / "dyads", {"train": [("Lab", "monday", ("anna", "ben"), ["a", "b"])]}, frames=90)
    emotion = root / "train/Emotion/Lab/monday"
    os.rename(emotion / "P1", emotion / "anna")
    os.rename(emotion / "P2", emotion / "ben")
    rows = np.random.default_rng(0).random((89, 25)).round(3)  # one frame less than the other person's 90
    np.savetxt(emotion / "ben" / "b.csv", rows, "%.3f", ",", header=",".join(EMOTION_NAMES), comments="")
    train = load_react2024(root, "train", cache_dir=tmp_path)
    assert dict(zip(zip(train["listener_id"], train["clip"]), train["num_frames"])) == {
        ("Lab/monday/ben", "a"): 90,
        ("Lab/monday/ben", "b"): 89,
        ("Lab/monday/anna", "a"): 90,
        ("Lab/monday/anna", "b"): 89,
    }
    arrays = ClipArrays.from_dataset(train)
    np.testing.assert_allclose(arrays.emotion(1), rows, atol=1e-6)
    assert arrays.audio(3).shape == (89, 78)


def test_skipping_broken_clips_keeps_pairs_and_matrix_together(own_dyads, tmp_path, caplog):
    (own_dyads / "train/Emotion/NoXI/001_Paris/P2/2.csv").unlink()
    (own_dyads / "train/3D_FV_files/RECOLA/group-1/P25/10.npy").write_bytes(b"no numbers")
    with pytest.raises(
        BrokenDataError, match="1 problem in train"
    ):  # what is missing is found before anything is read
        load_react2024(own_dyads, "train", cache_dir=tmp_path)
    with caplog.at_level(logging.WARNING):
        train = load_react2024(own_dyads, "train", cache_dir=tmp_path, on_broken="skip")
    assert "skipped 4 of 12 rows" in caplog.text
    assert train["clip"][:] == ["1", "3", "1", "2"] * 2
    assert train["partner"][:] == [4, 5, 6, 7, 0, 1, 2, 3]
    full = load_appropriateness(own_dyads, "train")
    kept = [0, 2, 3, 5, 6, 8, 9, 11]
    np.testing.assert_array_equal(load_appropriateness(own_dyads, "train", dataset=train), full[np.ix_(kept, kept)])


def test_wrong_arguments_are_named(dyads, tmp_path):
    for arguments, error, says in (
        ((tmp_path / "none", "val"), FileNotFoundError, "none is not a folder"),
        ((dyads, "test"), FileNotFoundError, "test.csv"),
        ((dyads, "dev"), ValueError, "train, val, test; given: 'dev'"),
    ):
        with pytest.raises(error, match=says):
            load_react2024(*arguments, cache_dir=tmp_path)
    with pytest.raises(ValueError, match="on_broken"):
        load_react2024(dyads, "val", on_broken="ignore")
    with pytest.raises(ValueError, match="emotion or coefficients"):
        load_react2024(dyads, "val", streams=("audio",))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0,NoXI/001_Paris/Expert_video/1", "line 2"),
        ("0,NoXI/001_Paris/1,NoXI/001_Paris/2", "expected index,site/session/person/clip"),
        ("0,NoXI/001_Paris/Expert_video/1,NoXI/001_Paris/Novice_video/2", "not two people in the same clip"),
        ("", "lists no pairs"),
        ("0,../001/a/1,../001/b/1", "'..' is no name of a site, session, person or clip"),
        ("0,N/1/a/..,N/1/b/..", "'..' is no name"),
        (r"0,N/1/a/x\1,N/1/b/x\1", "is no name"),
        ("0,N/1/a/1,N/1/b/1\n1,N/1/b/1,N/1/a/1", "more than once, the first is N/1/b/1"),
    ],
)
def test_a_wrong_list_is_refused(own_dyads, tmp_path, line, says):
    (own_dyads / "val.csv").write_text(f",speaker_path,listener_path\n{line}\n")
    with pytest.raises(ValueError, match=says):
        load_react2024(own_dyads, "val", cache_dir=tmp_path)


def test_udiva_rows_of_2023_are_left_out(own_dyads, cache):
    with open(own_dyads / "val.csv", "a") as file:
        file.write("2,UDIVA/talk/001002/FC1/1,UDIVA/talk/001002/FC2/1\n")
    assert len(load_react2024(own_dyads, "val", cache_dir=cache)) == 4


def test_a_shared_folder_gives_the_same_rows(dyads, cache, tmp_path):
    splits = {split: load_react2024(dyads, split, cache_dir=cache) for split in ("train", "val")}
    folder = write_shareable(splits, tmp_path / "share", "Made-up dyads", "cc-by-nc-4.0", "Made by nobody.")
    again = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert again.features == splits["train"].features
    assert again.to_dict() == splits["train"].to_dict()
    card = (folder / "README.md").read_text()
    assert "| train | 12 | 4 |" in card and "## Credit\n\nMade by nobody.\n" in card
    assert DatasetCard(card).data.license == "cc-by-nc-4.0"
    one, other = ClipArrays.from_dataset(again), ClipArrays.from_dataset(splits["train"])
    np.testing.assert_array_equal(one.flat["audio"], other.flat["audio"])
    with pytest.raises(FileExistsError):
        write_shareable(splits, folder)
    card = (write_shareable(splits, tmp_path / "bare") / "README.md").read_text()
    assert "Credit" not in card and DatasetCard(card).data.license == "other"


def test_the_example_of_the_documentation_works(make_dyads, tmp_path):
    """Emotion only, own names, clips of different lengths, another window, a matrix by our own rule."""
    from perfrdiff_hf.cli import main
    from perfrdiff_hf.data.windows import ReactionWindows

    sessions = {"train": [("Lab", "monday", ("anna", "ben"), ["1", "2"]), ("Lab", "tuesday", ("cleo", "ben"), ["1"])]}
    root = make_dyads(tmp_path / "dyads", sessions, frames=90, streams=("Emotion",))
    (root / "Approprirate_facial_reaction.npy").unlink()
    for person in ("P1", "P2"):
        path = root / "train/Emotion/Lab/tuesday" / person / "1.csv"
        path.write_text("\n".join(path.read_text().splitlines()[:76]) + "\n")
    command = ["similarity", str(root), "--by", "face", "--threshold", "0", "--write", "--cache-dir", str(tmp_path)]
    assert main(command) == 0
    dataset = load_react2024(root, "train", streams=("emotion",), cache_dir=tmp_path)
    assert dataset["num_frames"][:] == [90, 90, 75] * 2
    windows = ReactionWindows(ClipArrays.from_dataset(dataset), load_appropriateness(root, "train"), window_size=25)
    assert windows[2]["reactions"].shape == (10, 25, 25)
