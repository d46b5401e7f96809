"""`perfrdiff train` as a script, for launchers that start scripts.

    accelerate launch --num_processes 8 examples/train.py --stage all --config paper_8gpu --data_dir REACT2024 ...
    ACCELERATE_USE_CPU=true torchrun --nproc_per_node 2 examples/train.py ...

The guide is docs/training.md.
"""

import sys

from perfrdiff_hf.cli import main


if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
