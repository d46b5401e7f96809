"""What can be wrong with recorded data, in words that a person can act on; the same wherever it is noticed."""

from __future__ import annotations

import os
from typing import NamedTuple


# What can be wrong, and what to do about it.
ADVICE = {
    "list": "correct the list, or download it again",
    "missing": "download these files again, or remove their clips from the list",
    "unreadable": "download these files again; most were cut off on the way",
    "wrong shape": "these files are not in REACT's format; see perfrdiff_hf.faces.tracks for others",
    "wrong length": "the streams of a clip must belong together: download them again or cut them alike",
    "NaN": "bridge or remove these frames, or leave the clips out",
    "out of range": "check the order of the columns and the units",
    "duplicate": "one was copied over the other, or a clip was cut twice: download both again",
    "matrix": "download the matrix and its index again; without them clips cannot be scored",
    "no partner": "the other person's files are not there: get them, too; a person alone is no dyad",
    "too many people": "a conversation has two people: the list names more, which the release knows as a fault",
    "unknown keys": "these are not the arrays of the release, or of another version of it",
    "no frames": "the release has such files; nothing can be done about them",
    "frame rate": "frames and sound do not last equally long: only files at 30 frames a second are read",
    "no clip": "faces are seen too rarely: no 30 s in which both are",
    "no history": "a person with one conversation only has no history: get another session or prompt of theirs",
    "two splits": "people who stand in two splits are left out of all",
    "a game": "charades and gestures on command are no talk, and are left out",
}


class Problem(NamedTuple):
    """One thing that is wrong: its kind (one word or two), the file or list row, and what was expected and found."""

    kind: str
    path: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.path}: {self.detail}"


class BrokenFileError(ValueError):
    """A file that cannot be used, with the `Problem` that tells why."""

    def __init__(self, kind: str, path: str | os.PathLike, detail: str) -> None:
        self.problem = Problem(kind, os.fspath(path), detail)
        super().__init__(str(self.problem))


class BrokenDataError(ValueError):
    """A folder that cannot be used as it is; `problems` lists everything that was found."""

    def __init__(self, message: str, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__(message)


def summary(problems: list[Problem], where: str, shown: int = 10) -> str:
    """Problems in words: how many of each kind, what to do about them, and the first few of each by name."""
    lines = [f"{len(problems)} problem{'s' * (len(problems) != 1)} in {where}:"]
    for kind in dict.fromkeys(problem.kind for problem in problems):
        alike = [problem for problem in problems if problem.kind == kind]
        lines.append(f"  {kind} ({len(alike)}): {ADVICE[kind]}")
        lines += [f"    {problem.path}: {problem.detail}" for problem in alike[:shown]]
        if len(alike) > shown:
            lines.append(f"    ... and {len(alike) - shown} more")
    return "\n".join(lines)
