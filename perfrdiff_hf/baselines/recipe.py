"""What decides what is learned: the seed, the models' arguments, and what a training example is.

Systems and their stages read no more than this; how a run is carried out is the business of training.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass
class DataConfig:
    """What a training example is. A system reads what concerns it.

    Args:
        window_size: frames of a window.
        num_reactions: recorded reactions to one speaker window while the generic generator trains (one to many).
        history_frames: frames of listener history while weight shifts are learned.
        contrast: `"within"`: the people of a contrastive batch react to the same speaker behaviour (equation 11);
            `"random"`: they are drawn from everybody.
        style_frames: frames of each clip of a contrastive batch; None takes whole clips.
        style_speakers: speaker clips in a contrastive batch.
        style_listeners: most listeners for each speaker clip of a contrastive batch.
        style_clips: most clips for each listener of a contrastive batch.
        drop_all_conditions: probability that an example loses all conditions at once, in addition to the
            independent losses that the denoiser's `condition_dropout` asks for. Guidance needs the unconditional
            prediction; independent losses train it in 0.8 % of the examples only.
        expression_weight: weight of the 52 expression channels in the loss, where a reaction has them; emotion has 1.
        pose_weight: weight of the six channels of the head's pose. They are few and move fast: with less than emotion
            has, heads are slow and do not nod.
        max_snr_weight: an error at time step `t` counts as often as its signal-to-noise ratio says, at least once and
            at most so often; 1 weighs all time steps alike, as equation 10 does. The errors of little noise are small,
            but make the difference between a moving face and a smooth one.
        shown_noise: most noise on the frames of a training window that were shown already, in the scores that the
            diffusion sees; how much there is, is drawn for each example. A model goes on from frames of its own, which
            are not quite like recorded ones, and is not to rely on their finest detail.
        style_noise: length of the noise on a style, before it is brought back to unit length, while weight shifts are
            learned. Keeps the shifts from knowing the people of the training clips by heart.
        whole_windows: share of the denoiser's training windows all of whose frames are new, where it is to join shown
            frames; the others begin with a random number of them, up to its `max_shown_frames`.
        personal_whole_windows: the same while weight shifts are learned. Frames of the recorded reaction tell who is
            reacting, and take from the weight shifts their reason to learn.
        clip_frames: frames of an example for systems that learn clips rather than windows; None: whole clips.
        num_predictions: predictions from as many noises for one window, of which only the best is trained, for
            systems that learn so (BeLFusion).

    Raises:
        ValueError: if a value is impossible.
    """

    window_size: int = 50
    num_reactions: int = 10
    history_frames: int = 750
    contrast: Literal["within", "random"] = "within"
    style_frames: int | None = None
    style_speakers: int = 3
    style_listeners: int = 4
    style_clips: int = 16
    drop_all_conditions: float = 0.0
    expression_weight: float = 1.0
    pose_weight: float = 1.0
    max_snr_weight: float = 1.0
    shown_noise: float = 0.0
    style_noise: float = 0.0
    whole_windows: float = 0.3
    personal_whole_windows: float = 1.0
    clip_frames: int | None = None
    num_predictions: int = 10

    def __post_init__(self) -> None:
        check_at_least(self, 1, "window_size", "num_reactions", "history_frames", "style_frames", "style_speakers")
        check_at_least(self, 1, "clip_frames", "num_predictions")
        check_at_least(self, 2, "style_listeners", "style_clips")
        if not 0 <= self.drop_all_conditions < 1:
            raise ValueError(f"drop_all_conditions must lie in [0, 1); given: {self.drop_all_conditions}.")
        check_at_least(self, 0, "expression_weight", "pose_weight", "shown_noise", "style_noise")
        check_at_least(self, 1, "max_snr_weight")
        for name in ("whole_windows", "personal_whole_windows"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1]; given: {getattr(self, name)}.")


@dataclass(kw_only=True)
class Recipe:
    """What decides what a system learns.

    Args:
        models: arguments of each component that differ from its defaults, by the component's name, and of what else
            the system is made of, such as PerFRDiff's `scheduler`.
        data: what a training example is.
        seed: of weights, examples and noise.
    """

    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    data: DataConfig = field(default_factory=DataConfig)
    seed: int = 1234

    def arguments(self, component: str) -> dict[str, Any]:
        """The arguments of a component, a copy."""
        return dict(self.models.get(component, {}))


def check_at_least(config: Any, least: float, *names: str) -> None:
    """See that settings which are given are not below a bound.

    Raises:
        ValueError: if one is.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and value < least:
            raise ValueError(f"{name} must be at least {least}; given: {value}.")
