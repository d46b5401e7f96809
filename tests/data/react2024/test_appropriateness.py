from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from perfrdiff_hf.data.arrays import ClipArrays
from perfrdiff_hf.data.react2024.appropriateness import load_appropriateness
from perfrdiff_hf.data.react2024.dataset import load_react2024
from perfrdiff_hf.data.react2024.source import React2024Source
from perfrdiff_hf.evaluation.similarity import precision_recall, similar_speakers, speaker_distances
from perfrdiff_hf.synthetic.world import WorldSize, write_synthetic_world


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_matrices_are_those_of_the_official_tool(golden, split):
    folder = golden / "appropriateness"
    for personal, name in ((False, "neighbour_emotion"), (True, "person_specific_masked_neighbour_emotion")):
        matrix = load_appropriateness(folder, split, personal)
        assert matrix.dtype == bool
        np.testing.assert_array_equal(matrix, np.load(folder / f"{name}_{split}.npy") == 1)


@pytest.fixture
def own_dyads(dyads, tmp_path):
    return shutil.copytree(dyads, tmp_path / "dyads")


def test_a_dataset_says_which_rows_are_wanted(golden, dyads, tmp_path):
    """The unmasked matrix over the clips of PMAFRG, which the golden folder has as its first step."""
    personal = load_react2024(dyads, "train", personal=True, cache_dir=tmp_path)
    generic = load_appropriateness(dyads, "train", dataset=personal)
    masked = load_appropriateness(dyads, "train", personal=True)
    np.testing.assert_array_equal(load_appropriateness(dyads, "train", personal=True, dataset=personal), masked)
    who = np.array(personal["listener_id"])
    np.testing.assert_array_equal(masked, generic & (who[:, None] == who))
    assert generic.sum() > masked.sum()
    with pytest.raises(ValueError, match="8 rows are not in the val list, the first is NoXI/001_Paris/Novice_video/2"):
        load_appropriateness(dyads, "val", dataset=personal)


def test_a_matrix_cut_before_serves_where_there_is_no_full_one(own_dyads):
    expected = load_appropriateness(own_dyads, "val")
    (own_dyads / "Approprirate_facial_reaction.npy").unlink()
    with pytest.raises(FileNotFoundError, match="similar_speakers"):
        load_appropriateness(own_dyads, "val")
    np.save(own_dyads / "neighbour_emotion_val.npy", expected.astype(float))
    np.testing.assert_array_equal(load_appropriateness(own_dyads, "val"), expected)
    np.save(own_dyads / "neighbour_emotion_val.npy", expected[:3, :3])
    with pytest.raises(ValueError, match=r"must have shape \(4, 4\), twice the pairs of val.csv; it has \(3, 3\)"):
        load_appropriateness(own_dyads, "val")


def test_clips_outside_the_index_are_refused_not_dropped(own_dyads):
    index = own_dyads / "data_indices.csv"
    index.write_text(index.read_text().replace("NoXI,002_Paris,2\n", ""))
    with pytest.raises(ValueError, match="does not name clip 2 of NoXI/002_Paris"):
        load_appropriateness(own_dyads, "val")
    index.write_text(index.read_text() + "NoXI,002_Paris,1\n")
    with pytest.raises(ValueError, match="names 1 clips twice"):
        load_appropriateness(own_dyads, "val")
    index.unlink()
    with pytest.raises(FileNotFoundError, match=r"data_indices\.csv"):
        load_appropriateness(own_dyads, "val")


@pytest.fixture(scope="module")
def alike(make_dyads, tmp_path_factory):
    """Four sessions: in the second the first column's person repeats the first session's face, a bit later."""
    root = make_dyads(
        tmp_path_factory.mktemp("alike"), {"train": [("L", str(s), ("a", "b"), ["1"]) for s in range(4)]}
    )
    emotion = np.loadtxt(root / "train/Emotion/L/0/P1/1.csv", delimiter=",", skiprows=1)
    header = (root / "train/Emotion/L/0/P1/1.csv").read_text().splitlines()[0]
    later = root / "train/Emotion/L/1/P1/1.csv"
    np.savetxt(later, np.roll(emotion, 5, axis=0), "%.3f", ",", header=header, comments="")
    return ClipArrays.from_dataset(load_react2024(root, "train", cache_dir=root))


