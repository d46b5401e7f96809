"""`examples/evaluate.py` from folders to tables: predictions of any system, and a model's own."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from perfrdiff_hf import PerFRDiffPipeline
from perfrdiff_hf.behaviour import EMOTION_NAMES
from perfrdiff_hf.metrics import frcorr, frdist
from perfrdiff_hf.synthetic.world import WorldSize, write_synthetic_world


SMALL = WorldSize(dyads=(1, 1, 1), clips=2, scripts=(1, 1, 1), sample_rate=8000, sound="ULAW")


@pytest.fixture(scope="module")
def program() -> ModuleType:
    path = Path(__file__).parents[2] / "examples" / "evaluate.py"
    spec = importlib.util.spec_from_file_location("evaluate_example", path)
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


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
def write_predictions(program: ModuleType, world: Path, tmp_path: Path) -> Callable[[str], tuple[Path, np.ndarray]]:
    """Two reactions to every test clip, in files of one kind; returns the folder and `(clips, 2, frames, 25)`."""

    def write(ending: str) -> tuple[Path, np.ndarray]:
        task = program.load_task(str(world), "test", "mafrg")
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


def test_every_kind_of_file_gives_the_same_table(program, world, write_predictions, tmp_path, capsys):
    folders = {ending: write_predictions(ending) for ending in ("npz", "npy", "csv")}
    predictions = folders["npz"][1]
    arguments = [f"{ending} files={folder}" for ending, (folder, _) in folders.items()]
    out = tmp_path / "out"
    program.main(["--data_dir", str(world), "--predictions", *arguments, "--output", str(out), "--batch_size", "4"])
    for name in ("mafrg", "pmafrg"):
        for ending in (".json", ".md", ".tex", ".png", "_clips.npz"):
            assert (out / f"{name}{ending}").stat().st_size > 100
    found = json.loads((out / "mafrg.json").read_text())
    task = program.load_task(str(world), "test", "mafrg")
    assert found["clips"] == len(task.paths) == 4
    for ending in folders:
        metrics = found["systems"][f"{ending} files"]["metrics"]
        for name, metric in (("FRCorr MAFRG", frcorr), ("FRdist MAFRG", frdist)):
            expected = metric(predictions, task.reactions, task.matrices["MAFRG"])
            assert metrics[name]["value"] == pytest.approx(expected, rel=1e-6)
    personal = json.loads((out / "pmafrg.json").read_text())
    assert personal["clips"] == 2
    assert "FRCorr PMAFRG" in personal["systems"]["chance"]["metrics"]
    assert {"mime", "mean sequence", "mean frame", "retrieval"} <= set(personal["systems"])
    assert "| npy files |" in capsys.readouterr().out


def test_features_of_rendered_frames(program, world, write_predictions, tmp_path):
    folder, _ = write_predictions("npy")
    rng = np.random.default_rng(1)
    real = rng.normal(size=(50, 8))
    np.save(tmp_path / "real.npy", real)
    np.save(tmp_path / "generated.npy", real + 1.0)
    arguments = ["--data_dir", str(world), "--predictions", f"mine={folder}", "--output", str(tmp_path / "out")]
    arguments += ["--task", "pmafrg", "--no_references", "--real_frames", str(tmp_path / "real.npy")]
    program.main([*arguments, "--generated_frames", f"mine={tmp_path / 'generated.npy'}"])
    found = json.loads((tmp_path / "out" / "pmafrg.json").read_text())
    assert found["systems"]["mine"]["overall"]["FRRea"] == pytest.approx(8.0)
    assert list(found["systems"]) == ["mine"]


def test_what_is_wrong_is_said(program, world, write_predictions, tmp_path):
    folder, _ = write_predictions("npy")
    start = ["--data_dir", str(world), "--output", str(tmp_path / "out"), "--no_references", "--predictions"]
    with pytest.raises(SystemExit, match="takes NAME=PATH; given: nameless"):
        program.main([*start, "nameless"])
    with pytest.raises(SystemExit, match=r"There is no folder of predictions at .*elsewhere"):
        program.main([*start, f"mine={tmp_path / 'elsewhere'}"])
    files = sorted(folder.rglob("*.npy"))
    np.save(files[0], np.zeros((2, 750, 24)))
    with pytest.raises(SystemExit, match=r"must hold reactions of shape .*750 frames, 25\); it holds \(2, 750, 24\)"):
        program.main([*start, f"mine={folder}"])
    files[0].write_bytes(files[1].read_bytes()[:1000])
    with pytest.raises(SystemExit, match=f"{files[0].name} is not a complete file of reactions"):
        program.main([*start, f"mine={folder}"])
    files[0].with_suffix(".csv").write_text("AU1,AU2\n0,1\n")
    files[0].unlink()
    with pytest.raises(SystemExit, match=r"columns AU4, AU6, .*are missing"):
        program.main([*start, f"mine={folder}"])
    files[0].with_suffix(".csv").unlink()
    with pytest.raises(SystemExit, match="has no predictions for 1 of 4 clips; the first would be"):
        program.main([*start, f"mine={folder}"])
    assert not (tmp_path / "out").exists()


def test_a_model_is_run_and_interrupted_runs_go_on(program, world, tiny_model, tmp_path):
    out = tmp_path / "out"
    arguments = ["--data_dir", str(world), "--model", str(tiny_model), "--output", str(out), "--task", "pmafrg"]
    arguments += ["--num_reactions", "2", "--num_inference_steps", "1", "--no_references", "--batch_size", "4"]
    program.main(arguments)
    files = sorted((out / "predictions").rglob("*.npz"))
    assert len(files) == 2 * 4
    first = {file: np.load(file)["reactions"] for file in files}
    generic, personalised = (first[file] for file in (files[0], files[4]))
    assert generic.shape == (2, 750, 25)
    assert not np.array_equal(generic, personalised)
    report = json.loads((out / "pmafrg.json").read_text())
    assert set(report["systems"]) == {"generic", "personalised"}
    # Without two files, only these two are generated again, to the same values.
    kept = {file: file.stat().st_mtime_ns for file in files[1:-1]}
    files[0].unlink()
    files[-1].unlink()
    program.main(arguments)
    assert {file: file.stat().st_mtime_ns for file in files[1:-1]} == kept
    for file in (files[0], files[-1]):
        np.testing.assert_allclose(np.load(file)["reactions"], first[file], atol=1e-5)
    again = json.loads((out / "pmafrg.json").read_text())
    for system in ("generic", "personalised"):
        found, before = (which["systems"][system]["metrics"]["FRdist PMAFRG"]["value"] for which in (again, report))
        assert found == pytest.approx(before, rel=1e-5)


def test_history_is_another_clip(program, world):
    from perfrdiff_hf.data.arrays import ClipArrays
    from perfrdiff_hf.data.react2024.dataset import load_react2024

    arrays = ClipArrays.from_dataset(load_react2024(str(world), "test"))
    for row in range(len(arrays)):
        history = program.history_row(arrays, row)
        assert arrays.listener_ids[history] == arrays.listener_ids[row]
        assert arrays.clips[history] == ("2" if arrays.clips[row] == "1" else "1")


@pytest.fixture(scope="module")
def tiny_model(make_pipeline: Callable[..., PerFRDiffPipeline], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved pipeline of tiny random models."""
    folder = tmp_path_factory.mktemp("evaluate_model")
    make_pipeline(shift_type="full").save_pretrained(folder)
    return folder
