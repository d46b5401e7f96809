"""Table 1 in a tiny form: every system trained for two steps, and what is told of the results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import report
import run
import table_1
from paper_rows import (
    CEILING,
    COMPARED,
    EDITS,
    EQUAL_BUDGET,
    MODELS,
    ONLINE_ROWS,
    OWN,
    TABLES,
    TITLES,
    binarised,
    offline,
    sampled_plainly,
)

from perfrdiff_hf.training.config import load_config
from tests.examples.tiny_tables import make, prepare


SMALL = {
    "trans_vae.hidden_size": 8, "beamer.hidden_size": 8, "regnn.hidden_size": 8, "regnn.num_layers": 1,
    "unifarn.hidden_size": 8, "unifarn.num_layers": 1, "unifarn.vocabulary_sizes": [8, 8, 8],
    "latent_denoiser.hidden_size": 8, "latent_denoiser.num_layers": 2, "latent_sequence_denoiser.hidden_size": 8,
    "latent_sequence_denoiser.num_layers": 1,
}  # fmt: skip
WORDS = [f"--models.{name}={value}" for name, value in SMALL.items()]
WORDS += ["--models.sampling.hop=25", "--models.sampling.smooth_emotion=true"]
WORDS += [f"--stages.{name}.{key}=2" for name in COMPARED.values() for key in ("max_steps", "batch_size")]
ROWS = [
    "recorded reactions",
    OWN,
    sampled_plainly(OWN),
    CEILING,
    *TITLES.values(),
    binarised("BeLFusion"),
    offline("trans_vae"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("table_1"), scripts=(3, 3, 3))


def read(place: Path, row: str) -> dict[str, Any]:
    return json.loads((place / "results" / "table1" / f"{run.folder_name(row)}-seed0.json").read_text())


def test_every_system_is_trained_and_scored_alike(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(place, "1", *ROWS, *WORDS)
    for row in ROWS:
        found = read(place, row)
        own = found["figures"]["systems"][found["figures"]["system"]]
        assert {*table_1.OF_LISTENERS} <= own["listeners"].keys() and len(own["listeners"]["FRCorr PMAFRG"]) == 4
        trained = row != "recorded reactions"
        assert (found["costs"].get("parameters", 0) > 0) == trained
        assert (found["costs"].get("real_time_factor", 0) > 0) == trained
    models = place / "work" / "models"
    for system in ("unifarn", "regnn", "belfusion", "latent_context"):
        folder = models / f"{run.folder_name(TITLES[system])}-seed0"
        assert (folder / "emotion_vae").resolve() == (models / "shared-seed0" / "emotion_vae").resolve()
        found = read(place, TITLES[system])
        assert found["steps"] == {"emotion_vae": 2, COMPARED[system]: 2}
        assert set(found["seconds"]) == {*found["steps"], "measuring"}
        assert set(found["processor_seconds"]) == set(found["steps"])
    assert read(place, TITLES["trans_vae"])["steps"] == {"trans_vae": 2}
    online, other = (read(place, row) for row in (TITLES["trans_vae"], offline("trans_vae")))
    assert online["figures"]["systems"] != other["figures"]["systems"]
    plain, whole = (read(place, row) for row in (TITLES["belfusion"], binarised(TITLES["belfusion"])))
    assert plain["steps"] == whole["steps"] and plain["figures"]["systems"] != whole["figures"]["systems"]
    own, plainly = (read(place, row) for row in (OWN, sampled_plainly(OWN)))
    assert own["steps"] == plainly["steps"] and len(own["figures"]["systems"]) > 1
    assert set(plainly["figures"]["systems"]) == {"personalised"}
    assert plainly["configuration"]["measured"]["sampling"]["hop"] == 50
    assert plainly["figures"]["systems"]["personalised"] != own["figures"]["systems"]["personalised"]
    capsys.readouterr()
    made = {row: read(place, row) for row in ROWS}
    make(place, "1", *ROWS, *WORDS)
    assert "table 1" not in capsys.readouterr().out and made == {row: read(place, row) for row in ROWS}


def test_costs_are_measured_again_and_nothing_else(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for row in ("recorded reactions", "REGNN"):
        path, made = place / "results" / "table1" / f"{run.folder_name(row)}-seed0.json", read(place, row)
        slow = {**made["costs"], "real_time_factor": 1e9} if made["costs"] else {}
        path.write_text(json.dumps({**made, "costs": slow}))
        make(place, "1", row, *WORDS, "--costs")
        again = read(place, row)["costs"]
        assert again.get("parameters") == made["costs"].get("parameters") and again.get("real_time_factor", 0) < 1e9
        assert {**read(place, row), "costs": {}} == {**made, "costs": {}}
    assert "table 1" not in capsys.readouterr().out


def test_settings_go_to_the_systems_that_have_them(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(place, "1", "UniFaRN", "REGNN", *WORDS, "--stages.regnn.learning_rate=2e-3")
    said = capsys.readouterr().out
    assert "table 1, REGNN" in said and "UniFaRN" not in said
    with pytest.raises(ValueError, match=r"unknown key stages\.regn"):
        make(place, "1", "REGNN", "--stages.regn.max_steps=2")


def test_the_command_makes_a_budget_no_larger(place: Path) -> None:
    def steps(*words: str) -> dict[str, int]:
        options = run.parse(["--table", "1", "--world", "w", "--work", str(place / "work"), *words])
        config = run.Maker(options, None, None, {**load_config("bench").to_dict(), "seed": 0}).config_of(
            MODELS[EQUAL_BUDGET]
        )
        return {stage: config.stages[stage].max_steps for stage in ("denoiser", EDITS)}

    assert steps() == steps(f"--stages.{EDITS}.max_steps=12000") == {"denoiser": 2400, EDITS: 1500}
    assert steps("--quick") == {"denoiser": 60, EDITS: 60}


def test_what_is_told_of_it(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = ["--results", str(place / "results")]
    assert report.main(["--table", "1", *results]) == 0
    said = capsys.readouterr().out
    titles = [line for line in said.splitlines() if line.startswith("### ")]
    assert titles[:4] == ["### For reference", "### Online", "### Offline", "### Quality and cost"]
    online = said.split("### Online")[1].split("### Offline")[0]
    assert all(f"| {title} |" in online for title in TITLES.values()) and "Trans-VAE, offline" not in online
    assert "98.31" not in online and "98.31" in said.split("### Published")[1]
    assert report.main(["--check", "table1", *results]) == 1
    said = capsys.readouterr().out
    assert "| REGNN, offline |  |  | missing |" in said and "| REGNN |  |" not in said and "without" not in said


@pytest.fixture
def invent(tmp_path: Path) -> Callable[..., Path]:
    """Results with figures of our choice: a number for each row, and what goes with it for each measure."""

    def written(values: dict[str, float]) -> Path:
        for row in TABLES["1"]:
            level = values.get(row.name, 0.0)
            spread = np.linspace(0, 0.01, 16)
            listeners = {measure: (level + spread).tolist() for measure in table_1.OF_LISTENERS}
            listeners |= {"FRDvs": (2 * level + 2 * spread).tolist(), "switches at borders": [2.0] * 16}
            listeners |= {"switches inside": [1.0] * 16}
            found = {
                "row": row.name,
                "seed": 0,
                "figures": {
                    "system": "own",
                    "listeners": [str(number) for number in range(16)],
                    "systems": {"own": {"listeners": listeners, "overall": {"FRRea-motion": level}}},
                },
                "seconds": {"measuring": 1.0, "all": 60.0}, "processor_seconds": {"all": 30.0}, "steps": {"all": 2},
                "costs": {"parameters": 5, "real_time_factor": 0.1} if row.model else {},
                "configuration": {"data": {"train": "1"}, "training": {"seed": 0}},
            }  # fmt: skip
            path = tmp_path / "table1" / f"{run.folder_name(row.name)}-seed0.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(found))
        return tmp_path

    return written


def test_the_check_says_what_is_missing_and_who_leads(invent: Callable[..., Path]) -> None:
    own = dict.fromkeys(table_1.OWN_ROWS, 0.5)
    results = invent({**own, "REGNN": 0.1})
    table, failed = table_1.check(results)
    others = len(ONLINE_ROWS) - 4
    assert failed == 0 and [row[3] for row in table.rows] == ["holds"] * (others + 3 * (others - 2))
    path = results / "table1" / "beamer_offline-seed0.json"
    found = json.loads(path.read_text())
    found["figures"]["systems"]["own"]["listeners"]["FRVar"][3] = None
    del found["costs"]["parameters"]
    path.write_text(json.dumps(found))
    (results / "table1" / "chance-seed0.json").unlink()
    table, failed = table_1.check(results)
    assert failed == 3
    said = [(row[0], row[3]) for row in table.rows[:3]]
    beamer = offline("beamer")
    assert said == [("chance", "missing"), (beamer, "without FRVar"), (beamer, "without parameters")]
    _, failed = table_1.check(invent({**own, "REGNN": 0.6}))
    assert failed == 4
    # What is won by more training, or by how reactions are finished, is no lead over the others.
    for row in (EQUAL_BUDGET, sampled_plainly(OWN), sampled_plainly(EQUAL_BUDGET)):
        table, failed = table_1.check(invent({**own, row: 0.3, "REGNN": 0.4, "generic GAFRG": 0.4}))
        assert failed == 1 and [line[0] for line in table.rows if line[3] == "the other way round"] == [
            f"{row} leads REGNN"
        ]


def test_orders_shares_and_leads(invent: Callable[..., Path]) -> None:
    results = invent({"PerFRDiff": 0.5, "REGNN": 0.1, "Trans-VAE": 0.2, "UniFaRN": 0.3})
    made = table_1._made(results)
    said = {str(row[1]): row[3] for row in table_1.orders_table(made).rows if row[0] == "online"}
    assert said["FRDiv: PerFRDiff before UniFaRN"] == said["FRdist MAFRG: Trans-VAE before UniFaRN"] == "holds"
    assert said["FRVar: REGNN before Trans-VAE"] == "the other way round"
    assert said[f"FRDiv: BEAMER before {binarised('BeLFusion')}"] == "not shown"
    assert table_1.explained(made["UniFaRN"]) == pytest.approx(0.5)
    page = table_1.page(results)
    assert "- FRCorr PMAFRG (more is better): PerFRDiff, 0.5050" in page
    assert "- FRRea-motion (less is better): PerFRDiff, sampled plainly, 0.0000" in page
    with pytest.raises(FileNotFoundError, match="There are no rows of table 1"):
        table_1.page(results / "absent")


def test_what_a_system_takes_is_told_of_one_seed(invent: Callable[..., Path]) -> None:
    """Another seed may come from another machine."""
    folder = invent({}) / "table1"
    found = json.loads((folder / "perfrdiff-seed0.json").read_text())
    found |= {"seed": 1, "seconds": {"measuring": 1.0, "all": 600.0}, "processor_seconds": {"all": 600.0}}
    (folder / "perfrdiff-seed1.json").write_text(json.dumps(found))
    row = table_1.quality_table([table_1._made(folder.parent)[OWN]], None).rows[0]
    assert row[7:12] == ["2", "1.0", "0.5", "5", 0.1]
