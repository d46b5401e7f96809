"""Where things lie: on the server, and in the same places below a folder. One file for each person and feature.

```
<root>/seamless.json                                what this folder is: the release, its licence, the credit
<root>/LICENSE.txt                                  the licence in words
<root>/filelist.csv                                 the release's list, if it was got: who stands in two splits
<root>/interactions.csv                             prompts, for games and roles
<root>/<label>/<split>/movement/<feature>/<id>.npy  face features, 30 frames a second
<root>/<label>/<split>/metadata/{vad,transcript}/<id>.jsonl
<root>/<label>/<split>/audio/<id>.wav               only if the sound was kept
<root>/<label>/<split>/audio_features/<id>.npy      ours: (frames, 78) at 25 a second, from the wav
<root>/<label>/<split>/index.json                   ours: conversations, clips, what was left out
<root>/appropriate_<split>.npz                      ours: from `perfrdiff similarity`
```
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from ...files import file_beside


BASE_URL = "https://dl.fbaipublicfiles.com/seamless_interaction"
LIST_URL = "https://raw.githubusercontent.com/facebookresearch/seamless_interaction/main/assets/filelist.csv"
LABELS = ("improvised", "naturalistic")
# Names of this package -> names of the release.
RELEASE_SPLITS = {"train": "train", "val": "dev", "test": "test"}
FRAME_RATE = 30
# Feature -> width. Those that are read; the release has more (`synthetic.seamless` writes all).
FEATURES = {
    "FAUValue": 24,
    "emotion_scores": 8,
    "emotion_valence": 1,
    "emotion_arousal": 1,
    "alignment_head_rotation": 3,
    "is_valid": 1,
}
MARKER, LICENSE_FILE, LIST_FILE, PROMPTS_FILE = "seamless.json", "LICENSE.txt", "filelist.csv", "interactions.csv"
INDEX_FILE = "index.json"

LICENSE = "cc-by-nc-4.0"
TITLE = "Seamless Interaction"
CREDIT = (
    "Seamless Interaction, Meta, 2025 (arXiv 2506.22554, "
    "https://huggingface.co/datasets/facebook/seamless-interaction), CC BY-NC 4.0. "
    "Changed: clips of 30 s, 30 to 25 frames per second, channels mapped by rules."
)
TERMS = """\
Seamless Interaction (Meta, 2025) is licensed under CC BY-NC 4.0, https://creativecommons.org/licenses/by-nc/4.0/:
you may copy, change and share it, and what is made from it, for non-commercial purposes, with credit, a link to the
licence and a note of what was changed. Privacy and publicity rights of the people are not licensed: do not try to
identify anybody. Share weights that are trained on it under the same terms.
"""


def check_license(accepted: str | None) -> None:
    """Raise `ValueError` unless the licence was confirmed by its name."""
    if accepted != LICENSE:
        given = "nothing" if accepted is None else repr(accepted)
        raise ValueError(f"accept: say {LICENSE} to confirm the licence; given: {given}.\n{TERMS}")


def check_place(label: str, split: str) -> None:
    """Raise `ValueError` if the release has no such label or split."""
    splits = tuple(RELEASE_SPLITS.values())
    if label not in LABELS or split not in splits:
        raise ValueError(
            f"label must be one of {', '.join(LABELS)} and split one of {', '.join(splits)}; given: {label!r} and "
            f"{split!r}."
        )


def begin_folder(root: str | os.PathLike) -> Path:
    """Make a folder for the release, with the marker and the licence."""
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    marker = json.dumps({"data": TITLE, "license": LICENSE, "credit": CREDIT}, indent=2)
    for name, text in ((MARKER, marker + "\n"), (LICENSE_FILE, TERMS)):
        if not (root / name).is_file():
            with file_beside(root / name) as beside:
                beside.write_text(text, encoding="utf-8")
    return root


def feature_path(place: Path, feature: str, name: object) -> Path:
    """A face feature of a person in one conversation; `place` is `<root>/<label>/<split>`."""
    return place / "movement" / feature / f"{name}.npy"


def metadata_path(place: Path, kind: str, name: object) -> Path:
    """Voice activity ("vad") or words ("transcript")."""
    return place / "metadata" / kind / f"{name}.jsonl"


def sound_path(place: Path, name: object) -> Path:
    """The sound as it was released."""
    return place / "audio" / f"{name}.wav"


def audio_features_path(place: Path, name: object) -> Path:
    """The audio features of the whole sound."""
    return place / "audio_features" / f"{name}.npy"


def places(root: Path, split: str | None = None) -> list[Path]:
    """The folders of a split of the release below a root, of all labels that are there; None: of all splits."""
    splits = RELEASE_SPLITS.values() if split is None else (split,)
    return [root / label / one for label in LABELS for one in splits if (root / label / one).is_dir()]
