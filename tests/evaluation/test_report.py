"""The report: what is in its tables and files, and that they agree with the metrics."""

from __future__ import annotations

import json

import numpy as np
import pytest

from perfrdiff_hf.baselines import Predictions, reference_rows
from perfrdiff_hf.baselines.oracles import ORACLE_NAMES
from perfrdiff_hf.evaluation import ReactionReport, compare
from perfrdiff_hf.metrics import bootstrap_interval, frcorr_per_clip


LISTENERS = ["a", "a", "b", "b", "c", "c"]


@pytest.fixture(scope="module")
def _cache():
    return {}


@pytest.fixture
def report(clips, _cache) -> ReactionReport:
    if "report" not in _cache:
        near = 0.9 * np.repeat(clips.targets[:, None], 3, axis=1) + 0.1 * clips.predictions
        systems = {
            **reference_rows(clips.targets, clips.speaker, 3),
            "random walk": clips.predictions,
            "near & dear": near,
        }
        matrices = {"MAFRG": clips.appropriate, "PMAFRG": np.eye(6, dtype=bool)}
        _cache["report"] = compare(systems, clips.targets, clips.speaker, matrices, LISTENERS, batch_size=4)
    return _cache["report"]


def test_figures(report, clips):
    expected = frcorr_per_clip(clips.predictions, clips.targets, clips.appropriate)
    figure = report.figures["random walk"]["FRCorr MAFRG"]
    assert figure.over_clips == bootstrap_interval(expected)
    assert figure.over_listeners == bootstrap_interval(expected, LISTENERS)
    assert figure.per_reaction == pytest.approx(expected.mean() / 3)
    assert report.figures["random walk"]["FRDiv"].per_reaction is None
    assert report.figures["recorded reactions"]["FRdist PMAFRG"].over_clips.value == 0.0
    assert report.systems == ["random walk", "near & dear"]


def test_paired(report):
    tests = report.pairs()["near & dear - random walk"]
    assert list(tests) == ["FRCorr MAFRG", "FRCorr PMAFRG", "FRdist MAFRG", "FRdist PMAFRG"]
    assert tests["FRCorr PMAFRG"].difference.value > 1
    assert tests["FRdist PMAFRG"].difference.value < 0
    assert tests["FRCorr PMAFRG"].num_units == 3


def test_json(report):
    found = json.loads(report.to_json())
    assert found == report.to_dict()
    assert (found["clips"], found["listeners"], found["confidence"]) == (6, 3, 0.95)
    walk = found["systems"]["random walk"]
    assert walk["reactions"] == 3
    figure = walk["metrics"]["FRCorr MAFRG"]
    low, high = figure["over_clips"]
    assert low < figure["value"] < high
    assert set(figure["groups"]) == {"action units", "valence arousal", "expressions"}
    assert "FRSyn decided by a constant channel" in walk["overall"]


def test_nan_becomes_null(clips):
    still = np.zeros_like(clips.predictions)
    found = compare({"still": still}, clips.targets, clips.speaker, clips.appropriate).to_dict()
    assert found["systems"]["still"]["metrics"]["FRSyn corrected"]["value"] is None
    assert found["listeners"] is None
    assert found["paired"] == {}


def test_markdown(report):
    lines = report.to_markdown().splitlines()
    header = [cell.strip() for cell in lines[0].strip("|").split("|")]
    assert header[:3] == ["system", "FRCorr MAFRG ↑", "FRCorr PMAFRG ↑"]
    rows = {line.split("|")[1].strip(): line for line in lines[2:7]}
    assert list(rows) == ["recorded reactions", "chance", "mime", "random walk", "near & dear"]
    assert all(line.count("|") == lines[0].count("|") for line in rows.values())
    figure = report.figures["random walk"]["FRCorr MAFRG"].over_listeners
    assert f"{figure.value:.4f} [{figure.low:.4f}, {figure.high:.4f}]" in rows["random walk"]
    text = "\n".join(lines)
    assert rows["random walk"].endswith("| 0.0 % |")
    alive = text.split("### Does it look alive?")[1].splitlines()
    assert alive[2] == "| system | switches at borders | switches inside | FRRea-motion ↓ |"
    assert [line.split("|")[1].strip() for line in alive[4:9]] == list(rows)
    assert "radians" not in text  # nothing was scored that has them
    assert "### near & dear" in text
    assert "### mime" not in text
    assert "3 listeners" in text


