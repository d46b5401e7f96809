"""What tests of commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from perfrdiff_hf.cli import main
from perfrdiff_hf.faces.formats.openface import UNITS


Refused = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture) -> Refused:
    """Run a command that must fail with one line on standard error and exit code 1; that line."""

    def run(*words: object, match: str = "") -> str:
        capsys.readouterr()
        assert main([str(word) for word in words]) == 1
        message = capsys.readouterr().err
        assert re.search(r"^error: ", message, re.M) and "Traceback" not in message
        assert re.search(match, message), message
        return message

    return run


@pytest.fixture
def counted(tmp_path: Path) -> str:
    """A track of OpenFace of 100 frames without times."""
    header = ["frame", "success", *(f"AU{unit:02d}_r" for unit in UNITS)]
    rows = np.random.default_rng(0).uniform(0, 2, (100, len(header)))
    rows[:, 0], rows[:, 1] = np.arange(1, 101), 1
    np.savetxt(tmp_path / "counted.csv", rows, "%g", ",", header=",".join(header), comments="")
    return str(tmp_path / "counted.csv")


@pytest.fixture
def misused(capsys: pytest.CaptureFixture) -> Refused:
    """Run a command line that makes no sense: exit code 2; what is said."""

    def run(*words: object, match: str = "") -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        assert ended.value.code == 2
        message = capsys.readouterr().err
        assert re.search(match, message), message
        return message

    return run
