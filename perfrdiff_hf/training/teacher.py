"""A trained pipeline as the teacher of a student: its components in the folder of a run, its ways as settings."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..pipelines.sampling import OFFICIAL_SCHEDULER_CONFIG
from .provenance import digest_of_model, is_model
from .stages import PERFRDIFF


INDEX_NAME = "model_index.json"
SCHEDULER_FILE = Path("scheduler", "scheduler_config.json")


def take_teacher(folder: str | os.PathLike, output_dir: str | os.PathLike) -> dict[str, Any]:
    """Let the components of a saved pipeline stand in the folder of a run, by reference, for the stage that distils.

    Args:
        folder: a personal PerFRDiff pipeline that `save_pretrained` wrote.
        output_dir: of the run; made if need be.

    Returns:
        Settings of the run by dotted name: how the teacher is sampled, and its noise schedule.

    Raises:
        FileNotFoundError: if the folder holds no such pipeline; nothing is made then.
        ValueError: if the run has another teacher already.
    """
    teacher, output = Path(folder), Path(output_dir)
    if not (teacher / INDEX_NAME).is_file():
        raise FileNotFoundError(
            f"teacher: {teacher} holds no pipeline (no {INDEX_NAME}). Give the folder of a saved one."
        )
    for name in PERFRDIFF.stage_names:
        if not is_model(teacher / name):
            raise FileNotFoundError(
                f"teacher: the pipeline in {teacher} has no {name}. A student needs a personal PerFRDiff pipeline, "
                f"with {', '.join(PERFRDIFF.stage_names)}."
            )
        known = output / name
        if is_model(known) and digest_of_model(known) != digest_of_model(teacher / name):
            raise ValueError(
                f"output_dir: {output} holds the {name} of another teacher than {teacher}; use another output_dir."
            )
    output.mkdir(parents=True, exist_ok=True)
    for name in PERFRDIFF.stage_names:
        if not is_model(output / name):
            with suppress(FileExistsError):  # another process of the run was here first
                (output / name).symlink_to((teacher / name).resolve())
    saved = json.loads((teacher / SCHEDULER_FILE).read_text(encoding="utf-8"))
    differs = {
        name: saved[name] for name, value in OFFICIAL_SCHEDULER_CONFIG.items() if saved.get(name, value) != value
    }
    sampling = json.loads((teacher / INDEX_NAME).read_text(encoding="utf-8")).get("sampling") or {}
    return {"models.sampling": sampling, "models.scheduler": differs}
