"""The rows of the table of quality against time: ways to sample one model, and its students. Nothing here runs."""

from __future__ import annotations

from typing import Any

from paper_rows import RECIPE, Model, Row


# By the names of papers; the classes are those of diffusers.
SOLVERS = {
    "DDIM": "DDIMScheduler",
    "DPM-Solver++": "DPMSolverMultistepScheduler",
    "UniPC": "UniPCMultistepScheduler",
    "LCM": "LCMScheduler",
}
# The scale is the model's own; in the first half of the steps, or in all.
GUIDANCE: dict[str, dict[str, Any]] = {
    "none": {"guidance_scale": 1.0},
    "interval": {"guidance_interval": [0.0, 0.5]},
    "full": {"guidance_interval": [0.0, 1.0]},
}
STEPS = (50, 20, 10, 6, 4, 2, 1)
# With one step all solvers are DDIM, and with many they end where it does.
FEWER_STEPS = (20, 10, 6, 4, 2)
STUDENT_STEPS = (4, 2, 1)
# As students come; here for the record of how they were measured.
SMOOTH = {"settings": {"smooth_action_units": True}}
# In what a denoiser may compute instead of float32; noise and steps stay in it. Eight bits are those of ONNX Runtime.
BFLOAT16, INT8 = DTYPES = ("bfloat16", "int8")
# What students are to keep up with.
TEACHER = "DDIM, 50 steps, interval"
DISTIL_STEPS = "stages.student_denoiser.max_steps"


def _student(steps: int) -> Model:
    learning = {"batch_size": 16, "learning_rate": 3e-4, "warmup_steps": 50}
    return Model(
        {
            "models.student_denoiser.num_inference_steps": steps,
            "models.student_denoiser.teacher_steps": 20,
            DISTIL_STEPS: 4000,
            **{f"stages.student_denoiser.{name}": value for name, value in learning.items()},
        },
        ("student_denoiser",),
        "student",
        on=RECIPE,
    )


def _way(solver: str, steps: int, guidance: str) -> Row:
    name, settings = f"{solver}, {steps} steps, {guidance}", {"num_inference_steps": steps, **GUIDANCE[guidance]}
    what = {"scheduler": SOLVERS[solver], "settings": settings, "generic": name == TEACHER}
    return Row(name, "sampling", RECIPE, what)


def _smoothed(row: Row) -> Row:
    """The control of what students owe to the smoothing of their action units: their teacher with it."""
    settings = {**row.what["settings"], **SMOOTH["settings"]}
    return Row(f"{row.name}, smoothed", row.kind, row.model, {**row.what, "settings": settings, "generic": False})


def _guided(row: Row, scale: float) -> Row:
    """A row with another guidance scale than the model's own."""
    settings = {**row.what["settings"], "guidance_scale": scale}
    return Row(f"{row.name}, guidance {scale:g}", row.kind, row.model, {**row.what, "settings": settings})


STUDENTS = {f"student, {steps} steps": _student(steps) for steps in STUDENT_STEPS}
WAYS = tuple(
    _way(solver, steps, guidance)
    for solver in SOLVERS
    for steps in (STEPS if solver == "DDIM" else FEWER_STEPS)
    for guidance in GUIDANCE
)
PLAIN_STUDENTS = {name: Row(name, "sampling", name, SMOOTH) for name in STUDENTS}
# A student that is asked for other guidance than its teacher's own; and by its name, the teacher that is guided so.
ASKED = tuple(_guided(PLAIN_STUDENTS["student, 2 steps"], scale) for scale in (1.0, 4.0))
STRONGLY_GUIDED = _guided(_way("UniPC", 20, "interval"), 4.0)
TEACHERS = dict(zip((row.name for row in ASKED), ("UniPC, 20 steps, none", STRONGLY_GUIDED.name), strict=True))
SAMPLING = (
    *WAYS,
    _smoothed(_way("DDIM", 50, "interval")),
    STRONGLY_GUIDED,
    *PLAIN_STUDENTS.values(),
    *(Row(f"{name}, {dtype}", "sampling", name, {"dtype": dtype, **SMOOTH}) for dtype in DTYPES for name in STUDENTS),
    *ASKED,
)


def teacher_of(row: Row) -> str:
    """The row whose intervals a row is measured by."""
    return TEACHERS.get(row.name, TEACHER)
