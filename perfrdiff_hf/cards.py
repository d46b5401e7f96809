"""Model cards: the templates in `model_cards/` filled from a saved folder and from what training wrote beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.repocard_data import EvalResult
from jinja2 import Environment, FileSystemLoader, StrictUndefined


CARD_NAME = "README.md"
# What training writes beside a model: how it came about.
REPORT_NAME = "training.json"
INDEX_NAME = "model_index.json"
UNKNOWN_LICENSE = "other"
# Class of a pipeline to the template of its card; other systems have a common one.
PIPELINE_TEMPLATES = {"PerFRDiffPipeline": "pipeline"}
OTHER_PIPELINE, OTHER_COMPONENT = "reaction_pipeline", "component"
TASK = ("facial-reaction-generation", "Facial reaction generation")
SHOWN_METRICS = {
    "frcorr": "FRCorr", "frdist": "FRdist", "frdiv": "FRDiv", "frdvs": "FRDvs", "frvar": "FRVar", "frrea": "FRRea",
    "frsyn": "FRSyn", "loss": "Loss", "style_similarity_within": "Style similarity within people",
    "style_similarity_between": "Style similarity between people",
}  # fmt: skip
# Those that are measured of reactions, and so depend on how these were generated.
REACTION_METRICS = ("frcorr", "frdist")


@dataclass(frozen=True)
class Measurement:
    """One measured value and how it was measured, as a card shows them.

    Args:
        metric: short name, such as `"frcorr"`.
        value: what was measured.
        data: name of the data.
        split: `"val"` or `"test"`.
        setting: of what, such as `"PMAFRG, personalised"`.
        reactions: reactions to each clip, over which FRCorr and FRdist are sums.
        steps: denoising steps.
        guidance: strength of guidance.
        clips: how many clips.
        interval: the 95 % interval; None where none was computed.
    """

    metric: str
    value: float
    data: str
    split: str
    setting: str = ""
    reactions: int | None = None
    steps: int | None = None
    guidance: float | None = None
    clips: int | None = None
    interval: tuple[float, float] | None = None

    @property
    def conditions(self) -> str:
        """How it was measured, in words; empty if nothing is known of it."""
        said = [
            None if self.reactions is None else f"{self.reactions} reactions",
            None if self.steps is None else f"{self.steps} steps",
            None if self.guidance is None else f"guidance {self.guidance:g}",
            None if self.clips is None else f"{self.clips} clips",
        ]
        known = [text for text in said if text]
        if self.interval is not None:
            known.append(f"95 % interval {self.interval[0]:.4g} to {self.interval[1]:.4g}")
        elif known:
            known.append("no interval")
        return ", ".join(known)

    @property
    def title(self) -> str:
        """Metric, setting and conditions, as metadata has them in one line."""
        name = " ".join(filter(None, (SHOWN_METRICS.get(self.metric, self.metric), self.setting)))
        return f"{name} ({self.conditions})" if self.conditions else name


@dataclass
class CardFacts:
    """What a card tells that differs from model to model.

    Args:
        name: of the template: a component, `"pipeline"`, or `"reaction_pipeline"` for other systems.
        repo_id: where it lies on the Hub.
        config: the model's configuration, or for a pipeline those of its parts by name.
        parameters: number of parameters.
        reports: what training wrote into `training.json`, by component.
        measurements: what was measured.
        license: of the weights, as the Hub names it; if none is given, that of their data where it is known.
        kind: class of the pipeline or model.
    """

    name: str
    repo_id: str
    config: dict[str, Any]
    parameters: int
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)
    license: str = UNKNOWN_LICENSE
    kind: str = ""

    def __post_init__(self) -> None:
        if self.license == UNKNOWN_LICENSE:
            self.license = next((said for said in self._of_data("license")), UNKNOWN_LICENSE)

    @property
    def credits(self) -> list[str]:
        """Whom the licences of the training data ask to be named."""
        return self._of_data("credit")

    @property
    def channels(self) -> dict[str, list[str]]:
        """Channels that the training data did not measure, "derived" and "unavailable"; empty if all were measured."""
        return next((report["channels"] for report in self.reports.values() if "channels" in report), {})

    def _of_data(self, key: str) -> list[str]:
        return list(dict.fromkeys(report[key] for report in self.reports.values() if report.get(key)))


def render_card(facts: CardFacts) -> ModelCard:
    """A model card with metadata that the Hub shows: licence, library, tags, data and figures (model-index).

    Raises:
        FileNotFoundError: if there is no template of that name.
    """
    folder = templates_folder()
    if not (folder / f"{facts.name}.md").is_file():
        raise FileNotFoundError(f"There is no card template {folder / facts.name}.md.")
    environment = Environment(
        loader=FileSystemLoader(folder), undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    environment.filters["yaml"] = _as_yaml
    environment.globals |= {"shown_metrics": SHOWN_METRICS, "reaction_metrics": REACTION_METRICS}
    body = environment.get_template(f"{facts.name}.md").render(facts=facts)
    return ModelCard(f"---\n{_metadata(facts).to_yaml()}\n---\n\n{body}")


def templates_folder() -> Path:
    """Where the card templates lie: inside an installed package, or at the root of a clone."""
    package = Path(__file__).resolve().parent
    installed = package / "model_cards"
    return installed if installed.is_dir() else package.parent / "model_cards"


def facts_of_component(folder: Path, name: str, repo_id: str, license: str = UNKNOWN_LICENSE) -> CardFacts:
    """The facts of a model in the folder that training wrote.

    Args:
        folder: with `config.json`, the weights and, if training made it, `training.json`.
        name: of the component.
        repo_id: where it will lie on the Hub.
        license: see `CardFacts`.

    Raises:
        FileNotFoundError: if the folder holds no model.
    """
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder} holds no trained {name}.")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    report = read_report(folder)
    kind = config.get("_class_name") or (config.get("architectures") or [""])[0]
    return CardFacts(
        name=name if (templates_folder() / f"{name}.md").is_file() else OTHER_COMPONENT,
        repo_id=repo_id,
        config=_public(config),
        parameters=count_parameters(folder),
        reports={name: report} if report else {},
        measurements=measurements_of_report(report) if report else [],
        license=license,
        kind=kind,
    )


def facts_of_pipeline(
    folder: Path,
    repo_id: str,
    trained_in: Path | None = None,
    measurements: Sequence[Measurement] | None = None,
    license: str = UNKNOWN_LICENSE,
) -> CardFacts:
    """The facts of a saved pipeline.

    Args:
        folder: as `save_pretrained` wrote it.
        repo_id: where it will lie on the Hub.
        trained_in: the output folder of training, with a folder and a `training.json` for each component; None: it is
            not told how the parts came about.
        measurements: what was measured of the pipeline; by default what validation measured while training.
        license: see `CardFacts`.

    Raises:
        FileNotFoundError: if the folder holds no pipeline.
    """
    if not (folder / INDEX_NAME).is_file():
        raise FileNotFoundError(f"{folder} holds no saved pipeline.")
    index = json.loads((folder / INDEX_NAME).read_text(encoding="utf-8"))
    names = [name for name in index if (folder / name / "config.json").is_file()]
    parts = {name: facts_of_component(folder / name, name, repo_id) for name in names}
    trained = {name: trained_in / name for name in names} if trained_in else {}
    reports = {name: report for name, place in trained.items() if (report := read_report(place))}
    if measurements is None:
        found = [one for report in reports.values() for one in measurements_of_report(report)]
        measurements = [one for one in found if one.metric != "loss"]
    return CardFacts(
        name=PIPELINE_TEMPLATES.get(index["_class_name"], OTHER_PIPELINE),
        repo_id=repo_id,
        config={name: part.config for name, part in parts.items()},
        parameters=sum(part.parameters for part in parts.values()),
        # In the order in which they were trained: a part is trained after those that it needs.
        reports=dict(sorted(reports.items(), key=lambda item: _depth(item[0], reports))),
        measurements=list(measurements),
        license=license,
        kind=index["_class_name"],
    )


def read_report(folder: Path) -> dict[str, Any] | None:
    """What training wrote of a model, or None where it was made in another way."""
    path = folder / REPORT_NAME
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def measurements_of_report(report: dict[str, Any]) -> list[Measurement]:
    """What validation measured in a stage; the names of training are those of the metrics with a prefix."""
    prefix, measured = "validation_", report.get("measured", {})
    how = {
        "reactions": measured.get("num_reactions"),
        "steps": measured.get("num_inference_steps"),
        "guidance": measured.get("guidance_scale"),
        "clips": measured.get("clips"),
    }
    values = {name.removeprefix(prefix): v for name, v in report["figures"].items() if name.startswith(prefix)}
    return [
        Measurement(
            name, value, report["data"], "val", report.get("setting", ""), **(how if name in REACTION_METRICS else {})
        )
        for name, value in values.items()
        if name in SHOWN_METRICS
    ]


def count_parameters(folder: Path) -> int:
    """The numbers in all safetensors files of a folder; the files' headers are read, not the weights."""
    from safetensors import safe_open

    total = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="np") as file:
            total += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    return total


