"""Seamless Interaction behind `load_dyads`: rows, histories over sessions, appropriateness by a rule of our own."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...behaviour import CLIP_FRAMES, STREAMS
from ...behaviour import FRAME_RATE as OUR_RATE
from ...files import file_beside
from ..dyads import (
    CONVERSATION,
    SPEECH,
    Pairs,
    Recording,
    build_dyads,
    check_split,
    check_streams,
    fingerprint_of,
    listeners,
    select_rows,
)
from ..masks import ChannelMask
from ..problems import Problem, summary
from ..source import DyadSource
from .cutting import SOURCE_FRAMES
from .features import read_audio_features, read_face
from .index import Meeting, index_of, with_histories, without_people
from .layout import (
    CREDIT,
    FEATURES,
    FRAME_RATE,
    LICENSE,
    LIST_FILE,
    MARKER,
    RELEASE_SPLITS,
    TITLE,
    audio_features_path,
    feature_path,
    places,
)
from .mapping import MASK, behaviour_of
from .names import FACES_OF, FileName, ListedFile, parse_name, people_in_two_splits, read_list


if TYPE_CHECKING:
    from datasets import Dataset


logger = logging.getLogger(__name__)

# Part of the cache's key: raise it when the rows change for the same files.
ROWS_VERSION = 1


class Cut(NamedTuple):
    """Where a clip lies: its folder, whose files they are, and its first frame at 30 per second."""

    place: Path
    name: FileName
    start: int
    speech: float
    role: str | None


class SeamlessSource(DyadSource):
    """A folder that `python -m perfrdiff_hf.data.seamless` filled.

    A person is a vendor's participant, over all sessions. Clips are named after session, prompt and number. People who
    stand in two splits are left out of all; so are conversations with a person who has no other one.
    """

    name = "seamless"
    title = TITLE
    license = LICENSE
    credit = CREDIT

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._told: set[str] = set()  # of which splits it was said what is left out

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """By its marker."""
        return (folder / MARKER).is_file()

    def mask(self) -> ChannelMask:
        """See `mapping`."""
        return MASK

    def rows(self, split: str, personal: bool = False, streams: Sequence[str] = STREAMS) -> Dataset:
        """The rows of a split of all labels that the folder has; every row has a history.

        Returns:
            The columns of `build_dyads` with `partner`, `conversation` (session and prompt), and `speech`, the part of
            the clip in which the row's own person speaks (NaN where nobody knows).

        Raises:
            FileNotFoundError: if nothing of the split is there.
            ValueError: if nothing of it can be used; the message says why.
        """
        streams = check_streams(tuple(streams))
        meetings = self.meetings(split)
        if "audio" in streams and not all(one.sound for some in meetings.values() for one in some):
            raise ValueError(
                f"{self.data_dir} has no sound of {split}; pass streams=('emotion', 'coefficients'), or get the sound."
            )
        pairs, cuts = self._pairs(meetings)
        rows = listeners(pairs)
        dataset = build_dyads(
            self.name,
            split,
            pairs,
            streams,
            partial(_row, streams, cuts),
            fingerprint=fingerprint_of(
                f"{ROWS_VERSION} {split} {streams} {[(c.name, c.start) for c in cuts.values()]}",
                _files(rows, cuts, streams),
            ),
            own_columns=(CONVERSATION, SPEECH),
            cache_dir=self.cache_dir,
            num_proc=self.num_proc,
        )
        return select_rows(dataset, list(range(len(rows))))

    def meetings(self, split: str) -> dict[Path, list[Meeting]]:
        """The conversations of a split that can be used, by the folder that they lie in.

        Where there is sound of any, those without the sound of both are left out: the rows of a split are the same
        whatever streams are read.

        Args:
            split: "train", "val" or "test".

        Raises:
            FileNotFoundError, ValueError: see `rows`.
        """
        check_split(split)
        theirs = RELEASE_SPLITS[split]
        found = places(self.data_dir, theirs)
        if not found:
            raise FileNotFoundError(
                f"{self.data_dir} has nothing of the release's split {theirs}. Get some of it with "
                f"python -m perfrdiff_hf.data.seamless download --split {theirs} ..."
            )
        indices = {place: index_of(place) for place in found}
        problems = [problem for index in indices.values() for problem in index.problems]
        where = {id(meeting): place for place, index in indices.items() for meeting in index.meetings}
        kept = [meeting for index in indices.values() for meeting in index.meetings]
        kept, left = without_people(kept, self._in_two_splits())
        problems += left
        if any(meeting.sound for meeting in kept):
            silent = [meeting for meeting in kept if not meeting.sound]
            problems += [Problem("missing", one.names[0], "the sound of one of the two") for one in silent]
            kept = [meeting for meeting in kept if meeting.sound]
        kept, left = with_histories(kept)
        problems += left
        self._tell(split, problems, len(kept))
        return {place: [one for one in kept if where[id(one)] == place] for place in found}

    def appropriate(self, split: str, personal: bool = False, dataset: Dataset | None = None) -> np.ndarray:
        """The matrix that `perfrdiff similarity` computed; figures made with it cannot be compared with REACT's.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if it was computed for other rows.
        """
        path = self._matrix_path(split)
        if not path.is_file():
            raise FileNotFoundError(
                f"{self.data_dir} does not say which reactions of {split} are appropriate. Compute it by our rule: "
                f"perfrdiff similarity {self.data_dir} --split {split} --threshold 8 --write"
            )
        dataset = self.rows(split, personal, ("emotion",)) if dataset is None else dataset
        with np.load(path, allow_pickle=False) as kept:
            place = {name: row for row, name in enumerate(kept["rows"].tolist())}
            matrix = kept["matrix"]
        wanted = _row_names(dataset)
        if unknown := [name for name in wanted if name not in place]:
            raise ValueError(
                f"{path} was computed for other rows: {len(unknown)} of {len(wanted)} are not in it, the first is "
                f"{unknown[0]}. Remove it and compute it again."
            )
        rows = [place[name] for name in wanted]
        matrix = matrix[np.ix_(rows, rows)]
        if personal:
            who = np.array(dataset["listener_id"])
            matrix &= who[:, None] == who[None, :]
        return matrix

    def comparable(self, split: str, dataset: Dataset) -> np.ndarray:
        """Rows whose speakers were given the same prompt and play the same role in it; a role must be known."""
        roles = {name: role for cuts in self._roles(split) for name, role in cuts}
        speakers = np.array(dataset["partner"])
        told = np.array([roles[name] for name in _row_names(dataset)])[speakers]
        return (told[:, None] == told[None, :]) & (told != "")[:, None]

    def write_appropriate(self, split: str, matrix: np.ndarray) -> Path:
        """Keep a matrix for the rows of a split, with their names.

        Raises:
            FileExistsError: if there is one.
            ValueError: if it does not fit the rows.
        """
        path = self._matrix_path(split)
        if path.is_file():
            raise FileExistsError(f"{self.data_dir} has a matrix for {split} already; {path.name} is not written.")
        names = _row_names(self.rows(split, streams=("emotion",)))
        if matrix.shape != (len(names), len(names)):
            raise ValueError(
                f"matrix must have one row and column for each of {len(names)} rows; it has {matrix.shape}."
            )
        with file_beside(path) as beside:
            np.savez_compressed(beside, matrix=matrix, rows=np.array(names))
        return path

    def _matrix_path(self, split: str) -> Path:
        return self.data_dir / f"appropriate_{split}.npz"

    def _pairs(self, meetings: dict[Path, list[Meeting]]) -> tuple[Pairs, dict[str, Cut]]:
        """The pairs of recordings, and where each recording lies, by its path."""
        pairs: Pairs = []
        cuts: dict[str, Cut] = {}
        for place, some in meetings.items():
            for meeting in some:
                for number, start in enumerate(meeting.starts):
                    sides = [_recording(parse_name(name), number, side) for side, name in enumerate(meeting.names)]
                    speech, roles = meeting.speech[number] or (np.nan, np.nan), meeting.roles or (None, None)
                    for side, recording in enumerate(sides):
                        name = parse_name(meeting.names[side])
                        cuts[recording.path] = Cut(place, name, start, speech[side], roles[side])
                    pairs.append((sides[0], sides[1]))
        return pairs, cuts

    def _roles(self, split: str) -> Iterator[list[tuple[str, str]]]:
        """Every recording with its prompt and role, empty where the role is not known."""
        for place, meetings in self.meetings(split).items():
            _, cuts = self._pairs({place: meetings})
            yield [(path, f"{cut.name.prompt} {cut.role}" if cut.role else "") for path, cut in cuts.items()]

    def _in_two_splits(self) -> set[str]:
        """People who stand in two splits, by the release's list where it is there and by what this folder holds."""
        listed = read_list(self.data_dir / LIST_FILE) if (self.data_dir / LIST_FILE).is_file() else []
        for place in places(self.data_dir):
            names = (path.stem for path in feature_path(place, "FAUValue", "x").parent.glob("*.npy"))
            listed += [ListedFile(parse_name(name), place.parent.name, place.name) for name in names]
        return people_in_two_splits(file for file in listed if file.name.vendor == FACES_OF)

    def _tell(self, split: str, problems: list[Problem], left: int) -> None:
        said = summary(problems, f"{split} of {self.data_dir}", shown=2)
        if not left:
            why = said if problems else "it has no files with faces."
            raise ValueError(f"Nothing of {split} in {self.data_dir} can be used: {why}")
        if problems and split not in self._told:
            self._told.add(split)
            logger.warning(f"{left} conversations are used, others are not. {said}")


