"""The rows of the paper's tables, made in a tiny form: a world of a few clips, models of a few weights, two steps."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import run
from ablations import ABLATED, WHOLE
from paper_rows import MODELS, TABLES
from PIL import Image

from perfrdiff_hf.evaluation.controls import ANOTHER_HISTORY
from tests.examples.tiny_tables import make, prepare


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny world and configuration, in which the tests of this file work one after the other."""
    return prepare(tmp_path_factory.mktemp("tables"), scripts=(2, 1, 2))


def figures(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())["figures"]


def test_every_row_has_a_model_and_settings_that_training_knows(place):
    options = run.parse(["--table", "all", "--world", "w", "--work", str(place / "other"), "--config", "bench"])
    base = run.load_config("bench").to_dict()
    maker = run.Maker(options, None, {}, base)
    recipe = maker.config_of(run.Model())
    same = {name for name, model in MODELS.items() if maker.config_of(model) == recipe}
    assert same == {"generic", "weight editing, low rank"}
    assert recipe not in [maker.config_of(model) for model in ABLATED.values()]
    for rows in run.ROWS.values():
        assert all(row.model is None or row.model in run.MODELS for row in rows)
        assert len({run.folder_name(row.name) for row in rows}) == len(rows)


def test_a_wrong_setting_of_a_later_row_is_told_before_anything_is_trained(place, monkeypatch):
    nose = run.Model({"models.personal_denoiser.style": "nose"}, ("personal_denoiser",), "style_input")
    monkeypatch.setitem(run.MODELS, "input p", nose)
    with pytest.raises(ValueError, match=r"style must be one of .* given: 'nose'"):
        make(place, "3", "--work", str(place / "wrong"))
    assert not (place / "wrong" / "models").exists()


def test_table_3_is_made_once_and_only_what_changed_is_made_anew(place, capsys):
    folder = make(place, "3")
    made = sorted(path.stem for path in folder.iterdir())
    assert made == sorted(f"{run.folder_name(row.name)}-seed0" for row in TABLES["3"])
    for row in TABLES["3"]:
        found = json.loads((folder / f"{run.folder_name(row.name)}-seed0.json").read_text())
        own = found["figures"]["systems"][found["figures"]["system"]]["listeners"]["FRCorr PMAFRG"]
        assert len(own) == len(found["figures"]["listeners"]) == 4 and None not in own
        assert found["configuration"]["measured"]["num_reactions"] == 2 and found["seconds"]["measuring"] > 0
        assert str(place) not in json.dumps(found) and "--world world --work work" in found["command"]
    tuned = figures(folder / "fine_tuning-seed0.json")
    assert len(tuned["adapting"]) == 4 and tuned["head_parameters"] > 0
    of_all = {name: found["listeners"]["FRCorr PMAFRG"] for name, found in tuned["systems"].items()}
    assert of_all["generic"] != of_all["fine-tuned on the history"]
    assert of_all["fine-tuned on another's history"] not in (of_all["generic"], of_all["fine-tuned on the history"])
    low_rank = figures(folder / "weight_editing_low_rank-seed0.json")
    assert {"personalised", "generic"} <= set(low_rank["systems"])
    assert any("another's history" in name for name in low_rank["systems"])
    denoiser = place / "work" / "models" / "weight_editing_low_rank-seed0" / "denoiser"
    assert denoiser.resolve() == (place / "work" / "models" / "shared-seed0" / "denoiser").resolve()

    capsys.readouterr()
    make(place, "3")
    assert "table 3" not in capsys.readouterr().out
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    make(place, "3", "--stages.weight_shift_generator.learning_rate=2e-3", "weight editing, low rank")
    changed = {path.name for path in folder.iterdir() if path.stat().st_mtime_ns != before[path.name]}
    assert changed == {"weight_editing_low_rank-seed0.json"}
    assert figures(folder / "weight_editing_low_rank-seed0.json")["systems"] != low_rank["systems"]
    make(place, "3", "weight editing, low rank")  # what it was, for the tests that follow
    assert figures(folder / "weight_editing_low_rank-seed0.json")["systems"] == low_rank["systems"]


