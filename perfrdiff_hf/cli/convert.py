"""Convert the checkpoints that the authors of PerFRDiff published to a folder that `from_pretrained` loads.

    perfrdiff convert --checkpoints checkpoints --output perfrdiff-official --dtype float16

The authors' folder holds `diffusion_model/TransformerDenoiser`, `embedder_latent`, `person_specific` and
`rewrite_weight`. The checkpoints do not tell how the model was configured; the defaults are the official ones.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from ..conversion.folder import ConversionReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to convert, and how the official program was configured."""
    parser.add_argument("--checkpoints", required=True, help="the authors' folder")
    parser.add_argument("--output", required=True, help="folder to write; it must not exist yet")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16", "bfloat16"))
    parser.add_argument("--low_rank", type=int, metavar="R", help="also write the best rank-R weight-shift generator")
    parser.add_argument("--generic", action="store_true", help="leave style encoder and hypernetwork out")
    parser.add_argument("--num_heads", type=int, help="attention heads of denoiser and style encoder")
    parser.add_argument(
        "--conditions",
        nargs="+",
        help="what the denoiser was trained with; add past_emotion for a model of the paper's equation 9",
    )
    parser.add_argument("--edited_layers", nargs="+", help="official names, in order")
    parser.add_argument("--shift_mode", help="how shifts change weights: shift, offset or weight")


def run(options: argparse.Namespace) -> None:
    """Convert, and say what came of it."""
    import torch

    from ..conversion.folder import OfficialSettings, convert_checkpoint_folder

    names = ("num_heads", "conditions", "edited_layers", "shift_mode")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    report = convert_checkpoint_folder(
        options.checkpoints,
        options.output,
        OfficialSettings(**given),
        dtype=getattr(torch, options.dtype),
        low_rank=options.low_rank,
        generic=options.generic,
    )
    print(describe(report))
    print(f"Written to {options.output}")


def describe(report: ConversionReport) -> str:
    """The report in words."""
    lines = [f"{name}: {report.parameters[name]:,} parameters from {file}" for name, file in report.files.items()]
    lines += report.remarks
    for name, error in report.low_rank.items():
        lines.append(
            f"low rank, {name}: loses {error.shift:.1%} of the shift, {error.personal:.1%} of what is personal"
        )
    return "\n".join(lines)
