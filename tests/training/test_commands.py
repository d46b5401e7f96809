"""The training commands that the pages and programs show: several processes accept them."""

from __future__ import annotations

import ast
import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from perfrdiff_hf.training.config import load_config
from perfrdiff_hf.training.job import check_batches
from perfrdiff_hf.training.stages import PERFRDIFF


ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = (ROOT / "examples" / "train.py", ROOT / "perfrdiff_hf" / "cli" / "train.py")
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
LAUNCHER = re.compile(r"accelerate launch|torchrun")
PROCESSES = re.compile(r"--(?:num_processes|nproc_per_node) (\d+)")


def documented_commands() -> list[tuple[str, str]]:
    """(where, command) of every command that starts several processes."""
    texts = {path: path.read_text(encoding="utf-8") for path in PAGES}
    texts |= {path: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "" for path in PROGRAMS}
    found = []
    for path, text in texts.items():
        lines = text.replace("\\\n", " ").replace("`", "\n").splitlines()
        found += [(path.name, line.strip()) for line in lines if LAUNCHER.search(line) and "train" in line]
    return found


COMMANDS = documented_commands()


def test_there_are_commands_in_the_guide_and_the_programs() -> None:
    assert {"training.md", "train.py"} <= {where for where, _ in COMMANDS}


@pytest.mark.parametrize(("where", "command"), COMMANDS, ids=lambda text: text[:60])
def test_documented_commands_are_accepted_by_as_many_processes(where: str, command: str) -> None:
    words = shlex.split(command.split("#")[0].replace("...", ""))
    options = {word: value for word, value in pairwise(words) if word.startswith("--")}
    config = options.get("--config", "paper_8gpu")
    name = options.get("--stage", "all")
    stages = PERFRDIFF.stages if name == "all" else [PERFRDIFF.stage(name)]
    given = PROCESSES.search(command)
    # Without a number, the launcher takes as many as there are GPUs.
    for processes in [int(given[1])] if given else [1, 2, 4, 8]:
        check_batches(load_config(config), stages, processes)


@pytest.mark.parametrize("processes", [2, 4, 8])
def test_the_papers_batches_are_for_one_process(processes: int) -> None:
    with pytest.raises(ValueError, match=r"stages.style_encoder.batch_size \(1\) must be a multiple .*paper_8gpu"):
        check_batches(load_config("paper"), PERFRDIFF.stages, processes)
    check_batches(load_config("paper_8gpu"), PERFRDIFF.stages, processes)
