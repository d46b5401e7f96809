"""From rows to tables: which rows are read, how they are compared, and what is said of them."""

from __future__ import annotations

import made_rows
import numpy as np
import paper_check
import paper_tables
import pytest
import row_comparisons
import tables_page
from paper_rows import RECIPE, unguided

from perfrdiff_hf.evaluation.controls import ANOTHER_HISTORY, ONE_SHIFT
from tests.examples.tiny_tables import keep, made_row


LOW = [0.1 * number for number in range(16)]


def above(gain: float) -> list[float]:
    return [value + gain for value in LOW]


def test_rows_of_several_machines_stand_together_and_those_of_other_data_do_not(tmp_path):
    def of_two(train: str) -> None:
        for seed in (0, 1):
            made = made_row("generic", LOW, seed)
            made["configuration"]["data"] = {"train": train if seed else "1", "test": str(seed)}
            keep(tmp_path, "3", made)

    of_two(train="1")
    assert len(made_rows.read_table("3", tmp_path)[0][0].runs) == 2
    of_two(train="2")
    with pytest.raises(ValueError, match="were made with different data"):
        made_rows.read_table("3", tmp_path)


def test_rows_are_compared_over_the_seeds_that_both_have(tmp_path):
    gains = {RECIPE: (0.5, 0.3, -9.0), "input p": (0.1, 0.1), "generic": (0.9, 0.4, -9.9)}
    for name, of_seeds in gains.items():
        for seed, gain in enumerate(of_seeds):
            keep(tmp_path, "3", made_row(name, above(gain), seed))
    keep(tmp_path, "3", made_row("fine-tuning", LOW, 3))
    made = made_rows.read_table("3", tmp_path)[0]
    tested = row_comparisons.comparisons("3", made)
    assert tested["input p", RECIPE].value == pytest.approx(-0.3)
    assert tested["input p", RECIPE].of_seeds == pytest.approx((-0.4, -0.2))
    assert tested["input p", RECIPE].says(0.05) == "the other way round"
    # Every listener says that one lies above the other, and seeds say the one and the other.
    apart = tested[RECIPE, "generic"]
    assert apart.of_seeds == pytest.approx((-0.4, -0.1, 0.9)) and apart.p < 0.01
    assert apart.says(0.05) == (-apart).says(0.05) == "seeds differ"
    assert not any("fine-tuning" in pair for pair in tested)  # no seed in common
    own = next(row for row in made if row.name == RECIPE)
    assert own.of("FRCorr PMAFRG").mean() == pytest.approx(np.mean(LOW) - 8.2 / 3)


def test_claims_fall_as_the_figures_say(tmp_path):
    gains = {"generic": 0.0, RECIPE: 0.5, "input p": 0.9, "fine-tuning": 0.5}
    for name, gain in {**gains, unguided(RECIPE): 0.3, unguided("input p"): 0.1}.items():
        keep(tmp_path, "3", made_row(name, above(gain)))
    own = above(gains[RECIPE])
    keep(tmp_path, "3", made_row(RECIPE, own, **{ANOTHER_HISTORY: LOW, ONE_SHIFT: own, "generic": LOW}))
    for name in ("generic GAFRG", "REGNN"):
        keep(tmp_path, "1", made_row(name, LOW))
    table, failed = paper_check.check_tables(tmp_path)
    said = {str(row[0]): row[3] for row in table.rows}
    assert said["table 3: weight editing, low rank > generic"] == "holds"
    assert said["table 3: weight editing, low rank > input p"] == "the other way round"
    assert said["table 3: weight editing, low rank > fine-tuning"] == "not shown"
    assert said[f"table 3: weight editing, low rank > {ANOTHER_HISTORY}"] == "holds"
    assert said[f"table 3: weight editing, low rank > {ONE_SHIFT}"] == "not shown"
    assert said[f"table 3: {unguided(RECIPE)} > {unguided('input p')}"] == "holds"
    tested = row_comparisons.comparisons("3", made_rows.read_table("3", tmp_path)[0])
    assert len(tested) == 6 and (unguided("input p"), "generic") not in tested
    assert said["table 4: cross-attention and mapping > mapping"] == "cannot be told yet"
    assert said["table 3: generic"] == said["table 1: generic GAFRG"] == "1 of 3 seeds"
    assert "table 1: REGNN" not in said  # one seed will do for what stands beside
    assert failed == sum(row[3] in ("missing", "1 of 3 seeds") for row in table.rows) > 4


def test_settings_that_differ_from_the_recipe_are_told(tmp_path):
    for name, changes in (("generic", "--data.max_snr_weight=1 --work w.1"), ("input p", "--data.max_snr_weight=1")):
        made = made_row(name, LOW) | {"command": f"python run.py {changes} --table 3 {name}"}
        keep(tmp_path, "3", made)
    note = paper_tables.paper_table("3", tmp_path)[1]
    assert "The recipe with other settings: `data.max_snr_weight=1` (all rows)." in note
    made["command"] += " --models.sampling.hop=50"
    keep(tmp_path, "3", made)
    note = paper_tables.paper_table("3", tmp_path)[1]
    assert "`data.max_snr_weight=1` (generic); `data.max_snr_weight=1`, `models.sampling.hop=50` (input p)." in note


def test_hours_that_rows_share_are_counted_once(tmp_path):
    for seed in (0, 1):
        for name in ("generic", unguided("generic")):
            made = made_row(name, LOW, seed) | {"machine": {"threads": 1}, "command": "python run.py"}
            made["seconds"] = {"denoiser": 3600.0 * (1 + seed), "measuring": 1800.0}
            keep(tmp_path, "3", made)
    page = tables_page.page(tmp_path)
    assert "5.0 hours, 3.0 for training and 2.0 for measuring, with 1 thread." in page
