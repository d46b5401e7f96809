"""A system that nobody wrote for this package: one file, one entry, and it trains, loads, streams and is scored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from perfrdiff_hf.baselines import (
    Examples,
    Objective,
    Parts,
    Recipe,
    Stage,
    System,
    Validation,
    get_system,
    load_system,
    register_system,
    system_names,
)
from perfrdiff_hf.behaviour import Behaviour
from perfrdiff_hf.data.corpus import Corpus
from perfrdiff_hf.data.windows import ReactionWindows
from perfrdiff_hf.evaluation import compare
from perfrdiff_hf.evaluation.reacting import react_to_clips, speaker_of
from perfrdiff_hf.feature_extraction import PerFRDiffFeatureExtractor
from perfrdiff_hf.pipelines.perfrdiff import PerFRDiffPipeline
from perfrdiff_hf.pipelines.reaction_pipeline import ReactionPipeline
from perfrdiff_hf.pipelines.serving import serve
from perfrdiff_hf.pipelines.windows import DueWindow, WindowReactor
from perfrdiff_hf.training.config import load_config
from perfrdiff_hf.training.run import TrainingJob, run_training


WINDOW = 20


class EchoModel(ModelMixin, ConfigMixin):
    """A reaction is a linear function of what the speaker showed one window before."""

    @register_to_config
    def __init__(self, bias: bool = True):
        super().__init__()
        self.linear = nn.Linear(25, 25, bias=bias)

    def forward(self, emotion: Tensor) -> Tensor:
        return torch.tanh(self.linear(emotion))


class EchoReactor(WindowReactor):
    """Each further reaction is a little weaker."""

    def __init__(self, echo: EchoModel, extractor: PerFRDiffFeatureExtractor, num_reactions: int = 2, **_: Any):
        super().__init__(extractor, echo.device)
        self.echo, self.num_reactions = echo, num_reactions

    def react(self, window: DueWindow) -> Tensor:
        strengths = torch.linspace(1, 0.5, self.num_reactions)[None, :, None, None]
        with torch.no_grad():
            return self.echo(window.speaker["emotion"])[:, None] * strengths

    def decode(self, reactions: Tensor) -> tuple[Tensor, Tensor]:
        return reactions, self.feature_extractor.add_mean_face(torch.zeros(*reactions.shape[:-1], 58))


class EchoPipeline(ReactionPipeline):
    echo: EchoModel

    def __init__(self, echo: EchoModel, feature_extractor: PerFRDiffFeatureExtractor):
        super().__init__()
        self.register_modules(echo=echo, feature_extractor=feature_extractor)

    def window_reactor(self, listener_history: Any = None, batch_size: int = 1, **settings: Any) -> EchoReactor:
        return EchoReactor(self.echo, self.feature_extractor, **settings)


class EchoObjective(Objective):
    trained: EchoModel

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"loss": (self.trained(batch["speaker_emotion"]) - batch["reactions"][:, 0]).square().mean()}


class EchoStage(Stage):
    name = "echo"
    title = "echo"
    model = EchoModel
    reads = ("data.window_size",)
    setting = "MAFRG"

    def new_model(self, recipe: Recipe, parts: Parts) -> EchoModel:
        return EchoModel(**recipe.arguments(self.name))

    def examples(self, corpus: Corpus, split: str, recipe: Recipe) -> Examples:
        part = corpus.split(split)
        return ReactionWindows(part.arrays, part.appropriate, 1, recipe.data.window_size, seed=recipe.seed)

    def objective(
        self, model: Any, parts: Parts, feature_extractor: PerFRDiffFeatureExtractor, recipe: Recipe
    ) -> EchoObjective:
        return EchoObjective(model, feature_extractor)

    def figures(self, objective: Any, validation: Validation) -> dict[str, float]:
        return validation.reaction_scores(EchoPipeline(objective.trained, objective.feature_extractor))


ECHO = register_system(System("echo", "Echo", EchoPipeline, (EchoStage(),)))


@pytest.fixture(scope="module")
def corpus(workshop: Any) -> Corpus:
    return Corpus(workshop.world, workshop.folder / "cache")


@pytest.fixture(scope="module")
def trained(workshop: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy system, trained by the ordinary loop."""
    output = tmp_path_factory.mktemp("echo")
    settings = {
        "system": "echo",
        "models": {"echo": {"bias": False}},
        "data": {"window_size": WINDOW},
        "stages": {"echo": {"max_steps": 60, "batch_size": 8, "learning_rate": 0.02}},
        "run": {
            "log_every": 1, "validation_examples": 4, "validation_clips": 2, "validation_reactions": 2,
            "report_to": None,
        },
    }  # fmt: skip
    (output / "config.yaml").write_text(yaml.safe_dump(settings))
    config = load_config(output / "config.yaml")
    run_training(TrainingJob("all", config, workshop.world, output / "run", workshop.folder / "cache"))
    return output / "run"


