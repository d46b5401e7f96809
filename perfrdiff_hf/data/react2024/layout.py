"""Where things lie in a folder in the REACT2024 layout: the lists, and the files of one person in one clip.

```
<root>/{train,val,test}.csv                    ",speaker_path,listener_path": site/session/person/clip, no extension
<root>/data_indices.csv                        "site,chat_index,clip_index": the order of the full matrix
<root>/Approprirate_facial_reaction.npy        which reaction is appropriate to which speaker clip, all splits
<root>/neighbour_emotion_{train,val,test}.npy  the same, cut for one split
<root>/{train,val,test}/Audio_files/<site>/<session>/<person>/<clip>.wav
<root>/{train,val,test}/Emotion/<site>/<session>/<person or P1, P2>/<clip>.csv
<root>/{train,val,test}/3D_FV_files/<site>/<session>/<person>/<clip>.npy
```

A person is named by the folder that the list names (`Expert_video`, `P25`). In `Emotion`, REACT calls the person of
the list's first column P1 and that of the second P2; the folder of the list's own name is preferred where it exists.
"""

from __future__ import annotations

import csv
import logging
import os
from collections import Counter
from pathlib import Path

from ..dyads import Pairs, Recording, check_split, listeners


logger = logging.getLogger(__name__)

STREAM_FOLDERS = {"audio": "Audio_files", "emotion": "Emotion", "coefficients": "3D_FV_files"}
STREAM_SUFFIXES = {"audio": ".wav", "emotion": ".csv", "coefficients": ".npy"}
EMOTION_FOLDERS = ("P1", "P2")
HISTORY_CLIP = "1"
MEAN_FACE_FILE, STD_FACE_FILE = "mean_face.npy", "std_face.npy"
# Ours, for people's own data: which channels are derived or unavailable, as json.
MASK_FILE = "mask.json"
# The official name, spelling included.
FULL_MATRIX = "Approprirate_facial_reaction.npy"
INDEX = "data_indices.csv"
LIST_HEADER = ",speaker_path,listener_path"
INDEX_HEADER = "site,chat_index,clip_index"


def read_pairs(data_dir: str | os.PathLike, split: str) -> Pairs:
    """The pairs of a split's list, in its order: (first column, second column).

    Rows of UDIVA, which the lists of 2023 contain and REACT2024 does not, are left out.

    Raises:
        FileNotFoundError: if the folder or its list is absent.
        ValueError: if the list has no rows, a row is not two paths `site/session/person/clip` of the same clip, a
            part of a path is no name, or a recording is listed more than once.
    """
    check_split(split)
    if not os.path.isdir(data_dir):
        raise FileNotFoundError(f"data_dir {os.fspath(data_dir)} is not a folder.")
    path = Path(data_dir, f"{split}.csv")
    if not path.is_file():
        raise FileNotFoundError(f"There is no list {path}; a folder in the REACT2024 layout has {split}.csv in it.")
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row][1:]
    pairs = [_pair(row, path, line) for line, row in enumerate(rows, start=2)]
    known = [pair for pair in pairs if pair is not None]
    if len(known) < len(pairs):
        logger.warning(f"{path}: left out {len(pairs) - len(known)} rows of UDIVA.")
    if not known:
        raise ValueError(f"{path} lists no pairs.")
    repeated = [name for name, times in Counter(row.path for row in listeners(known)).items() if times > 1]
    if repeated:
        raise ValueError(f"{path} lists {len(repeated)} recordings more than once, the first is {repeated[0]}.")
    return known


def _pair(row: list[str], path: Path, line: int) -> tuple[Recording, Recording] | None:
    sides = row[1:3]
    if sides and sides[0].startswith("UDIVA/"):
        return None
    parts = [side.strip().split("/") for side in sides]
    if len(parts) != 2 or any(len(part) != 4 or not all(part) for part in parts):
        raise ValueError(
            f"{path}, line {line}: expected index,site/session/person/clip,site/session/person/clip; "
            f"given: {','.join(row)}"
        )
    if wrong := [name for part in parts for name in part if name in (".", "..") or set(name) & set("\\\0")]:
        raise ValueError(f"{path}, line {line}: {wrong[0]!r} is no name of a site, session, person or clip.")
    first, second = (
        Recording(site, session, person, clip, side) for side, (site, session, person, clip) in enumerate(parts)
    )
    if (first.site, first.session, first.clip) != (
        second.site,
        second.session,
        second.clip,
    ) or first.person == second.person:
        raise ValueError(f"{path}, line {line}: {first.path} and {second.path} are not two people in the same clip.")
    return first, second


def without_history(rows: list[Recording]) -> list[str]:
    """The listeners of a split who have no clip 1, which the personal task takes for their history."""
    with_history = {row.listener_id for row in rows if row.clip == HISTORY_CLIP}
    return sorted({row.listener_id for row in rows} - with_history)


def write_pairs(data_dir: str | os.PathLike, split: str, pairs: Pairs) -> None:
    """Write a split's list, which `read_pairs` reads."""
    rows = [f"{number},{first.path},{second.path}" for number, (first, second) in enumerate(pairs)]
    Path(data_dir, f"{split}.csv").write_text("\n".join([LIST_HEADER, *rows]) + "\n", encoding="utf-8")


def cut_matrix_path(data_dir: str | os.PathLike, split: str, personal: bool = False) -> Path:
    """The matrix of one split, as the official tools name it: that of MAFRG, or that of PMAFRG."""
    return Path(data_dir, f"{'person_specific_masked_' * personal}neighbour_emotion_{split}.npy")


def stream_path(data_dir: str | os.PathLike, split: str, recording: Recording, stream: str) -> str:
    """The file of one stream of a recording. Where there is none, the path at which REACT would have it."""
    session = os.path.join(data_dir, split, STREAM_FOLDERS[stream], recording.site, recording.session)
    person = os.path.join(session, recording.person)
    if stream == "emotion" and not os.path.isdir(person):
        person = os.path.join(session, EMOTION_FOLDERS[recording.side])
    return os.path.join(person, recording.clip + STREAM_SUFFIXES[stream])
