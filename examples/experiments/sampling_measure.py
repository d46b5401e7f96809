"""How a row of the table of quality against time is measured: one trained model, sampled in one way."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

import diffusers
import numpy as np
import quality
import torch
from row_measures import Bench, Figures
from sampling_rows import INT8

from perfrdiff_hf import use_onnx_runtime
from perfrdiff_hf.baselines.reference import Row
from perfrdiff_hf.evaluation.controls import GENERIC, manners_of
from perfrdiff_hf.evaluation.reacting import folder_name
from perfrdiff_hf.evaluation.task import Task
from perfrdiff_hf.metrics.reaction_metrics import MOTION
from perfrdiff_hf.metrics.realism import frrea_motion
from perfrdiff_hf.pipelines.perfrdiff import PerFRDiffPipeline


def sampling(
    bench: Bench,
    scheduler: str | None = None,
    settings: Mapping[str, Any] | None = None,
    dtype: str = "float32",
    generic: bool = True,
) -> Figures:
    """A personal model sampled in another way, with its listeners' own histories, others', and perhaps without.

    Args:
        bench: with the model.
        scheduler: of diffusers, by the name of its class; None: the model's own.
        settings: of the call; None: the model's own.
        dtype: in what the denoiser computes; `INT8`: in ONNX Runtime, on the processor.
        generic: whether it also reacts without a listener, as students must have learned from their teacher.

    Returns:
        Also the motion distance for each listener, between all reactions to its clips and the recorded ones.
    """
    pipeline = bench.pipeline
    assert isinstance(pipeline, PerFRDiffPipeline)
    if scheduler is not None:
        pipeline.scheduler = getattr(diffusers, scheduler).from_config(pipeline.scheduler.config)
    if dtype == INT8:
        use_onnx_runtime(pipeline.to("cpu").denoiser, int8=True)
    else:
        pipeline.denoiser.to(getattr(torch, dtype))
    pipeline.register_to_config(sampling={**pipeline.sampling, **(settings or {})})
    manners = manners_of(pipeline, bench.arrays, ["another_history"])
    # A place for each way, so that two may be measured at the same time.
    place = folder_name(f"sampling {scheduler} {dtype} {sorted((settings or {}).items())}")
    rows = bench.react([manner for manner in manners if generic or manner.name != GENERIC], place=place)
    figures = bench.scored(rows)
    for name, row in rows.items():
        figures["systems"][name]["listeners"][MOTION] = _motion_by_listener(bench.task, row)
    shutil.rmtree(bench.reactions / place)  # a hundred megabytes for each manner
    return figures


def _motion_by_listener(task: Task, row: Row) -> list[float | None]:
    who, found = np.array(task.listeners), []
    for name in np.unique(who):
        (clips,) = np.nonzero(who == name)
        found.append(quality.rounded(frrea_motion(task.reactions[clips], row(clips).emotion)))
    return found
