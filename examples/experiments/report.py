"""Print what experiments found beside what they were to show, from the committed results.

    python examples/experiments/report.py --check quality
    python examples/experiments/report.py --table ablations
    python examples/experiments/report.py --table 1
    python examples/experiments/report.py --table 3 --plot table3.png
    python examples/experiments/report.py --table sampling --plot docs/sampling.png
    python examples/experiments/report.py --check table1
    python examples/experiments/report.py --check tables
    python examples/experiments/report.py --check sampling
    python examples/experiments/report.py --table live
    python examples/experiments/report.py --page docs/tables.md

A check exits with 1 where a goal is missed. Figures are means over training seeds; intervals (95 %) are over
listeners.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import live_report
import made_rows
import numpy as np
import paper_check
import paper_rows
import paper_tables
import sampling_report
import table_1
import tables_page

from perfrdiff_hf.baselines.reference import RECORDED
from perfrdiff_hf.evaluation.controls import ANOTHER_FACE, ANOTHER_HISTORY, GENERIC, NO_MOVEMENT, PERSONALISED
from perfrdiff_hf.evaluation.tables import DASH, Table, number
from perfrdiff_hf.files import file_beside
from perfrdiff_hf.metrics.statistics import paired_test


RESULTS = Path(__file__).parents[2] / "results"
OF_ANYBODY, OF_THE_LISTENER = "the world's own, of anybody", "the world's own, of the listener"
# Guidance makes reactions more alike, which raises FRCorr by itself; these rows have no goal.
NO_GUIDANCE = f"{PERSONALISED}, no guidance"
PERSONAL, EVERYBODY = "FRCorr PMAFRG", "FRCorr MAFRG"
MOTION = "FRRea-motion"
HOPS = "hops"
HOP_10, HOP_50 = f"{PERSONALISED}, hop 10", f"{PERSONALISED}, hop 50"
# A short hop makes reactions smoother, which raises FRCorr by itself; these rows have no goal.
AS_SMOOTH = f"{HOP_50}, smoothed"
NUM_SAMPLES = 2000


class Figures:
    """What was measured in one world, over all training seeds.

    Args:
        runs: the contents of the result files.
        of_many: what was measured of the same models on many listeners.
    """

    def __init__(self, runs: list[dict], of_many: Figures | None = None):
        self.runs = runs
        self.of_many = of_many
        systems = runs[0]["systems"]
        self._values = {
            (system, measure): np.mean([run["systems"][system]["listeners"][measure] for run in runs], axis=0)
            for system, found in systems.items()
            for measure, values in found["listeners"].items()
            if None not in values
        }
        self.num_listeners = len(next(iter(self._values.values())))

    def of(self, system: str, measure: str) -> np.ndarray:
        """One value a listener."""
        return self._values[system, measure]

    def overall(self, system: str, measure: str) -> float:
        """A figure of the system as a whole."""
        return float(np.mean([run["systems"][system]["overall"][measure] for run in self.runs]))

    def persons_found(self) -> float:
        """The share of clips whose nearest other clip, by style, is of the same person."""
        return float(np.mean([run["persons_found"] for run in self.runs]))


# From figures and the listeners that are looked at to a value.
Measure = Callable[[Figures, np.ndarray], float]


@dataclass(frozen=True)
class Goal:
    """What is measured, and between which bounds it is to lie.

    Args:
        title: in the table.
        measure: from figures and listeners to the value.
        low: at least this.
        high: at most this; with neither it is told and no goal.
        scale: what the table multiplies values with: 100 for percent.
        on_many: it is measured on the many listeners of `results/hops`.
    """

    title: str
    measure: Measure
    low: float = -np.inf
    high: float = np.inf
    scale: float = 1.0
    on_many: bool = False

    @property
    def bounds(self) -> str:
        """The bounds in words."""
        low, high = (number(self.scale * bound) for bound in (self.low, self.high))
        if np.isinf(self.low) and np.isinf(self.high):
            return DASH
        if np.isinf(self.high):
            return f"> {low}"
        return f"< {high}" if np.isinf(self.low) else f"{low} to {high}"


def share(system: str, measure: str = PERSONAL) -> Measure:
    """How far a system is on the way from the oracle of anybody to that of the listener."""

    def value(figures: Figures, who: np.ndarray) -> float:
        anybody, listener, own = (
            figures.of(name, measure)[who].mean() for name in (OF_ANYBODY, OF_THE_LISTENER, system)
        )
        return float((own - anybody) / (listener - anybody))

    return value


def ratio(measure: str, system: str, other: str, over: str | None = None) -> Measure:
    """A system's measure over that of another, or over another measure."""

    def value(figures: Figures, who: np.ndarray) -> float:
        return float(figures.of(system, measure)[who].mean() / figures.of(other, over or measure)[who].mean())

    return value


