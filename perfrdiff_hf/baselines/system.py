"""Systems: a pipeline and the stages that train its components, under a name that trainer and loader know.

A system that is trained consists of one file with its models, its `ReactionPipeline` and its stages, and of one entry:

    register_system(System("mine", "My system", MyPipeline, (FirstStage(), SecondStage())))
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from ..feature_extraction import PerFRDiffFeatureExtractor
from ..pipelines.perfrdiff import PerFRDiffPipeline
from ..pipelines.reaction_pipeline import ReactionPipeline
from .recipe import Recipe
from .stage import Parts, Stage


@dataclass(frozen=True)
class System:
    """A system that reacts to speakers, and how it is trained.

    Args:
        name: in configurations.
        title: in words.
        pipeline: its class.
        stages: in the order in which they are trained; none for a system that learns nothing.
        extra_models: names in `recipe.models` besides those of the components.

    Raises:
        ValueError: if a stage needs what no stage before it trains.
    """

    name: str
    title: str
    pipeline: type[ReactionPipeline]
    stages: tuple[Stage, ...] = ()
    extra_models: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for place, stage in enumerate(self.stages):
            missing = set(stage.needs) - {earlier.name for earlier in self.stages[:place]}
            if missing:
                raise ValueError(f"Stage {stage.name} needs {sorted(missing)}, which no stage before it trains.")

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The names of the stages in order, which are those of the components."""
        return tuple(stage.name for stage in self.stages)

    def stage(self, name: str) -> Stage:
        """A stage by the name of the component that it trains.

        Raises:
            ValueError: if there is none; the message guesses which was meant.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise ValueError(
            f"stage must be one of {', '.join(self.stage_names)}, all; given: {name!r}.{self.did_you_mean(name)}"
        )

    def did_you_mean(self, name: str, among: Iterable[str] | None = None) -> str:
        """A guess which component was meant, as the end of a message; empty without a guess.

        Args:
            name: an unknown one; what stands in a stage's title, such as the paper's abbreviation, is understood.
            among: the names that are known; None: those of the stages.
        """
        titled = [stage.name for stage in self.stages if name and name.lower() in stage.title.lower()]
        near = titled or difflib.get_close_matches(name, self.stage_names if among is None else list(among), n=1)
        return f" Did you mean {near[0]}?" if near else ""

    def assemble(self, parts: Parts, feature_extractor: PerFRDiffFeatureExtractor, recipe: Recipe) -> ReactionPipeline:
        """The pipeline of trained components.

        Args:
            parts: all of them, or those that are trained so far.
            feature_extractor: with the mean face of the data and the window length.
            recipe: of the run.
        """
        pipeline: Any = self.pipeline
        return pipeline(**parts, feature_extractor=feature_extractor)

    def check_recipe(self, recipe: Recipe) -> None:
        """Build all components without memory, so that impossible arguments are found before any training.

        Raises:
            ValueError: if `recipe.models` names an unknown component or argument, or arguments do not fit together.
        """
        known = (*self.stage_names, *self.extra_models)
        for name in set(recipe.models) - set(known):
            raise ValueError(
                f"Configuration: unknown key models.{name}.{self.did_you_mean(name, known)} "
                f"Known keys: {', '.join(known)}."
            )
        parts: dict[str, Any] = {}
        for stage in self.stages:
            accepted = stage.argument_names()
            for name in sorted(set(recipe.arguments(stage.name)) - accepted):
                near = difflib.get_close_matches(name, accepted, n=1)
                raise ValueError(
                    f"Configuration: unknown key models.{stage.name}.{name}."
                    f"{f' Did you mean {near[0]}?' if near else ''} Known keys: {', '.join(sorted(accepted))}."
                )
            try:
                with torch.device("meta"):
                    parts[stage.name] = stage.new_model(recipe, parts)
            except Exception as error:  # the libraries raise their own kinds: assertions, validation errors and so on
                raise ValueError(f"Configuration: models.{stage.name}: {error}") from error


_SYSTEMS: dict[str, System] = {}


def register_system(system: System) -> System:
    """Make a system known by its name, to trainer and loader.

    Raises:
        ValueError: if the name is taken by another system.
    """
    if _SYSTEMS.setdefault(system.name, system) is not system:
        raise ValueError(f"There is a system {system.name!r} already; choose another name.")
    return system


def get_system(name: str) -> System:
    """A system by its name.

    Raises:
        ValueError: if it is not registered.
    """
    if name not in _SYSTEMS:
        near = difflib.get_close_matches(name, _SYSTEMS, n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise ValueError(
            f"system must be one of {', '.join(_SYSTEMS)}; given: {name!r}.{meant} A system of your own is known once "
            "the module that registers it is imported."
        )
    return _SYSTEMS[name]


def system_names() -> tuple[str, ...]:
    """The names of all registered systems."""
    return tuple(_SYSTEMS)


def load_system(name_or_folder: str | os.PathLike, **options: Any) -> ReactionPipeline:
    """A saved pipeline of any system: PerFRDiff's, or that of a registered one.

    Args:
        name_or_folder: a folder that `save_pretrained` wrote, or a repository on the Hub.
        options: of `from_pretrained`, such as `revision`, `token` or `torch_dtype`.

    Raises:
        OSError: if there is no saved pipeline.
        ValueError: if its class belongs to no known system.
    """
    names = ("cache_dir", "force_download", "local_files_only", "token", "revision")
    hub_options = {name: options[name] for name in names if name in options}
    index: Any = PerFRDiffPipeline.load_config(os.fspath(name_or_folder), **hub_options)
    classes: dict[str, Any] = {system.pipeline.__name__: system.pipeline for system in _SYSTEMS.values()}
    classes[PerFRDiffPipeline.__name__] = PerFRDiffPipeline
    if index["_class_name"] not in classes:
        raise ValueError(
            f"{name_or_folder} holds a {index['_class_name']}; known are {', '.join(sorted(classes))}. Import the "
            "module that registers its system first."
        )
    return classes[index["_class_name"]].from_pretrained(os.fspath(name_or_folder), **options)
