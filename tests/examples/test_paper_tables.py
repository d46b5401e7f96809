"""The paper's tables, in a tiny form: a world of a few clips, models of a few weights, two steps of training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import run
import yaml
from paper_rows import MODELS, TABLES

from perfrdiff_hf.synthetic.world import WorldSize, write_synthetic_world


SETTINGS: dict[str, Any] = {
    "models": {
        "emotion_vae": {"hidden_size": 16, "latent_size": 8, "decoder_sizes": [16]},
        "style_encoder": {
            "hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 16, "style_size": 8, "dropout": 0.0,
            "movement": True,
        },
        "denoiser": {
            "hidden_size": 16, "num_layers": 2, "num_heads": 2, "feed_forward_size": 16, "dropout": 0.0,
            "in_channels": 83, "max_shown_frames": 5, "standardised": True,
        },
        "weight_shift_generator": {
            "hidden_size": 8, "shift_type": "low_rank", "rank": 2,
            "edited": {"components": ["cross_attention", "feed_forward", "mapping"], "layers": [0, 1]},
        },
        "sampling": {"num_inference_steps": 1, "guidance_scale": 1.5, "hop": 50},
    },
    "data": {"num_reactions": 1, "history_frames": 60, "style_frames": 40, "style_speakers": 2, "style_clips": 2,
             "contrast": "random", "style_noise": 0.5},
    "stages": {
        name: {"max_steps": 2, "batch_size": 2, "learning_rate": 1e-3}
        for name in ("emotion_vae", "style_encoder", "denoiser", "weight_shift_generator")
    },
    "run": {"validation_examples": 2, "report_to": None},
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny world and configuration, in which the tests of this file work one after the other."""
    folder = tmp_path_factory.mktemp("tables")
    size = WorldSize(dyads=(2, 1, 2), clips=3, scripts=(2, 1, 2), sample_rate=8000, sound="ULAW")
    write_synthetic_world(folder / "world", size, seed=1)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(SETTINGS))
    return folder


def make(place: Path, table: str, *words: str) -> Path:
    run.main(
        ["--table", table, "--world", str(place / "world"), "--work", str(place / "work"), "--config",
         str(place / "tiny.yaml"), "--results", str(place / "results"), "--cache_dir", str(place / "cache"),
         "--num_reactions", "2", *words]
    )  # fmt: skip
    return place / "results" / f"table{table}"


def figures(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())["figures"]


def test_every_row_has_a_model_and_settings_that_training_knows(place):
    options = run.parse(["--table", "all", "--world", "w", "--work", str(place / "other"), "--config", "bench"])
    base = run.load_config("bench").to_dict()
    maker = run.Maker(options, None, {}, base)
    recipe = maker.config_of(run.Model())
    same = {name for name, model in MODELS.items() if maker.config_of(model) == recipe}
    assert same == {"generic", "weight editing, low rank"}
    for rows in TABLES.values():
        assert all(row.model is None or row.model in MODELS for row in rows)
        assert len({run.folder_name(row.name) for row in rows}) == len(rows)


def test_table_3_is_made_once_and_only_what_changed_is_made_anew(place, capsys):
    folder = make(place, "3")
    made = sorted(path.stem for path in folder.iterdir())
    assert made == sorted(f"{run.folder_name(row.name)}-seed0" for row in TABLES["3"])
    for row in TABLES["3"]:
        found = json.loads((folder / f"{run.folder_name(row.name)}-seed0.json").read_text())
        own = found["figures"]["systems"][found["figures"]["system"]]["listeners"]["FRCorr PMAFRG"]
        assert len(own) == len(found["figures"]["listeners"]) == 4 and None not in own
        assert found["configuration"]["measured"]["num_reactions"] == 2 and found["seconds"]["measuring"] > 0
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
