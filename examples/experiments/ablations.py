r"""The rows of the table of ablations: one ingredient of the recipe taken out each, and how they are measured.

    python examples/experiments/run.py --table ablations --world bench --work ablations \
        --stages.denoiser.max_steps=3000 --stages.weight_shift_generator.max_steps=4000 --num_reactions=4
    python examples/experiments/report.py --table ablations

Rows compare with each other and with nothing else: all are trained with the same small budget, that of the command,
the whole recipe among them, and measured on the validation listeners.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paper_rows import EDITS, RECIPE, Model, Row
from row_measures import Bench, Figures

from perfrdiff_hf.baselines import oracle_rows, reference_rows
from perfrdiff_hf.baselines.reference import RECORDED
from perfrdiff_hf.evaluation.controls import manners_of


WHOLE = "the whole recipe"
GENERATOR = ("denoiser", EDITS)
# No frames shown again: windows of 50 frames.
NOTHING_SHOWN = {"models.denoiser.max_shown_frames": None, "models.sampling.hop": 50}


def _generator(**changes: Any) -> Model:
    return Model({f"models.denoiser.{name}": value for name, value in changes.items()}, GENERATOR)


ABLATED = {
    "no noise on styles": Model({"data.style_noise": 0.0}),
    "no noise on shown frames": Model({"data.shown_noise": 0.0}, GENERATOR),
    "shifts learn from shown frames": Model({"data.personal_whole_windows": 0.3}),
    "twenty shown frames": _generator(max_shown_frames=20),
    "as many shown frames as the hop leaves": _generator(max_shown_frames=45),
    "no shown frames": Model(NOTHING_SHOWN, GENERATOR),
    "equation 9 for shown frames": Model(
        {**NOTHING_SHOWN, "models.denoiser.conditions": ["audio", "coefficients", "speaker_latent", "past_emotion"]},
        GENERATOR,
    ),
    "channels on their own scales": _generator(standardised=False),
    "a pose that counts as emotion": Model({"data.pose_weight": 1.0}, GENERATOR),
    "time steps that count alike": Model({"data.max_snr_weight": 1.0}, GENERATOR),
    "emotion alone": _generator(in_channels=25),
    "style of place": Model({"models.style_encoder.movement": False}, ("style_encoder", EDITS)),
    "two windows of the speaker": _generator(context_windows=2),
    "four windows of the speaker": _generator(context_windows=4),
}
# Of the whole recipe's model: another way to sample it.
SAMPLED: dict[str, dict[str, Any]] = {
    "no guidance": {"guidance_scale": 1.0},
    "action units as they are predicted": {"binarise_action_units": False},
    "emotion as it is predicted": {"smooth_emotion": False},
}
ABLATIONS = (
    Row(WHOLE, "ablation", RECIPE, split="val"),
    *(Row(name, "ablation", name, split="val") for name in ABLATED),
    *(Row(name, "ablation", RECIPE, {"sampling": changed}, split="val") for name, changed in SAMPLED.items()),
)


def ablation(bench: Bench, sampling: Mapping[str, Any] | None = None) -> Figures:
    """A personal model with its listeners' own histories and without, beside the recorded reactions and the oracles.

    Args:
        bench: with the model and the validation listeners of a synthetic world.
        sampling: of the pipeline's call, instead of what was saved.
    """
    task, made = bench.task, bench.react(manners_of(bench.pipeline, bench.arrays), sampling=sampling)
    recorded = reference_rows(
        task.reactions, task.speaker, bench.num_reactions, target_coefficients=task.coefficients
    )[RECORDED]
    oracles = oracle_rows(bench.corpus.data_dir, bench.split, task.paths, bench.num_reactions, bench.hop, bench.seed)
    return bench.scored({**made, RECORDED: recorded, **oracles}, sampling)
