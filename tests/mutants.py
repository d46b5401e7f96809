"""Do the tests notice? Each mutant of `mutants.txt` is a mistake in the package that some test should fail of.

Every mistake is made in a copy of the tree, never in the tree itself; the tests that ought to notice are run there.
The program reports which mutants were killed and which survived. It fails if less than nine in ten are killed, or if
the text that a mutant changes is gone: the code has moved on then, and the list must follow it.

    python tests/mutants.py                  all of them, ten to twenty minutes
    python tests/mutants.py flag guidance    those with one of these words in their names
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path


ROOT = Path(__file__).resolve().parents[1]
COPIED = ("perfrdiff_hf", "tests", "examples", "model_cards", "pyproject.toml", "setup.py")
LEAST_SHARE = 0.9
SECONDS = 300  # after which tests count as failed: the mutant has them wait for ever

# What the list calls a file: where it lies, and the tests that ought to notice a mistake in it.
FILES = {
    "audio": ("perfrdiff_hf/data/audio.py", "tests/data/test_audio.py"),
    "concordance": ("perfrdiff_hf/metrics/frcorr_frdist.py", "tests/metrics/test_metric_goldens.py"),
    "conditions": ("perfrdiff_hf/models/conditions.py", "tests/pipelines"),
    "convert": ("perfrdiff_hf/conversion/models.py", "tests/models tests/conversion/test_models.py"),
    "digests": ("perfrdiff_hf/models/weight_digests.py", "tests/models/test_fusing.py"),
    "distillation": (
        "perfrdiff_hf/training/stages/distillation.py",
        "tests/training/test_student.py -k sampler|targets|count|windows",
    ),
    "diversity": ("perfrdiff_hf/metrics/diversity.py", "tests/metrics/test_metric_goldens.py"),
    "downloading": ("perfrdiff_hf/pipelines/downloading.py", "tests/pipelines/test_downloading.py"),
    "emotion_vae": ("perfrdiff_hf/models/emotion_vae.py", "tests/models/test_emotion_vae.py"),
    "examples": ("perfrdiff_hf/data/windows.py", "tests/data/windows"),
    "finishing": ("perfrdiff_hf/pipelines/finishing.py", "tests/pipelines"),
    "fusing": ("perfrdiff_hf/models/fusing.py", "tests/models/test_fusing.py tests/models/test_lora.py"),
    "gafrg": ("perfrdiff_hf/models/gafrg.py", "tests/models tests/conversion/test_models.py"),
    "histories": ("perfrdiff_hf/data/histories.py", "tests/data/test_door.py tests/data/windows"),
    "hearing": ("perfrdiff_hf/pipelines/hearing.py", "tests/pipelines"),
    "layers": ("perfrdiff_hf/models/gafrg_layers.py", "tests/models"),
    "faces_channels": ("perfrdiff_hf/faces/tracking/channels.py", "tests/faces/test_tracking.py"),
    "faces_landmarker": ("perfrdiff_hf/faces/tracking/face_landmarker.py", "tests/faces/test_tracking.py"),
    "faces_reading": ("perfrdiff_hf/faces/tracking/reading.py", "tests/faces/test_tracking.py"),
    "faces_video": (
        "perfrdiff_hf/faces/tracking/video.py",
        "tests/faces/test_tracking.py tests/data/test_recordings.py",
    ),
    "masking": ("perfrdiff_hf/metrics/masking.py", "tests/metrics/test_masking.py"),
    "matrices": (
        "perfrdiff_hf/data/react2024/appropriateness.py",
        "tests/data/react2024/test_appropriateness.py",
    ),
    "optimisers": ("perfrdiff_hf/training/optimisers.py", "tests/training/test_config.py"),
    "order": (
        "perfrdiff_hf/training/order.py",
        "tests/training/test_processes.py -k once_an_epoch|streams_go_on",
    ),
    "pipeline": ("perfrdiff_hf/pipelines/perfrdiff.py", "tests/pipelines"),
    "positions": ("perfrdiff_hf/models/positions.py", "tests/models/test_pssl.py"),
    "pssl": ("perfrdiff_hf/models/pssl.py", "tests/models"),
    "pwsg": ("perfrdiff_hf/models/pwsg.py", "tests/models/test_pwsg.py"),
    "saving": ("perfrdiff_hf/training/saving.py", "tests/training/test_checkpoints.py -k saved"),
    "reacting": ("perfrdiff_hf/evaluation/reacting.py", "tests/training/test_validation.py -k split"),
    "sampling": ("perfrdiff_hf/pipelines/sampling.py", "tests/pipelines"),
    "seamless_cutting": ("perfrdiff_hf/data/seamless/cutting.py", "tests/data/seamless/test_format.py"),
    "seamless_download": ("perfrdiff_hf/data/seamless/download.py", "tests/data/seamless/test_download.py"),
    "seamless_features": ("perfrdiff_hf/data/seamless/features.py", "tests/data/seamless/test_mapping.py"),
    "seamless_index": ("perfrdiff_hf/data/seamless/index.py", "tests/data/seamless/test_source.py"),
    "seamless_mapping": ("perfrdiff_hf/data/seamless/mapping.py", "tests/data/seamless/test_mapping.py"),
    "seamless_names": ("perfrdiff_hf/data/seamless/names.py", "tests/data/seamless/test_format.py"),
    "seamless_source": ("perfrdiff_hf/data/seamless/source.py", "tests/data/seamless/test_source.py"),
    "serving": ("perfrdiff_hf/pipelines/serving.py", "tests/pipelines/test_serving.py"),
    "students": ("perfrdiff_hf/pipelines/students.py", "tests/pipelines/test_students.py"),
    "shifts": (
        "perfrdiff_hf/models/weight_shifts.py",
        "tests/models/test_weight_shifts.py tests/models/test_fusing.py",
    ),
    "stage": ("perfrdiff_hf/baselines/stage.py", "tests/training/test_objectives.py"),
    "stage_denoising": ("perfrdiff_hf/training/stages/denoising.py", "tests/training/test_objectives.py"),
    "stage_masking": ("perfrdiff_hf/baselines/masking.py", "tests/training/test_seamless.py"),
    "stage_pssl": (
        "perfrdiff_hf/training/stages/style_encoder.py",
        "tests/training/test_objectives.py tests/training/test_losses.py",
    ),
    "stage_pwsg": ("perfrdiff_hf/training/stages/weight_shift_generator.py", "tests/training/test_objectives.py"),
    "stage_vae": (
        "perfrdiff_hf/baselines/emotion_vae.py",
        "tests/training/test_objectives.py tests/training/test_losses.py",
    ),
    "statistics": ("perfrdiff_hf/metrics/statistics.py", "tests/metrics/test_statistics.py"),
    "streaming": ("perfrdiff_hf/pipelines/streaming.py", "tests/pipelines"),
    "synchrony": ("perfrdiff_hf/metrics/synchrony.py", "tests/metrics/test_metric_goldens.py"),
    "validation": ("perfrdiff_hf/training/validation.py", "tests/training/test_validation.py -k split"),
    "windows": ("perfrdiff_hf/pipelines/windows.py", "tests/pipelines"),
}


@dataclass(frozen=True)
class Mutant:
    """One mistake: `old`, which stands once in the file, becomes `new`."""

    name: str
    path: str
    old: str
    new: str
    tests: str


def main(words: list[str]) -> int:
    mutants = read_mutants((ROOT / "tests" / "mutants.txt").read_text())
    lost = [mutant for mutant in mutants if (ROOT / mutant.path).read_text().count(mutant.old) != 1]
    for mutant in lost:
        print(f"lost: the text of '{mutant.name}' is not in {mutant.path} exactly once")
    mutants = [mutant for mutant in mutants if not words or any(word in mutant.name for word in words)]
    if lost or not mutants:
        return 1
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        copy_tree(copy)
        for tests in sorted({mutant.tests for mutant in mutants}):
            if run_tests(copy, tests):
                print(f"{tests} fails without any mutant")
                return 1
        survivors = [mutant for mutant in mutants if not is_killed(mutant, copy)]
    share = 1 - len(survivors) / len(mutants)
    print(f"{len(mutants) - len(survivors)} of {len(mutants)} mutants were killed ({share:.0%}).")
    for mutant in survivors:
        print(f"survived: {mutant.name} ({mutant.path})")
    return 0 if share >= LEAST_SHARE else 1


def read_mutants(text: str) -> list[Mutant]:
    mutants = []
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if not line.startswith("#")]
        if lines:
            file, _, name = lines[0].partition(": ")
            old, new = ("\n".join(line[2:] for line in lines[1:] if line[0] == sign) for sign in "-+")
            mutants.append(Mutant(name, FILES[file][0], old, new, FILES[file][1]))
    return mutants


def copy_tree(copy: Path) -> None:
    copy.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)


def is_killed(mutant: Mutant, copy: Path) -> bool:
    """Make the mistake in the copy, run the tests there, and put the file back."""
    path = copy / mutant.path
    text, started = path.read_text(), time.monotonic()
    try:
        path.write_text(text.replace(mutant.old, mutant.new))
        killed = run_tests(copy, mutant.tests)
    finally:
        path.write_text(text)
    print(f"{'killed' if killed else 'SURVIVED':9}{time.monotonic() - started:5.0f} s  {mutant.name}", flush=True)
    return killed


def run_tests(copy: Path, tests: str) -> bool:
    """Whether a test fails, or the tests come to no end."""
    places, _, chosen = tests.partition(" -k ")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *places.split()]
    command += ["-k", chosen.replace("|", " or ")] if chosen else []
    # A compiled file could pass for the changed one, which may be as long and was written in the same second.
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    try:
        finished = subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return True
    if finished.returncode not in (0, 1, 2):  # 2: the package cannot even be imported
        raise RuntimeError(finished.stdout.decode() + finished.stderr.decode())
    return finished.returncode != 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
