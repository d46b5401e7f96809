"""How a row of the paper's tables is measured: its own reactions, and the controls without which they mean little."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import quality
import torch
from paper_rows import FINE_TUNED, FINE_TUNED_ON_ANOTHER

from perfrdiff_hf.baselines import oracle_rows, reference_rows
from perfrdiff_hf.baselines.oracles import ORACLE_NAMES
from perfrdiff_hf.baselines.reacting import SystemPipeline
from perfrdiff_hf.baselines.reference import RECORDED, Row
from perfrdiff_hf.behaviour import FRAME_RATE, WINDOW_SIZE
from perfrdiff_hf.data.arrays import ClipArrays
from perfrdiff_hf.data.corpus import Corpus
from perfrdiff_hf.data.histories import history_row, history_rows
from perfrdiff_hf.evaluation.controls import GENERIC, Manner, manners_of, opposite, own_history
from perfrdiff_hf.evaluation.predictions import prediction_rows
from perfrdiff_hf.evaluation.reacting import folder_name, predict, react_to_clips
from perfrdiff_hf.evaluation.task import Task, rows_of, stacked
from perfrdiff_hf.models.pwsg import OFFICIAL_EDIT, PWSGConfig
from perfrdiff_hf.models.weight_shifts import WeightShifts
from perfrdiff_hf.pipelines.reaction_pipeline import ReactionPipeline
from perfrdiff_hf.training.config import TrainingConfig


BATCH_SIZE = 8
DEFAULT_RANK = PWSGConfig().rank
Figures = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """What a row is measured with.

    Args:
        corpus: the data.
        task: PMAFRG on the listeners of the split.
        config: with which the model was trained, or would be.
        num_reactions: to each clip.
        seed: of the noise.
        reactions: folder in which reactions are kept.
        pipeline: of the row's model; None where it has none.
        split: whose listeners it is measured on.
    """

    corpus: Corpus
    task: Task
    config: TrainingConfig
    num_reactions: int
    seed: int
    reactions: Path
    pipeline: ReactionPipeline | None = None
    split: str = "test"

    @property
    def arrays(self) -> ClipArrays:
        """All clips of the listeners."""
        return self.corpus.split(self.split).arrays

    @property
    def hop(self) -> int:
        """Frames from one border of windows to the next."""
        if isinstance(self.pipeline, SystemPipeline):
            return self.pipeline.window_reactor().hop
        return int(self.config.arguments("sampling").get("hop") or WINDOW_SIZE)

    def react(
        self,
        manners: Sequence[Manner],
        arrays: ClipArrays | None = None,
        place: str = "",
        rows: Sequence[int] | None = None,
        sampling: Mapping[str, Any] | None = None,
    ) -> dict[str, Row]:
        """Reactions of the pipeline in some manners, by their names.

        Args:
            manners: see `Manner`.
            arrays: what is heard and seen of speakers; None: everything.
            place: folder inside `reactions`.
            rows: of the clips; None: all of the task. With some of them, nothing is given back yet.
            sampling: of the pipeline's call, instead of what was saved.
        """
        pipeline, arrays = _of(self), arrays or self.arrays
        sampling = {**pipeline.sampling, "num_reactions": self.num_reactions, **(sampling or {})}
        rows = rows_of(self.task, arrays) if rows is None else rows
        folders = predict(
            pipeline, arrays, rows, manners, self.reactions / place, sampling, self.seed, BATCH_SIZE, True
        )
        complete = len(rows) == len(self.task.paths)
        return {name: prediction_rows(folder, self.task) for name, folder in folders.items()} if complete else {}

    def scored(self, rows: Mapping[str, Row], sampling: Mapping[str, Any] | None = None) -> Figures:
        """Each system's measures, one value a listener, and its overall figures; the first is the row's own.

        Args:
            rows: the systems.
            sampling: with which they were made, where it is not what was saved; it may move the borders of windows.
        """
        hop = int((sampling or {}).get("hop") or self.hop)
        return {
            "system": next(iter(rows)),
            "listeners": np.unique(self.task.listeners).tolist(),
            "systems": {name: quality.scored(self.task, row, hop) for name, row in rows.items()},
        }


def reference(bench: Bench, system: str) -> Figures:
    """A system that does not react at all, or the world's own reactions.

    Raises:
        ValueError: if the data allow no such row, as oracles need a synthetic world.
    """
    task, frames = bench.task, bench.task.num_frames
    if system in ORACLE_NAMES:
        rows = oracle_rows(bench.corpus.data_dir, bench.split, task.paths, bench.num_reactions, bench.hop, bench.seed)
    else:
        training = bench.corpus.split("train").arrays
        reactions = stacked(training, frames) if int(training.num_frames.min()) >= frames else None
        speaker = None if reactions is None else reactions[training.partner]
        rows = reference_rows(
            task.reactions, task.speaker, bench.num_reactions, reactions, speaker, bench.seed, task.coefficients
        )
    if system not in rows:
        raise ValueError(f"There is no row {system!r} with these data; there are {', '.join(rows) or 'none'}.")
    return bench.scored({system: rows[system]})


def generic(bench: Bench, streams: Sequence[str] | None = None, sampling: Mapping[str, Any] | None = None) -> Figures:
    """A system without a listener.

    Args:
        bench: with the model.
        streams: what is heard and seen of speakers; None: everything.
        sampling: of the pipeline's call, instead of what was saved.
    """
    arrays = bench.arrays if streams is None else _with_streams(bench.arrays, streams)
    place = "_".join((*(streams or ()), *(sampling or {})))
    return bench.scored(bench.react([Manner(GENERIC)], arrays, place, sampling=sampling), sampling)


@torch.no_grad()
def vocabulary(bench: Bench) -> Figures:
    """The recorded reactions in the words that UniFaRN has: no reaction of its own can be nearer to them."""
    task, tokenizer = bench.task, _of(bench).unifarn.tokenizer
    said = tokenizer.decode(tokenizer.encode(torch.from_numpy(task.reactions))).numpy()
    return bench.scored({RECORDED: reference_rows(said, task.speaker, bench.num_reactions)[RECORDED]})


def costs(bench: Bench, sampling: Mapping[str, Any] | None = None) -> dict[str, float]:
    """What the pipeline is, and what its reactions to a clip take.

    Args:
        bench: with the model.
        sampling: of the pipeline's call, instead of what was saved.

    Returns:
        `parameters` of all its models; `real_time_factor`, seconds of work for a second of the clip, and the same of
        the processors alone, which other programs on the machine disturb least.
    """
    pipeline, row = _of(bench), rows_of(bench.task, bench.arrays)[0]
    history = own_history(bench.arrays) if pipeline.is_personal else None
    settings, took = {**pipeline.sampling, "num_reactions": bench.num_reactions, **(sampling or {})}, []
    for _ in range(2):  # the first warms up
        started = time.monotonic(), time.process_time()
        made = react_to_clips(pipeline, bench.arrays, [row], history, bench.seed, **settings)
        took.append((time.monotonic() - started[0], time.process_time() - started[1]))
    seconds = made.reactions.shape[2] / FRAME_RATE
    models = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    return {
        "parameters": sum(weights.numel() for model in models for weights in model.parameters()),
        "real_time_factor": float(f"{min(took)[0] / seconds:.3g}"),
        "real_time_factor_of_processors": float(f"{min(took, key=lambda one: one[1])[1] / seconds:.3g}"),
    }


def personal(
    bench: Bench, sampling: Mapping[str, Any] | None = None, controls: Sequence[str] | None = None
) -> Figures:
    """A personal model with its listeners' own histories, its controls, and without a listener.

    Args:
        bench: with the model.
        sampling: of the pipeline's call, instead of what was saved. Then with the own histories alone: the controls
            belong to the row that is sampled as it was saved.
        controls: see `manners_of`; None: all that the model can have.
    """
    pipeline = _of(bench)
    if sampling:
        own = manners_of(pipeline, bench.arrays)[:1]
        return bench.scored(bench.react(own, place="_".join(sampling), sampling=sampling), sampling)
    if controls is None:
        shifted = pipeline.weight_shift_generator is not None
        controls = ["another_history", "no_movement", "another_face", *(["one_shift"] if shifted else [])]
    rows = bench.react(manners_of(pipeline, bench.arrays, controls, bench.corpus.split("train").arrays))
    return {**bench.scored(rows), "head_parameters": _head_parameters(pipeline)}


def history(
    bench: Bench, seconds: int | None = None, clip: int | None = None, controls: Sequence[str] = ()
) -> Figures:
    """A personal model with other histories of its listeners (tables 5 and 6).

    Args:
        bench: with the model.
        seconds: how much of the history is read, from its beginning.
        clip: which of the clips that may be a listener's history, from 1; where there are fewer, they go round.
        controls: which stand beside it, of whole histories; see `manners_of`. Where there are some, the generic
            reactions do, too.
    """
    arrays = bench.arrays
    name = f"a history of {seconds} s" if clip is None else f"clip {clip} as history"
    whole = own_history(arrays) if clip is None else _history_of_clip(arrays, clip)
    frames = None if seconds is None else seconds * FRAME_RATE
    manners = [Manner(name, lambda row: whole(row)[:frames], {}, {"history": name})]
    if controls:
        manners += manners_of(_of(bench), arrays, controls, bench.corpus.split("train").arrays)[1:]
    return bench.scored(bench.react(manners))


@torch.no_grad()
def styles(bench: Bench, seconds: int) -> Figures:
    """How well styles of clips tell people apart (figure 4b).

    Args:
        bench: with the model.
        seconds: how much of each clip is read, from its beginning.

    Returns:
        `persons_found`, the share of clips of each listener whose nearest other clip is of the same person;
        `silhouette`, from -1 to 1, of people as clusters (cosine distance); `places`, two-dimensional by t-SNE.
    """
    from sklearn.manifold import TSNE
    from sklearn.metrics import silhouette_score

    pipeline, arrays = _of(bench), bench.arrays
    encoder, frames = pipeline.style_encoder, seconds * FRAME_RATE
    assert encoder is not None
    clips = (torch.from_numpy(np.array(arrays.coefficients(row)[:frames]))[None] for row in range(len(arrays)))
    found = torch.cat([encoder(pipeline.feature_extractor.remove_mean_face(clip)).style for clip in clips])
    who = arrays.listener_ids
    nearest = (found @ found.T).fill_diagonal_(-2).argmax(dim=1).numpy()
    vectors = found.numpy()
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    places = TSNE(perplexity=perplexity, random_state=bench.seed).fit_transform(vectors)
    return {
        "persons_found": quality.by_listener((who[nearest] == who).astype(float), who.tolist()),
        "silhouette": quality.rounded(float(silhouette_score(vectors, who, metric="cosine"))),
        "listeners": np.unique(who).tolist(),
        "clips": who.tolist(),
        "places": [[round(float(value), 3) for value in place] for place in places],
    }


def fine_tuning(bench: Bench, steps: int, learning_rate: float, batch_size: int) -> Figures:
    """The generic generator, fine-tuned on each listener's history: the layers and the rank that editing has.

    Beside it stand each listener with the adapter of another, and the generic generator.

    Args:
        bench: with the generic model.
        steps: of training, for each listener.
        learning_rate: of them.
        batch_size: windows a step.

    Returns:
        Also `adapting`, the seconds and the megabytes of each listener, and `head_parameters`, of one adapter.
    """
    from fine_tuning import fine_tuned

    pipeline, arrays, told = _of(bench), bench.arrays, bench.config.arguments("weight_shift_generator")
    layers = list(pipeline.denoiser.editable_layers(**(OFFICIAL_EDIT | told.get("edited", {}))))
    made_with = {"steps": steps, "learning_rate": learning_rate, "batch_size": batch_size, "layers": layers}
    made_with["rank"] = told.get("rank", DEFAULT_RANK)
    rows, costs = rows_of(bench.task, arrays), {}
    adapters: dict[str, WeightShifts] = {}
    by_history: dict[int, list[int]] = {}
    for row in rows:
        by_history.setdefault(history_row(arrays, row), []).append(row)
    for place, of_listener in by_history.items():
        adapter = fine_tuned(
            pipeline, bench.corpus, bench.config, place, layers, made_with["rank"], steps, learning_rate,
            batch_size, bench.seed,
        )  # fmt: skip
        costs[f"{arrays.listener_ids[place]}/{arrays.clips[place]}"] = [round(adapter.seconds, 1), adapter.megabytes]
        bench.react([Manner(FINE_TUNED, None, {"weight_shifts": adapter.shifts}, made_with)], rows=of_listener)
        adapters.setdefault(str(arrays.listener_ids[place]), adapter.shifts)
    other = opposite(sorted(adapters))
    for place, of_listener in by_history.items():
        shifts = adapters[other[str(arrays.listener_ids[place])]]
        bench.react([Manner(FINE_TUNED_ON_ANOTHER, None, {"weight_shifts": shifts}, made_with)], rows=of_listener)
    size = sum(low_rank.down[0].numel() + low_rank.up[0].numel() for low_rank in adapter.shifts.values())
    folders = {name: bench.reactions / folder_name(name) for name in (FINE_TUNED, FINE_TUNED_ON_ANOTHER)}
    made = {name: prediction_rows(folder, bench.task) for name, folder in folders.items()}
    return {**bench.scored(made | bench.react([Manner(GENERIC)])), "adapting": costs, "head_parameters": size}


MEASURES: dict[str, Callable[..., Figures]] = {
    "reference": reference,
    "generic": generic,
    "personal": personal,
    "history": history,
    "styles": styles,
    "fine_tuning": fine_tuning,
    "vocabulary": vocabulary,
}


def _of(bench: Bench) -> Any:
    assert bench.pipeline is not None
    return bench.pipeline


def _with_streams(arrays: ClipArrays, streams: Sequence[str]) -> ClipArrays:
    """The same clips, of which no more than some streams are known."""
    some = copy.copy(arrays)
    some.flat = {name: values for name, values in arrays.flat.items() if name in streams}
    return some


def _history_of_clip(arrays: ClipArrays, clip: int) -> Callable[[int], np.ndarray]:
    def history_of(row: int) -> np.ndarray:
        may = sorted(history_rows(arrays, row), key=lambda other: (len(arrays.clips[other]), arrays.clips[other]))
        return np.array(arrays.coefficients(int(may[(clip - 1) % len(may)])))

    return history_of


def _head_parameters(pipeline: Any) -> int:
    """How many parameters make a listener out of a style: those of the weight-shift generator, or of the input."""
    generator: Any = pipeline.weight_shift_generator
    if generator is not None:
        return sum(parameter.numel() for parameter in generator.parameters())
    named = pipeline.denoiser.named_parameters()
    return sum(weights.numel() for name, weights in named if "personal" in name or "modulation" in name)
