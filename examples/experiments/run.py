"""Make the rows of the paper's tables: train what a row needs, measure it on test listeners, write its figures.

    perfrdiff world bench --size bench
    python examples/experiments/run.py --table 3 --world bench --work work --seeds 0 1 2
    python examples/experiments/report.py --table 3

A row that was made as it is asked for now is passed over, and an interrupted one goes on; one that was made in another
way is made anew. What all models of a seed share (emotion VAE, style encoder, generic generator) is trained once.
Settings of the training as in `perfrdiff train`, with an equals sign: --stages.denoiser.max_steps=100. Those of models
and stages go to the systems that have them, all others to every system.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import parts
import torch
import yaml
from ablations import ABLATED, ABLATIONS, ablation
from paper_rows import COMPARED, EDITS, GENERIC, TABLES, Model, Row
from paper_rows import MODELS as PAPER_MODELS
from row_measures import MEASURES as PAPER_MEASURES
from row_measures import Bench, costs
from sampling_measure import sampling
from sampling_rows import DISTIL_STEPS, SAMPLING, STUDENTS

from perfrdiff_hf.baselines import Stage, System, get_system
from perfrdiff_hf.baselines.oracles import ORACLE_NAMES
from perfrdiff_hf.cards import read_report
from perfrdiff_hf.cli.train import take_rest
from perfrdiff_hf.data.corpus import Corpus
from perfrdiff_hf.evaluation import load_task
from perfrdiff_hf.evaluation.reacting import folder_name
from perfrdiff_hf.files import file_beside
from perfrdiff_hf.pipelines.reaction_pipeline import ReactionPipeline
from perfrdiff_hf.synthetic.cast import WORLD_FILE
from perfrdiff_hf.training.checkpoints import LATEST, checkpoints_of, settings_in, steps_in
from perfrdiff_hf.training.config import TrainingConfig, load_config
from perfrdiff_hf.training.processes import train_stage
from perfrdiff_hf.training.provenance import is_model, settings_of_stage
from perfrdiff_hf.training.saving import feature_extractor_of, forget_stage


RESULTS = Path(__file__).parents[2] / "results"
# Of a folder of models: how long each of its stages took, by the clock and on the processors.
SECONDS, PROCESSOR_SECONDS = "seconds.json", "processor_seconds.json"
MODELS = {**PAPER_MODELS, **STUDENTS, **ABLATED}
MEASURES = {**PAPER_MEASURES, "sampling": sampling, "ablation": ablation}
# By the name that an option gives them; `all` is those of the paper.
ROWS = {**TABLES, "sampling": SAMPLING, "ablations": ABLATIONS}
SHARED = ("emotion_vae", "style_encoder", "denoiser")
# Enough to see every row start and end; what such rows say is worth nothing.
QUICK = {
    "stages.emotion_vae.max_steps": "50",
    "stages.style_encoder.max_steps": "30",
    "stages.denoiser.max_steps": "60",
    f"stages.{EDITS}.max_steps": "60",
    "models.sampling.num_inference_steps": "2",
    **{f"stages.{component}.max_steps": "20" for component in COMPARED.values()},
}
QUICK_REACTIONS, QUICK_STEPS = 2, 10


def main(arguments: list[str] | None = None) -> None:
    """Make rows; those that are made already are passed over."""
    options = parse(arguments)
    if not options.world.is_dir():
        sys.exit(f"--world: there is no folder {options.world}. `perfrdiff world {options.world}` writes one.")
    parts.speak()
    corpus = Corpus(options.world, options.cache_dir)
    digest = functools.cache(corpus.digest)
    base = load_config(options.config, of_the_recipe(options.overrides)).to_dict()
    tables = list(TABLES) if options.table == "all" else [options.table]
    asked = [(table, row) for table in tables for row in ROWS[table] if not options.rows or row.name in options.rows]
    makers = [Maker(options, corpus, digest, {**base, "seed": seed}) for seed in options.seeds]
    for _, row in asked:  # a wrong setting is told now, not after the hours that rows before it take
        makers[0].config_of(MODELS[row.model or GENERIC])
    for maker in makers:
        for table, row in asked:
            if options.adapting_steps and "steps" in row.what:
                row = replace(row, what={**row.what, "steps": options.adapting_steps})
            maker.make(table, row)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options; `overrides` are settings of the training by dotted name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="of the table, by name; none: all")
    parser.add_argument("--table", required=True, choices=(*ROWS, "all"))
    parser.add_argument("--world", "--data_dir", required=True, type=Path, help="folder of dyads")
    parser.add_argument("--work", required=True, type=Path, help="folder for models and reactions")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of training and noise")
    parser.add_argument("--config", default="bench", help="a configuration's name or file")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the figures")
    parser.add_argument("--cache_dir", help="where computed features are kept")
    parser.add_argument("--processes", type=int, default=1, help="processes that train together")
    parser.add_argument("--num_reactions", type=int, default=10, help="to each clip")
    parser.add_argument("--adapting_steps", type=int, help="of the row fine-tuning, for each listener")
    parser.add_argument("--distil_steps", type=int, help="of the training of each student")
    parser.add_argument("--costs", action="store_true", help="time again the pipelines of rows that are made")
    parser.add_argument("--quick", action="store_true", help="a few steps only, to see that everything works")
    options, rest = parser.parse_known_args(arguments)
    try:
        take_rest(options, rest)
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))
    if options.quick:
        options.overrides = {**QUICK, **options.overrides}
        options.num_reactions = min(options.num_reactions, QUICK_REACTIONS)
        options.adapting_steps = options.adapting_steps or QUICK_STEPS
        options.distil_steps = options.distil_steps or QUICK_STEPS
    asked = TABLES if options.table == "all" else {options.table: ROWS[options.table]}
    known = [row.name for rows in asked.values() for row in rows]
    if unknown := [row for row in options.rows if row not in known]:
        parser.error(f"unknown rows: {', '.join(unknown)}. Table {options.table} has: {', '.join(known)}.")
    words = sys.argv[1:] if arguments is None else arguments
    options.command = ["python", "examples/experiments/run.py", *map(_told, words)]
    return options


def concerns(name: str, system: System) -> bool:
    """Whether a setting, by its dotted name, is one of a system: of its components, or of none."""
    section, component = (*name.split("."), "")[:2]
    return section not in ("models", "stages") or component in (*system.stage_names, *system.extra_models)


def of_the_recipe(overrides: Mapping[str, str]) -> dict[str, str]:
    """Without the settings that other systems have and the recipe's has not; what nobody has stays, to be refused."""
    own, others = get_system("perfrdiff"), [get_system(name) for name in COMPARED]
    return {
        name: text
        for name, text in overrides.items()
        if concerns(name, own) or not any(concerns(name, other) for other in others)
    }


