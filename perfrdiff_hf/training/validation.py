"""What is measured on the validation split while a stage trains: always the same examples, always the same draws."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from ..behaviour import Behaviour
from ..data.arrays import ClipArrays
from ..data.corpus import Corpus, SplitArrays
from ..metrics import frcorr_per_clip, frdist_per_clip
from ..pipelines.perfrdiff import PerFRDiffPipeline
from .config import TrainingConfig
from .objectives import Objective
from .order import Draws, KeyedExamples
from .pictures import draw_reactions, draw_styles
from .stages import Stage


logger = logging.getLogger(__name__)

SPLIT = "val"
BATCH_SIZE = 16
MOST_STYLES = 256


class StageValidation:
    """Figures of a stage on the validation split, shared out among the processes.

    Args:
        stage: what is trained.
        corpus: where the validation split comes from.
        config: how much to look at.
        draws: the random numbers of an example.
        output_dir: where pictures go.
        accelerator: of the run.
    """

    def __init__(
        self,
        stage: Stage,
        corpus: Corpus,
        config: TrainingConfig,
        draws: Draws,
        output_dir: Path,
        accelerator: Accelerator,
    ):
        self.stage = stage
        self.corpus = corpus
        self.config = config
        self.examples = KeyedExamples(stage.examples(corpus, SPLIT, config), draws, config.seed)
        self.output_dir = output_dir
        self.accelerator = accelerator

    def __call__(self, objective: Objective, last: bool) -> dict[str, float]:
        """The figures of this moment.

        Args:
            objective: in eval mode, with the weights to be judged.
            last: whether training is over: pictures are drawn then.
        """
        figures = self.losses(objective)
        if self.stage.name == "pssl":
            figures |= self.style_similarity(objective, last)
        elif self.stage.name in ("gafrg", "pwsg") and self.config.run.validation_clips:
            figures |= self.reaction_scores(objective, last)
        return figures

    def losses(self, objective: Objective) -> dict[str, float]:
        """The stage's loss over the same windows with the same noise every time."""
        wanted, available = self.config.run.validation_examples, len(self.examples)
        if self.stage.name == "pssl":
            wanted = min(wanted, available)  # one pass is plenty: an example is a whole batch of clips
        keys = [divmod(position, available) for position in self._share(wanted)]
        size = 1 if self.stage.name == "pssl" else BATCH_SIZE
        sums: dict[str, float] = {}
        for first in range(0, len(keys), size):
            batch = self.stage.collate(self.examples.__getitems__(keys[first : first + size]))
            count = len(keys[first : first + size])
            batch = {name: value.to(self.accelerator.device) for name, value in batch.items()}
            for name, value in objective(batch).items():
                sums[name] = sums.get(name, 0.0) + count * value.item()
        return {name: value / wanted for name, value in self._summed(sums).items()}

    def style_similarity(self, objective: Any, last: bool) -> dict[str, float]:
        """Mean cosine of two clips' styles, of the same person and of different people."""
        arrays = self.corpus.split(SPLIT).arrays
        rows = _spread(len(arrays), MOST_STYLES)
        styles = torch.cat([self._style(objective, arrays.coefficients(row)) for row in rows])
        labels = np.unique(arrays.listener_ids[rows], return_inverse=True)[1]
        similarity = (styles @ styles.T).cpu().numpy()
        same = labels[:, None] == labels[None, :]
        apart = ~np.eye(len(rows), dtype=bool)
        if last and self.accelerator.is_main_process:
            draw_styles(styles.cpu().numpy(), labels, self.output_dir / "pictures" / "styles.png", self.config.seed)
        return {
            "style_similarity_within": float(similarity[same & apart].mean()) if (same & apart).any() else 0.0,
            "style_similarity_between": float(similarity[~same].mean()) if (~same).any() else 0.0,
        }

    def _style(self, objective: Any, coefficients: np.ndarray) -> Tensor:
        clip = torch.from_numpy(np.array(coefficients))[None].to(self.accelerator.device)
        return objective.trained(objective.feature_extractor.remove_mean_face(clip)).style

    def reaction_scores(self, objective: Any, last: bool) -> dict[str, float]:
        """FRCorr and FRdist of reactions to a fixed set of clips: MAFRG in stage gafrg, PMAFRG in stage pwsg."""
        personal = self.stage.name == "pwsg"
        part = self.corpus.split(SPLIT, personal=personal)
        rows = _spread(len(part.arrays), self.config.run.validation_clips)
        mine = rows[self._share(len(rows))]
        sums = {"frcorr": 0.0, "frdist": 0.0}
        if len(mine):
            pipeline = self._pipeline(objective)
            outputs = [self._react(pipeline, part, row, personal) for row in mine]
            if last and self.accelerator.is_main_process:
                self._draw(part, mine[0], outputs[0])
            reactions = stack_clips([output.reactions[0] for output in outputs], axis=1)
            targets = stack_clips([part.arrays.emotion(row) for row in range(len(part.arrays))])
            frames = min(reactions.shape[2], targets.shape[1])
            scored = (reactions[:, :, :frames], targets[:, :frames], part.appropriate[mine])
            sums = {"frcorr": frcorr_per_clip(*scored).sum(), "frdist": frdist_per_clip(*scored).sum()}
        return {name: value / len(rows) for name, value in self._summed(sums).items()}

    def _pipeline(self, objective: Any) -> PerFRDiffPipeline:
        models = {**objective.frozen, self.stage.component: objective.trained}
        pipeline = PerFRDiffPipeline(
            denoiser=models["denoiser"],
            emotion_vae=models["emotion_vae"],
            scheduler=objective.scheduler,
            feature_extractor=objective.feature_extractor,
            style_encoder=models.get("style_encoder"),
            weight_shift_generator=models.get("weight_shift_generator"),
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def _react(self, pipeline: PerFRDiffPipeline, part: SplitArrays, row: int, personal: bool) -> Any:
        """Reactions to the speaker of a row, with the same noise every time."""
        arrays, history = part.arrays, None
        if personal:
            everybody = self.corpus.split(SPLIT).arrays
            history = everybody.coefficients(history_row(everybody, arrays.listener_ids[row])).copy()[None]
        speaker = arrays.partner[row]
        return pipeline(
            speaker_audio=arrays.audio(speaker).copy()[None],
            speaker_emotion=arrays.emotion(speaker).copy()[None],
            speaker_coefficients=arrays.coefficients(speaker).copy()[None],
            listener_history=history,
            num_reactions=self.config.run.validation_reactions,
            num_inference_steps=self.config.run.validation_steps,
            generator=torch.Generator().manual_seed(int(row)),
            output_type="np",
        )

    def _draw(self, part: SplitArrays, row: int, output: Any) -> None:
        def recorded(number: int) -> Behaviour:
            arrays = part.arrays
            return Behaviour(emotion=arrays.emotion(number), coefficients=arrays.coefficients(number))

        generated = [
            Behaviour(emotion=emotion, coefficients=coefficients)
            for emotion, coefficients in zip(output.reactions[0][:2], output.coefficients[0][:2])
        ]
        path = self.output_dir / "pictures" / f"reactions_{self.stage.name}.png"
        title = f"Stage {self.stage.name}: a clip of the validation split"
        draw_reactions(recorded(part.arrays.partner[row]), recorded(row), generated, path, title)

    def _share(self, count: int) -> range:
        return range(self.accelerator.process_index, count, self.accelerator.num_processes)

    def _summed(self, sums: dict[str, float]) -> dict[str, float]:
        names = sorted(sums)
        values = torch.tensor([float(sums[name]) for name in names], device=self.accelerator.device)
        return dict(zip(names, self.accelerator.reduce(values, "sum").tolist()))


def history_row(arrays: ClipArrays, listener_id: str) -> int:
    """The row of a listener's clip 1, which serves as history in PMAFRG; without one, the listener's first row."""
    rows = np.flatnonzero(arrays.listener_ids == listener_id)
    first = rows[arrays.clips[rows] == "1"]
    return int(first[0] if len(first) else rows[0])


def stack_clips(clips: list[np.ndarray], axis: int = 0) -> np.ndarray:
    """Clips as one array, all cut at the end of the shortest; `axis` is that of the frames."""
    frames = min(clip.shape[axis] for clip in clips)
    return np.stack([np.take(clip, range(frames), axis=axis) for clip in clips])


def _spread(count: int, most: int) -> np.ndarray:
    """At most `most` of `count` rows, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))