def test_speakers_who_repeat_each_other_are_nearest(alike):
    distances = speaker_distances(alike, by="face", stretches=24)
    np.testing.assert_allclose(distances, distances.T)
    assert not distances.diagonal().any()
    # Rows 0 to 3 have the first column's people as speakers.
    assert distances[0, 1] == distances[~np.eye(8, dtype=bool)].min()
    matrix = similar_speakers(distances, distances[0, 1])
    assert matrix.sum() == 8 + 2 and matrix[0, 1] and matrix[1, 0]


def test_unlimited_warping_of_faces_is_frdist(alike):
    from perfrdiff_hf.metrics import frdist

    distances = speaker_distances(alike, by="face", drift=None, stretches=120)
    speakers = np.stack([alike.emotion(row) for row in alike.partner])
    only = np.zeros((1, 8), dtype=bool)
    only[0, 6] = True
    expected = frdist(speakers[2][None, None], speakers, only)
    np.testing.assert_allclose(distances[2, 6], expected, rtol=1e-5)


def test_drift_can_only_make_speakers_less_alike(alike):
    free = speaker_distances(alike, by="both", drift=None, stretches=24)
    held = speaker_distances(alike, by="both", drift=0.5, stretches=24)
    assert (held >= free - 1e-5).all() and (held > free + 0.1).any()
    for options, says in (({"by": "smell"}, "by"), ({"drift": 0}, "drift"), ({"stretches": 0}, "stretches")):
        with pytest.raises(ValueError, match=says):
            speaker_distances(alike, **options)


def test_precision_and_recall_leave_out_the_own_clip():
    truth = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=bool)
    matrix = np.array([[1, 1, 1], [0, 1, 1], [0, 0, 1]], dtype=bool)
    assert precision_recall(matrix, truth) == (1 / 3, 1 / 2)
    assert precision_recall(np.eye(3, dtype=bool), truth) == (0, 0)


def test_sound_finds_clips_of_the_same_script(tmp_path):
    size = WorldSize(dyads=(6, 1, 1), clips=3, scripts=(4, 2, 2), sample_rate=8000, sound="ULAW")
    write_synthetic_world(tmp_path / "world", size, seed=0)
    dataset = load_react2024(tmp_path / "world", "train", cache_dir=tmp_path, streams=("audio", "emotion"))
    distances = speaker_distances(ClipArrays.from_dataset(dataset))
    precision, recall = precision_recall(
        similar_speakers(distances, 8), load_appropriateness(tmp_path / "world", "train")
    )
    assert precision > 0.6 and recall > 0.6


def test_only_speakers_that_may_be_alike_are_compared(own_dyads, tmp_path):
    arrays = ClipArrays.from_dataset(load_react2024(own_dyads, "val", cache_dir=tmp_path))
    everybody = speaker_distances(arrays, "both")
    among = np.zeros((4, 4), dtype=bool)
    among[0, 3] = among[3, 0] = True
    some = speaker_distances(arrays, "both", among=among)
    assert some[0, 3] == some[3, 0] == everybody[0, 3] and not some.diagonal().any()
    assert np.isinf(some).sum() == 10
    np.testing.assert_array_equal(similar_speakers(some, 1e9), among | np.eye(4, dtype=bool))


def test_a_matrix_is_written_where_the_loader_finds_it(own_dyads):
    ours = np.eye(4, dtype=bool)
    with pytest.raises(FileExistsError, match="has a matrix for val already"):
        React2024Source(own_dyads).write_appropriate("val", ours)
    (own_dyads / "Approprirate_facial_reaction.npy").unlink()
    assert React2024Source(own_dyads).write_appropriate("val", ours).is_file()
    np.testing.assert_array_equal(load_appropriateness(own_dyads, "val"), ours)


def test_a_matrix_that_cannot_be_written_leaves_nothing(own_dyads, monkeypatch):
    def full(path, values):
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    (own_dyads / "Approprirate_facial_reaction.npy").unlink()
    before = sorted(os.listdir(own_dyads))
    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="no space"):
        React2024Source(own_dyads).write_appropriate("val", np.eye(4, dtype=bool))
    assert sorted(os.listdir(own_dyads)) == before
