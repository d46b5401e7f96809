"""A training job from its checks to what it leaves: the stages one after the other, then the pipeline."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs, ProjectConfiguration
from transformers.utils import logging as transformers_logging

from ..baselines.stage import Stage
from ..data.corpus import Corpus
from ..hub import push_training
from .config import TrainingConfig
from .job import TrainingJob, check_job, plan_stages
from .loop import StageRun
from .order import mixed_seed
from .provenance import check_parts, settings_of_stage
from .saving import feature_extractor_of, forget_stage, save_component, save_pipeline
from .validation import StageValidation


logger = logging.getLogger(__name__)

# How long processes wait for the one that computes features, which may take hours.
LONGEST_WAIT = timedelta(hours=12)


def run_training(job: TrainingJob) -> None:
    """Train the stages of a job; the models lie in `output_dir/<component>`, the pipeline in `output_dir/model`.

    Everything that can be checked is checked, for all stages, before the first one trains.

    Raises:
        ValueError: if the job cannot be done as it is described, or `output_dir` holds what was trained otherwise.
        FileNotFoundError: if the data folder, a file in it, or a component that is needed is missing.
        OSError: if the output folder cannot be written to.
        FloatingPointError: if a stage diverges.
        SystemExit: with code 143, after a checkpoint was written, if SIGTERM or SIGINT arrived.
    """
    accelerator = _accelerator(job)
    check_job(job, accelerator.num_processes)
    corpus = _open_corpus(job, accelerator)
    digest = corpus.digest("train")
    training = plan_stages(job, digest)
    accelerator.wait_for_everyone()  # all have looked at what is there before one of them changes it
    if job.overwrite_output_dir and accelerator.is_main_process:
        for stage in training:
            forget_stage(stage, job.output)
    accelerator.wait_for_everyone()
    for stage in job.stages:
        if stage in training:
            run_stage(stage, job, corpus, digest, accelerator)
        else:
            logger.info(f"{stage.name}: finished before; its model in {job.output / stage.name} is kept.")
    is_main_process = accelerator.is_main_process
    # From here on, no process waits for another: what the main one does may take long, or fail.
    accelerator.end_training()
    if is_main_process:
        _finish(job, corpus)


def run_stage(stage: Stage, job: TrainingJob, corpus: Corpus, data_digest: str, accelerator: Accelerator) -> None:
    """Train one stage and save its model.

    Args:
        stage: what to train; the components that it needs lie in the output folder.
        job: of which it is a part.
        corpus: the data.
        data_digest: of its training split.
        accelerator: of the run.
    """
    config, output_dir = job.config, job.output
    examples = stage.examples(corpus, "train", config)
    trained = {earlier.name: earlier.model for earlier in job.system.stages}
    parts = {name: trained[name].from_pretrained(str(output_dir / name)) for name in stage.needs}
    settings = settings_of_stage(stage, config, output_dir, data_digest)
    torch.manual_seed(mixed_seed(config.seed, job.system.stage_names.index(stage.name)))
    extractor = feature_extractor_of(corpus, config)
    model = stage.new_model(config, parts)
    stage.look_at_data(model, corpus, config, parts)
    objective = stage.objective(model, parts, extractor, config)
    draws = stage.draws(config, objective)
    validation = StageValidation(stage, corpus, config, draws, output_dir, accelerator)
    run = StageRun(stage, objective, examples, draws, config, settings, output_dir, accelerator, validation)
    if job.resume_from_checkpoint is not None:
        run.resume(job.resume_from_checkpoint)
    figures = run.train()
    report = {
        "stage": stage.name,
        "title": stage.title,
        "setting": stage.setting,
        "steps": run.total_steps,
        "examples": len(examples),
        "processes": accelerator.num_processes,
        **_about_data(corpus),
        "figures": figures,
        "measured": validation.measured,
        "settings": settings,
        "config": config.to_dict(),
    }
    save_component(run, output_dir / stage.name, report, accelerator)
    accelerator.free_memory()


def _about_data(corpus: Corpus) -> dict[str, Any]:
    """What a report says of the data: their name, which channels are not measured, and under which terms they came."""
    source, mask = corpus.source, corpus.mask
    about: dict[str, Any] = {"data": source.title or corpus.data_dir.name}
    if mask.derived or mask.unavailable:
        about["channels"] = {"derived": list(mask.derived), "unavailable": list(mask.unavailable)}
    if source.license:
        about |= {"source": source.name, "license": source.license, "credit": source.credit}
    return about


def _finish(job: TrainingJob, corpus: Corpus) -> None:
    """After the last stage of a system the pipeline, and what was trained to the Hub if that is asked."""
    system, last = job.system, job.stages[-1]
    whole = last is system.stages[-1]
    if whole:
        check_parts(system, set(system.stage_names), job.output)
        whole = save_pipeline(system, job.output, corpus, job.config) is not None
    if job.push_to_hub:
        url = push_training(job.output, "pipeline" if whole else last.name, job.hub_model_id or "", job.hub_license)
        logger.info(f"uploaded to {url}.")


def _open_corpus(job: TrainingJob, accelerator: Accelerator) -> Corpus:
    corpus = Corpus(job.data_dir, job.cache_dir, job.config.run.num_readers or None)
    with accelerator.main_process_first():  # which computes the features; the others find them in the cache
        for split in ("train", "val"):
            corpus.split(split)
    return corpus


def _accelerator(job: TrainingJob) -> Accelerator:
    config: TrainingConfig = job.config
    transformers_logging.disable_progress_bar()
    return Accelerator(
        mixed_precision=config.run.mixed_precision,
        log_with=config.run.report_to,
        project_config=ProjectConfiguration(project_dir=str(job.output), logging_dir=str(job.output / "logs")),
        kwargs_handlers=[
            DistributedDataParallelKwargs(gradient_as_bucket_view=True),
            InitProcessGroupKwargs(timeout=LONGEST_WAIT),
        ],
    )
