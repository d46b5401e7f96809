"""What is measured on the validation split while a stage trains: always the same examples, always the same draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from ..baselines.stage import Draws, Objective, Stage
from ..behaviour import Behaviour
from ..data.corpus import Corpus
from ..data.histories import history_row
from ..data.source import Dyads
from ..evaluation.reacting import react_to_clips
from ..metrics import frcorr_per_clip, frdist_per_clip
from ..metrics.masking import ScoredChannels
from ..pipelines.reaction_pipeline import ReactionOutput, ReactionPipeline
from .config import TrainingConfig
from .order import KeyedExamples
from .pictures import draw_reactions


SPLIT = "val"
BATCH_SIZE = 16


class StageValidation:
    """Figures of a stage on the validation split, shared out among the processes. See `baselines.stage.Validation`.

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
        self.recipe = config
        self.run = config.run
        self.examples = KeyedExamples(stage.examples(corpus, SPLIT, config), draws, config.seed)
        self.output_dir = output_dir
        self.accelerator = accelerator
        self.device = accelerator.device
        self.draws_pictures = False
        # How `reaction_scores` were measured, for reports and cards.
        self.measured: dict[str, Any] = {}

    def __call__(self, objective: Objective, last: bool) -> dict[str, float]:
        """The figures of this moment.

        Args:
            objective: in eval mode, with the weights to be judged.
            last: whether training is over: pictures are drawn then.
        """
        self.draws_pictures = last and self.accelerator.is_main_process
        return self.losses(objective) | self.stage.figures(objective, self)

    def losses(self, objective: Objective) -> dict[str, float]:
        """The stage's loss over the same examples with the same noise every time."""
        wanted, available = self.run.validation_examples, len(self.examples)
        if self.stage.whole_batches:
            wanted = min(wanted, available)  # one pass is plenty: an example is a whole batch of clips
        keys = [divmod(position, available) for position in self._share(wanted)]
        size = 1 if self.stage.whole_batches else BATCH_SIZE
        sums: dict[str, float] = {}
        for first in range(0, len(keys), size):
            batch = self.stage.collate(self.examples.__getitems__(keys[first : first + size]))
            count = len(keys[first : first + size])
            batch = {name: value.to(self.device) for name, value in batch.items()}
            for name, value in objective(batch).items():
                sums[name] = sums.get(name, 0.0) + count * value.item()
        return {name: value / wanted for name, value in self._summed(sums).items()}

    def reaction_scores(self, pipeline: ReactionPipeline, personal: bool = False, **settings: Any) -> dict[str, float]:
        """FRCorr and FRdist of reactions to a fixed set of clips; see `baselines.stage.Validation`."""
        if not self.run.validation_clips:
            return {}
        part = self.corpus.split(SPLIT, personal=personal)
        rows = spread(len(part.arrays), self.run.validation_clips)
        mine = rows[self._share(len(rows))]
        settings = {**pipeline.sampling, "num_reactions": self.run.validation_reactions, **settings}
        self.measured = {**settings, "clips": len(rows)}
        sums = {"frcorr": 0.0, "frdist": 0.0}
        if len(mine):
            pipeline.set_progress_bar_config(disable=True)
            outputs = [self._react(pipeline, part, int(row), personal, settings) for row in mine]
            if self.draws_pictures:
                self._draw(part, int(mine[0]), outputs[0])
            reactions = stack_clips([np.asarray(output.reactions[0]) for output in outputs], axis=1)
            targets = stack_clips([part.arrays.emotion(row) for row in range(len(part.arrays))])
            frames = min(reactions.shape[2], targets.shape[1])
            known, appropriate = ScoredChannels(part.mask), part.appropriate[mine]
            made, real = reactions[:, :, :frames], targets[:, :frames]
            sums = {
                "frcorr": known.share * frcorr_per_clip(known.keep(made), known.keep(real), appropriate).sum(),
                "frdist": frdist_per_clip(known.weigh(made), known.weigh(real), appropriate).sum(),
            }
        return {name: value / len(rows) for name, value in self._summed(sums).items()}

    def _react(
        self, pipeline: ReactionPipeline, part: Dyads, row: int, personal: bool, settings: dict[str, Any]
    ) -> ReactionOutput:
        """Reactions to the speaker of a row, with the same noise every time."""
        return react_to_clips(pipeline, part.arrays, [row], self._history_in(part) if personal else None, **settings)

    def _history_in(self, part: Dyads) -> Any:
        """From a row of a part to its listener's history, by the one rule, among all clips of the split."""
        everybody = self.corpus.split(SPLIT).arrays

        def history(row: int) -> np.ndarray:
            arrays = part.arrays
            same = (everybody.listener_ids == arrays.listener_ids[row]) & (everybody.clips == arrays.clips[row])
            (there,) = np.flatnonzero(same)
            return everybody.coefficients(history_row(everybody, int(there)))

        return history

    def _draw(self, part: Dyads, row: int, output: ReactionOutput) -> None:
        def recorded(number: int) -> Behaviour:
            arrays = part.arrays
            return Behaviour(emotion=arrays.emotion(number), coefficients=arrays.coefficients(number))

        generated = [output.behaviour(0, number) for number in range(min(2, len(output.reactions[0])))]
        path = self.output_dir / "pictures" / f"reactions_{self.stage.name}.png"
        title = f"Stage {self.stage.name}: a clip of the validation split"
        draw_reactions(recorded(int(part.arrays.partner[row])), recorded(row), generated, path, title)

    def _share(self, count: int) -> range:
        return range(self.accelerator.process_index, count, self.accelerator.num_processes)

    def _summed(self, sums: dict[str, float]) -> dict[str, float]:
        names = sorted(sums)
        values = torch.tensor([float(sums[name]) for name in names], device=self.device)
        return dict(zip(names, self.accelerator.reduce(values, "sum").tolist()))


def stack_clips(clips: list[np.ndarray], axis: int = 0) -> np.ndarray:
    """Clips as one array, all cut at the end of the shortest; `axis` is that of the frames."""
    frames = min(clip.shape[axis] for clip in clips)
    return np.stack([np.take(clip, range(frames), axis=axis) for clip in clips])


def spread(count: int, most: int) -> np.ndarray:
    """At most `most` of `count` rows, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))
