"""`perfrdiff demo` at a tiny size: every step, twice, and what its table holds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from perfrdiff_hf.baselines.oracles import ORACLE_NAMES
from perfrdiff_hf.cli import demo, main
from perfrdiff_hf.synthetic import world
from perfrdiff_hf.synthetic.cast import WorldSize, load_world
from perfrdiff_hf.training import config, processes
from perfrdiff_hf.training.stages import PERFRDIFF


TINY = {
    "models": {
        "emotion_vae": {"hidden_size": 16, "latent_size": 8, "decoder_sizes": [16]},
        "style_encoder": {"hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 16, "style_size": 8},
        "denoiser": {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "feed_forward_size": 16},
        "weight_shift_generator": {"hidden_size": 16, "shift_type": "low_rank", "rank": 2, "edited": {"layers": [0]}},
    },
    "data": {"num_reactions": 1, "history_frames": 60, "style_frames": 40, "style_speakers": 2, "style_clips": 2},
    "stages": {name: {"max_steps": n, "batch_size": 2} for name, n in zip(PERFRDIFF.stage_names, (2, 2, 3, 4))},
    "run": {"checkpoint_every": 0, "validation_examples": 2, "report_to": None},
}  # fmt: skip


@pytest.fixture
def _small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "demo.yaml").write_text(yaml.safe_dump(TINY))
    monkeypatch.setattr(config, "configs_folder", lambda: tmp_path / "configs")
    size = WorldSize(dyads=(2, 1, 2), clips=2, scripts=(2, 1, 2), sample_rate=8000, sound="ULAW")
    monkeypatch.setitem(world.SIZES, "demo", size)
    monkeypatch.setitem(world.SIZES, "quick", replace(size, dyads=(3, 1, 2), scripts=(3, 1, 2)))
    monkeypatch.setattr(demo, "FULL", demo.FULL._replace(reactions=2, video_seconds=2))


@pytest.mark.usefixtures("_small")
def test_what_is_quick_stands_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused) -> None:
    """The quick demo has its own steps and world, and neither demo goes on with what the other left."""
    trained: list[tuple[str, str]] = []

    def train_stage(stage: str, output_dir: Path, config: Path, data_dir: Path, settings: dict, *rest: object) -> None:
        trained.append((stage, settings[f"stages.{stage}.max_steps"]))
        assert rest[0] == 1 and load_world(data_dir).size == world.SIZES["quick"]
        assert torch.get_num_threads() == 1  # with any number of cores, the same figures
        raise ChildProcessError("enough")

    monkeypatch.setattr(processes, "train_stage", train_stage)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    refused("demo", "--quick", "--output", tmp_path / "out", match="enough")
    assert trained == [("emotion_vae", "20")] and torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    refused("demo", "--output", tmp_path / "out", match="holds a world of another size")
    assert set(demo.QUICK.settings) == {f"stages.{stage}.max_steps" for stage in PERFRDIFF.stage_names}


@pytest.mark.usefixtures("_small")
def test_the_demo_from_nothing_and_again(tmp_path: Path, capsys: pytest.CaptureFixture, refused) -> None:
    output = tmp_path / "out"
    assert main(["demo", "--output", str(output)]) == 0
    said = capsys.readouterr().out
    for place in demo.PLACES:
        assert (output / place).exists() and str(output / place) in said
    report = json.loads((output / "evaluation.json").read_text())
    systems = [
        "personalised", "personalised, another's history", "personalised, a history without movement", "generic",
    ]  # fmt: skip
    assert list(report["systems"]) == ["recorded reactions", "chance", "mime", *systems, *ORACLE_NAMES]
    figures = {name: found["metrics"]["head speed"]["value"] for name, found in report["systems"].items()}
    assert [name for name, speed in figures.items() if speed is None] == ["chance", "mime"]
    assert list(report["paired"]) == [f"{name} - personalised" for name in systems[1:]]
    assert "| generic - personalised | FRCorr PMAFRG" in said and "4 listeners" in said
    kept = {file: file.stat().st_mtime_ns for file in (output / "predictions").rglob("*.npz")}
    assert len(kept) == 4 * 4
    generic, personal = (
        np.load(next((output / "predictions" / name).rglob("*.npz")))["reactions"]
        for name in ("generic", "personalised")
    )
    assert not np.array_equal(generic, personal)

    # Nothing that is done is done again, and another seed needs a folder of its own.
    assert main(["demo", "--output", str(output)]) == 0
    assert {file: file.stat().st_mtime_ns for file in (output / "predictions").rglob("*.npz")} == kept
    refused("demo", "--output", output, "--seed", "1", match="holds the world of seed 0")
