"""What a training run is asked to do, and everything that is checked before anything trains."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..baselines.stage import Stage
from ..baselines.system import System, get_system
from ..cards import REPORT_NAME, UNKNOWN_LICENSE, read_report
from .checkpoints import LATEST, checkpoints_of, settings_in, steps_in
from .config import TrainingConfig
from .provenance import CONFIG_NAME, check_finished, check_parts, check_resumable, is_model, settings_of_stage


@dataclass
class TrainingJob:
    """What `run_training` is to do.

    Args:
        stage: the component to train, or `"all"`.
        config: how.
        data_dir: folder of recorded dyads, of any source.
        output_dir: where models, checkpoints and logs go.
        cache_dir: where computed features are kept; None is the cache of `datasets`.
        resume_from_checkpoint: `"latest"`, the name of a checkpoint, or None.
        overwrite_output_dir: forget what the stages trained before; their models stay until the new ones are saved.
        push_to_hub: upload what was trained.
        hub_model_id: to which repository.
        hub_license: of the uploaded weights, as the Hub names it; they may be bound by the licence of the data.
    """

    stage: str
    config: TrainingConfig
    data_dir: str | os.PathLike
    output_dir: str | os.PathLike
    cache_dir: str | os.PathLike | None = None
    resume_from_checkpoint: str | None = None
    overwrite_output_dir: bool = False
    push_to_hub: bool = False
    hub_model_id: str | None = None
    hub_license: str = UNKNOWN_LICENSE

    @property
    def system(self) -> System:
        """The system that is trained."""
        return get_system(self.config.system)

    @property
    def stages(self) -> list[Stage]:
        """The stages to train, in order.

        Raises:
            ValueError: if there is no such stage.
        """
        return list(self.system.stages) if self.stage == "all" else [self.system.stage(self.stage)]

    @property
    def output(self) -> Path:
        """The output folder."""
        return Path(self.output_dir)


def check_job(job: TrainingJob, processes: int) -> None:
    """See that a job can be done, as far as that is known without reading the data.

    Args:
        job: what is asked.
        processes: how many train together.

    Raises:
        ValueError: if the job contradicts itself, or would overwrite what was trained before.
        FileNotFoundError: if a component that is needed has not been trained, or a checkpoint is missing.
        OSError: if the output folder cannot be written to.
    """
    stages = job.stages
    job.system.check_recipe(job.config)
    if job.push_to_hub and not job.hub_model_id:
        raise ValueError("push_to_hub needs hub_model_id, the repository to upload to.")
    if job.resume_from_checkpoint is not None and job.overwrite_output_dir:
        raise ValueError("Give resume_from_checkpoint or overwrite_output_dir, not both.")
    check_needs(stages, job.output)
    check_batches(job.config, stages, processes)
    for stage in stages:
        if job.resume_from_checkpoint is None and not job.overwrite_output_dir:
            _check_untouched(stage, job.output)
        elif job.resume_from_checkpoint not in (None, LATEST):
            steps_in(checkpoints_of(job.output, stage.name), job.resume_from_checkpoint or LATEST)
    _check_writable(job.output)


def check_batches(config: TrainingConfig, stages: Sequence[Stage], processes: int) -> None:
    """See that each stage's batches can be divided among processes and accumulation steps.

    Raises:
        ValueError: if not.
    """
    for stage in stages:
        told = config.stages[stage.name]
        if told.batch_size % (processes * told.gradient_accumulation_steps):
            raise ValueError(
                f"stages.{stage.name}.batch_size ({told.batch_size}) must be a multiple of processes x "
                f"gradient_accumulation_steps ({processes} x {told.gradient_accumulation_steps}): it counts all "
                "examples of an optimiser step. Train with fewer processes, or with a configuration whose batches are "
                "larger, such as paper_8gpu."
            )


def check_needs(stages: Sequence[Stage], output_dir: Path) -> None:
    """See that what the stages need is there, or trained by a stage before.

    Raises:
        FileNotFoundError: if not; the message says how to train it.
    """
    coming: set[str] = set()
    for stage in stages:
        for part in stage.needs:
            if part not in coming and not is_model(output_dir / part):
                raise FileNotFoundError(
                    f"Stage {stage.name} needs the {part}, which is not in {output_dir / part}. Train it first, with "
                    f"stage {part!r} and the same output_dir."
                )
        coming.add(stage.name)


def plan_stages(job: TrainingJob, data_digest: str) -> list[Stage]:
    """The stages that have to train: all of the job, but for those that resuming finds finished as they are asked for.

    Args:
        job: what is asked.
        data_digest: of the training split.

    Raises:
        ValueError: if what was trained before was trained with other settings, other components or other data.
    """
    stages = job.stages
    asked = {stage.name for stage in stages}
    check_parts(job.system, _all_needs(job.system, stages) - asked, job.output)
    training: list[Stage] = []
    for stage in stages:
        if job.overwrite_output_dir or not _is_finished(stage, job, data_digest, [s.name for s in training]):
            training.append(stage)
    return training


def _is_finished(stage: Stage, job: TrainingJob, data_digest: str, training: Sequence[str]) -> bool:
    """Whether a stage's model is there as it is asked for; raises if it is there, or half there, in another way."""
    folder = job.output / stage.name
    current = settings_of_stage(stage, job.config, job.output, data_digest)
    anew = [part for part in stage.needs if part in training]
    saved: dict[str, Any] | None
    if job.resume_from_checkpoint == LATEST and is_model(folder):
        saved = (read_report(folder) or {}).get("settings")
        if saved is None:
            raise ValueError(
                f"{folder} holds a model that does not say with which settings it was trained. Train it again with "
                "overwrite_output_dir, or use another output_dir."
            )
        check_finished(stage, saved, _with_new_inputs(current, anew), folder)
        return True
    saved = settings_in(checkpoints_of(job.output, stage.name), job.resume_from_checkpoint or LATEST)
    if saved is not None:
        check_resumable(saved, _with_new_inputs(current, anew))
    return False


def _with_new_inputs(settings: dict[str, Any], anew: Sequence[str]) -> dict[str, Any]:
    """The settings, where components that this very job trains are not those that lie there now."""
    return {**settings, "inputs": {**settings["inputs"], **dict.fromkeys(anew, "trained by this run")}}


def _all_needs(system: System, stages: Sequence[Stage]) -> set[str]:
    """Every component that stages need, directly or through others."""
    found: set[str] = set()
    for stage in reversed(system.stages):
        if stage in stages or stage.name in found:
            found |= set(stage.needs)
    return found


def _check_untouched(stage: Stage, output_dir: Path) -> None:
    """See that a stage has left nothing in a folder.

    Raises:
        ValueError: if it has.
    """
    checkpoints = checkpoints_of(output_dir, stage.name)
    for found in (output_dir / stage.name / REPORT_NAME, output_dir / stage.name / CONFIG_NAME):
        if found.is_file():
            what = f"{found.parent} holds a model of an earlier run"
            break
    else:
        if not steps_in(checkpoints):
            return
        what = f"{checkpoints} holds checkpoints of an earlier run"
    raise ValueError(
        f'{what}. Continue with resume_from_checkpoint "latest", train it again with overwrite_output_dir, or use '
        "another output_dir."
    )


def _check_writable(output_dir: Path) -> None:
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"output_dir: {output_dir} cannot be made: {error}") from None
    if not os.access(output_dir, os.W_OK):
        raise OSError(f"output_dir: {output_dir} cannot be written to.")