def test_other_tables_are_evaluations_of_models_that_are_there(place):
    trained = {path.name for path in (place / "work" / "models").iterdir()}
    for table, system in (("5", "a history of 2 s"), ("6", "clip 1 as history")):
        folder = make(place, table, *(["2 s", "30 s"] if table == "5" else ["clip 1", "clip 2"]))
        assert len(list(folder.iterdir())) == 2
        assert any(figures(path)["system"] == system for path in folder.iterdir())
        beside = [set(figures(path)["systems"]) - {figures(path)["system"]} for path in folder.iterdir()]
        assert sorted(map(len, beside)) == [0, 4]  # one row has the controls, and the generic reactions
    assert {path.name for path in (place / "work" / "models").iterdir()} == trained
    of_clip = [figures(place / "results" / "table6" / f"clip_{clip}-seed0.json") for clip in (1, 2)]
    own = figures(place / "results" / "table3" / "weight_editing_low_rank-seed0.json")["systems"]["personalised"]
    assert of_clip[0]["systems"]["clip 1 as history"] == own != of_clip[1]["systems"]["clip 2 as history"]
    styles = figures(make(place, "4b", "10 s") / "10_s-seed0.json")
    assert len(styles["places"]) == 12 and len(styles["persons_found"]) == 4 and -1 <= styles["silhouette"] <= 1


def test_ablations_are_measured_on_the_listeners_to_tune_on(place, capsys):
    folder = make(place, "ablations", WHOLE, "no guidance", "emotion alone")
    found = {json.loads(path.read_text())["row"]: figures(path) for path in folder.iterdir()}
    assert set(found) == {WHOLE, "no guidance", "emotion alone"}
    test = figures(place / "results" / "table3" / "weight_editing_low_rank-seed0.json")["listeners"]
    assert all(len(row["listeners"]) == 2 and not set(row["listeners"]) & set(test) for row in found.values())
    own = {name: json.dumps(row["systems"]["personalised"]) for name, row in found.items()}
    assert len(set(own.values())) == 3
    report = runpy.run_path(str(Path(run.__file__).with_name("report.py")))
    assert report["main"](["--table", "ablations", "--results", str(place / "results")]) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 5


def test_what_is_heard_decides_and_what_is_edited_too(place):
    folder = make(place, "2", "audio only", "both", "modality dropout, audio only", "modality dropout, face only")
    found = {path.stem: figures(path)["systems"]["generic"] for path in folder.iterdir()}
    assert len({json.dumps(systems) for systems in found.values()}) == 4
    folder = make(place, "4", "mapping", "all four")
    heads = [figures(folder / f"{name}-seed0.json")["head_parameters"] for name in ("mapping", "all_four")]
    assert 0 < heads[0] < heads[1]
    assert set(figures(folder / "mapping-seed0.json")["systems"]) == {"personalised", ANOTHER_HISTORY, "generic"}
    every_control = [row.name for row in TABLES["4"] if not row.what]
    assert every_control == ["cross-attention and mapping"]
    mean = "the world's own, of the listener, mean of 40"
    make(place, "1", "recorded reactions", "retrieval", "the world's own, of the listener", mean)
    drawn, averaged = (
        figures(place / "results" / "table1" / f"{run.folder_name(row)}-seed0.json")["systems"][row]["listeners"]
        for row in ("the world's own, of the listener", mean)
    )
    assert max(averaged["FRDiv"]) == 0 < min(drawn["FRDiv"])  # what an average gains in FRCorr, all can see
    recorded = figures(place / "results" / "table1" / "recorded_reactions-seed0.json")
    assert recorded["systems"]["recorded reactions"]["listeners"]["FRCorr PMAFRG"][0] > 1


def test_ways_of_sampling_and_students_stand_on_the_recipe(place):
    rows = ("LCM, 2 steps, none", "student, 2 steps", "student, 2 steps, bfloat16", "student, 2 steps, int8")
    folder = make(place, "sampling", "--distil_steps", "2", *rows)
    assert {path.stem for path in folder.iterdir()} == {f"{run.folder_name(row)}-seed0" for row in rows}
    found = [figures(folder / f"{run.folder_name(row)}-seed0.json")["systems"] for row in rows[1:]]
    assert all(found[0] != other for other in found[1:]) and found[1] != found[2]
    for path in folder.iterdir():
        own = figures(path)["systems"]["personalised"]["listeners"]
        assert len(own["FRRea-motion"]) == len(own["FRDiv"]) == 4 and min(own["FRRea-motion"]) > 0
        assert own != figures(path)["systems"]["personalised, another's history"]["listeners"]
        assert ("generic" in figures(path)["systems"]) == path.stem.startswith("student")
    told = json.loads((folder / "student_2_steps-seed0.json").read_text())
    assert {"weight_shift_generator", "student_denoiser"} <= set(told["configuration"]["training"]["stages"])
    models = place / "work" / "models"
    taken = models / "student_2_steps-seed0" / "weight_shift_generator"
    assert taken.resolve() == (models / "weight_editing_low_rank-seed0" / "weight_shift_generator").resolve()
    assert not list((place / "work" / "reactions").glob("*/sampling*"))


