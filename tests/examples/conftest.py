"""Experiments import their siblings, as they find them when they are run as scripts."""

from __future__ import annotations

import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "experiments"))
