"""What a folder of the release holds: conversations, where clips begin in them, who speaks, and what was left out.

It is made once, when files have come or gone, and kept as `index.json`. What cannot be used is counted there by kind,
and is never an error as long as anything is left: the release itself has empty and broken files.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...files import file_beside
from ...progress import follow
from ..problems import BrokenFileError, Problem
from .cutting import SOURCE_FRAMES, plan_clips
from .features import read_audio_features, read_face, read_speech, read_words, share_of_speech
from .layout import FRAME_RATE, INDEX_FILE, PROMPTS_FILE, feature_path
from .names import Conversation, FileName, conversations_of, parse_name
from .roles import GAMES, SECONDS, RoleFinder, read_prompts


logger = logging.getLogger(__name__)

VERSION = 1


@dataclass(frozen=True)
class Meeting:
    """One conversation that can be used.

    Args:
        names: of the files of both people.
        frames: that both faces have, at 30 per second.
        starts: first frame of each clip.
        speech: for each clip, the part in which each of the two speaks; None where nobody knows.
        roles: of both in the prompt; None where they cannot be told.
        sound: whether both have usable sound.
    """

    names: tuple[str, str]
    frames: int
    starts: tuple[int, ...]
    speech: tuple[tuple[float, float] | None, ...]
    roles: tuple[str, str] | None
    sound: bool

    @property
    def conversation(self) -> Conversation:
        """Both people."""
        return Conversation(*map(parse_name, self.names))


@dataclass
class Index:
    """What a folder `<label>/<split>` holds.

    Args:
        files: all names of files with faces, sorted; by them it is seen whether the index is up to date.
        meetings: what can be used.
        problems: what was left out, and why.
    """

    files: list[str]
    meetings: list[Meeting] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def index_of(place: Path, again: bool = False) -> Index:
    """The index of a folder `<root>/<label>/<split>`, made and kept if there is none for these files.

    Args:
        place: the folder.
        again: make it in any case.

    Raises:
        ValueError: if a file's name is none of the release.
        OSError: if the index cannot be written.
    """
    files = sorted(path.stem for path in feature_path(place, "FAUValue", "x").parent.glob("*.npy"))
    path = place / INDEX_FILE
    if path.is_file() and not again:
        kept = _read(path)
        if kept is not None and kept.files == files:
            return kept
    made = _make(place, files)
    with file_beside(path) as beside:
        beside.write_text(json.dumps({"version": VERSION, **asdict(made)}, indent=1), encoding="utf-8")
    return made


def _read(path: Path) -> Index | None:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if values.pop("version", None) != VERSION:
        return None
    meetings = [
        Meeting(
            tuple(one["names"]),
            one["frames"],
            tuple(one["starts"]),
            tuple(None if clip is None else tuple(clip) for clip in one["speech"]),
            None if one["roles"] is None else tuple(one["roles"]),
            one["sound"],
        )
        for one in values["meetings"]
    ]
    return Index(values["files"], meetings, [Problem(*problem) for problem in values["problems"]])


def _make(place: Path, files: Sequence[str]) -> Index:
    index = Index(list(files))
    pairs, others = conversations_of(map(parse_name, files))
    for key, people in others.items():
        kind = "no partner" if people == 1 else "too many people"
        index.problems.append(Problem(kind, "_".join(key), f"{people} in {place}"))
    finder = RoleFinder(read_prompts(place.parents[1] / PROMPTS_FILE))
    for pair in follow(pairs, f"looking through {place.parent.name}/{place.name}", "conversation"):
        try:
            index.meetings.append(_meeting(place, pair, finder, index.problems))
        except BrokenFileError as error:
            index.problems.append(error.problem)
    return index


def _meeting(place: Path, pair: Conversation, finder: RoleFinder, problems: list[Problem]) -> Meeting:
    prompt = finder.prompts.get(pair.first.prompt)
    name = "_".join(pair.first.conversation)
    if prompt is not None and prompt.kind in GAMES:
        raise BrokenFileError("a game", name, prompt.kind)
    faces = [read_face(place, one) for one in pair]
    frames = min(len(face.seen) for face in faces)
    starts = plan_clips(faces[0].seen[:frames] & faces[1].seen[:frames])
    if not starts:
        raise BrokenFileError("no clip", name, f"{frames / FRAME_RATE:.0f} s, no 30 s of them with both faces")
    # A sound that is missing or broken takes the audio stream away, not the faces.
    sound = True
    for one, face in zip(pair, faces):
        try:
            sound &= read_audio_features(place, one, len(face.seen)) is not None
        except BrokenFileError as error:
            if error.problem.kind == "frame rate":
                raise
            problems.append(error.problem)
            sound = False
    spans = [read_speech(place, one) for one in pair]
    speech = [
        None
        if None in spans
        else tuple(share_of_speech(span, start / FRAME_RATE, (start + SOURCE_FRAMES) / FRAME_RATE) for span in spans)
        for start in starts
    ]
    roles = finder.roles(pair.first.prompt, [read_words(place, one, SECONDS) for one in pair])
    return Meeting((str(pair.first), str(pair.second)), frames, tuple(starts), tuple(speech), roles, sound)  # type: ignore[arg-type]


def without_people(meetings: Sequence[Meeting], people: set[str]) -> tuple[list[Meeting], list[Problem]]:
    """The meetings without those of some people, and what is said of the others."""
    kept: list[Meeting] = []
    problems: list[Problem] = []
    for meeting in meetings:
        if found := [name for name in meeting.conversation if name.person in people]:
            problems.append(Problem("two splits", str(found[0]), f"{found[0].person} stands in more than one split"))
        else:
            kept.append(meeting)
    return kept, problems


def with_histories(meetings: Sequence[Meeting]) -> tuple[list[Meeting], list[Problem]]:
    """The meetings whose two people both have another one, and what is said of the others.

    Leaving a meeting out may take the other's history away, so this goes on until nothing changes.
    """
    kept = list(meetings)
    problems: list[Problem] = []
    while True:
        of_person: dict[str, set[tuple[str, str, str]]] = {}
        for meeting in kept:
            for name in meeting.conversation:
                of_person.setdefault(name.person, set()).add(name.conversation)
        lonely: list[tuple[Meeting, FileName]] = [
            (meeting, name) for meeting in kept for name in meeting.conversation if len(of_person[name.person]) < 2
        ]
        if not lonely:
            return kept, problems
        for meeting, name in lonely:
            if meeting in kept:
                kept.remove(meeting)
                problems.append(Problem("no history", str(name), f"{name.person} has no other conversation"))