def won(figures: Figures, who: np.ndarray) -> float:
    """The share of listeners whose own history beats another's."""
    return float(np.mean((figures.of(PERSONALISED, PERSONAL) > figures.of(ANOTHER_HISTORY, PERSONAL))[who]))


def gain_of_a_short_hop(whole: str = HOP_50) -> Measure:
    """How much FRCorr a hop of 10 frames gains over one of 50."""

    def value(figures: Figures, who: np.ndarray) -> float:
        return float((figures.of(HOP_10, PERSONAL) - figures.of(whole, PERSONAL))[who].mean())

    return value


def chance_of_the_gain(whole: str = HOP_50) -> Measure:
    """The p-value of that gain, paired over listeners; 1 where it is none."""

    def value(figures: Figures, who: np.ndarray) -> float:
        a, b = figures.of(HOP_10, PERSONAL), figures.of(whole, PERSONAL)
        return paired_test(a, b).p_value if a.mean() > b.mean() else 1.0

    return value


QUALITY = (
    Goal("personal share of PMAFRG FRCorr", share(PERSONALISED), low=0.8),
    Goal("the same, sampled without guidance", share(NO_GUIDANCE)),
    Goal("the same, another's history", share(ANOTHER_HISTORY)),
    Goal("the same, a history without movement", share(NO_MOVEMENT), high=0.1),
    Goal(
        "own movement on another's face, over the own history", ratio(PERSONAL, ANOTHER_FACE, PERSONALISED), 0.9, 1.1
    ),
    Goal("person found from one clip, %", lambda figures, who: figures.persons_found(), low=0.95, scale=100),
    Goal("generic MAFRG FRCorr over the generic oracle's", ratio(EVERYBODY, GENERIC, OF_ANYBODY), low=0.95),
    Goal("FRDiv over the personal oracle's", ratio("FRDiv", PERSONALISED, OF_THE_LISTENER), 0.8, 1.25),
    Goal("the same, sampled without guidance", ratio("FRDiv", NO_GUIDANCE, OF_THE_LISTENER)),
    Goal("FRVar over the recorded", ratio("FRVar", PERSONALISED, RECORDED), 0.8, 1.25),
    Goal(
        "switches at borders over inside",
        ratio("switches at borders", PERSONALISED, PERSONALISED, "switches inside"),
        high=1.5,
    ),
    Goal("motion distance, emotion", lambda figures, who: figures.overall(PERSONALISED, MOTION), high=8),
    Goal("head speed over the recorded", ratio("head speed", PERSONALISED, RECORDED), 0.75, 1.33),
    Goal("head range over the recorded", ratio("head range", PERSONALISED, RECORDED), 0.75, 1.33),
    Goal("personal share of FRCorr of coefficients", share(PERSONALISED, "FRCorr coefficients PMAFRG"), low=0.5),
    Goal("listeners whose own history beats another's, %", won, low=0.95, scale=100),
    Goal("FRCorr gained by a hop of 10 over one of 50", gain_of_a_short_hop(), low=0),
    Goal("p of that gain", chance_of_the_gain(), high=0.05),
    Goal("the gain on 72 more listeners", gain_of_a_short_hop(), low=0, on_many=True),
    Goal("p of that gain", chance_of_the_gain(), high=0.05, on_many=True),
    Goal("the same over a hop of 50, as smooth", gain_of_a_short_hop(AS_SMOOTH), on_many=True),
    Goal("p of that gain", chance_of_the_gain(AS_SMOOTH), on_many=True),
)
CHECKS = {"quality": QUALITY}
# What an ablation is looked at for: one system alone.
ABLATIONS = (
    Goal("personal share", share(PERSONALISED)),
    Goal("of coefficients", share(PERSONALISED, "FRCorr coefficients PMAFRG")),
    Goal("generic MAFRG", ratio(EVERYBODY, GENERIC, OF_ANYBODY)),
    Goal("FRDiv", ratio("FRDiv", PERSONALISED, OF_THE_LISTENER)),
    Goal("FRVar", ratio("FRVar", PERSONALISED, RECORDED)),
    Goal("switches", ratio("switches at borders", PERSONALISED, PERSONALISED, "switches inside")),
    Goal("motion", lambda figures, who: figures.overall(PERSONALISED, MOTION)),
    Goal("head speed", ratio("head speed", PERSONALISED, RECORDED)),
    Goal("head range", ratio("head range", PERSONALISED, RECORDED)),
)
TABLES = {"ablations": ABLATIONS}
OTHER_TABLES = {"sampling": sampling_report.sampling_table, "live": live_report.live_table}
PLOTTED = (*paper_rows.TABLES, "sampling")
CHECKED_TABLES = {
    "table1": table_1.check,
    "tables": paper_check.check_tables,
    "sampling": sampling_report.check_sampling,
}


