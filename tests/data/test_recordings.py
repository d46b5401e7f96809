"""One person's files to behaviour: sound and face over the same frames, and what is said about them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from perfrdiff_hf.behaviour import EMOTION_NAMES, MEAN_FACE, STD_FACE
from perfrdiff_hf.data.audio import mfcc_features, read_audio
from perfrdiff_hf.data.recordings import read_face, read_speaker
from perfrdiff_hf.faces.formats import write_coefficients_npy, write_emotion_csv


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Sound of 2.6 s, another of 1 s, and a face of 2.2 s in REACT2024's two files, of which one has a frame more."""
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "long.wav", 0.1 * rng.standard_normal(int(2.6 * 8000)), 8000)
    soundfile.write(tmp_path / "short.wav", 0.1 * rng.standard_normal(8000), 8000)
    emotion = np.zeros((55, 25), np.float32)
    emotion[:, EMOTION_NAMES.index("Happy")] = 1
    write_emotion_csv(tmp_path / "face.csv", emotion)
    write_coefficients_npy(tmp_path / "face.npy", MEAN_FACE + 0.1 * STD_FACE * rng.standard_normal((56, 58)))
    return tmp_path


def test_a_face_of_two_files(files: Path) -> None:
    both = read_face([files / "face.csv", files / "face.npy"])
    assert len(both.behaviour) == 55 and both.sound is None
    np.testing.assert_array_equal(both.behaviour.coefficients, np.load(files / "face.npy")[:55, 0])
    assert (both.behaviour.emotion[:, EMOTION_NAMES.index("Happy")] == 1).all()
    assert ["face.csv" in note for note in both.notes] == [True, False]
    alone = read_face(str(files / "face.npy"))
    assert len(alone.behaviour) == 56 and len(alone.notes) == 1


def test_the_longer_of_sound_and_face_counts(files: Path) -> None:
    held = read_speaker(files / "long.wav", files / "face.npy")
    assert {len(values) for values in held.behaviour.streams.values()} == {65}
    coefficients = held.behaviour.coefficients
    np.testing.assert_array_equal(coefficients[56:], np.tile(coefficients[55], (9, 1)))
    np.testing.assert_array_equal(held.behaviour.audio, mfcc_features(*read_audio(files / "long.wav"), 65))
    assert "the face is shorter than the sound: its last frame is held for 0.4 s" in held.notes
    assert held.sound is not None and held.sound[0].shape == (20800, 1) and held.sound[1] == 8000

    silent = read_speaker(files / "short.wav", files / "face.npy")
    assert len(silent.behaviour) == 56
    np.testing.assert_array_equal(silent.behaviour.audio[25:], np.tile(silent.behaviour.audio[55], (31, 1)))
    assert "the sound is shorter than the face: 1.2 s of silence follow" in silent.notes


def test_one_of_the_two_is_enough(files: Path) -> None:
    heard, seen = read_speaker(files / "long.wav"), read_speaker(face=files / "face.npy")
    assert set(heard.behaviour.streams) == {"audio"} and "face is not given" in heard.notes[-1]
    assert set(seen.behaviour.streams) == {"emotion", "coefficients"} and "sound is not given" in seen.notes[-1]


def test_what_cannot_be_read_is_named(files: Path) -> None:
    with pytest.raises(ValueError, match="audio, face or both must be given"):
        read_speaker()
    with pytest.raises(ValueError, match="at least one face track"):
        read_face([])
    with pytest.raises(ValueError, match=r"csv and npy of one recording; given: .*face\.npy, .*face\.npy"):
        read_face([files / "face.npy", files / "face.npy"])
    with pytest.raises(FileNotFoundError, match=r"no sound file .*none\.wav"):
        read_speaker(files / "none.wav", files / "face.npy")
    with pytest.raises(ValueError, match="clock of its own"):
        read_face(files / "face.npy", fps=30)
