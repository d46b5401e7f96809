"""What every system to compare with must show, as functions of its pipeline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from perfrdiff_hf.behaviour import Behaviour
from perfrdiff_hf.cards import facts_of_pipeline, render_card
from perfrdiff_hf.data.corpus import Corpus
from perfrdiff_hf.evaluation.reacting import speaker_of
from perfrdiff_hf.pipelines.reaction_pipeline import ReactionPipeline


ROOT = Path(__file__).resolve().parents[2]


def speaker(corpus: Corpus, row: int = 0, frames: int = 230) -> Behaviour:
    """A speaker of the validation split, over a number of frames that no window divides."""
    return speaker_of(corpus.split("val").arrays, row)[:frames]


def react(pipeline: ReactionPipeline, speakers: list[Behaviour], seeds: list[int], **settings: Any) -> Any:
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return pipeline(speaker=speakers, generator=generators, **{"num_reactions": 3, **settings})


def check_reactions(pipeline: ReactionPipeline, corpus: Corpus, **settings: Any) -> None:
    """Shapes and ranges, and noise that depends on the clip alone, however many are in the batch."""
    speakers = [speaker(corpus, row) for row in (0, 1, 2)]
    together = react(pipeline, speakers, [5, 6, 7], **settings)
    assert together.reactions.shape == (3, 3, 230, 25)
    assert together.coefficients.shape == (3, 3, 230, 58)
    assert torch.isfinite(together.coefficients).all()
    assert together.reactions.abs().max() <= 1
    alone = react(pipeline, [speakers[1]], [6], **settings)
    torch.testing.assert_close(together.reactions[1:2], alone.reactions, atol=2e-5, rtol=0)
    torch.testing.assert_close(together.coefficients[1:2], alone.coefficients, atol=2e-5, rtol=0)
    again = react(pipeline, [speakers[1]], [6], **settings)
    assert torch.equal(again.reactions, alone.reactions)
    other = react(pipeline, [speakers[1]], [8], **settings)
    assert not torch.equal(other.reactions, alone.reactions)
    assert not torch.equal(alone.reactions[:, 0], alone.reactions[:, 1])


def check_online(pipeline: ReactionPipeline, corpus: Corpus, hop: int, **settings: Any) -> None:
    """Another speaker from a window's first frame on changes nothing before that window's end, and something after."""
    here, there = speaker(corpus), speaker(corpus, 2)
    change = 2 * hop
    streams = {}
    for name, values in here.streams.items():
        streams[name] = np.concatenate([values[:change], there.streams[name][change:]])
    one, other = (react(pipeline, [who], [3], **settings).reactions for who in (here, Behaviour(**streams)))
    assert torch.equal(one[:, :, : change + hop], other[:, :, : change + hop])
    assert not torch.equal(one[:, :, change + hop :], other[:, :, change + hop :])


def check_offline(pipeline: ReactionPipeline, corpus: Corpus, **settings: Any) -> None:
    """Reactions begin to differ in the very window in which the speaker does."""
    here = speaker(corpus)
    last = {name: np.concatenate([values[:-1], values[-1:] + 1]) for name, values in here.streams.items()}
    one, other = (react(pipeline, [who], [3], **settings).reactions for who in (here, Behaviour(**last)))
    assert torch.equal(one[:, :, :200], other[:, :, :200])
    assert not torch.equal(one[:, :, 200:], other[:, :, 200:])


def check_stream(pipeline: ReactionPipeline, corpus: Corpus, **settings: Any) -> None:
    """Behaviour in chunks gives what the call gives, to the last bit."""
    who, settings = speaker(corpus), {"num_reactions": 3, **settings}
    whole = pipeline(speaker=who, generator=torch.Generator().manual_seed(2), **settings)
    for chunk in (7, 50):
        stream, segments = pipeline.stream(generator=torch.Generator().manual_seed(2), **settings), []
        for start in range(0, len(who), chunk):
            part = who[start : start + chunk]
            segments += stream.push(**{name: values[None] for name, values in part.streams.items()})
        segments += stream.flush()
        for name in ("reactions", "coefficients"):
            made = torch.cat([getattr(segment, name) for segment in segments], dim=2)[:, :, : len(who)]
            assert torch.equal(made, getattr(whole, name)[:, :, : made.shape[2]])
            assert made.shape[2] == len(who)


def check_it_loads_alone(folder: Path, name: str) -> None:
    """A process that imports the package and nothing else of it."""
    code = (
        "import json, sys, perfrdiff_hf; pipe = perfrdiff_hf.load_system(sys.argv[1]); "
        "print(json.dumps([type(pipe).__name__, pipe.window_size, pipe.is_personal]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, folder / "model"], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [name, 50, False]


def check_card(folder: Path, *words: str) -> None:
    """The card of the pipeline names it, how to load it, and what it was trained on."""
    card = str(render_card(facts_of_pipeline(folder / "model", "somebody/listener", trained_in=folder)))
    for word in ("load_system", "MAFRG", *words):
        assert word in card
