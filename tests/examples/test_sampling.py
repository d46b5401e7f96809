"""The table of quality against time, its check, and the benchmark of speed that it reads."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import run
import sampling_report
from sampling_rows import SAMPLING, STUDENTS, TEACHER


ROWS_OF_STUDENTS = [row.name for row in SAMPLING if row.model in STUDENTS]
EXAMPLES = Path(run.__file__).resolve().parents[1]
TEN = "*ten reactions, real-time factor <= 0.2, quality of the teacher*"
ONE = "*one reaction, p95 of the delay, s <= 0.1, quality of the teacher*"
QUALITY = {
    "FRCorr PMAFRG": 2.0, "FRdist PMAFRG": 20.0, "FRDiv": 0.1, "FRVar": 0.05, "FRRea-motion": 8.0,
    "switches at borders": 0.1, "switches inside": 0.1,
}  # fmt: skip


def made(row: str, seed: int = 0, **changed: float) -> dict[str, Any]:
    """What `run.py` writes of a row, with a spread of a tenth over three listeners."""
    spread = np.array([0.9, 1.0, 1.1])
    own = {name: (changed.get(name, value) * spread).tolist() for name, value in QUALITY.items()}
    other = {"FRCorr PMAFRG": (0.5 * spread).tolist()}
    generic = {"FRCorr PMAFRG": (0.25 * spread).tolist()}
    systems = {
        "personalised": {"listeners": own},
        "personalised, another's history": {"listeners": other},
        "generic": {"listeners": generic},
    }
    figures = {"system": "personalised", "systems": systems, "listeners": ["a", "b", "c"]}
    seconds = {"student_denoiser": 1830.0} if row in ROWS_OF_STUDENTS else {}
    told = {"row": row, "seed": seed, "figures": figures, "processor_seconds": seconds}
    return {**told, "configuration": {"data": {"train": "1"}}}


def write(results: Path, row: str, found: dict[str, Any]) -> None:
    path = results / "tablesampling" / f"{run.folder_name(row)}-seed{found['seed']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found))


def write_speed(results: Path, ten: float = 0.15) -> None:
    (results / "sampling").mkdir(parents=True, exist_ok=True)
    ways = {
        "4 steps, none": {"eager": {"ten, real-time factor": 0.3, "one, p95 s": 0.2},
                          "compiled": {"ten, real-time factor": ten, "one, p95 s": 0.09}},
        "50 steps, interval": {"eager": {"ten, real-time factor": 4.0, "one, p95 s": 1.5}},
    }  # fmt: skip
    (results / "sampling" / "speed.json").write_text(json.dumps({"ways": ways}))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write(tmp_path, TEACHER, made(TEACHER))
    for name in ROWS_OF_STUDENTS:
        write(tmp_path, name, made(name))
    write_speed(tmp_path)
    return tmp_path


def check(results: Path, capsys: Any) -> tuple[int, dict[str, str]]:
    code = runpy.run_path(str(EXAMPLES / "experiments" / "report.py"))["main"](
        ["--check", "sampling", "--results", str(results)]
    )
    lines = capsys.readouterr().out.splitlines()
    return code, {line.split(" | ")[0].removeprefix("| "): line for line in lines if " | " in line}


def test_a_fast_student_as_good_as_its_teacher_meets_the_goals(results, capsys):
    code, lines = check(results, capsys)
    assert code == 0
    assert lines[TEACHER].count("[") == len(QUALITY) + 2 and "4.000" in lines[TEACHER]
    assert " 1.500 [" in lines[TEACHER] and " 0.2500 [" in lines[TEACHER]  # against another's history; generic
    assert "| 30.50 | 0.1500 | 0.0900 |" in lines["student, 4 steps"] and "| – | 4.000 |" in lines[TEACHER]
    assert "met by student, 4 steps: 0.1500" in lines[TEN]
    assert (
        "met by student, 4 steps: 0.0900"
        in lines["*one reaction, p95 of the delay, s <= 0.1, quality of the teacher*"]
    )


def test_the_share_lies_between_the_oracles_of_table_1(results, capsys):
    assert " 0.7500 | " not in check(results, capsys)[1][TEACHER]
    for name, value in ((sampling_report.ANYBODY, 0.5), (sampling_report.LISTENER, 2.5)):
        found = made(name, **{"FRCorr PMAFRG": value})
        found["configuration"]["training"] = {"seed": 0}
        path = results / "table1" / f"{run.folder_name(name)}-seed0.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(found))
    assert " 0.7500 | " in check(results, capsys)[1][TEACHER]


@pytest.mark.parametrize(
    ("measure", "value"), [("FRDiv", 0.05), ("FRDiv", 0.2), ("FRCorr PMAFRG", 1.0), ("FRRea-motion", 20.0)]
)
def test_a_student_that_loses_something_does_not_count(results, capsys, measure, value):
    write(results, "student, 4 steps", made("student, 4 steps", **{measure: value}))
    code, lines = check(results, capsys)
    assert code == 1
    assert lines["student, 4 steps"].endswith(f"| outside: {measure} |")
    assert "| missed |" in lines[TEN]


def test_more_correlation_and_less_motion_are_no_loss(results, capsys):
    better = {"FRCorr PMAFRG": 3.0, "FRdist PMAFRG": 10.0, "FRRea-motion": 4.0, "switches inside": 0.05}
    write(results, "student, 4 steps", made("student, 4 steps", **better))
    assert check(results, capsys)[0] == 0


def test_a_student_is_measured_by_its_teacher_of_the_same_seeds(results, capsys):
    write(results, TEACHER, made(TEACHER, seed=1, FRDiv=0.2))
    code, lines = check(results, capsys)  # the mean of both teachers has .15, that of the students' seed .1
    assert code == 0 and "0.1500 [" in lines[TEACHER]
    write(results, "student, 4 steps", made("student, 4 steps", seed=1))
    assert check(results, capsys)[1]["student, 4 steps"].endswith("| outside: FRDiv |")
    write(results, "student, 4 steps", made("student, 4 steps", seed=2))
    with pytest.raises(ValueError, match=r"'student, 4 steps' was made with seed 2 and .*--seeds 2"):
        check(results, capsys)


def test_quality_against_time_is_drawn(results, capsys):
    words = ["--table", "sampling", "--results", str(results), "--plot"]
    report = runpy.run_path(str(EXAMPLES / "experiments" / "report.py"))["main"]
    write(results, "DDIM, 4 steps, none", made("DDIM, 4 steps, none"))
    assert report([*words, str(results / "quality.png")]) == 0
    assert (results / "quality.png").stat().st_size > 10_000
    with pytest.raises(SystemExit):
        report(["--table", "live", "--results", str(results), "--plot", str(results / "live.png")])
    assert "--plot needs --table with one of" in capsys.readouterr().err
    (results / "sampling" / "speed.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"or speed\.json; make them first"):
        report([*words, str(results / "quality.png")])


def test_a_row_in_bfloat16_has_the_time_of_bfloat16_and_no_other(results, capsys):
    path = results / "sampling" / "speed.json"
    ways = json.loads(path.read_text())["ways"]
    ways["4 steps, none"]["bfloat16, compiled"] = {"ten, real-time factor": 0.012, "one, p95 s": 0.03}
    path.write_text(json.dumps({"ways": ways}))
    _, lines = check(results, capsys)
    assert "0.1500" in lines["student, 4 steps"] and "0.0120" not in lines["student, 4 steps"]
    assert "0.0120" in lines["student, 4 steps, bfloat16"]
    write(results, "student, 4 steps, bfloat16", made("student, 4 steps, bfloat16", FRDiv=0.01))
    assert check(results, capsys)[1][TEN].endswith("| met by student, 4 steps: 0.1500 |")


def test_what_is_slow_or_missing_is_missed(results, capsys):
    write_speed(results, ten=0.25)
    code, lines = check(results, capsys)
    assert code == 1 and "| missed |" in lines[TEN]
    write_speed(results)
    (results / "tablesampling" / "student_1_steps-seed0.json").unlink()
    code, lines = check(results, capsys)
    assert code == 1 and lines["student, 1 steps"].endswith("| missing |")


def test_the_table_shows_what_was_made_and_names_the_rest(results):
    table, note = sampling_report.sampling_table(results)
    assert [str(row[0]) for row in table.rows] == [TEACHER, *ROWS_OF_STUDENTS]
    assert "Not made yet: DDIM, 50 steps, none" in note
    assert len({row.name for row in SAMPLING}) == len(SAMPLING)
    with pytest.raises(FileNotFoundError, match="no rows of the table sampling"):
        sampling_report.sampling_table(results / "nowhere")


def test_students_are_measured_as_they_are_distilled(tmp_path):
    """What the table says of students holds for those that `distill.py` makes where nothing else is said."""
    learning = runpy.run_path(str(EXAMPLES / "distill.py"))["LEARNING"]
    words = ["--table", "sampling", "--world", "w", "--work", str(tmp_path)]
    maker = run.Maker(run.parse(words), None, {}, run.load_config("bench").to_dict())
    for model in STUDENTS.values():
        stage = vars(maker.config_of(model).stages["student_denoiser"])
        assert {name: stage[name] for name in learning} == learning


def test_a_user_picks_by_quality_delay_and_listeners(results, capsys):
    report = runpy.run_path(str(EXAMPLES / "experiments" / "report.py"))["main"]
    words = ["--table", "live", "--results", str(results)]
    write(results, "student, 4 steps, bfloat16", made("student, 4 steps, bfloat16", FRDiv=0.05))
    time = {"one, p95 s": 0.1, "one, x floor": 1.5, "ten, real-time factor": 0.2}
    forms = dict.fromkeys(("eager", "compiled", "bfloat16", "ONNX Runtime", "int8, ONNX Runtime"), time)
    ways = dict.fromkeys(("50 steps, interval", "4 steps, none"), forms)
    (results / "sampling" / "speed.json").write_text(json.dumps({"ways": ways}))
    with pytest.raises(FileNotFoundError, match=r"lacks the table sampling, speed.json or listeners.json"):
        report(words)
    session = {"steps": 4, "form": "float32", "hop": 50, "dropped": 0, "late": 0, "p95 s": 0.25, "minutes": 10}
    sessions = [{**session, "listeners": 8}, {**session, "listeners": 16}, {**session, "listeners": 32, "late": 1}]
    sessions += [{**session, "listeners": 8, "hop": 10, "dropped": 100}]
    sessions += [{**session, "listeners": 64, "hop": hop, "minutes": 1} for hop in (50, 10)]  # says less than ten
    (results / "sampling" / "listeners.json").write_text(json.dumps({"sessions": sessions}))
    report(words)
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    found = {(name, form): rest for name, form, *rest in lines}
    assert found[TEACHER, "float32"][3] == "" and found[TEACHER, "float32"][-2:] == ["–", "–"]
    assert found["student, 4 steps", "float32"][3:] == [
        "nothing", "0.1000", "1.500", "0.2000", "16 (0.2500 s)", "fewer than 8"
    ]  # fmt: skip
    assert found["student, 4 steps", "float32, compiled"][-2:] == ["–", "–"]
    assert {("student, 4 steps", form) for form in ("float32, ONNX Runtime", "int8, ONNX Runtime")} <= set(found)
    assert found["student, 4 steps", "bfloat16"][3] == "FRDiv"
    measured = {form for name, form in found if name == TEACHER}  # its quality is that of float32
    assert measured == {"float32", "float32, compiled", "float32, ONNX Runtime"}


def test_the_benchmark_measures_every_way_in_every_form(make_pipeline, tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES / "benchmarks"))
    import measuring
    import speed

    monkeypatch.setattr(speed, "official_pipeline", make_pipeline)
    monkeypatch.setattr(speed, "product_speed", lambda: measuring.Speed(1e9, 1e9))
    earlier = {"1 steps, none": {"compiled": {}, "eager": {}}, "2 steps, none": {"eager": {}}}
    (tmp_path / "speed.json").write_text(json.dumps({"machine": measuring.machine(), "ways": earlier}))
    words = ["--eager", "--windows", "1", "--latency_windows", "2", "--steps", "1", "--guidance", "none"]
    words += ["--output", str(tmp_path / "speed.json")]
    monkeypatch.setattr(sys, "argv", ["speed.py", *words])
    speed.main()
    found = json.loads((tmp_path / "speed.json").read_text())
    assert set(found["ways"]) == {"1 steps, none", "2 steps, none"}
    assert set(found["ways"]["1 steps, none"]) == {"compiled", "eager", "bfloat16"}  # what was there stays
    figures = found["ways"]["1 steps, none"]["eager"]
    assert all(value > 0 for value in figures.values()) and figures["one, p50 s"] <= figures["one, p95 s"]
    assert "matrix products" in capsys.readouterr().out
    known = {f"{steps} steps, {guidance}" for steps, guidance in speed.WAYS}
    assert {sampling_report.way_of(row) for row in SAMPLING} == known


@pytest.fixture
def live(make_pipeline, monkeypatch):
    """The benchmark of live listeners, with a small pipeline."""
    monkeypatch.syspath_prepend(str(EXAMPLES / "benchmarks"))
    import listeners

    monkeypatch.setattr(listeners, "official_pipeline", make_pipeline)
    return listeners


def test_live_sessions_lose_no_segment_and_keep_what_is_written_of_others(live, tmp_path, monkeypatch):
    words = ["--hops", "10", "--steps", "1", "--minutes", "0.03", "--output", str(tmp_path / "live.json")]
    for listeners in (["3"], ["2", "3"]):
        monkeypatch.setattr(sys, "argv", ["listeners.py", "--listeners", *listeners, *words])
        live.main()
    sessions = json.loads((tmp_path / "live.json").read_text())["sessions"]
    # 45 frames: a segment each ten frames, and one more of whoever had heard five frames before.
    assert {one["listeners"]: (one["segments"], one["dropped"]) for one in sessions} == {2: (9, 0), 3: (13, 0)}
    assert all(one["p50 s"] <= one["p95 s"] <= one["longest s"] for one in sessions)


def test_a_live_session_that_falls_behind_is_given_up(live, make_pipeline, monkeypatch):
    monkeypatch.setattr(live, "TOO_LATE_SECONDS", 0.0)
    found = live.session(make_pipeline(), listeners=2, hop=1, steps=1, minutes=1)
    assert 2 <= found["segments"] < 100 and found["dropped"] == 2 * 1500 - found["segments"]
