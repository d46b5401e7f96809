"""Convert the checkpoints that the authors of PerFRDiff published to a folder that `from_pretrained` loads.

    python examples/convert_official.py --checkpoints checkpoints --output perfrdiff-official --dtype float16

The authors' folder holds `diffusion_model/TransformerDenoiser`, `embedder_latent`, `person_specific` and
`rewrite_weight`. The checkpoints do not tell how the model was configured; the defaults are the official ones.
"""

from __future__ import annotations

import argparse
import sys

import torch

from perfrdiff_hf.conversion.folder import ConversionReport, OfficialSettings, convert_checkpoint_folder
from perfrdiff_hf.models.gafrg import CONDITION_KINDS
from perfrdiff_hf.models.weight_shifts import SHIFT_MODES


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    official = OfficialSettings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", required=True, help="the authors' folder")
    parser.add_argument("--output", required=True, help="folder to write; it must not exist yet")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16", "bfloat16"))
    parser.add_argument("--low-rank", type=int, metavar="R", help="also write the best rank-R weight-shift generator")
    parser.add_argument("--generic", action="store_true", help="leave style encoder and hypernetwork out")
    parser.add_argument("--num-heads", type=int, default=official.num_heads)
    parser.add_argument(
        "--conditions",
        nargs="+",
        default=official.conditions,
        choices=CONDITION_KINDS,
        help="what the denoiser was trained with; add past_emotion for a model of the paper's equation 9",
    )
    parser.add_argument("--edited-layers", nargs="+", default=official.edited_layers, help="official names, in order")
    parser.add_argument("--shift-mode", default=official.shift_mode, choices=SHIFT_MODES)
    return parser.parse_args()


def describe(report: ConversionReport) -> str:
    """The report in words."""
    lines = [f"{name}: {report.parameters[name]:,} parameters from {file}" for name, file in report.files.items()]
    lines += report.remarks
    for name, error in report.low_rank.items():
        lines.append(
            f"low rank, {name}: loses {error.shift:.1%} of the shift, {error.personal:.1%} of what is personal"
        )
    return "\n".join(lines)


def main() -> None:
    """Convert, and say what came of it."""
    arguments = parse_arguments()
    settings = OfficialSettings(
        arguments.num_heads, arguments.conditions, arguments.edited_layers, arguments.shift_mode
    )
    try:
        report = convert_checkpoint_folder(
            arguments.checkpoints,
            arguments.output,
            settings,
            dtype=getattr(torch, arguments.dtype),
            low_rank=arguments.low_rank,
            generic=arguments.generic,
        )
    except (OSError, ValueError) as error:
        sys.exit(f"Not converted: {error}")
    print(describe(report))
    print(f"Written to {arguments.output}")


if __name__ == "__main__":
    main()