class Maker:
    """Makes the rows of one seed.

    Args:
        options: see `parse`.
        corpus: the data.
        digest: of a split of them.
        base: the configuration of the recipe as plain values, with the seed.
    """

    def __init__(
        self, options: argparse.Namespace, corpus: Corpus, digest: Callable[[str], str], base: Mapping[str, Any]
    ):
        self.options = options
        self.corpus = corpus
        self.digest = digest
        self.base = base
        self.seed = int(base["seed"])

    def make(self, table: str, row: Row) -> None:
        """Make a row and write its figures, unless they are there."""
        if row.name in ORACLE_NAMES and not (self.corpus.data_dir / WORLD_FILE).exists():
            print(f"table {table}: no row {row.name!r}: these data have no known truth.", flush=True)
            return
        output = self.options.results / f"table{table}" / f"{folder_name(row.name)}-seed{self.seed}.json"
        model = MODELS[row.model or GENERIC]
        config = self.config_of(model)
        # Fine-tuning adapts the layers that are edited elsewhere.
        before = MODELS[model.on].trains if model.on else ()
        edits = [EDITS] if row.kind == "fine_tuning" else []
        counts = (*SHARED, *before, *model.trains, *edits) if row.model else ()
        made_with = self.made_with(row, config, counts)
        found = _read(output)
        if found.get("configuration") == made_with:
            if self.options.costs and found.get("costs"):
                bench = self.bench(config, model, self.train(row.model or GENERIC), row)
                _write(output, {**found, "costs": costs(bench, row.what.get("sampling"))})
            return
        print(f"table {table}, {row.name}, seed {self.seed}", flush=True)
        folder = self.train(row.model) if row.model else None
        started, bench = time.monotonic(), self.bench(config, model, folder, row)
        figures = MEASURES[row.kind](bench, **row.what)
        found = {
            "table": table,
            "row": row.name,
            "seed": self.seed,
            "figures": figures,
            "seconds": {**self.seconds(model, folder, SECONDS), "measuring": time.monotonic() - started},
            "processor_seconds": self.seconds(model, folder, PROCESSOR_SECONDS),
            "steps": {} if folder is None else steps_of(model, folder),
            "costs": costs(bench, row.what.get("sampling")) if table == "1" and bench.pipeline is not None else {},
            "command": " ".join(self.options.command),
            "machine": machine(),
            "configuration": made_with,
        }
        output.parent.mkdir(parents=True, exist_ok=True)
        _write(output, found)

    def made_with(self, row: Row, config: TrainingConfig, stages: tuple[str, ...]) -> dict[str, Any]:
        """Everything that decides a row's figures, as plain values: no more of the training than stages that count."""
        what = {"kind": row.kind, **row.what, "num_reactions": self.options.num_reactions}
        data = {split: self.digest(split) for split in ("train", row.split)}
        return json.loads(json.dumps({"training": _learned(config, stages), "measured": what, "data": data}))

    def config_of(self, model: Model) -> TrainingConfig:
        """The configuration of a model: the recipe with what the model changes; a `ValueError` if it is none."""
        values = copy.deepcopy(dict(self.base))
        system = get_system(model.system)
        values["system"] = system.name
        last = system.stage_names[-1]
        if model.config is not None:
            values = self._compared(values, model.config, system)
        elif last != EDITS:  # the last stage of another system trains as long and as fast, unless its model says more
            values["stages"][last] = copy.deepcopy(values["stages"][EDITS])
        if EDITS not in system.stage_names:
            values["stages"].pop(EDITS, None)
            values["models"].pop(EDITS, None)
        path = self.options.work / "configs" / f"{system.name}-seed{self.seed}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        with file_beside(path) as beside:
            beside.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
        config = load_config(path, self.settings_of(model))
        system.check_recipe(config)
        return config

    def settings_of(self, model: Model) -> dict[str, str]:
        """What a model changes, as text; what the command says goes before it, except that it adds to no budget."""
        settings, told = dict(model.settings), self.options.overrides
        if self.options.distil_steps and DISTIL_STEPS in settings:
            settings[DISTIL_STEPS] = self.options.distil_steps
        budget = {name: min(steps, int(told.get(name, steps))) for name, steps in model.budget.items()}
        changes = {name: value for name, value in settings.items() if name not in told} | budget
        return {name: json.dumps(value) for name, value in changes.items()}

    def _compared(self, recipe: dict[str, Any], config: str, system: System) -> dict[str, Any]:
        """The configuration of a system to compare with, run as the recipe is, with the recipe's shared stages."""
        overrides = {name: text for name, text in self.options.overrides.items() if concerns(name, system)}
        values = load_config(config, overrides).to_dict()
        for stage in shared_stages(Model(system=system.name)):
            values["stages"][stage] = recipe["stages"][stage]
            values["models"][stage] = recipe["models"].get(stage, {})
        return {**values, "seed": self.seed, "run": recipe["run"]}

    @property
    def shared(self) -> Path:
        """The folder of what the models of this seed share."""
        return self.options.work / "models" / f"shared-seed{self.seed}"

    def train(self, name: str) -> Path:
        """The folder of a trained model; what is there as it is asked for is not trained again."""
        model, shared = MODELS[name], shared_stages(MODELS[name])
        self._train_stages(self.shared, MODELS[GENERIC], shared)
        if not model.trains:
            return self.shared
        folder = self.shared.with_name(f"{folder_name(name)}-seed{self.seed}")
        parts.borrow(self.shared, folder, shared)
        if model.on:
            parts.borrow(self.train(model.on), folder, MODELS[model.on].trains)
        self._train_stages(folder, model, model.trains)
        return folder

    def seconds(self, model: Model, folder: Path | None, file: str) -> dict[str, float]:
        """How long each stage of a model took to train, those included that it shares."""
        if folder is None:
            return {}
        told, shared = {**_read(self.shared / file), **_read(folder / file)}, shared_stages(model)
        return {stage: told[stage] for stage in (*shared, *model.trains) if stage in told}

    def _train_stages(self, folder: Path, model: Model, stages: tuple[str, ...]) -> None:
        options, config = self.options, self.config_of(model)
        file = options.work / "configs" / f"{model.system}-seed{self.seed}.yaml"
        settings = self.settings_of(model)
        for name in stages:
            stage = get_system(model.system).stage(name)
            if self._is_stale(stage, config, folder):
                forget_stage(stage, folder)
            if is_model(folder / name):
                continue
            begun = bool(steps_in(checkpoints_of(folder, name)))
            started, worked = time.monotonic(), sum(os.times()[:4])
            try:
                train_stage(name, folder, file, options.world, settings, options.processes, options.cache_dir)
            finally:  # what is interrupted goes on, and has taken its time
                took = {SECONDS: time.monotonic() - started, PROCESSOR_SECONDS: sum(os.times()[:4]) - worked}
                for place, value in took.items():
                    told = _read(folder / place)
                    _write(folder / place, {**told, name: value + (told.get(name, 0) if begun else 0)})

    def _is_stale(self, stage: Stage, config: TrainingConfig, folder: Path) -> bool:
        """Whether what was trained in a folder, or begun, is not what is asked for now."""
        if is_model(folder / stage.name):
            saved = (read_report(folder / stage.name) or {}).get("settings")
        else:
            saved = settings_in(checkpoints_of(folder, stage.name), LATEST)
        asked = settings_of_stage(stage, config, folder, self.digest("train"))
        return saved is not None and saved != json.loads(json.dumps(asked))

    def bench(self, config: TrainingConfig, model: Model, folder: Path | None, row: Row) -> Bench:
        """What a row is measured with."""
        options = self.options
        return Bench(
            self.corpus,
            load_task(options.world, row.split, "pmafrg", options.cache_dir),
            config,
            options.num_reactions,
            self.seed,
            options.work / "reactions" / f"{folder_name(row.model or 'none')}-seed{self.seed}",
            None if folder is None else assembled(folder, model, config, self.corpus),
            row.split,
        )


