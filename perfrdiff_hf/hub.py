"""To the Hub: model cards made from the templates in `model_cards/`, and uploads that are whole or not at all."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import HfApi, ModelCard, ModelCardData
from huggingface_hub.repocard_data import EvalResult
from jinja2 import Environment, FileSystemLoader, StrictUndefined


CARD_NAME = "README.md"
REPORT_NAME = "training.json"
COMPONENT_NAMES = {
    "emotion_vae": "emotion VAE",
    "style_encoder": "style encoder (PSSL)",
    "denoiser": "reaction generator (GAFRG)",
    "weight_shift_generator": "weight-shift generator (PWSG)",
}
TASK = ("facial-reaction-generation", "Facial reaction generation")
SHOWN_METRICS = {
    "frcorr": "FRCorr", "frdist": "FRdist", "frdiv": "FRDiv", "frdvs": "FRDvs", "frvar": "FRVar", "frrea": "FRRea",
    "frsyn": "FRSyn", "loss": "Loss", "style_similarity_within": "Style similarity within people",
    "style_similarity_between": "Style similarity between people",
}  # fmt: skip


@dataclass
class Figure:
    """One measured value, as a card shows it.

    Args:
        metric: short name, such as `"frcorr"`.
        value: what was measured.
        data: name of the data.
        split: `"val"` or `"test"`.
        setting: how it was measured, such as `"PMAFRG, personalised"`.
    """

    metric: str
    value: float
    data: str
    split: str
    setting: str = ""


@dataclass
class CardFacts:
    """What a card tells that differs from model to model.

    Args:
        name: of a component, or `"pipeline"`; the template's name.
        repo_id: where it lies on the Hub.
        config: the model's configuration, or for the pipeline those of its parts by name.
        parameters: number of parameters.
        reports: what training wrote into `training.json`, by component.
        figures: what was measured.
    """

    name: str
    repo_id: str
    config: dict[str, Any]
    parameters: int
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)


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
    environment.filters["yaml"] = lambda values: yaml.safe_dump(
        values, sort_keys=False, default_flow_style=None
    ).strip()
    environment.globals |= {"shown_metrics": SHOWN_METRICS, "component_names": COMPONENT_NAMES}
    body = environment.get_template(f"{facts.name}.md").render(facts=facts)
    return ModelCard(f"---\n{_metadata(facts).to_yaml()}\n---\n\n{body}")


def templates_folder() -> Path:
    """Where the card templates lie: inside an installed package, or at the root of a clone."""
    package = Path(__file__).resolve().parent
    installed = package / "model_cards"
    return installed if installed.is_dir() else package.parent / "model_cards"


def _as_yaml(values: dict[str, Any]) -> str:
    return yaml.safe_dump(values, sort_keys=False, default_flow_style=None).strip()


def _metadata(facts: CardFacts) -> ModelCardData:
    data = sorted({report["data"] for report in facts.reports.values()} | {figure.data for figure in facts.figures})
    results = [
        EvalResult(
            task_type=TASK[0],
            task_name=TASK[1],
            dataset_type=figure.data.lower(),
            dataset_name=figure.data,
            dataset_split=figure.split,
            metric_type=figure.metric,
            metric_name=" ".join(filter(None, (SHOWN_METRICS.get(figure.metric, figure.metric), figure.setting))),
            metric_value=round(figure.value, 6),
        )
        for figure in facts.figures
    ]
    return ModelCardData(
        license="mit",
        library_name="perfrdiff_hf",
        tags=["facial-reaction-generation", "perfrdiff", "diffusion", "affective-computing", *data],
        model_name=facts.repo_id.split("/")[-1],
        eval_results=results or None,
        ignore_metadata_errors=False,
    )


def facts_of_component(folder: Path, name: str, repo_id: str) -> CardFacts:
    """The facts of a model in the folder that training wrote.

    Args:
        folder: with `config.json`, the weights and `training.json`.
        name: of the component.
        repo_id: where it will lie on the Hub.

    Raises:
        FileNotFoundError: if the folder holds no model.
    """
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder} holds no trained {COMPONENT_NAMES[name]}.")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    reports = {name: report} if (report := read_report(folder)) else {}
    figures = [figure for report in reports.values() for figure in _figures_of_report(report)]
    return CardFacts(name, repo_id, _public(config), count_parameters(folder), reports, figures)


def facts_of_pipeline(output_dir: Path, repo_id: str, figures: list[Figure] | None = None) -> CardFacts:
    """The facts of a pipeline in a training run's output folder.

    Args:
        output_dir: with `model/`, the pipeline, and a folder for each component.
        repo_id: where it will lie on the Hub.
        figures: what was measured of the pipeline; by default what validation measured while training.
    """
    parts = {name: facts_of_component(output_dir / name, name, repo_id) for name in COMPONENT_NAMES}
    reports = {name: report for part in parts.values() for name, report in part.reports.items()}
    if figures is None:
        figures = [figure for part in parts.values() for figure in part.figures if figure.metric != "loss"]
    configs = {name: part.config for name, part in parts.items()}
    parameters = sum(part.parameters for part in parts.values())
    return CardFacts("pipeline", repo_id, configs, parameters, reports, figures)


def read_report(folder: Path) -> dict[str, Any] | None:
    """What training wrote of a model, or None where it was made in another way."""
    path = folder / REPORT_NAME
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def count_parameters(folder: Path) -> int:
    """The numbers in all safetensors files of a folder; the files' headers are read, not the weights."""
    from safetensors import safe_open

    total = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118  (a safetensors file is no mapping)
                count = 1
                for length in file.get_slice(name).get_shape():
                    count *= length
                total += count
    return total


def push_folder(folder: Path, facts: CardFacts, private: bool = False, api: HfApi | None = None) -> str:
    """Upload a folder with its card in one commit: the repository shows all of it, or what it showed before.

    Args:
        folder: as `save_pretrained` wrote it.
        facts: for its card.
        private: whether a new repository is private.
        api: client; None uses the stored login.

    Returns:
        The address of the commit.
    """
    api = api or HfApi()
    repo_id = api.create_repo(facts.repo_id, private=private, exist_ok=True).repo_id
    (folder / CARD_NAME).write_text(str(render_card(facts)), encoding="utf-8")
    commit = api.upload_folder(
        repo_id=repo_id,
        folder_path=str(folder),
        commit_message=f"Upload {COMPONENT_NAMES.get(facts.name, facts.name)}",
    )
    return commit.commit_url


def push_training(output_dir: Path, name: str, repo_id: str) -> str:
    """Upload what a training run made: the pipeline (`name` is `"pipeline"`), or one component.

    Returns:
        The address of the commit.
    """
    if name == "pipeline":
        return push_folder(output_dir / "model", facts_of_pipeline(output_dir, repo_id))
    return push_folder(output_dir / name, facts_of_component(output_dir / name, name, repo_id))


def _figures_of_report(report: dict[str, Any]) -> list[Figure]:
    """Validation figures of a stage; the names of training are those of the metrics with a prefix."""
    setting = {"gafrg": "MAFRG, generic", "pwsg": "PMAFRG, personalised"}.get(report["stage"], "")
    prefix = "validation_"
    values = {name.removeprefix(prefix): v for name, v in report["figures"].items() if name.startswith(prefix)}
    return [
        Figure(name, value, report["data"], "val", setting) for name, value in values.items() if name in SHOWN_METRICS
    ]


def _public(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration without what tells about the machine or the library's version."""
    hidden = ("_name_or_path", "transformers_version", "architectures", "dtype", "model_type", "torch_dtype")
    return {name: value for name, value in config.items() if name not in hidden and not name.startswith("_")}