def test_latex(report):
    published, alive = (table.splitlines() for table in report.to_latex().split("\n\n"))
    for lines, columns in ((published, len(report.metrics) - 2 + 1), (alive, 2 + 1)):
        assert lines[0] == r"\begin{tabular}{l" + "r" * columns + "}"
        assert lines[-1] == r"\end{tabular}"
        rows = [line for line in lines if line.endswith(r"\\")]
        assert len(rows) == 6
        assert all(row.replace(r"\&", "").count("&") == columns for row in rows)
        assert rows[-1].startswith(r"near \& dear & ")
    assert "switches at borders & switches inside & FRRea-motion $" in alive[2]


def test_some_systems_have_coefficients(clips):
    """Those that have none get dashes, in whichever order; oracles are no systems."""
    rng = np.random.default_rng(0)
    recorded, drawn = rng.random((6, 70, 58), dtype=np.float32), rng.random((6, 3, 70, 58), dtype=np.float32)
    everything = Predictions(clips.predictions, drawn)
    systems = {
        "flat": clips.predictions,
        **reference_rows(clips.targets, clips.speaker, 3, target_coefficients=recorded),
        "whole": everything,
        "by clip": lambda numbers: Predictions(*(values[numbers] for values in everything)),
        ORACLE_NAMES[0]: everything,
    }
    arrays = clips.targets, clips.speaker, {"own": np.eye(6, dtype=bool)}
    report = compare(systems, *arrays, batch_size=4, target_coefficients=recorded, hop=25)
    assert report.systems == ["flat", "whole", "by clip"]
    assert list(report.pairs()["whole - flat"]) == ["FRCorr own", "FRdist own"]
    assert report.metrics[-5:] == ["FRCorr coefficients own", "head speed", "head range", "nods", "nod share"]
    text = report.to_markdown()
    alive = text.split("### Does it look alive?")[1]
    lines = {line.split("|")[1].strip(): line for line in alive.splitlines()[2:10] if line.startswith("|")}
    assert lines["chance"].count("–") == lines["flat"].count("–") == 6 and "–" not in lines["whole"]
    assert lines["whole"][9:] == lines["by clip"][11:]
    assert lines["recorded reactions"].endswith("| 0.0000 | 0.0000 |")
    assert "radians per second" in alive and "every 25 frames" in alive and "no upper bound" in text
    whole = text.split("### whole")[1]
    assert "| blendshapes | rotation | translation |" in whole and "| nods | " in whole
    assert "| nods | " not in text.split("### flat")[1].split("###")[0]
    found = report.to_dict()["systems"]
    assert found["flat"]["metrics"]["nods"]["value"] is None and found["whole"]["hop"] == 25
    assert found["whole"]["metrics"]["FRCorr coefficients own"]["per_reaction"] is not None
    assert "– & –" in report.to_latex()
    # Without recorded ones there is nothing to compare coefficients with.
    assert "nods" not in compare({"whole": everything}, *arrays).metrics


def test_save(report, tmp_path):
    paths = report.save(tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(path.name for path in paths)
    assert json.loads(paths[0].read_text()) == report.to_dict()
    assert paths[1].read_text().startswith("| system |")
    with np.load(tmp_path / "new" / "evaluation_clips.npz", allow_pickle=False) as values:
        np.testing.assert_array_equal(values["mime/FRSyn"], report.scores["mime"].values["FRSyn"])
        assert values["listeners"].tolist() == LISTENERS


def test_a_save_that_fails_leaves_nothing_half_written(report, tmp_path, monkeypatch):
    def full(path, **arrays):
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="no space"):
        report.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evaluation.json", "evaluation.md", "evaluation.tex"]


def test_bad_input(report):
    with pytest.raises(ValueError, match="at least one system"):
        ReactionReport({})
    with pytest.raises(ValueError, match="listeners must name 6 clips' listeners; it has 2"):
        ReactionReport(report.scores, ["a", "b"])
