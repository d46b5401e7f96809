"""Seamless Interaction behind the door: what was written as such is read back, with histories, roles and faults."""

from __future__ import annotations

import io
import json
import logging
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from perfrdiff_hf import load_dyads
from perfrdiff_hf.behaviour import COEFFICIENT_NAMES, EMOTION_NAMES, MEAN_FACE
from perfrdiff_hf.cli import main as perfrdiff
from perfrdiff_hf.data.audio import mfcc_features
from perfrdiff_hf.data.catalogue import open_source
from perfrdiff_hf.data.histories import history_rows
from perfrdiff_hf.data.masks import CHANNEL_NAMES
from perfrdiff_hf.data.seamless.importing import import_files
from perfrdiff_hf.data.seamless.index import index_of
from perfrdiff_hf.data.seamless.mapping import MASK
from perfrdiff_hf.data.source import Dyads
from perfrdiff_hf.evaluation.similarity import precision_recall
from perfrdiff_hf.synthetic.cast import Performance, World
from perfrdiff_hf.synthetic.recording import render
from perfrdiff_hf.synthetic.seamless import SAMPLE_RATE, clips_in


ACCEPT = "cc-by-nc-4.0"


@pytest.fixture(scope="module")
def train(seamless_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Dyads:
    return load_dyads("seamless", seamless_folder, "train", cache_dir=tmp_path_factory.mktemp("cache"))


def recorded(world: World, dyads: Dyads) -> list[Performance]:
    """The recording of the world behind each row."""
    by_name = {
        f"{name.person}/{name.session}_{name.prompt}_{number}": row
        for name, rows in clips_in(world, dyads.split).items()
        for number, row in enumerate(rows)
    }
    rows = zip(dyads.dataset["listener_id"], dyads.dataset["clip"])
    return [by_name[f"{who}/{clip}"] for who, clip in rows]


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def test_what_was_written_is_read_back(seamless_world: World, train: Dyads) -> None:
    truth = recorded(seamless_world, train)
    assert len(truth) == len(train) == 16 and set(train.dataset["num_frames"]) == {750}
    assert [row.person for row in truth[:8]] == ["Novice_video"] * 8
    rendered = [render(seamless_world, row) for row in truth]
    emotion = np.concatenate([train.arrays.emotion(row) for row in range(16)])
    faces = np.concatenate([train.arrays.coefficients(row) for row in range(16)])
    shown = np.concatenate([one.emotion for one in rendered])
    moved = np.concatenate([one.coefficients[:750] for one in rendered])
    for channel, name in enumerate(EMOTION_NAMES):
        if MASK.kind(name) == "unavailable":
            assert not emotion[:, channel].any()
        elif name.startswith("AU"):
            assert set(np.unique(emotion[:, channel])) <= {0, 1}
            assert (emotion[:, channel] == (shown[:, channel] > 0.5)).mean() > 0.99, name
        else:
            assert np.abs(emotion[:, channel] - shown[:, channel]).mean() < 0.002, name
    for channel, name in enumerate(COEFFICIENT_NAMES):
        if MASK.kind(name) == "unavailable":
            np.testing.assert_allclose(faces[:, channel], MEAN_FACE[channel], atol=1e-6)
        elif name.startswith("rotation"):
            assert np.abs(faces[:, channel] - moved[:, channel]).mean() < 0.002, name
        else:
            assert correlation(faces[:, channel], moved[:, channel]) > 0.4, name
    wav = io.BytesIO()
    soundfile.write(
        wav, soxr.resample(rendered[0].sound, 16000, SAMPLE_RATE)[: 30 * SAMPLE_RATE], SAMPLE_RATE, format="WAV"
    )
    expected = mfcc_features(soundfile.read(io.BytesIO(wav.getvalue()), dtype="float32")[0], SAMPLE_RATE, 750)
    np.testing.assert_allclose(train.arrays.audio(0), expected, atol=1e-4)


def test_the_mask_is_that_of_the_release(train: Dyads) -> None:
    assert train.mask is MASK and not MASK.is_whole
    assert [name for name in EMOTION_NAMES if MASK.kind(name) == "unavailable"] == ["AU23", "AU24"]
    assert MASK.available("emotion").sum() == 23
    kinds = {kind: len([n for n in CHANNEL_NAMES["coefficients"] if MASK.kind(n) == kind]) for kind in (
        "measured", "derived", "unavailable")}  # fmt: skip
    assert kinds == {"measured": 3, "derived": 33, "unavailable": 22}


def test_a_history_is_of_another_session_of_the_same_person(train: Dyads) -> None:
    arrays = train.arrays
    assert set(arrays.listener_ids.tolist()) == {"V00/P0000A", "V00/P0001", "V00/P0002A", "V00/P0003"}
    for row in range(len(arrays)):
        histories = history_rows(arrays, row)
        assert len(histories)
        assert set(arrays.listener_ids[histories]) == {arrays.listener_ids[row]}
        assert arrays.sessions[row] not in arrays.sessions[histories]
        assert arrays.conversations[row] not in arrays.conversations[histories]


def test_who_speaks_is_told(seamless_world: World, train: Dyads) -> None:
    for row, share in zip(recorded(seamless_world, train), train.dataset["speech"]):
        assert abs(share - (np.array(row.ends).clip(max=750) - np.array(row.starts)).sum() / 750) < 0.001


def test_what_is_left_out_is_counted_and_named(
    seamless_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        load_dyads("seamless", seamless_folder, "train", cache_dir=tmp_path)
    said = caplog.text
    assert "4 conversations are used" in said and "5 problems" in said
    for kind in ("no partner (1)", "no frames (1)", "two splits (1)", "missing (2)", "the sound of one of the two"):
        assert kind in said
    assert "V00/P9000 stands in more than one split" in said


def test_roles_are_inferred_from_what_is_said(seamless_folder: Path, seamless_world: World) -> None:
    index = index_of(seamless_folder / "improvised" / "train")
    roles = {
        name: role for meeting in index.meetings if meeting.roles for name, role in zip(meeting.names, meeting.roles)
    }
    truth = {str(name): "AB"[rows[0].role] for name, rows in clips_in(seamless_world, "train").items()}
    # A person may play role A in one script of a prompt and B in the other: then there is no one truth.
    clear = {str(n) for n, rows in clips_in(seamless_world, "train").items() if len({r.role for r in rows}) == 1}
    assert clear and all(roles.get(name, truth[name]) == truth[name] for name in clear)


def test_the_rule_is_computed_kept_and_found(
    seamless_folder: Path, seamless_world: World, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(seamless_folder, folder)
    dyads = load_dyads(None, folder, "train", cache_dir=tmp_path / "cache")
    with pytest.raises(FileNotFoundError, match=r"perfrdiff similarity .* --split train"):
        _ = dyads.appropriate
    words = [str(folder), "--split", "train", "--cache_dir", str(tmp_path / "cache")]
    assert perfrdiff(["similarity", *words, "--threshold", "30", "--write"]) == 0
    matrix = dyads.appropriate
    assert matrix.shape == (16, 16) and matrix.diagonal().all() and (matrix == matrix.T).all()
    allowed = dyads.source.comparable("train", dyads.dataset)
    assert not (matrix & ~allowed & ~np.eye(16, dtype=bool)).any()
    played = [
        (row.script, row.role) for row in np.array(recorded(seamless_world, dyads), dtype=object)[dyads.arrays.partner]
    ]
    truth = np.array([[one == other for other in played] for one in played])
    precision, recall = precision_recall(matrix, truth)
    assert precision > truth.mean() or recall == 0
    assert perfrdiff(["similarity", *words, "--threshold", "30", "--write"]) == 1
    assert "has a matrix for train already" in capsys.readouterr().err
    personal = load_dyads(None, folder, "train", personal=True, cache_dir=tmp_path / "cache")
    who = personal.arrays.listener_ids
    np.testing.assert_array_equal(personal.appropriate, matrix & (who[:, None] == who[None, :]))
    for name in ("V00_S0001_I00000000_P0000A", "V00_S0001_I00000000_P0001"):
        (folder / "improvised" / "train" / "movement" / "FAUValue" / f"{name}.npy").unlink()
    fewer = load_dyads(None, folder, "train", cache_dir=tmp_path / "cache")
    assert len(fewer) < 16 and fewer.appropriate.shape == (len(fewer), len(fewer))


def one_session(release: Path, tmp_path: Path) -> Path:
    """A folder with the four whole conversations of training and nothing else."""
    folder = tmp_path / "data"
    source = tmp_path / "source"
    source.mkdir()
    for archive in (release / "improvised" / "train" / "0000").glob("*.tar"):
        with tarfile.open(archive) as tar:
            for member in tar:
                if "I9000000" not in member.name:
                    (source / member.name).write_bytes(tar.extractfile(member).read())  # type: ignore[union-attr]
    import_files([source], folder, "improvised", "train", ACCEPT)
    shutil.rmtree(source)
    return folder


def rewrite(change: Callable[[np.ndarray], np.ndarray], feature: str) -> Callable[[Path], None]:
    def broken(place: Path) -> None:
        for path in (place / "movement" / feature).glob("*P0000A.npy"):
            np.save(path, change(np.load(path)))

    return broken


def cut_off(place: Path) -> None:
    for path in (place / "movement" / "FAUValue").glob("*P0000A.npy"):
        path.write_bytes(path.read_bytes()[:1000])


def without_a_partner(place: Path) -> None:
    for path in (place / "movement" / "FAUValue").glob("*P0000A.npy"):
        path.unlink()


def at_another_rate(place: Path) -> None:
    for path in (place / "audio_features").glob("*P0000A.npy"):
        np.save(path, np.load(path)[::2])


def unknown_speech(place: Path) -> None:
    for path in (place / "metadata" / "vad").glob("*P0000A.jsonl"):
        path.write_text(json.dumps({"from": 0, "to": 1}))


BROKEN = {
    "half a file": (cut_off, "unreadable"),
    "wrong widths": (rewrite(lambda v: v[:, :17], "FAUValue"), "wrong shape"),
    "of other lengths": (rewrite(lambda v: v[:-10], "emotion_scores"), "wrong length"),
    "not numbers": (rewrite(lambda v: v * np.nan, "emotion_valence"), "NaN"),
    "never seen": (rewrite(lambda v: 0 * v, "is_valid"), "no clip"),
    "other frame rate": (at_another_rate, "frame rate"),
    "unknown keys": (unknown_speech, "unknown keys"),
    "pair without a partner": (without_a_partner, "no partner"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_input_is_left_out_by_name(fault: str, seamless_release: Path, tmp_path: Path) -> None:
    folder = one_session(seamless_release, tmp_path)
    place = folder / "improvised" / "train"
    breaks, kind = BROKEN[fault]
    breaks(place)
    found = index_of(place)
    assert [problem.kind for problem in found.problems] == [kind] * 2
    assert all("P0000A" in problem.path or kind in ("no partner", "no clip") for problem in found.problems)
    # The other dyad is used; where nothing is left, the error says why.
    assert len(load_dyads("seamless", folder, "train", cache_dir=tmp_path / "cache")) == 8
    for name in place.joinpath("movement", "FAUValue").glob("*P0002A.npy"):
        name.unlink()
    with pytest.raises(ValueError, match=rf"(?s)Nothing of train .* can be used.*{kind} \(\d\)"):
        load_dyads("seamless", folder, "train", cache_dir=tmp_path / "cache")


def test_a_person_without_another_conversation_has_no_history(seamless_release: Path, tmp_path: Path) -> None:
    folder = one_session(seamless_release, tmp_path)
    for path in (folder / "improvised" / "train" / "movement" / "FAUValue").glob("*.npy"):
        if "S0000" not in path.name:
            path.unlink()
    with pytest.raises(ValueError, match=r"(?s)no history \(\d\).*V00/P000.* has no other conversation"):
        load_dyads("seamless", folder, "train", cache_dir=tmp_path / "cache")


def test_an_empty_split_and_silence_are_named(seamless_release: Path, tmp_path: Path) -> None:
    folder = one_session(seamless_release, tmp_path)
    with pytest.raises(FileNotFoundError, match="nothing of the release's split dev"):
        load_dyads("seamless", folder, "val")
    (folder / "improvised" / "dev").mkdir()
    with pytest.raises(ValueError, match="has no files with faces"):
        load_dyads("seamless", folder, "val")
    shutil.rmtree(folder / "improvised" / "train" / "audio_features")
    index_of(folder / "improvised" / "train", again=True)
    with pytest.raises(ValueError, match=r"has no sound of train; pass streams="):
        load_dyads("seamless", folder, "train", cache_dir=tmp_path / "cache")
    silent = load_dyads("seamless", folder, "train", streams=("emotion",), cache_dir=tmp_path / "cache")
    assert len(silent) == 16


def test_games_are_left_out(seamless_release: Path, tmp_path: Path) -> None:
    folder = one_session(seamless_release, tmp_path)
    text = (seamless_release / "interactions.csv").read_text()
    (folder / "interactions.csv").write_text(text.replace("ipc_conversation", "charades"))
    with pytest.raises(ValueError, match=r"a game \(4\)"):
        load_dyads("seamless", folder, "train")
    (folder / "interactions.csv").write_text("prompt_hash\nI1\n")
    index_path = folder / "improvised" / "train" / "index.json"
    index_path.unlink()
    with pytest.raises(ValueError, match="lacks the columns participant_a_prompt_text"):
        load_dyads("seamless", folder, "train")
    assert not index_path.exists()


def test_what_is_no_release_cannot_be_imported(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"say cc-by-nc-4\.0 to confirm"):
        import_files([tmp_path], tmp_path / "out", "improvised", "dev", "cc-by-4.0")
    with pytest.raises(FileNotFoundError, match="There is no"):
        import_files([tmp_path / "absent"], tmp_path / "out", "improvised", "dev", ACCEPT)
    with pytest.raises(ValueError, match=r"no usable files <id>\.npz.*found: nothing"):
        import_files([tmp_path], tmp_path / "out", "improvised", "dev", ACCEPT)
    assert not (tmp_path / "out").exists()
    strange = io.BytesIO()
    np.savez(strange, **{"movement:other": np.zeros(3)})
    (tmp_path / "V03_S1_I1_P1.npz").write_bytes(strange.getvalue())
    (tmp_path / "V00_S1_I1_P1.npz").write_bytes(b"PK half")
    (tmp_path / "portrait.npz").write_bytes(strange.getvalue())
    with pytest.raises(ValueError, match=r"without face features.* 1, broken npz .* 1, no name of the release 1"):
        sources = [tmp_path / name for name in ("V03_S1_I1_P1.npz", "V00_S1_I1_P1.npz", "portrait.npz")]
        import_files(sources, tmp_path / "out", "improvised", "dev", ACCEPT)


def test_a_folder_is_recognised_and_carries_its_licence(seamless_folder: Path) -> None:
    source = open_source(seamless_folder)
    assert (source.name, source.license) == ("seamless", ACCEPT) and "Meta, 2025" in source.credit
