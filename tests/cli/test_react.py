"""`perfrdiff react` from end to end, with a tiny pipeline of random weights; test_video.py has it on videos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from perfrdiff_hf import PerFRDiffPipeline
from perfrdiff_hf.behaviour import EMOTION_NAMES, MEAN_FACE, STD_FACE
from perfrdiff_hf.cli import main
from perfrdiff_hf.cli.react import title_of
from perfrdiff_hf.faces.formats import write_coefficients_npy, write_emotion_csv
from perfrdiff_hf.faces.tracks import read_face_track


@pytest.fixture(scope="module")
def model(make_pipeline: Callable[..., PerFRDiffPipeline], tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    make_pipeline(shift_type="full").save_pretrained(folder)
    return str(folder)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Sound of 2.6 s, a face of 2.2 s in REACT2024's two files, and the tracks of two listeners."""
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "speaker.wav", 0.1 * rng.standard_normal(int(2.6 * 8000)), 8000)
    emotion = np.zeros((55, 25), np.float32)
    emotion[:, EMOTION_NAMES.index("Happy")] = 1
    write_emotion_csv(tmp_path / "face.csv", emotion)
    for name in ("face", "one", "other"):
        coefficients = MEAN_FACE + STD_FACE * rng.standard_normal((1, 58)) + 0.02 * rng.standard_normal((56, 58))
        write_coefficients_npy(tmp_path / f"{name}.npy", coefficients)
    return {path.name: str(path) for path in tmp_path.iterdir()}


def reacted(output: Path, *arguments: str) -> dict[str, np.ndarray]:
    words = [*arguments, "--output", str(output), "--num_inference_steps", "2", "--device", "cpu"]
    assert main(["react", *words]) == 0
    return dict(np.load(output / "reactions.npz"))


