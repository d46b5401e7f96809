"""Train PerFRDiff, one stage or all, from a folder of recorded dyads to a pipeline.

    perfrdiff train --stage all --config demo --data_dir WORLD --output_dir OUT
    accelerate launch --num_processes 8 -m perfrdiff_hf.cli.train --stage all --config paper_8gpu --data_dir DATA ...

The configurations demo, bench, official, paper, paper_8gpu and seamless come with the package; any other is a YAML
file. Every setting can be overridden by its dotted name: --stages.denoiser.max_steps 100 --seed 3.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .options import add_cache_option


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to train, on what, and where to."""
    parser.add_argument("--stage", required=True, help="one stage, or all")
    parser.add_argument("--config", required=True, help="a shipped one, such as demo or seamless, or a YAML file")
    parser.add_argument("--data_dir", required=True, help="folder of dyads: REACT2024, Seamless Interaction, ...")
    parser.add_argument("--output_dir", required=True, help="where models, checkpoints and logs go")
    add_cache_option(parser)
    parser.add_argument("--resume_from_checkpoint", help='"latest", or a name such as "step-00001000"')
    parser.add_argument("--overwrite_output_dir", action="store_true", help="forget what the stage trained before")
    parser.add_argument("--push_to_hub", action="store_true", help="upload the trained models and the pipeline")
    parser.add_argument("--hub_model_id", help='repository, such as "user/perfrdiff-react2024"')
    parser.add_argument("--hub_license", default="other", help="of the uploaded weights, such as cc-by-nc-4.0")


def take_rest(options: argparse.Namespace, rest: Sequence[str]) -> None:
    """`--dotted.name value` or `--dotted.name=value`, any number of them, as `options.overrides`."""
    options.overrides = {}
    words = iter(rest)
    for word in words:
        if not word.startswith("--"):
            raise argparse.ArgumentTypeError(f"unexpected argument: {word}")
        name, equals, value = word[2:].partition("=")
        options.overrides[name] = value if equals else next(words, "")
        if not options.overrides[name]:
            raise argparse.ArgumentTypeError(f"--{name} needs a value")


def run(options: argparse.Namespace) -> None:
    """Train."""
    from ..training.config import load_config
    from ..training.run import TrainingJob, run_training

    job = TrainingJob(
        stage=options.stage,
        config=load_config(options.config, options.overrides),
        data_dir=options.data_dir,
        output_dir=options.output_dir,
        cache_dir=options.cache_dir,
        resume_from_checkpoint=options.resume_from_checkpoint,
        overwrite_output_dir=options.overwrite_output_dir,
        push_to_hub=options.push_to_hub,
        hub_model_id=options.hub_model_id,
        hub_license=options.hub_license,
    )
    run_training(job)


if __name__ == "__main__":
    from . import main

    sys.exit(main(["train", *sys.argv[1:]]))
