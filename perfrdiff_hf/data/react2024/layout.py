"""Where things lie in a folder in the REACT2024 layout: the lists, and the files of one person in one clip.

```
<root>/{train,val,test}.csv                    ",speaker_path,listener_path": site/session/person/clip, no extension
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
from typing import NamedTuple


logger = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
STREAMS = ("audio", "emotion", "coefficients")
STREAM_FOLDERS = {"audio": "Audio_files", "emotion": "Emotion", "coefficients": "3D_FV_files"}
STREAM_SUFFIXES = {"audio": ".wav", "emotion": ".csv", "coefficients": ".npy"}
EMOTION_FOLDERS = ("P1", "P2")
HISTORY_CLIP = "1"


class Recording(NamedTuple):
    """One person in one clip, as the lists name them. `side` is 0 for the list's first column and 1 for its second."""

    site: str
    session: str
    person: str
    clip: str
    side: int

    @property
    def listener_id(self) -> str:
        """Who this is: `site/session/person`."""
        return f"{self.site}/{self.session}/{self.person}"

    @property
    def path(self) -> str:
        """The path in the lists: `site/session/person/clip`."""
        return f"{self.listener_id}/{self.clip}"


def check_split(split: str) -> None:
    """Raises `ValueError` if `split` is not one of train, val and test."""
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}; given: {split!r}.")


def check_streams(streams: tuple[str, ...]) -> tuple[str, ...]:
    """The streams in their usual order, or `ValueError` if one is unknown or none can tell the number of frames."""
    unknown = sorted(set(streams) - set(STREAMS))
    if unknown or not set(streams) & {"emotion", "coefficients"}:
        raise ValueError(
            f"streams must be chosen from {', '.join(STREAMS)} and contain emotion or coefficients; given: {streams}."
        )
    return tuple(stream for stream in STREAMS if stream in streams)


def read_pairs(data_dir: str | os.PathLike, split: str) -> list[tuple[Recording, Recording]]:
    """The pairs of a split's list, in its order: (first column, second column).

    Rows of UDIVA, which the lists of 2023 contain and REACT2024 does not, are left out.

    Raises:
        FileNotFoundError: if the folder or its list is absent.
        ValueError: if the list has no rows, a row is not two paths `site/session/person/clip` of the same clip,
            or a recording is listed more than once.
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
        logger.warning("%s: left out %d rows of UDIVA.", path, len(pairs) - len(known))
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


def listeners(pairs: list[tuple[Recording, Recording]]) -> list[Recording]:
    """The listener of every ordered pair, in the order of the official matrices: second column, then first column."""
    return [second for _, second in pairs] + [first for first, _ in pairs]


def stream_path(data_dir: str | os.PathLike, split: str, recording: Recording, stream: str) -> str:
    """The file of one stream of a recording. Where there is none, the path at which REACT would have it."""
    session = os.path.join(data_dir, split, STREAM_FOLDERS[stream], recording.site, recording.session)
    person = os.path.join(session, recording.person)
    if stream == "emotion" and not os.path.isdir(person):
        person = os.path.join(session, EMOTION_FOLDERS[recording.side])
    return os.path.join(person, recording.clip + STREAM_SUFFIXES[stream])
