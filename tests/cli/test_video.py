"""`track`, `react`, `personalise` and `render`: videos in, everything out; and what is said, and what is not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from PIL import Image

from perfrdiff_hf import PerFRDiffPipeline, WeightShifts
from perfrdiff_hf.behaviour import MEAN_FACE, STD_FACE
from perfrdiff_hf.cli import main
from perfrdiff_hf.faces.formats import write_coefficients_npy
from perfrdiff_hf.faces.tracks import read_face_track
from tests.faces.videos import BrightnessTracker, write_film


FAST = ("--num_inference_steps", "2", "--device", "cpu")


@pytest.fixture(scope="module")
def model(make_pipeline: Callable[..., PerFRDiffPipeline], tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    make_pipeline().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Two and a half seconds with a sound; the tracker is one that needs no model."""
    monkeypatch.setattr("perfrdiff_hf.faces.tracking.reading.FaceLandmarker", lambda model: BrightnessTracker())
    sound = 0.1 * np.random.default_rng(0).standard_normal(18000)
    times = np.arange(75) / 30
    return str(write_film(tmp_path / "talk.mp4", 0.4 + 0.2 * np.sin(times), times, sound))


@pytest.fixture
def track(tmp_path: Path) -> str:
    rng = np.random.default_rng(1)
    write_coefficients_npy(tmp_path / "one.npy", MEAN_FACE + 0.1 * STD_FACE * rng.standard_normal((60, 58)))
    return str(tmp_path / "one.npy")