def main(arguments: list[str] | None = None) -> int:
    """Print a check's table, 1 if a goal is missed; or a table without goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", choices=(*CHECKS, *CHECKED_TABLES))
    what.add_argument("--table", choices=(*TABLES, *paper_rows.TABLES, *OTHER_TABLES))
    what.add_argument("--page", type=Path, help="of all tables of the paper, to write")
    parser.add_argument("--latex", action="store_true", help="a table of the paper as LaTeX")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--plot", type=Path, help="picture of a table to write, such as table3.png")
    options = parser.parse_args(arguments)
    if options.plot and options.table not in PLOTTED:
        parser.error(f"--plot needs --table with one of {', '.join(PLOTTED)}.")
    if options.page:
        text = tables_page.page(options.results)
        with file_beside(options.page) as beside:
            beside.write_text(text, encoding="utf-8")
        return 0
    if options.table in TABLES:
        print(compared(TABLES[options.table], options.results / f"table{options.table}").markdown())
        return 0
    if options.table == "1" and not options.latex:
        print(table_1.page(options.results))
        return 0
    if options.table:
        if options.table in OTHER_TABLES:
            table, note = OTHER_TABLES[options.table](options.results)
        else:
            table, note = paper_tables.paper_table(options.table, options.results)
        print(table.latex() if options.latex else f"{table.markdown()}\n\n{note}")
        if options.plot:
            plot(options.table, options.results, options.plot)
        return 0
    if options.check in CHECKED_TABLES:
        table, missed = CHECKED_TABLES[options.check](options.results)
    else:
        table, missed = checked(CHECKS[options.check], read_worlds(options.results / options.check))
    print(table.markdown())
    print(f"\n{missed} missed." if missed else "\nAll met.")
    return 1 if missed else 0


def plot(name: str, results: Path, path: Path) -> None:
    """Draw a table."""
    from paper_plots import rows_figure, styles_figure
    from sampling_plot import sampling_figure

    if name == "sampling":
        figure = sampling_figure(results)
    else:
        made, _ = made_rows.read_table(name, results)
        figure = styles_figure(made) if name == "4b" else rows_figure(name, made)
    with file_beside(path) as beside:
        figure.savefig(beside, dpi=150)


def read_worlds(folder: Path) -> dict[str, Figures]:
    """The figures of each world whose models were measured on its test listeners.

    Raises:
        FileNotFoundError: if there are none, or a model was not measured on many listeners.
        ValueError: if they were sampled with different settings.
    """
    runs: dict[int, list[dict]] = defaultdict(list)
    of_many: dict[int, list[dict]] = defaultdict(list)
    for path in sorted(folder.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["world"]["split"] == "test":
            runs[found["world"]["seed"]].append(found)
            of_many[found["world"]["seed"]] += on_many_listeners(path)
    if not runs:
        raise FileNotFoundError(f"There are no results of test listeners in {folder}.")
    everything = [run for found in (runs, of_many) for seed in found for run in found[seed]]
    if len({json.dumps(run["sampling"], sort_keys=True) for run in everything}) > 1:
        raise ValueError(f"The models in {folder} were sampled with different settings; measure them anew.")
    return {
        f"world {seed} ({len(found)} seeds)": Figures(found, Figures(of_many[seed]))
        for seed, found in sorted(runs.items())
    }


def on_many_listeners(path: Path) -> list[dict]:
    """What quality.py --only hops wrote for the model of another result file, under its name, and with other noise."""
    first = path.parents[1] / HOPS / path.name
    if not first.exists():
        raise FileNotFoundError(
            f"There is no {first}: measure the model of {path} on a world of the size listeners as well, with "
            "quality.py --only hops."
        )
    paths = [first, *sorted(first.parent.glob(f"{path.stem}_noise*.json"))]
    return [json.loads(found.read_text(encoding="utf-8")) for found in paths]


def checked(goals: tuple[Goal, ...], worlds: dict[str, Figures]) -> tuple[Table, int]:
    """The table of goals, and how many are missed in one world or another."""
    rows, missed = [], 0
    for goal in goals:
        looked_at = [figures.of_many or figures if goal.on_many else figures for figures in worlds.values()]
        values = [goal.measure(figures, np.arange(figures.num_listeners)) for figures in looked_at]
        met = all(goal.low <= value <= goal.high for value in values)
        missed += not met
        cells = [with_interval(goal, figures, value) for figures, value in zip(looked_at, values, strict=True)]
        said = "" if goal.bounds == DASH else "met" if met else "missed"
        rows.append([goal.title, *cells, goal.bounds, said])
    return Table(["measure", *worlds, "goal", ""], rows), missed


def compared(measures: tuple[Goal, ...], folder: Path) -> Table:
    """Each row that was made, the best personal share first; the first column with its interval over listeners.

    Raises:
        FileNotFoundError: if there are none.
    """
    runs = defaultdict(list)
    for path in sorted(folder.glob("*.json")):
        made = json.loads(path.read_text(encoding="utf-8"))
        runs[made["row"]].append(made["figures"])
    if not runs:
        raise FileNotFoundError(f"There are no results in {folder}.")
    found = {name: Figures(of_row) for name, of_row in runs.items()}
    first, *others = measures
    everybody = {name: np.arange(figures.num_listeners) for name, figures in found.items()}
    order = sorted(found, key=lambda name: -first.measure(found[name], everybody[name]))
    rows = [
        [
            name,
            with_interval(first, found[name], first.measure(found[name], everybody[name])),
            *(number(other.measure(found[name], everybody[name])) for other in others),
        ]
        for name in order
    ]
    return Table(["", *(measure.title for measure in measures)], rows)


def with_interval(goal: Goal, figures: Figures, value: float) -> str:
    """A value with its interval over listeners, where it is one of listeners."""
    generator = np.random.default_rng(0)
    drawn = generator.integers(figures.num_listeners, size=(NUM_SAMPLES, figures.num_listeners))
    if goal.measure(figures, drawn[0]) == goal.measure(figures, drawn[1]) == value:
        return number(goal.scale * value)
    low, high = np.quantile([goal.measure(figures, who) for who in drawn], [0.025, 0.975])
    return f"{number(goal.scale * value)} [{number(goal.scale * low)}, {number(goal.scale * high)}]"


if __name__ == "__main__":
    sys.exit(main())
