"""A stage of training: which model it trains, on which examples, with which random numbers and which loss.

A stage is one class in one file. The training loop knows stages by this base class alone, so that a system which is
trained needs nothing from training.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from ..data.corpus import Corpus
from ..feature_extraction import PerFRDiffFeatureExtractor
from ..pipelines.reaction_pipeline import ReactionPipeline
from .recipe import Recipe


# Trained models by component name.
Parts = Mapping[str, Any]
Example = dict[str, Tensor]


class Examples(Protocol):
    """Training examples, as `perfrdiff_hf.data.windows` makes them: each follows from (seed, epoch, index) alone."""

    def __len__(self) -> int: ...

    def __getitems__(self, indices: Sequence[int]) -> list[Example]: ...

    def at_epoch(self, epoch: int) -> Examples: ...


class Draws(Protocol):
    """The random numbers that the loss of one example needs."""

    def __call__(self, example: Mapping[str, Tensor], generator: torch.Generator) -> Example: ...


class NoDraws:
    """For losses without randomness."""

    def __call__(self, example: Mapping[str, Tensor], generator: torch.Generator) -> Example:
        return {}


class Objective(nn.Module):
    """What a stage minimises: it holds the trained model and turns a batch into losses.

    Frozen models are kept outside the module tree. So `train()` cannot wake their dropout, data parallelism does not
    carry them around, and checkpoints hold what is trained and nothing else.

    Args:
        trained: the model that is optimised and saved.
        feature_extractor: removes the mean face from coefficients.
        frozen: models that stay as they are, by component name; they are put into eval mode for good.
    """

    def __init__(
        self, trained: nn.Module, feature_extractor: PerFRDiffFeatureExtractor, frozen: Parts | None = None
    ) -> None:
        super().__init__()
        self.trained = trained
        self.feature_extractor = feature_extractor
        self._frozen = {name: model.eval().requires_grad_(False) for name, model in (frozen or {}).items()}

    @property
    def frozen(self) -> Parts:
        """The frozen models by component name."""
        return self._frozen

    def place(self, device: torch.device) -> Objective:
        """Move everything, the frozen models too, to a device."""
        for model in self._frozen.values():
            model.to(device)
        return self.to(device)

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The `loss` of a batch, and what else is worth logging, all scalars."""
        raise NotImplementedError


class Validation(Protocol):
    """What a stage can measure its figures with; training gives it to `Stage.figures`."""

    @property
    def corpus(self) -> Corpus:
        """The data; the split is `"val"`."""
        ...

    @property
    def recipe(self) -> Recipe:
        """Of the run."""
        ...

    @property
    def output_dir(self) -> Path:
        """Of the run; pictures go into its folder `pictures`."""
        ...

    @property
    def device(self) -> torch.device:
        """Of the models."""
        ...

    @property
    def draws_pictures(self) -> bool:
        """Whether training is over and this process is the one that draws."""
        ...

    def reaction_scores(self, pipeline: ReactionPipeline, personal: bool = False, **settings: Any) -> dict[str, float]:
        """`frcorr` and `frdist` of reactions to a fixed set of clips; nothing where the run asks for no clips.

        Args:
            pipeline: the system as it is now.
            personal: whether each listener's history is given, and only the same listener's reactions count (PMAFRG).
            settings: of the call, besides the number of reactions.
        """
        ...


class Stage(ABC):
    """One stage of training. A subclass says the following, and implements the methods.

    Attributes:
        name: of the component that it trains: in the pipeline, in the output folder, in configurations.
        title: the component in words, as a card calls it.
        model: class of the component.
        needs: components that must be trained before.
        reads: dotted names of the recipe's settings that it reads, besides the seed and its own component's arguments.
            A model that was trained with other values of these is not the model that is asked for.
        setting: how `figures` were measured, as a card says it, such as `"MAFRG, generic"`.
        whole_batches: whether an example is a whole batch by itself.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    model: ClassVar[Any]
    needs: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[tuple[str, ...]] = ()
    setting: ClassVar[str] = ""
    whole_batches: ClassVar[bool] = False

    def argument_names(self) -> set[str]:
        """What `recipe.models` may hold for the component."""
        if hasattr(self.model, "config_class"):  # transformers
            return set(self.model.config_class.__annotations__)
        return set(inspect.signature(self.model.__init__).parameters) - {"self"}

    @abstractmethod
    def new_model(self, recipe: Recipe, parts: Parts) -> nn.Module:
        """The untrained model.

        Args:
            recipe: with the model's arguments.
            parts: the components that it needs.

        Raises:
            ValueError: if the arguments are impossible.
        """

    def look_at_data(  # noqa: B027  (to be overridden where there is a need)
        self, model: Any, corpus: Corpus, recipe: Recipe, parts: Parts
    ) -> None:
        """Let an untrained model take over statistics of the training data; by default it needs none.

        Args:
            model: from `new_model`.
            corpus: the data.
            recipe: of the run.
            parts: the components that it needs.
        """

    @abstractmethod
    def examples(self, corpus: Corpus, split: str, recipe: Recipe) -> Examples:
        """What is trained on, or validated with.

        Args:
            corpus: the data.
            split: `"train"` or `"val"`.
            recipe: what an example is.
        """

    @abstractmethod
    def objective(
        self, model: Any, parts: Parts, feature_extractor: PerFRDiffFeatureExtractor, recipe: Recipe
    ) -> Objective:
        """What is minimised.

        Args:
            model: that is trained.
            parts: the components that it needs, to be frozen.
            feature_extractor: with the mean face of the data.
            recipe: of the run.
        """

    def draws(self, recipe: Recipe, objective: Any) -> Draws:
        """The random numbers of an example; by default there are none."""
        return NoDraws()

    def collate(self, examples: list[Example]) -> Example:
        """A batch of examples; by default of equal shapes, each value stacked."""
        return {name: torch.stack([example[name] for example in examples]) for name in examples[0]}

    def figures(self, objective: Any, validation: Validation) -> dict[str, float]:
        """What is measured on the validation split besides the loss; by default nothing.

        Args:
            objective: in eval mode, with the weights to be judged.
            validation: the means to measure.
        """
        return {}
