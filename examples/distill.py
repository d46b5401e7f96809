"""Distil a trained pipeline into one that needs few evaluations of one pass: one more stage of the training.

    python examples/distill.py --teacher trained/model --steps 4 --config bench --data_dir bench --output_dir student_4

The student lies in `student_4/model`, a pipeline with defaults of its own. The configuration is the one with which the
teacher was trained; how the teacher is sampled comes from its folder. Other options and settings are those of
`perfrdiff train`, as in --resume_from_checkpoint latest --stages.student_denoiser.max_steps=500; several processes
start it as they start train.py. The guide is docs/live.md.
"""

from __future__ import annotations

import argparse
import json
import sys

from perfrdiff_hf.cli import main as perfrdiff
from perfrdiff_hf.training.teacher import take_teacher


# How the student learns where nothing else is said, and in the rows of `run.py --table sampling`; an example is a
# window with the teacher's whole way through it.
LEARNING = {
    "max_steps": 4000, "batch_size": 16, "learning_rate": 3e-4, "schedule": "cosine", "warmup_steps": 50,
    "max_grad_norm": 1.0, "ema_decay": 0.995,
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Train the student; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", required=True, help="folder of a saved pipeline")
    parser.add_argument("--steps", type=int, default=4, help="evaluations of the student")
    parser.add_argument("--teacher_steps", type=int, default=20, help="denoising steps of the teacher")
    parser.add_argument("--output_dir", required=True, help="where models, checkpoints and logs go")
    options, rest = parser.parse_known_args(arguments)
    try:
        settings = take_teacher(options.teacher, options.output_dir)
    except (FileNotFoundError, ValueError) as error:
        print(f"distill.py: {error}", file=sys.stderr)
        return 1
    settings |= {
        "system": "student",
        "models.student_denoiser.num_inference_steps": options.steps,
        "models.student_denoiser.teacher_steps": options.teacher_steps,
        **{f"stages.student_denoiser.{name}": value for name, value in LEARNING.items()},
    }
    told = [f"--{name}={json.dumps(value)}" for name, value in settings.items()]
    return perfrdiff(["train", "--stage", "student_denoiser", "--output_dir", options.output_dir, *told, *rest])


if __name__ == "__main__":
    sys.exit(main())