def _metadata(facts: CardFacts) -> ModelCardData:
    measured = facts.measurements
    data = sorted({report["data"] for report in facts.reports.values()} | {one.data for one in measured})
    results = [
        EvalResult(
            task_type=TASK[0],
            task_name=TASK[1],
            dataset_type=one.data.lower(),
            dataset_name=one.data,
            dataset_split=one.split,
            metric_type=one.metric,
            metric_name=one.title,
            metric_value=round(one.value, 6),
        )
        for one in measured
    ]
    return ModelCardData(
        license=facts.license,
        library_name="perfrdiff_hf",
        tags=["facial-reaction-generation", "perfrdiff", "diffusion", "affective-computing", *data],
        model_name=facts.repo_id.split("/")[-1],
        eval_results=results or None,
        ignore_metadata_errors=False,
    )


def _depth(name: str, reports: dict[str, dict[str, Any]]) -> int:
    """How many trained components a component builds on."""
    inputs = reports[name].get("settings", {}).get("inputs", {})
    return sum(1 + _depth(part, reports) for part in inputs if part in reports)


def _as_yaml(values: dict[str, Any]) -> str:
    return yaml.safe_dump(values, sort_keys=False, default_flow_style=None).strip()


def _public(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration without what tells about the machine or the library's version."""
    hidden = ("_name_or_path", "transformers_version", "architectures", "dtype", "model_type", "torch_dtype")
    return {name: value for name, value in config.items() if name not in hidden and not name.startswith("_")}
