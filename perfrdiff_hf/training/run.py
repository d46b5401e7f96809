"""A training job: checks first, then the stages one after the other, then the pipeline."""

from __future__ import annotations

import json
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, ProjectConfiguration
from diffusers import DDIMScheduler
from torch import nn

from ..data.corpus import Corpus
from ..feature_extraction import PerFRDiffFeatureExtractor
from ..pipelines.perfrdiff import OFFICIAL_SCHEDULER_CONFIG, PerFRDiffPipeline
from .config import STAGES, TrainingConfig
from .loop import StageRun, total_steps
from .order import ExampleStream, mixed_seed
from .stages import COMPONENT_CLASSES, Stage, check_models, check_part, get_stages, load_parts
from .validation import StageValidation


logger = logging.getLogger(__name__)

REPORT_NAME = "training.json"
PIPELINE_FOLDER = "model"


@dataclass
class TrainingJob:
    """What `run_training` is to do.

    Args:
        stage: one of the stages, or `"all"`.
        config: how.
        data_dir: folder in the REACT2024 layout.
        output_dir: where models, checkpoints and logs go.
        cache_dir: where computed features are kept; None is the cache of `datasets`.
        resume_from_checkpoint: `"latest"`, the name of a checkpoint, or None.
        overwrite_output_dir: forget earlier checkpoints of the stage.
        push_to_hub: upload what was trained.
        hub_model_id: to which repository.
    """

    stage: str
    config: TrainingConfig
    data_dir: str
    output_dir: str
    cache_dir: str | None = None
    resume_from_checkpoint: str | None = None
    overwrite_output_dir: bool = False
    push_to_hub: bool = False
    hub_model_id: str | None = None


def run_training(job: TrainingJob) -> None:
    """Train the stages of a job; the models lie in `output_dir/<component>`, the pipeline in `output_dir/model`.

    Raises:
        ValueError: if the job cannot be done as it is described; nothing has been trained then.
        FileNotFoundError: if the data folder, a file in it, or the model of an earlier stage is missing.
    """
    stages = get_stages(job.stage)
    output_dir = Path(job.output_dir)
    check_models(job.config)
    if job.push_to_hub and not job.hub_model_id:
        raise ValueError("--push_to_hub needs --hub_model_id.")
    check_part_of_stages(stages, output_dir)
    accelerator = _accelerator(job.config, output_dir)
    for stage in stages:  # of which the batch size is checked before the first one trains
        config = getattr(job.config.stages, stage.name)
        ExampleStream(1, config.batch_size, 0, 0, accelerator.num_processes, config.gradient_accumulation_steps)
    _check_writable(output_dir)
    corpus = _open_corpus(job, accelerator)
    for stage in stages:
        run_stage(stage, job, corpus, accelerator)
    if stages[-1].name == STAGES[-1] and accelerator.is_main_process:
        save_pipeline(output_dir, corpus, job.config)
    if job.push_to_hub and accelerator.is_main_process:
        from ..hub import push_training

        whole = stages[-1].name == STAGES[-1]
        url = push_training(output_dir, "pipeline" if whole else stages[-1].component, job.hub_model_id or "")
        logger.info(f"uploaded to {url}.")
    accelerator.wait_for_everyone()
    accelerator.end_training()


def check_part_of_stages(stages: list[Stage], output_dir: Path) -> None:
    """See that what the stages need is there, or trained by a stage before.

    Raises:
        FileNotFoundError: if not.
    """
    coming: set[str] = set()
    for stage in stages:
        for component in stage.needs:
            if component not in coming:
                check_part(stage, component, output_dir)
        coming.add(stage.component)


def run_stage(stage: Stage, job: TrainingJob, corpus: Corpus, accelerator: Accelerator) -> None:
    """Train one stage and save its model, unless resuming finds it finished."""
    output_dir, config = Path(job.output_dir), job.config
    examples = stage.examples(corpus, "train", config)
    steps = total_steps(getattr(config.stages, stage.name), len(examples))
    if job.resume_from_checkpoint == "latest" and _is_finished(output_dir / stage.component, steps):
        logger.info(f"{stage.name}: finished before; its model in {output_dir / stage.component} is kept.")
        return
    parts = load_parts(stage, output_dir)
    torch.manual_seed(mixed_seed(config.seed, STAGES.index(stage.name)))
    extractor = PerFRDiffFeatureExtractor(mean_face=corpus.mean_face().tolist())
    objective = stage.objective(stage.new_model(config, parts), parts, extractor, new_scheduler(config))
    draws = stage.draws(config, objective)
    validation = StageValidation(stage, corpus, config, draws, output_dir, accelerator)
    run = StageRun(stage.name, objective, examples, draws, stage.collate, config, output_dir, accelerator, validation)
    _begin(run, job)
    figures = run.train()
    report = {
        "stage": stage.name,
        "steps": steps,
        "examples": len(examples),
        "processes": accelerator.num_processes,
        "data": corpus.data_dir.name,
        "figures": figures,
        "config": config.to_dict(),
    }
    save_component(run, output_dir / stage.component, report, accelerator)
    accelerator.free_memory()


