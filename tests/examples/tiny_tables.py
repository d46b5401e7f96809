"""What the tests of the tables share: a tiny world and training, and rows of made-up figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import run
import yaml

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
        "scheduler": {"timestep_spacing": "trailing", "clip_sample": False},
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


def prepare(folder: Path, scripts: tuple[int, int, int]) -> Path:
    """Put a tiny world and configuration into a folder, where `make` finds them."""
    size = WorldSize(dyads=(2, 1, 2), clips=3, scripts=scripts, sample_rate=8000, sound="ULAW")
    write_synthetic_world(folder / "world", size, seed=1)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(SETTINGS))
    return folder


def make(place: Path, table: str, *words: str) -> Path:
    """Make the rows of a table in such a folder, and say where their files are."""
    options = {"world": "world", "work": "work", "config": "tiny.yaml", "results": "results", "cache_dir": "cache"}
    given = [word for name, value in options.items() for word in (f"--{name}", str(place / value))]
    run.main(["--table", table, "--num_reactions", "2", "--adapting_steps", "2", *given, *words])
    return place / "results" / f"table{table}"


def made_row(name: str, values: list[float], seed: int = 0, **controls: list[float]) -> dict[str, Any]:
    """A row as `run.py` writes it: FRCorr (PMAFRG) of each listener, with the row's system and with its controls."""
    figures = {
        "system": "own",
        "systems": {
            system: {"listeners": {"FRCorr PMAFRG": of_system}}
            for system, of_system in {"own": values, **controls}.items()
        },
        "listeners": [str(number) for number in range(len(values))],
    }
    told = {"data": {"train": "1"}, "training": {"seed": 0}}
    return {"row": name, "seed": seed, "seconds": {"measuring": 1.0}, "configuration": told, "figures": figures}


def keep(results: Path, table: str, made: dict[str, Any]) -> None:
    """Put a row where `run.py` puts it."""
    path = results / f"table{table}" / f"{run.folder_name(made['row'])}-seed{made['seed']}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(made))