def refused(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    """The message with which the program ends."""
    try:
        code = main(["react", *arguments, "--num_inference_steps", "2", "--device", "cpu"])
    except SystemExit as ended:  # the command line makes no sense
        assert ended.code == 2
    else:
        assert code == 1
    return capsys.readouterr().err


def test_from_files_to_files(model: str, files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    output = tmp_path / "new" / "out"
    made = reacted(
        output, "--model", model, "--speaker", files["speaker.wav"], files["face.csv"], files["face.npy"],
        "--listener", files["one.npy"], "--num-reactions", "2",
    )  # fmt: skip
    assert sorted(file.name for file in output.iterdir()) == [
        "reaction_1.csv", "reaction_1.npy", "reaction_2.csv", "reaction_2.npy",
        "reactions.mp4", "reactions.npz", "reactions.png",
    ]  # fmt: skip
    assert made["reactions"].shape == (2, 65, 25) and made["coefficients"].shape == (2, 65, 58)
    assert np.abs(made["reactions"]).max() <= 1
    assert (made["reactions"][0] != made["reactions"][1]).any()
    written = np.loadtxt(output / "reaction_2.csv", delimiter=",", skiprows=1)
    np.testing.assert_allclose(written, made["reactions"][1], atol=1e-5)
    again = read_face_track(output / "reaction_2.npy").behaviour.coefficients
    np.testing.assert_array_equal(again, made["coefficients"][1])
    printed = capsys.readouterr().out
    assert "its last frame is held for 0.4 s" in printed
    assert "2 reactions of 2.6 s" in printed


def test_listeners_differ_and_repeat(model: str, files: dict[str, str], tmp_path: Path) -> None:
    speaker = ("--model", model, "--speaker", files["speaker.wav"], files["face.csv"])
    few = ("--num_reactions", "1", "--no_video")
    one, other, one_again, another_seed, generic = (
        reacted(tmp_path / str(number), *speaker, *few, *more)["reactions"]
        for number, more in enumerate(
            [
                ("--listener", files["one.npy"]),
                ("--listener", files["other.npy"]),
                ("--listener", files["one.npy"]),
                ("--listener", files["one.npy"], "--seed", "1"),
                (),
            ]
        )
    )
    np.testing.assert_array_equal(one, one_again)
    for different in (other, another_seed, generic):
        assert np.abs(one - different).max() > 1e-3


def test_real_recordings(model: str, realdata: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    speaker = (
        "--model", model, "--speaker", str(realdata / "speech" / "jfk_16k_mono.wav"),
        str(realdata / "pyfeat_news" / "001.csv"), "--num_reactions", "1", "--no_video",
    )  # fmt: skip
    listeners = {"a": "arkit_livelink/S88-001.csv", "b": "llv_dao/dao.csv"}
    made = {
        name: reacted(tmp_path / name, *speaker, "--listener", str(realdata / track))["reactions"]
        for name, track in listeners.items()
    }
    assert made["a"].shape == (1, 50, 25)
    assert np.abs(made["a"] - made["b"]).max() > 1e-3
    printed = capsys.readouterr().out
    assert "129 rows of lost tracking were bridged" in printed
    assert "its last frame is held for 0.4 s" in printed


def test_face_only_and_sound_only(model: str, files: dict[str, str], tmp_path: Path) -> None:
    for number, given in enumerate((files["face.npy"], files["speaker.wav"])):
        made = reacted(
            tmp_path / str(number), "--model", model, "--speaker", given, "--num_reactions", "1", "--no_video"
        )
        assert made["reactions"].shape[0] == 1


def test_the_title_tells_what_was_put_together() -> None:
    files = SimpleNamespace(speaker=["sound=talks/a.mp4", "face=b.csv", "c=d.npy"], listener=["alice/track.npy"])
    assert title_of(files) == "speaker sound of a.mp4 + face of b.csv + c=d.npy, listener track.npy"
    assert title_of(SimpleNamespace(speaker=["talk.mp4"], listener=None)) == "speaker talk.mp4, generic"


def test_tracks_for_avatars(model: str, files: dict[str, str], tmp_path: Path) -> None:
    made = reacted(
        tmp_path / "out", "--model", model, "--speaker", files["face.npy"], "--num_reactions", "1", "--no_video",
        "--format", "live_link", "glb", "arkit_json",
    )  # fmt: skip
    for name in ("reaction_1_live_link.csv", "reaction_1_glb.glb", "reaction_1_arkit_json.jsonl"):
        assert len(read_face_track(tmp_path / "out" / name).behaviour) == made["coefficients"].shape[1]


def test_bad_input_leaves_nothing(
    model: str, files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    output = tmp_path / "out"
    truncated = tmp_path / "truncated.npy"
    truncated.write_bytes(Path(files["one.npy"]).read_bytes()[:-100])
    short = tmp_path / "short.npy"
    write_coefficients_npy(short, np.tile(MEAN_FACE, (10, 1)))
    face, listener = ("--speaker", files["face.npy"]), ("--listener", files["one.npy"])
    for arguments, message in (
        ((*face, *listener, "--model", str(tmp_path / "no_model")), "no saved pipeline at"),
        ((*face, "--model", model, "--listener", "missing.csv"), "no face track at missing.csv"),
        ((*face, "--model", model, "--listener", str(truncated)), "truncated.npy cannot be read as npy"),
        ((*face, "--model", model, "--listener", str(short)), "at least 50 frames; given: 10"),
        (("--speaker", str(short), *listener, "--model", model), "at least 50 frames"),
        (("--speaker", "missing.wav", *listener, "--model", model), "missing.wav"),
        (("--speaker", files["one.npy"], files["face.npy"], "--model", model), "csv and npy of one recording"),
        ((*listener, "--model", model), "the following arguments are required: --speaker"),
        ((*face, *listener, "--model", model, "--num_reactions", "0"), "num_reactions"),
        ((*face, "--model", model, "--format", "glb", "--head", "missing.glb"), "no head at missing.glb"),
        ((*face, "--model", model, "--format", "glb", "--head", files["one.npy"]), "no binary glTF file"),
    ):
        assert message in refused(capsys, *arguments, "--output", str(output))
        assert not output.exists()


def test_unwritable_output_is_found_before_any_work(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    in_the_way = tmp_path / "a_file"
    in_the_way.write_text("")
    for output in (in_the_way, in_the_way / "inside"):
        message = refused(capsys, "--model", "never_read", "--speaker", files["face.npy"], "--output", str(output))
        assert f"The output folder {output} cannot be written to" in message
    assert capsys.readouterr().out == ""