def _begin(run: StageRun, job: TrainingJob) -> None:
    if job.resume_from_checkpoint is not None:
        run.resume(job.resume_from_checkpoint)
    elif job.overwrite_output_dir:
        if run.accelerator.is_main_process:
            shutil.rmtree(run.checkpoints.folder, ignore_errors=True)
    elif run.checkpoints.steps():
        raise ValueError(
            f"{run.checkpoints.folder} holds checkpoints of an earlier run. Continue it with "
            "--resume_from_checkpoint latest, forget it with --overwrite_output_dir, or use another --output_dir."
        )
    run.accelerator.wait_for_everyone()


def save_component(run: StageRun, folder: Path, report: dict[str, Any], accelerator: Accelerator) -> None:
    """Write the trained model, and beside it `training.json` with how it came about; all processes call this."""
    accelerator.wait_for_everyone()
    whole = _whole_model(run, accelerator)
    if accelerator.is_main_process:
        beside = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(beside, ignore_errors=True)
        with run.averaged_weights():
            whole.save_pretrained(str(beside))
        (beside / REPORT_NAME).write_text(json.dumps(report, indent=2), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(beside, folder)
        logger.info(f"{run.name}: saved {folder}.")
    accelerator.wait_for_everyone()


def _whole_model(run: StageRun, accelerator: Accelerator) -> Any:
    """The trained model with all its weights in this process; under FSDP that is a copy."""
    trained: Any = run.objective.trained
    if accelerator.distributed_type != DistributedType.FSDP:
        return trained
    weights = accelerator.get_state_dict(run.state.model)
    if not accelerator.is_main_process:
        return trained
    kind = type(trained)
    copy: nn.Module = kind(trained.config) if hasattr(kind, "config_class") else kind.from_config(trained.config)
    prefix = "trained."
    copy.load_state_dict({name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)})
    return copy


def new_scheduler(config: TrainingConfig) -> Any:
    """The official scheduler, with what the configuration changes in it."""
    return DDIMScheduler(**(OFFICIAL_SCHEDULER_CONFIG | config.models.scheduler))


def save_pipeline(output_dir: Path, corpus: Corpus, config: TrainingConfig) -> None:
    """Join the four trained models into `output_dir/model`, a whole pipeline."""
    parts = {name: kind.from_pretrained(str(output_dir / name)) for name, kind in COMPONENT_CLASSES.items()}
    extractor = PerFRDiffFeatureExtractor(mean_face=corpus.mean_face().tolist())
    scheduler = new_scheduler(config)
    pipeline = PerFRDiffPipeline(**parts, scheduler=scheduler, feature_extractor=extractor)
    folder = output_dir / PIPELINE_FOLDER
    beside = output_dir / f".{PIPELINE_FOLDER}.partial"
    shutil.rmtree(beside, ignore_errors=True)
    pipeline.save_pretrained(str(beside))
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(beside, folder)
    logger.info(f"saved the pipeline in {folder}.")


def _is_finished(folder: Path, steps: int) -> bool:
    path = folder / REPORT_NAME
    return path.is_file() and json.loads(path.read_text(encoding="utf-8"))["steps"] == steps


def _check_writable(output_dir: Path) -> None:
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"--output_dir: {output_dir} cannot be made: {error}") from None
    if not os.access(output_dir, os.W_OK):
        raise OSError(f"--output_dir: {output_dir} cannot be written to.")


def _open_corpus(job: TrainingJob, accelerator: Accelerator) -> Corpus:
    corpus = Corpus(job.data_dir, job.cache_dir)
    with accelerator.main_process_first():  # which computes the features; the others find them in the cache
        for split in ("train", "val"):
            corpus.split(split)
    return corpus


def _accelerator(config: TrainingConfig, output_dir: Path) -> Accelerator:
    from accelerate.utils import DistributedDataParallelKwargs
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    return Accelerator(
        mixed_precision=config.run.mixed_precision,
        log_with=config.run.report_to,
        project_config=ProjectConfiguration(project_dir=str(output_dir), logging_dir=str(output_dir / "logs")),
        kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
    )
