"""One person's files to behaviour: sound and face over the same frames, and what is said about them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from perfrdiff_hf.behaviour import EMOTION_NAMES, MEAN_FACE, STD_FACE
from perfrdiff_hf.data.audio import mfcc_features, read_audio
from perfrdiff_hf.data.recordings import read_face, read_reactions, read_speaker, sort_files
from perfrdiff_hf.faces.formats import write_coefficients_npy, write_emotion_csv
from tests.faces.videos import BrightnessTracker, write_film


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


def test_silence_is_said(files: Path) -> None:
    """As of a film whose sound track holds nothing, which is no fault of the model's."""
    said = "this sound is silence, to which a model that listens hardly reacts"
    rng = np.random.default_rng(0)
    for loudness, is_silent in {0.0: True, 3e-5: True, 1e-3: False}.items():
        soundfile.write(files / "sound.wav", loudness * rng.uniform(-1, 1, 8000), 8000, subtype="FLOAT")
        assert (said in read_speaker(files / "sound.wav").notes) == is_silent


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


def test_sound_and_face_of_a_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfrdiff_hf.faces.tracking.reading.FaceLandmarker", lambda model: BrightnessTracker())
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 8000)
    times = np.arange(60) / 25
    film = write_film(tmp_path / "film.mp4", np.full(60, 0.5), times, tone)
    with pytest.raises(ValueError, match="is a video, which has a clock of its own"):
        read_face(film, fps=30)
    waveform, rate = read_audio(film)
    assert rate == 8000 and waveform.shape[1] == 1 and len(waveform) == pytest.approx(16000, abs=2048)
    middle = waveform[4000:12000, 0]
    assert np.sqrt((middle**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)
    assert np.argmax(np.abs(np.fft.rfft(middle))) == 440
    speaker = read_speaker(film, film)
    assert set(speaker.behaviour.streams) == {"audio", "emotion", "coefficients"} and len(speaker.behaviour) == 60
    # The face alone, in the place of any track.
    assert read_face(film).behaviour.coefficients.shape == (60, 58)


def test_sound_begins_with_the_first_picture(tmp_path: Path) -> None:
    noise = 0.5 * np.random.default_rng(0).standard_normal(16000)
    late = write_film(tmp_path / "late.mp4", np.full(60, 0.5), np.arange(60) / 25, noise, sound_delay=0.5)
    waveform, rate = read_audio(late)
    silent, loud = waveform[: int(0.3 * rate)], waveform[int(0.7 * rate) : int(1.5 * rate)]
    assert np.abs(silent).max() < 0.01 < 0.2 < loud.std()
    early = write_film(tmp_path / "early.mp4", np.full(60, 0.5), 0.5 + np.arange(60) / 25, noise)
    assert len(read_audio(early)[0]) == pytest.approx(len(waveform) - 2 * 4000, abs=1100)


def test_whole_frames_of_sound_are_all_there(tmp_path: Path) -> None:
    """1.16 s are 29 frames, although 1.16 * 25 is a little less in floating point."""
    soundfile.write(tmp_path / "a.wav", np.zeros(29 * 320), 8000)
    assert len(read_speaker(tmp_path / "a.wav").behaviour) == 29


def test_a_video_without_sound(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4", np.full(10, 0.5), np.arange(10) / 25)
    with pytest.raises(ValueError, match="is a video without sound"):
        read_audio(film)
    assert sort_files([film]) == (None, [film])


def test_files_are_sorted_by_what_they_hold(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4", np.full(10, 0.5), np.arange(10) / 25, 0.1 * np.ones(4000))
    sound, track = tmp_path / "sound.wav", tmp_path / "track.npy"
    soundfile.write(sound, np.zeros(4000), 8000)
    np.save(track, np.tile(MEAN_FACE, (10, 1)))
    assert sort_files([film]) == (film, [film])
    assert sort_files([film, sound]) == (sound, [film])
    assert sort_files([film, track]) == (film, [track])
    assert sort_files([sound, track]) == (sound, [track])
    assert sort_files([sound]) == (sound, [])
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.wav"):
        sort_files([film, tmp_path / "none.wav"])


def test_a_part_of_a_file(tmp_path: Path) -> None:
    """Half a video, the sound of one with the face of another, and files that contradict each other."""
    film, other, silent = (tmp_path / name for name in ("film.mp4", "other.mp4", "silent.mp4"))
    for path, noise in ((film, 0.1 * np.ones(4000)), (other, 0.1 * np.ones(4000)), (silent, None)):
        write_film(path, np.full(10, 0.5), np.arange(10) / 25, noise)
    sound, track = tmp_path / "sound.wav", tmp_path / "track.npy"
    soundfile.write(sound, np.zeros(4000), 8000)
    np.save(track, np.tile(MEAN_FACE, (10, 1)))
    assert sort_files([], sound=[film]) == (film, [])
    assert sort_files([], face=[film]) == (None, [film])
    assert sort_files([], sound=[film], face=[other]) == (film, [other])
    assert sort_files([other], sound=[film]) == (film, [other])
    assert sort_files([other], face=[film]) == (other, [film])
    for paths, more in (
        ([film, other], {}),
        ([sound, sound], {}),
        ([sound], {"sound": [film]}),
        ([track], {"face": [film]}),
        ([], {"face": [film, other]}),
    ):
        with pytest.raises(ValueError, match=r"one sound and one face at most.*given: .*\."):
            sort_files(paths, **more)
    for paths, more in (
        ([sound, track, film], {}),
        ([track, silent], {}),
        ([film], {"sound": [sound], "face": [other]}),
    ):
        with pytest.raises(ValueError, match=r"Nothing is left for .*mp4 to give"):
            sort_files(paths, **more)
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.wav"):
        sort_files([film], sound=[tmp_path / "none.wav"])


def test_several_reactions_in_one_file(tmp_path: Path) -> None:
    emotion, coefficients = np.zeros((3, 10, 25), np.float32), np.tile(MEAN_FACE, (3, 10, 1))
    np.savez(tmp_path / "reactions.npz", reactions=emotion, coefficients=coefficients)
    assert [len(reaction) for reaction in read_reactions(tmp_path / "reactions.npz")] == [10, 10, 10]
    np.savez(tmp_path / "face.npz", emotion=emotion[0], coefficients=coefficients[0])
    assert read_reactions(tmp_path / "face.npz") == [] == read_reactions(tmp_path / "none.npz")
    np.savez(tmp_path / "bad.npz", reactions=emotion[:2], coefficients=coefficients)
    with pytest.raises(ValueError, match="must have shapes"):
        read_reactions(tmp_path / "bad.npz")
    whole = (tmp_path / "reactions.npz").read_bytes()
    for damaged in (whole[:-100], b"PK\x03\x04" + whole[:100], b"no zip"):
        (tmp_path / "bad.npz").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"bad\.npz cannot be read as npz"):
            read_reactions(tmp_path / "bad.npz")
