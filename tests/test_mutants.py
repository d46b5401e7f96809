"""The list of mutants follows the code; `make mutants` runs it."""

from __future__ import annotations

from tests.mutants import ROOT, read_mutants


def test_the_text_of_every_mutant_stands_in_the_code_once() -> None:
    mutants = read_mutants((ROOT / "tests" / "mutants.txt").read_text(encoding="utf-8"))
    counts = {f"{one.path}: {one.name}": (ROOT / one.path).read_text("utf-8").count(one.old) for one in mutants}
    assert [name for name, count in counts.items() if count != 1] == []
