"""`perfrdiff evaluate` from folders to tables: predictions of any system, and a model's own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from perfrdiff_hf import PerFRDiffPipeline
from perfrdiff_hf.baselines.oracles import ORACLE_NAMES
from perfrdiff_hf.behaviour import EMOTION_NAMES
from perfrdiff_hf.cli import main
from perfrdiff_hf.evaluation import load_task
from perfrdiff_hf.evaluation.reacting import folder_name
from perfrdiff_hf.metrics import frcorr, frdist
from perfrdiff_hf.synthetic.world import WorldSize, write_synthetic_world


SMALL = WorldSize(dyads=(1, 1, 1), clips=2, scripts=(1, 1, 1), sample_rate=8000, sound="ULAW")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate") / "world"
    write_synthetic_world(folder, SMALL, seed=0)
    return folder


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory: pytest.TempPathFactory):
    import datasets

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        yield


@pytest.fixture
def write_predictions(world: Path, tmp_path: Path) -> Callable[[str], tuple[Path, np.ndarray]]:
    """Two reactions to every test clip, in files of one kind; returns the folder and `(clips, 2, frames, 25)`."""

    def write(ending: str) -> tuple[Path, np.ndarray]:
        task = load_task(str(world), "test", "mafrg")
        rng = np.random.default_rng(0)
        noise = rng.random((len(task.paths), 2, 1, 25), dtype=np.float32)
        predictions = np.round(0.5 * task.reactions[:, None] + 0.5 * noise, 3)
        folder = tmp_path / f"predictions_{ending}"
        for path, reactions in zip(task.paths, predictions):
            file = folder / f"{path}.{ending}"
            file.parent.mkdir(parents=True, exist_ok=True)
            if ending == "npz":
                np.savez(file, reactions=reactions)
            elif ending == "npy":
                np.save(file, reactions)
            else:
                rows = [np.c_[np.full(len(reaction), k), reaction] for k, reaction in enumerate(reactions)]
                header = ",".join(["reaction", *EMOTION_NAMES])
                np.savetxt(file, np.concatenate(rows), "%.6g", ",", header=header, comments="")
        return folder, predictions

    return write


def test_every_kind_of_file_gives_the_same_table(world, write_predictions, tmp_path, capsys):
    folders = {ending: write_predictions(ending) for ending in ("npz", "npy", "csv")}
    predictions = folders["npz"][1]
    arguments = [f"{ending} files={folder}" for ending, (folder, _) in folders.items()]
    out = tmp_path / "out"
    words = ["--data_dir", str(world), "--predictions", *arguments, "--output", str(out), "--batch-size", "4"]
    assert main(["evaluate", *words]) == 0
    for name in ("mafrg", "pmafrg"):
        for ending in (".json", ".md", ".tex", ".png", "_clips.npz"):
            assert (out / f"{name}{ending}").stat().st_size > 100
    found = json.loads((out / "mafrg.json").read_text())
    task = load_task(str(world), "test", "mafrg")
    assert found["clips"] == len(task.paths) == 4
    for ending in folders:
        metrics = found["systems"][f"{ending} files"]["metrics"]
        for name, metric in (("FRCorr MAFRG", frcorr), ("FRdist MAFRG", frdist)):
            expected = metric(predictions, task.reactions, task.matrices["MAFRG"])
            assert metrics[name]["value"] == pytest.approx(expected, rel=1e-6)
    personal = json.loads((out / "pmafrg.json").read_text())
    assert personal["clips"] == 2
    assert "FRCorr PMAFRG" in personal["systems"]["chance"]["metrics"]
    assert {"mime", "mean sequence", "mean frame", "retrieval", *ORACLE_NAMES} <= set(personal["systems"])
    # The files have no coefficients; the recorded reactions and the world's own have.
    for name, known in (
        ("npz files", False),
        ("chance", False),
        ("recorded reactions", True),
        (ORACLE_NAMES[1], True),
    ):
        assert (personal["systems"][name]["metrics"]["head speed"]["value"] is not None) == known
    assert "| npy files |" in capsys.readouterr().out


def test_data_without_coefficients_are_scored_by_emotion_alone(world, write_predictions, tmp_path, caplog):
    folder, _ = write_predictions("npy")
    task = load_task(world, "test", "pmafrg")
    assert task.coefficients.shape == (2, 750, 58)
    rows = [np.load(next(world.glob(f"test/3D_FV_files/{path}.npy"))) for path in task.paths]
    np.testing.assert_allclose(task.coefficients, np.stack(rows)[:, :750, 0], rtol=1e-6)
    copy = tmp_path / "copy"
    shutil.copytree(world, copy, ignore=shutil.ignore_patterns("3D_FV_files", "world.json"))
    assert load_task(copy, "test", "pmafrg").coefficients is None
    assert "Coefficients are not scored" in caplog.text
    arguments = ["--data_dir", str(copy), "--predictions", f"mine={folder}", "--task", "pmafrg"]
    assert main(["evaluate", *arguments, "--output", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "pmafrg.json").read_text())["systems"]
    assert "switches inside" in found["mine"]["metrics"] and "head speed" not in found["recorded reactions"]["metrics"]
    assert not set(ORACLE_NAMES) & set(found)


def test_features_of_rendered_frames(world, write_predictions, tmp_path):
    folder, _ = write_predictions("npy")
    rng = np.random.default_rng(1)
    real = rng.normal(size=(50, 8))
    np.save(tmp_path / "real.npy", real)
    np.save(tmp_path / "generated.npy", real + 1.0)
    arguments = ["--data_dir", str(world), "--predictions", f"mine={folder}", "--output", str(tmp_path / "out")]
    arguments += ["--task", "pmafrg", "--no_references", "--real_frames", str(tmp_path / "real.npy")]
    assert main(["evaluate", *arguments, "--generated_frames", f"mine={tmp_path / 'generated.npy'}"]) == 0
    found = json.loads((tmp_path / "out" / "pmafrg.json").read_text())
    assert found["systems"]["mine"]["overall"]["FRRea"] == pytest.approx(8.0)
    assert list(found["systems"]) == ["mine"]


def test_what_is_wrong_is_said(world, write_predictions, tmp_path, refused, misused):
    folder, _ = write_predictions("npy")
    start = ["evaluate", "--data_dir", world, "--output", tmp_path / "out", "--no_references", "--predictions"]
    misused(*start, "nameless", match="takes NAME=PATH; given: nameless")
    misused(*start[:-1], match="give --predictions NAME=FOLDER, or --model")
    refused(*start, f"mine={tmp_path / 'elsewhere'}", match=r"There is no folder of predictions at .*elsewhere")
    files = sorted(folder.rglob("*.npy"))
    np.save(files[0], np.zeros((2, 750, 24)))
    shapes = r"must hold reactions of shape .*750 frames, 25\); it holds \(2, 750, 24\)"
    refused(*start, f"mine={folder}", match=shapes)
    files[0].write_bytes(files[1].read_bytes()[:1000])
    refused(*start, f"mine={folder}", match=f"{files[0].name} is not a complete file of reactions")
    files[0].with_suffix(".csv").write_text("AU1,AU2\n0,1\n")
    files[0].unlink()
    refused(*start, f"mine={folder}", match=r"columns AU4, AU6, .*are missing")
    files[0].with_suffix(".csv").unlink()
    refused(*start, f"mine={folder}", match="has no predictions for 1 of 4 clips; the first would be")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def words(world: Path, tiny_model: Path, tmp_path: Path) -> list[str]:
    """A command line that lets the tiny model react to the clips of the personal task."""
    return [
        "evaluate", "--data_dir", str(world), "--model", str(tiny_model), "--output", str(tmp_path / "out"),
        "--task", "pmafrg", "--num_reactions", "2", "--num_inference_steps", "1", "--no_references",
        "--batch_size", "4", "--device", "cpu",
    ]  # fmt: skip


def test_a_model_is_run_and_interrupted_runs_go_on(words, tmp_path):
    out = tmp_path / "out"
    assert main(words) == 0
    files = sorted((out / "predictions").rglob("*.npz"))
    # Only the clips that are scored are reacted to: clip 1, which is the history, is not among them.
    assert [file.stem for file in files] == ["2"] * 4
    first = {file: np.load(file)["reactions"] for file in files}
    generic, personalised = (first[file] for file in (files[0], files[2]))
    assert generic.shape == (2, 750, 25) and np.load(files[0])["coefficients"].shape == (2, 750, 58)
    assert not np.array_equal(generic, personalised)
    report = json.loads((out / "pmafrg.json").read_text())
    assert set(report["systems"]) == {"generic", "personalised"}
    assert report["systems"]["generic"]["metrics"]["FRCorr coefficients PMAFRG"]["value"] is not None
    assert "generic - personalised" in report["paired"]
    # Without two files, only these two are generated again, to the same values.
    kept = {file: file.stat().st_mtime_ns for file in files[1:-1]}
    files[0].unlink()
    files[-1].unlink()
    assert main(words) == 0
    assert {file: file.stat().st_mtime_ns for file in files[1:-1]} == kept
    for file in (files[0], files[-1]):
        np.testing.assert_allclose(np.load(file)["reactions"], first[file], atol=1e-5)
    again = json.loads((out / "pmafrg.json").read_text())
    for system in ("generic", "personalised"):
        found, before = (which["systems"][system]["metrics"]["FRdist PMAFRG"]["value"] for which in (again, report))
        assert found == pytest.approx(before, rel=1e-5)


def test_predictions_of_another_model_or_made_otherwise_are_not_taken_for_this_ones(
    words, tmp_path, make_pipeline, refused
):
    assert main(words) == 0
    files = sorted((tmp_path / "out" / "predictions").rglob("*.npz"))
    before = {file: np.load(file)["reactions"] for file in files}
    other = make_pipeline(shift_type="full")
    with torch.no_grad():
        other.denoiser.mapping.weight += 0.1
    other.save_pretrained(tmp_path / "other")
    another_model = [str(tmp_path / "other") if word == words[4] else word for word in words]
    refused(*another_model, match=r"were made in another way \(model \w+, now \w+\).*overwrite")
    refused(*words, "--guidance_scale", "2", match=r"guidance_scale not given, now 2.0")
    refused(*words, "--seed", "5", match=r"seed 0, now 5")
    assert all(np.array_equal(np.load(file)["reactions"], before[file]) for file in files)

    # A copy of the same model elsewhere is the same model.
    shutil.copytree(words[4], tmp_path / "copy")
    assert main([str(tmp_path / "copy") if word == words[4] else word for word in words]) == 0
    assert main([*another_model, "--overwrite"]) == 0
    assert len(files) == 4
    assert not any(np.array_equal(np.load(file)["reactions"], before[file]) for file in files)

    # Files of an unknown origin are not taken for anybody's.
    settings = tmp_path / "out" / "predictions" / "generic" / "settings.json"
    assert json.loads(settings.read_text())["num_reactions"] == 2
    settings.unlink()
    refused(*another_model, match="there is no settings.json")


def test_controls_beside_a_personal_model(words, tmp_path, refused):
    assert main([*words, "--controls", "another_history", "one_shift"]) == 0
    report = json.loads((tmp_path / "out" / "pmafrg.json").read_text())
    names = ["personalised", "personalised, another's history", "personalised, one shift for all", "generic"]
    assert list(report["systems"]) == names
    assert list(report["paired"]) == [f"{name} - personalised" for name in names[1:]]
    reactions = [
        np.load(next((tmp_path / "out" / "predictions" / folder_name(name)).rglob("*.npz")))["reactions"]
        for name in names
    ]
    for one, other in combinations(reactions, 2):
        assert not np.array_equal(one, other)
    refused(*words, "--controls", "chance", match="controls must be among another_history, .*one_shift; given: chance")


@pytest.fixture(scope="module")
def tiny_model(make_pipeline: Callable[..., PerFRDiffPipeline], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved pipeline of tiny random models."""
    folder = tmp_path_factory.mktemp("evaluate_model")
    make_pipeline(shift_type="full").save_pretrained(folder)
    return folder
