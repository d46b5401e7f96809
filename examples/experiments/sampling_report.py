"""Quality against time: every way of sampling and every student beside the teacher's intervals, from the results.

Quality is that of `run.py --table sampling`: means over training seeds, intervals (95 %) over listeners. The
teacher and its students react without a listener, too: the column generic is their FRCorr then. Time is that of
`examples/benchmarks/speed.py`, at the official size: it follows from the steps and how many of them are guided.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from made_rows import Made, read_table, rests_on
from paper_rows import Row
from sampling_rows import ASKED, DTYPES, SAMPLING, STUDENTS, TEACHER, teacher_of

from perfrdiff_hf.evaluation.controls import ANOTHER_HISTORY, GENERIC
from perfrdiff_hf.evaluation.reacting import folder_name
from perfrdiff_hf.evaluation.tables import DASH, Cell, Table, number
from perfrdiff_hf.metrics.statistics import Interval, bootstrap_interval
from perfrdiff_hf.training.stages.distillation import STUDENT_DENOISER


# Whether a student may be above the teacher's interval, and whether it may be below.
MEASURES = {
    "FRCorr PMAFRG": (True, False),
    "FRdist PMAFRG": (False, True),
    "FRDiv": (False, False),
    "FRVar": (False, False),
    "FRRea-motion": (False, True),
    "switches at borders": (False, True),
    "switches inside": (False, True),
}
PERSONAL = "FRCorr PMAFRG"
# Rows of table 1 between which a personal share lies.
ANYBODY, LISTENER = "the world's own, of anybody", "the world's own, of the listener"
SPEED_FILE = Path("sampling", "speed.json")
REAL_TIME_FACTOR, DELAY_SECONDS = 0.2, 0.1


def sampling_table(results: Path) -> tuple[Table, str]:
    """All rows that were made.

    Raises:
        FileNotFoundError: if there are none.
    """
    made, speed = read_rows(results), read_speed(results)
    if not made:
        raise FileNotFoundError(f"There are no rows of the table sampling in {results}; make them with run.py.")
    ends = _ends(results)
    there = [row for row in SAMPLING if row.name in made]
    rows = [_line(row, made[row.name], made.get(teacher_of(row)), speed, ends) for row in there]
    missing = [row.name for row in SAMPLING if row.name not in made]
    note = (
        "Marked: outside the interval of the teacher of the same seeds; for a student asked for other guidance, of "
        "the teacher that is guided so. Seconds: official size, on the machine of speed.json."
    )
    return Table(_header(), rows), note + (f"\n\nNot made yet: {', '.join(missing)}." if missing else "")


def check_sampling(results: Path) -> tuple[Table, int]:
    """Every student beside its teacher, and which of them reach the goals of time with the teacher's quality."""
    made, speed, ends = read_rows(results), read_speed(results), _ends(results)
    rows = [_line(row, made[row.name], made.get(TEACHER), speed, ends) for row in looked_at() if row.name in made]
    width = len(_header())
    lacking = [row.name for row in looked_at() if row.name not in made] + ([] if speed else [str(SPEED_FILE)])
    rows += [[name, *[""] * (width - 2), "missing"] for name in lacking]
    missed = len(lacking)
    good = [
        row for row in looked_at()
        if row.model in STUDENTS and row.name in made and TEACHER in made
        and not outside(made[row.name], made[TEACHER])
    ]  # fmt: skip
    for title, measure, most in (
        ("ten reactions, real-time factor", "ten, real-time factor", REAL_TIME_FACTOR),
        ("one reaction, p95 of the delay, s", "one, p95 s", DELAY_SECONDS),
    ):
        found = {row.name: value for row in good if (value := _best(seconds_of(row, speed), measure)) is not None}
        reached = [f"{name}: {number(value)}" for name, value in found.items() if value <= most]
        missed += not reached
        said = f"met by {'; '.join(reached)}" if reached else "missed"
        rows.append([f"*{title} <= {most}, quality of the teacher*", *[""] * (width - 2), said])
    return Table(_header(), rows), missed


def looked_at() -> list[Row]:
    """The rows of the teacher and its students, as they come."""
    return [row for row in SAMPLING if row.name == TEACHER or (row.model in STUDENTS and row not in ASKED)]


def _header() -> list[str]:
    quality = [*MEASURES, "own - another's", "personal share", GENERIC]
    return ["", "seeds", *quality, "distilling, processor min", "ten, real-time factor", "one, p95 s", ""]


