"""From what a user of live reactions picks: how good a teacher and its students are, how soon, for how many at once.

Quality is that of `run.py --table sampling`, time that of `examples/benchmarks/speed.py`, and listeners that of
`examples/benchmarks/listeners.py`, both at the official size.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from paper_rows import Row
from sampling_report import dtype_of, looked_at, outside, read_rows, read_speed, seconds_of, way_of
from sampling_rows import TEACHER

from perfrdiff_hf.evaluation.tables import DASH, Cell, Table, number


LISTENERS_FILE = Path("sampling", "listeners.json")
QUALITY = ("FRCorr PMAFRG", "FRDiv", "FRRea-motion")
TIME = ("one, p95 s", "one, x floor", "ten, real-time factor")
HOPS = (50, 10)
EAGER = "eager"
NOTE = (
    "Loses: what lies outside the intervals of 50 steps. One: one reaction, from the last frame of the speaker's "
    "window to the segment, and its processor time over the counted arithmetic. Ten: ten at once. Listeners: "
    "the most that were tried and carried, one reaction each, none dropped and none later than the next was due; in "
    "brackets the delay, p95."
)


def live_table(results: Path) -> tuple[Table, str]:
    """Each model in each form in which its time was measured.

    Raises:
        FileNotFoundError: if a file of the three is missing.
    """
    made, speed, sessions = read_rows(results), read_speed(results), _sessions(results)
    if TEACHER not in made or not speed or not sessions:
        raise FileNotFoundError(f"{results} lacks the table sampling, speed.json or listeners.json; make them first.")
    rows, models = [], list(dict.fromkeys(row.model for row in looked_at()))
    for row in sorted(looked_at(), key=lambda row: models.index(row.model)):
        if row.name not in made:
            continue
        lost = ", ".join(outside(made[row.name], made[TEACHER])) or ("" if row.name == TEACHER else "nothing")
        quality = [number(float(np.mean(made[row.name].of(measure)))) for measure in QUALITY]
        for form, found in seconds_of(row, speed).items():
            time = [number(found[measure]) for measure in TIME]
            carried = [_carried(row, form, hop, sessions) for hop in HOPS]
            rows.append([row.model if row.name != TEACHER else row.name, _told(form), *quality, lost, *time, *carried])
    header = ["", "computes in", *QUALITY, "loses", *TIME, *(f"listeners, hop {hop}" for hop in HOPS)]
    return Table(header, rows), NOTE


def _sessions(results: Path) -> list[dict[str, Any]]:
    path = results / LISTENERS_FILE
    return json.loads(path.read_text(encoding="utf-8"))["sessions"] if path.is_file() else []


def _carried(row: Row, form: str, hop: int, sessions: list[dict[str, Any]]) -> Cell:
    """The largest of a model's longest sessions that kept up, or that even the smallest did not."""
    tried = [
        one for one in sessions
        if (f"{one['steps']} steps, none", one["form"], one["hop"]) == (way_of(row), _told(form), hop)
    ]  # fmt: skip
    if not tried:
        return DASH
    longest = max(one["minutes"] for one in tried)
    tried = [one for one in tried if one["minutes"] == longest]
    kept = [one for one in tried if not one["dropped"] and not one["late"]]
    if not kept:
        return f"fewer than {min(one['listeners'] for one in tried)}"
    most = max(kept, key=lambda one: one["listeners"])
    return f"{most['listeners']} ({number(most['p95 s'])} s)"


def _told(form: str) -> str:
    """What a form of `speed.py` computes in, and with what."""
    if form == EAGER:
        return dtype_of(form)
    return form if dtype_of(form) in form else f"{dtype_of(form)}, {form}"
