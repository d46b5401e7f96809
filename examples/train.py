"""Train PerFRDiff, one stage or all, from a folder in the REACT2024 layout to a pipeline.

    python examples/train.py --stage all --config demo --data_dir WORLD --output_dir OUT
    accelerate launch --num_processes 8 examples/train.py --stage denoiser --config paper_8gpu ...
    ACCELERATE_USE_CPU=true torchrun --nproc_per_node 2 examples/train.py ...

Every setting of the configuration file can be overridden by its dotted name: --stages.denoiser.max_steps 100 --seed 3.
The guide is docs/training.md.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys

from perfrdiff_hf.training.config import load_config
from perfrdiff_hf.training.run import TrainingJob, run_training


def parse_arguments(arguments: list[str]) -> tuple[argparse.Namespace, dict[str, str]]:
    """The command line: options of the job, and overrides of the configuration by dotted name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", required=True, help="the component to train, or all")
    parser.add_argument("--config", required=True, help="demo, bench, paper, paper_8gpu, or a YAML file")
    parser.add_argument("--data_dir", required=True, help="folder in the REACT2024 layout")
    parser.add_argument("--output_dir", required=True, help="where models, checkpoints and logs go")
    parser.add_argument("--cache_dir", help="where computed features are kept (default: the cache of datasets)")
    parser.add_argument("--resume_from_checkpoint", help='"latest", or a name such as "step-00001000"')
    parser.add_argument("--overwrite_output_dir", action="store_true", help="forget what the stage trained before")
    parser.add_argument("--push_to_hub", action="store_true", help="upload the trained models and the pipeline")
    parser.add_argument("--hub_model_id", help='repository, such as "user/perfrdiff-react2024"')
    known, rest = parser.parse_known_args(arguments)
    return known, parse_overrides(rest, parser)


def parse_overrides(rest: list[str], parser: argparse.ArgumentParser) -> dict[str, str]:
    """`--dotted.name value` or `--dotted.name=value`, any number of them."""
    overrides: dict[str, str] = {}
    words = iter(rest)
    for word in words:
        if not word.startswith("--"):
            parser.error(f"unexpected argument: {word}")
        name, equals, value = word.removeprefix("--").partition("=")
        overrides[name] = value if equals else next(words, "")
        if not overrides[name]:
            parser.error(f"--{name} needs a value")
    return overrides


def main(arguments: list[str]) -> None:
    """Train, and turn what the user can mend into one line instead of a traceback."""
    options, overrides = parse_arguments(arguments)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    is_main_process = os.environ.get("RANK", "0") == "0"
    logging.getLogger("perfrdiff_hf").setLevel(logging.INFO if is_main_process else logging.ERROR)
    try:
        config = load_config(options.config, overrides)
        job = TrainingJob(
            stage=options.stage,
            config=config,
            data_dir=options.data_dir,
            output_dir=options.output_dir,
            cache_dir=options.cache_dir,
            resume_from_checkpoint=options.resume_from_checkpoint,
            overwrite_output_dir=options.overwrite_output_dir,
            push_to_hub=options.push_to_hub,
            hub_model_id=options.hub_model_id,
        )
        run_training(job)
    except (ValueError, OSError, FloatingPointError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
