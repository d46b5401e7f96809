"""Write a synthetic world of speakers and listeners with known styles, in the layout of REACT2024.

    perfrdiff world WORLD --size demo

The size quick has 11 dyads (20 MB), demo 65 (250 MB), bench 264 (2.5 GB), and listeners 38 (360 MB), all but two of
them to test on. The same size and seed give the same bytes.
"""

from __future__ import annotations

import argparse
import os


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to, and which world."""
    parser.add_argument("folder", help="where to write")
    parser.add_argument("--size", default="demo", help="quick, demo (default), bench or listeners")
    parser.add_argument("--seed", type=int, default=0, help="of the world (default 0)")
    parser.add_argument("--num_proc", type=int, default=os.cpu_count() or 1, help="processes that render")
    parser.add_argument("--overwrite", action="store_true", help="replace what the folder holds")


def run(options: argparse.Namespace) -> None:
    """Write it."""
    from ..synthetic.world import write_synthetic_world

    write_synthetic_world(options.folder, options.size, options.seed, options.overwrite, options.num_proc)
    print(f"A {options.size} world lies in {options.folder}.")
