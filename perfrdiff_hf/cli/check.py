"""Check a folder in the REACT2024 layout: missing and broken files, wrong lengths, duplicates, matrices.

    perfrdiff check REACT2024

The exit code is 1 if there is anything to mend.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from ..behaviour import STREAMS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which folder, and what it should have."""
    parser.add_argument("data_dir", help="a folder in the REACT2024 layout")
    parser.add_argument("--streams", nargs="+", default=STREAMS, choices=STREAMS, help="the streams it should have")
    parser.add_argument("--frames", type=int, help="frames that every clip must have (REACT: 750)")
    parser.add_argument("--num_proc", type=int, default=os.cpu_count() or 1, help="processes that read files")
    parser.add_argument("--shown", type=int, default=10, help="how many problems of each kind to name")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Check it, and say what is wrong."""
    from ..data.problems import summary
    from ..data.react2024.check import check_folder

    report = check_folder(options.data_dir, tuple(options.streams), options.frames, options.num_proc)
    print("\n".join(report.notes))
    if report.problems:
        print(summary(report.problems, options.data_dir, options.shown))
    else:
        print(f"No problems in {options.data_dir}.")
    return {"ok": not report.problems, "problems": [str(problem) for problem in report.problems]}