def _line(
    row: Row, made: Made, teacher: Made | None, speed: dict[str, Any], ends: tuple[float, float] | None
) -> list[Cell]:
    """A row of the table; what lies outside the teacher's intervals is marked and named."""
    lost = [] if teacher is None or row.name == TEACHER else outside(made, teacher)
    cells: list[Cell] = [row.name, str(len(made.runs))]
    for measure in MEASURES:
        cell = bootstrap_interval(made.of(measure))
        mark = "* " if measure in lost else ""
        cells.append(f"{mark}{number(cell.value)} [{number(cell.low)}, {number(cell.high)}]")
    seconds = seconds_of(row, speed)
    cells.append(bootstrap_interval(made.of(PERSONAL) - made.of(PERSONAL, ANOTHER_HISTORY)))
    share = None if ends is None else (float(np.mean(made.of(PERSONAL))) - ends[0]) / (ends[1] - ends[0])
    cells.append(_number(share))
    cells.append(bootstrap_interval(made.of(PERSONAL, GENERIC)) if GENERIC in made.controls else DASH)
    cells.append(_number(_distilling_minutes(made)))
    cells += [_number(_best(seconds, measure)) for measure in ("ten, real-time factor", "one, p95 s")]
    return [*cells, f"outside: {', '.join(lost)}" if lost else ""]


def _distilling_minutes(made: Made) -> float | None:
    """How long processors taught the student, whatever else they did beside; None for who is none."""
    took = [run.get("processor_seconds", {}).get(STUDENT_DENOISER) for run in made.runs]
    return None if None in took else float(np.mean(took)) / 60


def outside(made: Made, teacher: Made) -> list[str]:
    """The measures that are worse than the teacher's interval over listeners allows; NaN is worse than anything.

    Raises:
        ValueError: if the teacher was not made of a seed that the student was made of.
    """
    worse = []
    teacher = _of_the_seeds(teacher, made)
    for measure, (above, below) in MEASURES.items():
        value, allowed = float(np.mean(made.of(measure))), _interval(teacher, measure)
        if not ((value >= allowed.low or below) and (value <= allowed.high or above)):
            worse.append(measure)
    return worse


def _of_the_seeds(teacher: Made, made: Made) -> Made:
    """The teacher's runs with the seeds of another row: models of other seeds are others."""
    runs = {run["seed"]: run for run in teacher.runs}
    seeds = [run["seed"] for run in made.runs]
    if lacking := sorted(set(seeds) - set(runs)):
        raise ValueError(
            f"{made.name!r} was made with seed {lacking[0]} and {teacher.name!r} was not; make it with run.py "
            f'"{teacher.name}" --table sampling --seeds {lacking[0]}.'
        )
    return Made(teacher.name, [runs[seed] for seed in seeds])


def _interval(made: Made, measure: str) -> Interval:
    return bootstrap_interval(made.of(measure))


def read_rows(results: Path) -> dict[str, Made]:
    """Rows by name.

    Raises:
        ValueError: if they were made with different data.
    """
    made = {}
    for row in SAMPLING:
        paths = sorted((results / "tablesampling").glob(f"{folder_name(row.name)}-seed*.json"))
        if runs := [json.loads(path.read_text(encoding="utf-8")) for path in paths]:
            made[row.name] = Made(row.name, runs)
    if len({rests_on(run) for row in made.values() for run in row.runs}) > 1:
        raise ValueError(f"The rows of the table sampling in {results} were made with different data; make them anew.")
    return made


def _ends(results: Path) -> tuple[float, float] | None:
    """FRCorr on PMAFRG of the world's own reactions, of anybody and of the listener; None where table 1 lacks them."""
    rows = {row.name: row for row in read_table("1", results)[0]}
    if ANYBODY not in rows or LISTENER not in rows:
        return None
    return float(np.mean(rows[ANYBODY].of(PERSONAL))), float(np.mean(rows[LISTENER].of(PERSONAL)))


def read_speed(results: Path) -> dict[str, Any]:
    """What `examples/benchmarks/speed.py` found, by `way_of`; nothing where it was not run."""
    path = results / SPEED_FILE
    return json.loads(path.read_text(encoding="utf-8"))["ways"] if path.is_file() else {}


def seconds_of(row: Row, speed: dict[str, Any]) -> dict[str, Any]:
    """What was measured for the steps, the guidance and the arithmetic of a row: figures by the form of the model."""
    dtype = row.what.get("dtype", "float32")
    return {form: found for form, found in speed.get(way_of(row), {}).items() if dtype_of(form) == dtype}


def dtype_of(form: str) -> str:
    """In what a form of `speed.py` computes."""
    return next((dtype for dtype in DTYPES if dtype in form), "float32")


def way_of(row: Row) -> str:
    """What decides the time of a row: its steps, and which of them are guided."""
    if row.model in STUDENTS:
        return f"{STUDENTS[row.model].settings['models.student_denoiser.num_inference_steps']} steps, none"
    return ", ".join(row.name.split(", ")[1:3])


def _best(forms: dict[str, Any], measure: str) -> float | None:
    values = [found[measure] for found in forms.values() if found.get(measure) is not None]
    return min(values) if values else None


def _number(value: float | None) -> str:
    return DASH if value is None else number(value)