def test_it_trains_as_its_stage_says(trained: Path, read_log: Any) -> None:
    losses = [line["loss"] for line in read_log(trained, "echo") if "loss" in line]
    assert len(losses) == 60
    assert np.mean(losses[-20:]) < 0.8 * np.mean(losses[:2])
    (figures,) = [line for line in read_log(trained, "echo") if "validation_loss" in line]
    assert {"validation_loss", "validation_frcorr", "validation_frdist"} <= figures.keys()


def test_it_is_loaded_by_its_class(trained: Path) -> None:
    pipeline = load_system(trained / "model")
    assert isinstance(pipeline, EchoPipeline)
    assert pipeline.window_size == WINDOW
    alone = EchoModel.from_pretrained(str(trained / "echo"))
    assert torch.equal(pipeline.echo.linear.weight, alone.linear.weight)
    assert pipeline.echo.linear.bias is None


def heard_by_one(speaker: Behaviour) -> dict[str, np.ndarray]:
    return {name: values[None] for name, values in speaker.streams.items()}


def test_it_streams_and_is_served_as_it_is_called(trained: Path, corpus: Corpus) -> None:
    pipeline, arrays = load_system(trained / "model"), corpus.split("val").arrays
    pipeline.set_progress_bar_config(disable=True)
    speaker = speaker_of(arrays, 0)[:100]
    whole = pipeline(speaker=speaker, num_reactions=3).reactions
    assert whole.shape == (1, 3, 100, 25)
    for chunk in (1, 7, 33):
        stream, segments = pipeline.stream(num_reactions=3), []
        for start in range(0, 100, chunk):
            segments += stream.push(**heard_by_one(speaker[start : start + chunk]))
        together = torch.cat([segment.reactions for segment in segments], dim=2)
        assert torch.equal(together[:, :, :100], whole[:, :, : together.shape[2]])
        assert together.shape[2] >= 100
    streams, heard = [pipeline.stream(num_reactions=3) for _ in range(2)], []
    for stream in streams:
        stream.hear(**heard_by_one(speaker))
    while served := serve(streams):
        heard += [segment.reactions for stream, segment in served if stream is streams[1]]
    assert torch.equal(torch.cat(heard, dim=2)[:, :, :100], whole)


def test_it_is_scored_beside_others(trained: Path, corpus: Corpus) -> None:
    pipeline, part = load_system(trained / "model"), corpus.split("val")
    pipeline.set_progress_bar_config(disable=True)
    rows = range(len(part.arrays))
    reactions = np.asarray(react_to_clips(pipeline, part.arrays, rows, num_reactions=2).reactions)
    targets = np.stack([part.arrays.emotion(row) for row in rows])
    speaker = np.stack([part.arrays.emotion(int(part.arrays.partner[row])) for row in rows])
    report = compare({"echo": reactions}, targets, speaker, {"MAFRG": part.appropriate})
    assert "echo" in report.to_markdown()


def test_systems_are_known_by_name() -> None:
    assert {"perfrdiff", "echo"} <= set(system_names())
    assert get_system("echo") is ECHO
    register_system(ECHO)  # once more is no harm
    with pytest.raises(ValueError, match="There is a system 'echo' already"):
        register_system(System("echo", "Another", PerFRDiffPipeline))
    with pytest.raises(ValueError, match=r"given: 'ecko'\. Did you mean echo\?"):
        get_system("ecko")
    with pytest.raises(ValueError, match="Stage echo needs \\['sound'\\], which no stage before it trains"):
        System("deaf", "Deaf", EchoPipeline, (type("DeafStage", (EchoStage,), {"needs": ("sound",)})(),))


def test_the_loader_knows_perfrdiff_and_says_what_it_does_not_know(tmp_path: Path, make_pipeline: Any) -> None:
    make_pipeline().save_pretrained(str(tmp_path))
    assert isinstance(load_system(tmp_path), PerFRDiffPipeline)
    index = tmp_path / "model_index.json"
    index.write_text(index.read_text().replace("PerFRDiffPipeline", "SomebodysPipeline"))
    with pytest.raises(ValueError, match=r"holds a SomebodysPipeline; known are .*EchoPipeline, .*PerFRDiffPipeline"):
        load_system(tmp_path)
