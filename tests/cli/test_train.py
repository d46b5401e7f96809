"""`perfrdiff train` as a user calls it: as a script, as a module, under torchrun, and with what it must refuse."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from perfrdiff_hf.pipelines.perfrdiff import PerFRDiffPipeline
from perfrdiff_hf.synthetic.world import WorldSize, write_synthetic_world
from perfrdiff_hf.training.stages import PERFRDIFF


ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "train.py"
TINY = {
    "models": {
        "emotion_vae": {"hidden_size": 16, "latent_size": 8, "decoder_sizes": [16]},
        "style_encoder": {"hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 16, "style_size": 8},
        "denoiser": {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "feed_forward_size": 16},
        "weight_shift_generator": {"hidden_size": 16, "shift_type": "low_rank", "rank": 2, "edited": {"layers": [0]}},
        "sampling": {"num_inference_steps": 2},
    },
    "data": {"num_reactions": 2, "history_frames": 60, "style_frames": 40, "style_speakers": 2, "style_clips": 2},
    "stages": {name: {"max_steps": 3, "batch_size": 2} for name in PERFRDIFF.stage_names},
    "run": {
        "log_every": 1, "checkpoint_every": 0, "validation_examples": 2,
        "validation_clips": 1, "validation_reactions": 1,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "tiny"
    size = WorldSize(dyads=(2, 1, 1), clips=2, scripts=(2, 2, 2), sample_rate=8000, sound="ULAW")
    write_synthetic_world(folder, size, seed=2)
    return folder


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return path


@pytest.fixture
def options(world: Path, config: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """The words of a command line that would work, with some of them changed."""

    def make(**changes: str) -> list[str]:
        values = {
            "stage": "style_encoder",
            "config": config,
            "data_dir": world,
            "output_dir": tmp_path / "out",
            **changes,
        }
        return [word for name, value in values.items() for word in (f"--{name}", str(value))]

    return make


@pytest.fixture(scope="module")
def trained(world: Path, config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All four stages, by `python examples/train.py`."""
    output = tmp_path_factory.mktemp("trained")
    words = ["--stage", "all", "--config", config, "--data_dir", world, "--output_dir", output]
    done = subprocess.run([sys.executable, SCRIPT, *words], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "saved the pipeline" in done.stderr
    return output


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def test_all_stages_leave_a_whole_pipeline_and_figures(trained: Path) -> None:
    pipeline = PerFRDiffPipeline.from_pretrained(str(trained / "model"))
    assert pipeline.style_encoder is not None and pipeline.weight_shift_generator is not None
    assert not any(path.name.endswith(".partial") for path in trained.rglob("*"))
    report = json.loads((trained / "weight_shift_generator" / "training.json").read_text())
    assert report["steps"] == 3
    assert {"loss", "validation_loss", "validation_frcorr", "validation_frdist"} <= report["figures"].keys()
    styles = json.loads((trained / "style_encoder" / "training.json").read_text())["figures"]
    assert -1 <= styles["validation_style_similarity_between"] <= 1
    for stage in TINY["stages"]:
        lines = [json.loads(line) for line in (trained / "logs" / f"{stage}.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3]
        assert list((trained / "logs" / stage).glob("events.out.tfevents.*"))


def test_two_processes_under_torchrun(world: Path, config: Path, tmp_path: Path) -> None:
    words = ["--stage", "emotion_vae", "--config", config, "--data_dir", world, "--output_dir", tmp_path]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*torchrun, SCRIPT, *words],
        env={**environment(), "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "emotion_vae" / "training.json").read_text())["processes"] == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"stage": "gan"},
            "stage must be one of emotion_vae, style_encoder, denoiser, weight_shift_generator, all; given: 'gan'",
        ),
        ({"stage": "pssl"}, r"given: 'pssl'\. Did you mean style_encoder\?"),
        (
            {"stage": "denoiser"},
            r"Stage denoiser needs the emotion_vae, .* with stage 'emotion_vae' and the same output_dir",
        ),
        ({"stage": "weight_shift_generator"}, "Stage weight_shift_generator needs the emotion_vae,"),
        ({"config": "absent.yaml"}, "config: there is no file absent.yaml"),
        ({"data_dir": "absent"}, "data_dir: there is no folder absent"),
        (
            {"stages.style_encoder.lerning_rate": "1"},
            "unknown key stages.style_encoder.lerning_rate. Did you mean learning_rate",
        ),
        ({"models.denoiser.num_heads": "3"}, "models.denoiser: hidden_size"),
        ({"resume_from_checkpoint": "step-00000007"}, "there is no step-00000007"),
        ({"hub_model_id": "user/model", "push_to_hub": ""}, "push_to_hub needs hub_model_id"),
    ],
)
def test_refused_within_seconds(
    options: Callable, refused: Callable, tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    words = options(**changes)
    if "push_to_hub" in changes:
        words = [word for word in options() if word] + ["--push_to_hub"]
    started = time.process_time()
    refused("train", *words, match=message)
    assert time.process_time() - started < 10
    assert not list((tmp_path / "out").rglob("*.safetensors"))


def test_output_that_cannot_be_written(options: Callable, refused: Callable, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused("train", *options(output_dir=tmp_path / "file" / "out"), match="output_dir: .* cannot be made")


def test_data_that_fails_its_check(options: Callable, refused: Callable, world: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(world, broken)
    next((broken / "train").rglob("*.wav")).unlink()
    refused("train", *options(data_dir=broken), match=r"(?s)missing.*\.wav")


def test_earlier_checkpoints_are_not_overwritten_by_accident(
    options: Callable, refused: Callable, trained: Path, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "out" / "checkpoints" / "style_encoder" / "step-00000003"
    checkpoint.mkdir(parents=True)
    refused("train", *options(), match=r"holds checkpoints .*resume_from_checkpoint")
    assert checkpoint.is_dir()


@pytest.mark.parametrize("words", [["stray"], ["--seed"], ["--stage"]])
def test_command_lines_that_make_no_sense(options: Callable, misused: Callable, words: list[str]) -> None:
    misused("train", *options(), *words)


def test_names_may_be_written_with_hyphens(options: Callable, refused: Callable) -> None:
    words = [word.replace("_", "-") if word.startswith("--") else word for word in options()]
    refused(
        "train", *words, "--stages.style-encoder.learning-rate", "fast", match="style_encoder.learning_rate must be"
    )


def test_the_module_starts_as_launchers_start_it(options: Callable, tmp_path: Path) -> None:
    """`accelerate launch -m` runs the module as a program, and `accelerate launch examples/train.py` the script."""
    for program in (["-m", "perfrdiff_hf.cli.train"], [SCRIPT]):
        words = [sys.executable, *program, *options(data_dir="absent")]
        done = subprocess.run(words, env=environment(), cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 1 and "error: " in done.stderr and "absent" in done.stderr, done.stderr
