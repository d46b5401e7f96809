"""What a run leaves behind: each trained component with how it came about, and the whole pipeline."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import nn

from ..baselines.recipe import Recipe
from ..baselines.stage import Stage
from ..baselines.system import System
from ..cards import REPORT_NAME
from ..data.corpus import Corpus
from ..feature_extraction import PerFRDiffFeatureExtractor
from ..files import folder_beside, previous_folder, remove_leftovers
from .checkpoints import checkpoints_of
from .loop import StageRun
from .provenance import is_model


logger = logging.getLogger(__name__)

PIPELINE_FOLDER = "model"


def feature_extractor_of(corpus: Corpus, recipe: Recipe) -> PerFRDiffFeatureExtractor:
    """What a pipeline must know of the data and the windows that it is trained on."""
    return PerFRDiffFeatureExtractor(
        mean_face=corpus.mean_face().tolist(),
        window_size=recipe.data.window_size,
        unavailable=corpus.mask.unavailable,
    )


def save_component(run: StageRun, folder: Path, report: dict[str, Any], accelerator: Accelerator) -> None:
    """Write the trained model, and beside it `training.json` with how it came about; all processes call this."""
    accelerator.wait_for_everyone()
    whole = _whole_model(run, accelerator)
    if accelerator.is_main_process:
        remove_leftovers(folder.parent, folder.name)
        with folder_beside(folder) as beside:
            with run.averaged_weights():
                whole.save_pretrained(str(beside))
            (beside / REPORT_NAME).write_text(json.dumps(report, indent=2), encoding="utf-8")
        logger.info(f"{run.name}: saved {folder}.")
    accelerator.wait_for_everyone()


def forget_stage(stage: Stage, output_dir: Path) -> None:
    """Remove a stage's checkpoints, and move its model aside until the new one takes its place."""
    shutil.rmtree(checkpoints_of(output_dir, stage.name), ignore_errors=True)
    folder = output_dir / stage.name
    if folder.exists():
        previous = previous_folder(folder)
        shutil.rmtree(previous, ignore_errors=True)
        os.replace(folder, previous)


def save_pipeline(system: System, output_dir: Path, corpus: Corpus, recipe: Recipe) -> Path | None:
    """Join the trained components into `output_dir/model`, a whole pipeline.

    Returns:
        The folder, or None where a component has not been trained yet.
    """
    missing = [name for name in system.stage_names if not is_model(output_dir / name)]
    if missing:
        logger.info(f"No pipeline is saved yet: {', '.join(missing)} must be trained first.")
        return None
    parts = {stage.name: stage.model.from_pretrained(str(output_dir / stage.name)) for stage in system.stages}
    folder = output_dir / PIPELINE_FOLDER
    remove_leftovers(output_dir, PIPELINE_FOLDER)
    with folder_beside(folder) as beside:
        system.assemble(parts, feature_extractor_of(corpus, recipe), recipe).save_pretrained(str(beside))
    logger.info(f"saved the pipeline in {folder}.")
    return folder


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
