"""The rows of the paper's tables: which model each takes, and how it is measured. Nothing here runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from perfrdiff_hf.baselines.oracles import ORACLES
from perfrdiff_hf.baselines.reference import REFERENCE_NAMES


EDITS = "weight_shift_generator"


@dataclass(frozen=True)
class Model:
    """What a model changes in the recipe.

    Args:
        settings: of the training, by dotted name.
        trains: the stages that it trains itself; those that they need and that are not among them are shared by all
            models of a seed.
        system: whose stages they are.
        on: the model whose own stages it needs besides the shared ones.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    trains: tuple[str, ...] = (EDITS,)
    system: str = "perfrdiff"
    on: str | None = None


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Args:
        name: in the table, and of its files.
        kind: how it is measured, a name in `row_measures.MEASURES`.
        model: a name in `MODELS`; None needs none.
        what: plain arguments of the measuring.
    """

    name: str
    kind: str
    model: str | None = None
    what: Mapping[str, Any] = field(default_factory=dict)


def _edited(*components: str) -> Model:
    return Model({f"models.{EDITS}.edited.components": list(components)})


def _input(form: str) -> Model:
    return Model({"models.personal_denoiser.style": form}, ("personal_denoiser",), "style_input")


def _hears(*conditions: str) -> Model:
    return Model({"models.denoiser.conditions": list(conditions)}, ("denoiser",))


FACE = ("coefficients", "speaker_latent")
GENERIC = "generic"
RECIPE = "weight editing, low rank"
# The part of Table 4 that is edited in each row, at the rank of the recipe.
TABLE_4 = {
    "self-attention": ("self_attention",),
    "cross-attention": ("cross_attention",),
    "feed-forward": ("feed_forward",),
    "mapping": ("mapping",),
    "self-attention and cross-attention": ("self_attention", "cross_attention"),
    "feed-forward and mapping": ("feed_forward", "mapping"),
    "cross-attention and mapping": ("cross_attention", "mapping"),
    "all four": ("self_attention", "cross_attention", "feed_forward", "mapping"),
}

MODELS: dict[str, Model] = {
    GENERIC: Model(trains=()),
    RECIPE: Model({f"models.{EDITS}.shift_type": "low_rank"}),
    "weight editing, full": Model({f"models.{EDITS}.shift_type": "full"}),
    "input p": _input("token"),
    "input p, adaptive norm": _input("adaptive_norm"),
    "generic, trained on": _input("none"),
    "audio only": _hears("audio"),
    "face only": _hears(*FACE),
    # A stream goes missing as a whole when all conditions that are made of it do.
    "modality dropout": Model({"models.denoiser.condition_dropout": 0.4}, ("denoiser",)),
    **{name: _edited(*components) for name, components in TABLE_4.items()},
}

SECONDS = (2, 5, 10, 20, 30)
CLIPS = (1, 2, 3, 4)
AUDIO, FACE_STREAMS = ("audio",), ("emotion", "coefficients")

TABLES: dict[str, tuple[Row, ...]] = {
    "1": (
        *(Row(name, "reference", None, {"system": name}) for name in (*REFERENCE_NAMES, *ORACLES)),
        Row("generic GAFRG", "generic", GENERIC),
        Row("PerFRDiff", "personal", RECIPE),
    ),
    "2": (
        Row("audio only", "generic", "audio only", {"streams": AUDIO}),
        Row("face only", "generic", "face only", {"streams": FACE_STREAMS}),
        Row("both", "generic", GENERIC),
        Row("modality dropout, audio only", "generic", "modality dropout", {"streams": AUDIO}),
        Row("modality dropout, face only", "generic", "modality dropout", {"streams": FACE_STREAMS}),
        Row("modality dropout, both", "generic", "modality dropout"),
    ),
    "3": (
        Row(GENERIC, "generic", GENERIC),
        Row(RECIPE, "personal", RECIPE),
        Row("generic, trained on", "generic", "generic, trained on"),
        Row("input p", "personal", "input p"),
        Row("input p, adaptive norm", "personal", "input p, adaptive norm"),
        Row("fine-tuning", "fine_tuning", GENERIC, {"steps": 300, "learning_rate": 1e-3, "batch_size": 16}),
        Row("weight editing, full", "personal", "weight editing, full"),
    ),
    "4": tuple(Row(name, "personal", name) for name in TABLE_4),
    "5": tuple(Row(f"{seconds} s", "history", RECIPE, {"seconds": seconds}) for seconds in SECONDS),
    "6": tuple(Row(f"clip {clip}", "history", RECIPE, {"clip": clip}) for clip in CLIPS),
    "4b": tuple(Row(f"{seconds} s", "styles", RECIPE, {"seconds": seconds}) for seconds in SECONDS),
}
