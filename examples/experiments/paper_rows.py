"""The rows of the paper's tables: which model each takes, and how it is measured. Nothing here runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from perfrdiff_hf.baselines import get_system
from perfrdiff_hf.baselines.oracles import ORACLE_NAMES
from perfrdiff_hf.baselines.reference import REFERENCE_NAMES
from perfrdiff_hf.behaviour import WINDOW_SIZE


EDITS = "weight_shift_generator"


@dataclass(frozen=True)
class Model:
    """What a model changes in the recipe.

    Args:
        settings: of the training, by dotted name.
        trains: the stages that it trains itself; those that they need and that are not among them are shared by all
            models of a seed.
        system: whose stages they are.
        config: a configuration's name, where the model has one of its own; None: the recipe's.
        on: the model whose own stages it needs besides the shared ones.
        budget: steps of stages, by dotted name, that make it what it is: what the command says of a stage makes them
            fewer (`--quick`), and never more.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    trains: tuple[str, ...] = (EDITS,)
    system: str = "perfrdiff"
    config: str | None = None
    on: str | None = None
    budget: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Args:
        name: in the table, and of its files.
        kind: how it is measured, a name in `row_measures.MEASURES`.
        model: a name in `MODELS`; None needs none.
        what: plain arguments of the measuring.
        split: whose listeners it is measured on: those to report on, or `val`, those to tune on.
    """

    name: str
    kind: str
    model: str | None = None
    what: Mapping[str, Any] = field(default_factory=dict)
    split: str = "test"


def offline(system: str) -> str:
    """What the offline form of a system to compare with is called."""
    return f"{TITLES[system]}, offline"


def binarised(name: str) -> str:
    """What a row is called whose action units were made whole numbers."""
    return f"{name}, binarised"


def sampled_plainly(name: str) -> str:
    """What a row of PerFRDiff is called that is sampled as the systems to compare with are."""
    return f"{name}, sampled plainly"


def unguided(name: str) -> str:
    """What a row is called that is sampled without guidance."""
    return f"{name}, no guidance"


def _edited(*components: str) -> Model:
    return Model({f"models.{EDITS}.edited.components": list(components)})


def _input(form: str) -> Model:
    return Model({"models.personal_denoiser.style": form}, ("personal_denoiser",), "style_input")


def _hears(*conditions: str) -> Model:
    return Model({"models.denoiser.conditions": list(conditions)}, ("denoiser",))


def _compared(system: str, **changes: Any) -> Model:
    return Model(changes, (COMPARED[system],), system, f"{system}_bench")


def _offline(system: str) -> Model:
    return _compared(system, **{f"models.{COMPARED[system]}.online": False, **OFFLINE.get(system, {})})


FACE = ("coefficients", "speaker_latent")
GENERIC = "generic"
RECIPE = "weight editing, low rank"
OWN, EQUAL_BUDGET = "PerFRDiff", "PerFRDiff, equal budget"
# Systems to compare with: their names, and the component that each trains beside the shared emotion VAE.
COMPARED = {
    "trans_vae": "trans_vae",
    "regnn": "regnn",
    "unifarn": "unifarn",
    "beamer": "beamer",
    "latent_context": "latent_sequence_denoiser",
    "belfusion": "latent_denoiser",
}
# What else changes offline: BEAMER learns from whole clips, as it reads them. Steps, such that all take as long.
OFFLINE: dict[str, dict[str, Any]] = {
    "trans_vae": {"stages.trans_vae.max_steps": 4000},
    "unifarn": {"stages.unifarn.max_steps": 1200},
    "beamer": {"stages.beamer.max_steps": 1600, "stages.beamer.batch_size": 2, "data.clip_frames": None},
}
TITLES = {system: get_system(system).title for system in COMPARED}
# What UniFaRN could reach at best: the recorded reactions in its words.
CEILING = f"{TITLES['unifarn']}, recorded reactions in its words"
BINARISED = {"sampling": {"binarise_action_units": True}}
# Guidance sharpens reactions, and what sharpens raises FRCorr by itself: the same models without it.
UNGUIDED = {"sampling": {"guidance_scale": 1.0}}
# Windows of 50 frames, given as they are predicted. The recipe asks for more, and the others have nothing of it.
PLAIN = {"sampling": {"hop": WINDOW_SIZE, "binarise_action_units": False, "smooth_emotion": False}}
PAPER_LAYERS = "cross-attention and mapping"
# The part of Table 4 that is edited in each row, at the rank of the recipe.
TABLE_4 = {
    "self-attention": ("self_attention",),
    "cross-attention": ("cross_attention",),
    "feed-forward": ("feed_forward",),
    "mapping": ("mapping",),
    "self-attention and cross-attention": ("self_attention", "cross_attention"),
    "feed-forward and mapping": ("feed_forward", "mapping"),
    PAPER_LAYERS: ("cross_attention", "mapping"),
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
    # As long as each system to compare with trains.
    EQUAL_BUDGET: Model(
        trains=("denoiser", EDITS), budget={"stages.denoiser.max_steps": 2400, f"stages.{EDITS}.max_steps": 1500}
    ),
    **{TITLES[system]: _compared(system) for system in COMPARED},
    **{offline(system): _offline(system) for system in COMPARED},
}

SECONDS = (2, 5, 10, 20, 30)
CLIPS = (1, 2, 3, 4)
# Systems of the row fine-tuning.
FINE_TUNED, FINE_TUNED_ON_ANOTHER = "fine-tuned on the history", "fine-tuned on another's history"
# Of whole histories; they stand beside one row of a table, and the one that tells most beside the others.
CONTROLS = ("another_history", "no_movement", "one_shift")
ALL_CONTROLS, ONE_CONTROL = {"controls": CONTROLS}, {"controls": CONTROLS[:1]}
AUDIO, FACE_STREAMS = ("audio",), ("emotion", "coefficients")

ONLINE_ROWS = (
    Row(OWN, "personal", RECIPE, ALL_CONTROLS),
    Row(sampled_plainly(OWN), "personal", RECIPE, PLAIN),
    Row(EQUAL_BUDGET, "personal", EQUAL_BUDGET, ONE_CONTROL),
    Row(sampled_plainly(EQUAL_BUDGET), "personal", EQUAL_BUDGET, PLAIN),
    Row("generic GAFRG", "generic", GENERIC),
    Row("input p", "personal", "input p", ONE_CONTROL),
    *(Row(TITLES[system], "generic", TITLES[system]) for system in COMPARED),
    Row(binarised(TITLES["belfusion"]), "generic", TITLES["belfusion"], BINARISED),
)
OFFLINE_ROWS = (
    *(Row(offline(system), "generic", offline(system)) for system in COMPARED),
    Row(binarised(offline("belfusion")), "generic", offline("belfusion"), BINARISED),
)
# Models that table 1 has beside the paper's own rows; from those they differ by far more than training seeds do.
BESIDE = ("input p", *TITLES.values(), *map(offline, COMPARED))
UNGUIDED_PERSONAL = (RECIPE, "input p", "input p, adaptive norm")
TABLES: dict[str, tuple[Row, ...]] = {
    "1": (
        *(Row(name, "reference", None, {"system": name}) for name in (*REFERENCE_NAMES, *ORACLE_NAMES)),
        Row(CEILING, "vocabulary", TITLES["unifarn"]),
        *ONLINE_ROWS,
        *OFFLINE_ROWS,
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
        Row(unguided(GENERIC), "generic", GENERIC, UNGUIDED),
        *(Row(unguided(name), "personal", name, UNGUIDED) for name in UNGUIDED_PERSONAL),
    ),
    "4": tuple(Row(name, "personal", name, {} if name == PAPER_LAYERS else ONE_CONTROL) for name in TABLE_4),
    "5": (
        *(Row(f"{seconds} s", "history", RECIPE, {"seconds": seconds}) for seconds in SECONDS[:-1]),
        Row(f"{SECONDS[-1]} s", "history", RECIPE, {"seconds": SECONDS[-1], **ALL_CONTROLS}),
    ),
    "6": (
        Row("clip 1", "history", RECIPE, {"clip": 1, **ALL_CONTROLS}),
        *(Row(f"clip {clip}", "history", RECIPE, {"clip": clip}) for clip in CLIPS[1:]),
    ),
    "4b": tuple(Row(f"{seconds} s", "styles", RECIPE, {"seconds": seconds}) for seconds in SECONDS),
}