def test_a_video_becomes_a_track(film: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for name in ("a.npz", "a.npy", "a.csv", "a.jsonl", "a.glb"):
        assert main(["track", film, "--output", str(tmp_path / name)]) == 0
        assert len(read_face_track(tmp_path / name).behaviour) == 62
    printed = capsys.readouterr().out
    assert "tracked by brightness, 75 rows at 30.3 a second -> 62 frames" in printed and "blind: AU6" in printed
    whole, coefficients = (read_face_track(tmp_path / name).behaviour.coefficients for name in ("a.npz", "a.npy"))
    np.testing.assert_array_equal(whole, coefficients)


def test_a_video_is_reacted_to_in_the_manner_of_a_listener(
    model: str, film: str, track: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    alice, made = str(tmp_path / "alice"), {}
    assert main(["personalise", film, "--model", model, "--output", alice, "--device", "cpu"]) == 0
    assert WeightShifts.from_pretrained(alice)
    few = ("--model", model, "--speaker", film, "--num_reactions", "1", *FAST)
    for name, listener in (("saved", [alice]), ("film", [film]), ("track", [track]), ("nobody", [])):
        words = [*few, "--output", str(tmp_path / name), "--no_video"]
        assert main(["react", *words, *(["--listener", *listener] if listener else [])]) == 0
        made[name] = np.load(tmp_path / name / "reactions.npz")["reactions"]
        assert made[name].shape == (1, 62, 25)
    # The same person, as a recording and as saved.
    np.testing.assert_allclose(made["saved"], made["film"], atol=1e-5)
    assert np.abs(made["saved"] - made["track"]).max() > 1e-3 < np.abs(made["saved"] - made["nobody"]).max()
    assert "of silence follow" in capsys.readouterr().out


def test_sound_beside_a_track_is_what_the_video_has(
    model: str, film: str, track: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    soundfile.write(tmp_path / "speech.wav", np.zeros(8000 * 3), 8000)
    few = ("--model", model, "--num_reactions", "1", "--no_video", *FAST)
    for number, files in enumerate(([film, track], [str(tmp_path / "speech.wav"), film], [track])):
        assert main(["react", *few, "--speaker", *files, "--output", str(tmp_path / str(number))]) == 0
    printed = capsys.readouterr().out
    assert printed.count("REACT coefficients") == 2 and printed.count("tracked by brightness") == 1
    assert "speech.wav: 3.0 s of sound" in printed and printed.count("the speaker's sound is not given") == 1


def test_a_part_of_a_file_is_named(
    model: str, film: str, track: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The sound of one video with the face of another, and half a video."""
    few = ("--model", model, "--num_reactions", "1", "--no_video", *FAST)
    times = np.arange(80) / 30
    other = str(write_film(tmp_path / "other.mp4", 0.5 + 0.3 * np.cos(times), times, np.zeros(20000)))
    made, said = {}, {}
    for name, files in {
        "sorted": [film, track],
        "named": [f"face={track}", f"sound={film}"],
        "two_videos": [f"sound={film}", f"face={other}"],
        "sound": [f"sound={film}"],
        "face": [f"face={film}"],
    }.items():
        capsys.readouterr()
        assert main(["react", *few, "--speaker", *files, "--output", str(tmp_path / name)]) == 0
        made[name], said[name] = np.load(tmp_path / name / "reactions.npz")["reactions"], capsys.readouterr().out
    np.testing.assert_array_equal(made["sorted"], made["named"])
    assert re.search(rf"{re.escape(film)}: \d\.\d s of sound", said["two_videos"])
    assert f"{other}: video, tracked by brightness" in said["two_videos"]
    assert "the speaker's face is not given" in said["sound"] and "tracked by" not in said["sound"]
    assert "the speaker's sound is not given" in said["face"] and "tracked by brightness" in said["face"]


def test_all_formats(model: str, film: str, tmp_path: Path) -> None:
    output = tmp_path / "out"
    forms = ("npz", "live_link", "llv", "arkit_json", "glb")
    words = ["react", "--model", model, "--speaker", film, "--num_reactions", "2", *FAST, "--output", str(output)]
    assert main([*words, "--format", *forms]) == 0
    names = {path.name for path in output.iterdir()}
    assert {"reactions.npz", "reactions.mp4", "reactions.png", "reaction_2_glb.glb", "reaction_1_npz.npz"} < names
    assert len(names) == 3 + 2 * (2 + len(forms))
    with av.open(str(output / "reactions.mp4")) as video:
        assert {stream.type for stream in video.streams} == {"video", "audio"}
        assert sum(1 for _ in video.decode(video=0)) == 62


def test_faces_side_by_side(film: str, track: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    numbers = np.random.default_rng(0)
    coefficients = np.tile(MEAN_FACE, (2, 12, 1))
    np.savez(tmp_path / "reactions.npz", reactions=numbers.random((2, 12, 25)), coefficients=coefficients)
    several = str(tmp_path / "reactions.npz")
    assert main(["render", several, "--output", str(tmp_path / "a.mp4"), "--size", "64"]) == 0
    with av.open(str(tmp_path / "a.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 12
        narrow = video.streams.video[0].width
    words = ["render", several, track, "--speaker", film, "--size", "64", "--output", str(tmp_path / "b.mp4")]
    capsys.readouterr()
    assert main(words) == 0
    said = capsys.readouterr().out  # what was assumed of the speaker and of the face, too
    assert "tracked by brightness" in said and "emotion is derived from the coefficients" in said
    with av.open(str(tmp_path / "b.mp4")) as video:
        assert video.streams.video[0].width > narrow and video.streams.audio
    assert main(["render", track, "--output", str(tmp_path / "c.png")]) == 0
    assert Image.open(tmp_path / "c.png").width > 200


def test_rates_are_for_tracks_that_count_frames(
    model: str, counted: str, track: str, film: str, tmp_path: Path, capsys: pytest.CaptureFixture, refused
) -> None:
    output = str(tmp_path / "a.png")
    for words in ((film, counted, "--face_fps", "50"), ("--speaker", counted, "--speaker_fps", "50")):
        capsys.readouterr()
        assert main(["render", track, *words, "--output", output]) == 0
        assert "100 rows at 50.0 a second -> 50 frames" in capsys.readouterr().out
    render, react = (
        ("render", track, "--output", output),
        ("react", "--model", "never_read", "--output", tmp_path / "b"),
    )
    for face in (film, track):  # a video and a format that have times of their own
        idle = "is for tracks of py-feat and OpenFace.*Leave it out"
        refused("render", face, "--output", output, "--face_fps", "50", match=f"face_fps {idle}")
        refused(*render, "--speaker", face, "--speaker_fps", "50", match=f"speaker_fps {idle}")
        refused(*react, "--speaker", face, "--speaker_fps", "50", match=f"speaker_fps {idle}")
        refused(*react, "--speaker", film, "--listener", face, "--listener_fps", "50", match=f"listener_fps {idle}")
        refused("personalise", face, "--model", "m", "--output", "o", "--face_fps", "50", match=f"face_fps {idle}")
    refused(*react, "--speaker", f"sound={film}", "--speaker_fps", "50", match="given: no face")


def test_options_of_tracking_are_for_videos(track: str, film: str, tmp_path: Path, misused, refused) -> None:
    react = ("react", "--model", "never_read", "--output", tmp_path / "b", "--neutral_seconds", "0", "1")
    idle = "is for videos, and no face here comes from one"
    for words in ((track,), (f"sound={film}", track), (track, "--listener", track), (track, "--listener", tmp_path)):
        refused(*react, "--speaker", *words, match=f"neutral_seconds {idle}")
    refused(*react, "--speaker", film, match="no saved pipeline at never_read")
    refused(*react, "--speaker", track, "--listener", film, match="no saved pipeline at never_read")
    refused("personalise", track, "--model", "m", "--output", "o", "--face_model", "f", match=f"face_model {idle}")
    refused("render", track, "--output", "a.png", "--expression_model", "e", match=f"expression_model {idle}")
    misused("track", "--download_model", "--neutral_seconds", "0", "1", match="neutral_seconds is for a video")


def test_quiet_and_json(film: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["track", film, "--output", str(tmp_path / "a.npz")]
    assert main([*words, "--quiet"]) == 0
    said = capsys.readouterr()
    assert said.out == said.err == ""
    assert main([*words, "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    told = json.loads(said.out)
    assert told["ok"] is True and told["frames"] == 62 and told["lost_pictures"] == 0
    assert told["output"] == str(tmp_path / "a.npz") and any("blind" in note for note in told["notes"])
    assert main(["track", "none.mp4", "--output", str(tmp_path / "b.npz"), "--json"]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out) == {"ok": False, "error": "There is no video none.mp4."}
    assert said.err == "error: There is no video none.mp4.\n"
    assert main(["check", str(tmp_path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_misuse(model: str, film: str, track: str, tmp_path: Path, misused, refused) -> None:
    output = tmp_path / "out"
    misused("track", match="give a video and an output, or download_model")
    misused("track", film, match="give a video and an output")
    misused("track", film, "--output", "a.mp4", match=r"output must end in \.npz")
    misused("render", track, "--output", "a.gif", match=r"output must end in \.mp4, \.png")
    misused("render", track, "--output", "a.png", "--size", "64", match=r"size is for an output that ends in \.mp4")
    misused("render", track, "--output", "a.mp4", "--size", "0", match="size: must be a whole number from 1 on")
    misused("render", track, "--output", "a.mp4", "--speaker_fps", "30", match="speaker_fps is for a speaker")
    misused("track", film, "--quiet", "--json", match="not allowed with")
    refused("track", film, "--output", tmp_path / "no" / "a.npz", match="There is no folder")
    refused("track", film, "--output", tmp_path / "a.npz", "--neutral_seconds", "3", "2", match="two rising times")
    refused("track", film, "--output", tmp_path / "a.npz", "--expression_model", "no.whl", match="no expression model")
    react = ("react", "--model", model, "--output", output, *FAST)
    refused(*react, "--speaker", film, "none.wav", match="There is no file none.wav")
    refused(*react, "--speaker", film, film, match="one sound and one face at most")
    refused(*react, "--speaker", film, "--listener", tmp_path, match="no listener|weight_shifts")
    refused("react", "--model", tmp_path, "--output", output, "--speaker", film, match="no saved pipeline")
    refused("personalise", "none.mp4", "--model", model, "--output", output, match="no face track at none.mp4")
    refused("personalise", track, "--model", tmp_path, "--output", output, match="no saved pipeline")
    assert not output.exists()


def test_mistakes_are_found_before_the_video_is_tracked(
    model: str, film: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, misused, refused
) -> None:
    def never(model: object) -> None:
        raise AssertionError("the video was looked at")

    monkeypatch.setattr("perfrdiff_hf.faces.tracking.reading.FaceLandmarker", never)
    react = ("react", "--model", model, "--output", tmp_path / "out", "--speaker", film)
    refused(*react, "--listener", "none.csv", match=r"no face track at none\.csv")
    refused(*react, "--listener", tmp_path, match="no listener|weight_shifts")
    refused("render", film, "--output", tmp_path / "no" / "a.mp4", match="There is no folder")
    misused(*react, "--num_reactions", "0", match="num_reactions: must be a whole number from 1 on; given: 0")
    misused(*react, "--head", "my.glb", match="head is for --format glb")
    misused(*react, "--listener_fps", "30", match="listener_fps is for a listener")
    misused(*react, "--format", "react2024", match="invalid choice: 'react2024'")
    refused("personalise", film, "--model", tmp_path, "--output", tmp_path / "out", match="no saved pipeline")
    monkeypatch.setattr("perfrdiff_hf.extras.find_spec", lambda module: None if module == "matplotlib" else object())
    refused(*react, match=r"need matplotlib.*perfrdiff_hf\[rendering\]")
    assert not (tmp_path / "out").exists()


def test_no_model_and_no_library(film: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("PERFRDIFF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("perfrdiff_hf.extras.find_spec", lambda module: object())
    refused("track", film, "--output", tmp_path / "a.npz", match="perfrdiff track --download_model")
    monkeypatch.setattr("perfrdiff_hf.extras.find_spec", lambda module: None if module == "mediapipe" else object())
    refused("track", film, "--output", tmp_path / "a.npz", match=r"need mediapipe.*perfrdiff_hf\[tracking\]")
    assert not (tmp_path / "a.npz").exists()