def shared_stages(model: Model) -> tuple[str, ...]:
    """What a model shares with all others of its seed."""
    own = get_system(model.system).stage_names
    return tuple(stage for stage in SHARED if stage in own and stage not in model.trains)


def steps_of(model: Model, folder: Path) -> dict[str, int]:
    """The optimiser steps of each stage of a trained model."""
    reports = {stage: read_report(folder / stage) or {} for stage in (*shared_stages(model), *model.trains)}
    return {stage: report["steps"] for stage, report in reports.items() if "steps" in report}


def assembled(folder: Path, model: Model, config: TrainingConfig, corpus: Corpus) -> ReactionPipeline:
    """The pipeline of the components that were trained in a folder; without the personal ones it is generic."""
    system = get_system(model.system)
    trained = [stage for stage in system.stages if is_model(folder / stage.name)]
    components = {stage.name: stage.model.from_pretrained(str(folder / stage.name)).eval() for stage in trained}
    pipeline: Any = system.assemble(components, feature_extractor_of(corpus, config), config)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to("cuda") if torch.cuda.is_available() else pipeline


def machine() -> dict[str, Any]:
    """Where a row was made, without what tells whose machine it is."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _told(word: str) -> str:
    """A word of the command for results, which are for others: without the folders of this machine."""
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return option + equals + (Path(value).name if Path(value).is_absolute() else value)


def _learned(config: TrainingConfig, stages: tuple[str, ...]) -> dict[str, Any]:
    """What a configuration says of some stages, without how the run is carried out."""
    values, others = config.to_dict(), set(config.stages) - set(stages)
    del values["run"]
    for part in ("models", "stages"):
        values[part] = {name: told for name, told in values[part].items() if name not in others}
    return values


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _write(path: Path, values: Mapping[str, Any]) -> None:
    with file_beside(path) as beside:
        beside.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
