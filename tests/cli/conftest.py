"""What tests of commands share."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from perfrdiff_hf.cli import main


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
