"""The Space's Dockerfile: what it runs are commands of this package, and they find what it has made.

Nothing is built here, which needs Docker and the network.
"""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from perfrdiff_hf.cli import serve


DOCKERFILE = (
    (Path(__file__).resolve().parents[2] / "examples" / "space" / "Dockerfile").read_text().replace("\\\n", " ")
)


def served(command: str) -> argparse.Namespace:
    """The options of a `serve` in the Dockerfile, checked as the command line checks them."""
    found = re.search(rf'{command} serve (.*?)(?:\\"\$@|$)', DOCKERFILE, re.M)
    assert found, f"there is no {command} serve"
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    options = parser.parse_args(shlex.split(found[1]))
    serve.check_options(options)
    return options


def test_the_page_is_served_from_where_it_was_installed() -> None:
    installed, running = served("perfrdiff_hf.cli"), served("exec perfrdiff")
    assert installed.install and not running.install
    assert f"COPY --from=libraries {installed.page_dir} {running.page_dir}" in DOCKERFILE


def test_who_may_come_to_a_space() -> None:
    options = served("exec perfrdiff")
    port = re.search(r"^EXPOSE (\d+)$", DOCKERFILE, re.M)
    assert port is not None and options.port == int(port[1])
    assert options.host == "0.0.0.0" and options.open and options.fixed


@pytest.mark.parametrize("made", ["/wheel", "/page"])
def test_what_the_first_stage_makes_the_second_takes(made: str) -> None:
    """The second has no git, so that the package comes as the first one's wheel."""
    assert f"COPY --from=libraries {made} {made}" in DOCKERFILE
    assert "PACKAGE" not in DOCKERFILE.split("FROM ")[2]