def test_data_without_a_known_truth_go_without_oracles(place, capsys):
    truth = place / "world" / "world.json"
    kept = truth.rename(place / "world.json")
    try:
        capsys.readouterr()
        make(place, "1", "mime", "the world's own, of anybody")
    finally:
        kept.rename(truth)
    assert 'no row "the world\'s own, of anybody": these data have no known truth' in capsys.readouterr().out
    assert (place / "results" / "table1" / "mime-seed0.json").exists()


def test_all_tables_stand_on_one_page(place):
    report = runpy.run_path(str(Path(run.__file__).with_name("report.py")))
    told = ["--results", str(place / "results"), "--page", str(place / "tables.md")]
    assert report["main"](told) == 0
    page = (place / "tables.md").read_text()
    for name in ("1", "2", "3", "4", "5", "6"):
        assert f"## Table {name}: " in page
    assert "## Figure 4b: " in page and "| weight editing, low rank | 1 |" in page and "| mime | 1 |" in page
    assert "table 3: weight editing, low rank > generic" in page
    assert "other settings" not in page


def test_the_command_that_is_told_names_no_folder_of_the_machine(tmp_path):
    told = run.parse(["--table", "3", f"--world={tmp_path}/w", "--work", f"{tmp_path}/k", "generic"])
    assert str(tmp_path) not in " ".join(told.command)
    assert told.command[2:] == ["--table", "3", "--world=w", "--work", "k", "generic"]


def test_time_before_an_interruption_counts_unless_training_begins_anew(tmp_path, monkeypatch):
    options = run.parse(["--table", "3", "--world", "w", "--work", str(tmp_path)])
    maker = run.Maker(options, None, {}, run.load_config("bench").to_dict())
    clock = iter([0.0, 5.0, 10.0, 17.0, 20.0, 21.0])
    monkeypatch.setattr(run, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(maker, "_is_stale", lambda *_: False)
    checkpoint = run.checkpoints_of(tmp_path, "emotion_vae") / "step-00000002"

    def stopped(name: str, folder: Path, *_: Any) -> None:
        checkpoint.mkdir(parents=True)
        raise KeyboardInterrupt

    def train() -> float:
        maker._train_stages(tmp_path, MODELS["generic"], ("emotion_vae",))
        return json.loads((tmp_path / run.SECONDS).read_text())["emotion_vae"]

    monkeypatch.setattr(run, "train_stage", stopped)
    with pytest.raises(KeyboardInterrupt):
        train()
    monkeypatch.setattr(run, "train_stage", lambda *_: None)
    assert train() == 5 + 7
    checkpoint.rmdir()
    assert train() == 1


def test_an_unknown_row_is_refused_with_those_that_there_are(place, capsys):
    with pytest.raises(SystemExit):
        make(place, "3", "weight reading")
    assert "unknown rows: weight reading. Table 3 has: generic" in capsys.readouterr().err


def test_data_that_are_not_there_are_named_before_anything_is_made(tmp_path):
    with pytest.raises(SystemExit, match=r"--world: there is no folder .*`perfrdiff world .*` writes one"):
        run.main(["--table", "3", "--world", str(tmp_path / "w"), "--work", str(tmp_path / "work")])
    assert not list(tmp_path.iterdir())


def test_the_report_shows_intervals_tests_controls_and_the_paper(place, capsys):
    report = runpy.run_path(str(Path(run.__file__).with_name("report.py")))
    results = ["--results", str(place / "results")]
    assert report["main"](["--table", "3", *results]) == 0
    printed = capsys.readouterr().out
    lines = {line.split(" | ")[0].removeprefix("| "): line for line in printed.splitlines()}
    assert "0.3500 / 0.3100 / 100.59 / 103.27" in lines["input p"] and lines["input p"].count("[") >= 6
    assert "another data set" in printed and "tests (flipped signs) of FRCorr PMAFRG" in printed
    assert lines["*personalised, another's history*"].count("[") == 6  # five measures, and the test
    assert report["main"](["--table", "3", "--latex", *results]) == 0
    assert r"\toprule" in capsys.readouterr().out
    for name, plotted in (("3", "rows.png"), ("4b", "styles.png")):
        assert report["main"](["--table", name, "--plot", str(place / plotted), *results]) == 0
        with Image.open(place / plotted) as picture:
            assert np.asarray(picture.convert("L")).std() > 10
    assert "Not made yet: 2 s, 5 s, 20 s, 30 s." in capsys.readouterr().out
    assert report["main"](["--check", "tables", *results]) == 1
    printed = capsys.readouterr().out
    assert "| table 4: self-attention |  |  | missing |" in printed
    assert "table 3: weight editing, low rank > generic" in printed
