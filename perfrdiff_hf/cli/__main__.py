"""`python -m perfrdiff_hf.cli` is the command `perfrdiff`."""

import sys

from . import main


if __name__ == "__main__":
    sys.exit(main())