def _recording(name: FileName, number: int, side: int) -> Recording:
    clip = f"{name.session}_{name.prompt}_{number}"
    return Recording(name.vendor, name.session, name.participant, clip, side, listener=name.person)


def _row_names(dataset: Dataset) -> list[str]:
    return [f"{who}/{clip}" for who, clip in zip(dataset["listener_id"], dataset["clip"])]


def _files(rows: list[Recording], cuts: dict[str, Cut], streams: Sequence[str]) -> Iterator[tuple[str, str]]:
    for row in rows:
        cut = cuts[row.path]
        paths = [feature_path(cut.place, feature, cut.name) for feature in FEATURES]
        if "audio" in streams:
            paths.append(audio_features_path(cut.place, cut.name))
        yield from ((row.path, str(path)) for path in paths)


def _row(streams: Sequence[str], cuts: dict[str, Cut], listener: Recording, speaker: Recording) -> dict[str, Any]:
    """The row of a listener."""
    cut = cuts[listener.path]
    face = read_face(cut.place, cut.name)
    part = slice(cut.start, cut.start + SOURCE_FRAMES)
    found = behaviour_of(type(face)(*(values[part] for values in face)), CLIP_FRAMES)
    row: dict[str, Any] = {stream: found.streams[stream] for stream in streams if stream != "audio"}
    if "audio" in streams:
        first = cut.start * OUR_RATE // FRAME_RATE
        heard = read_audio_features(cut.place, cut.name)
        assert heard is not None  # the index has seen it
        audio = np.zeros((CLIP_FRAMES, heard.shape[1]), dtype=np.float32)
        given = heard[first : first + CLIP_FRAMES]
        audio[: len(given)] = given
        row["audio"] = audio
    conversation = f"{cut.name.session}_{cut.name.prompt}"
    return {**row, "num_frames": CLIP_FRAMES, CONVERSATION: conversation, SPEECH: cut.speech}
