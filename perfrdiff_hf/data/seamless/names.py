"""Names of Seamless Interaction: V<vendor>_S<session>_I<prompt>_P<person>, and lists of them.

Traps: a person's id may end in A (then it is another one than without it); numbers of people and sessions collide
between vendors; the prompt I... is used in many sessions, so that a conversation is vendor, session and prompt.
"""

from __future__ import annotations

import csv
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


FACES_OF = "V00"  # the only vendor with face features
_NAME = re.compile(r"(V\d+)_(S\d+)_(I\d+)_(P\d+A?)")
_PAIR_COLUMNS = ("participant_0_id", "participant_1_id")


class FileName(NamedTuple):
    """One person in one conversation."""

    vendor: str
    session: str
    prompt: str
    participant: str

    def __str__(self) -> str:
        return "_".join(self)

    @property
    def person(self) -> str:
        """Who this is, over all sessions: vendor and participant."""
        return f"{self.vendor}/{self.participant}"

    @property
    def conversation(self) -> tuple[str, str, str]:
        """Which conversation this belongs to."""
        return self[:3]


class Conversation(NamedTuple):
    """Two people who talk, in the order of their names."""

    first: FileName
    second: FileName


def parse_name(text: str) -> FileName:
    """The parts of a file's name without its ending.

    Raises:
        ValueError: if it is no such name.
    """
    match = _NAME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no name of Seamless Interaction, such as V00_S0809_I00000582_P0947.")
    return FileName(*match.groups())


def conversations_of(names: Iterable[FileName]) -> tuple[list[Conversation], dict[tuple[str, str, str], int]]:
    """The conversations of two people among names, and for all others how many people they have.

    Returns:
        The conversations in the order of their names, and by vendor, session and prompt the number of people, where it
        is not two.
    """
    groups: dict[tuple[str, str, str], set[FileName]] = defaultdict(set)
    for name in names:
        groups[name.conversation].add(name)
    pairs = [Conversation(*sorted(people)) for _, people in sorted(groups.items()) if len(people) == 2]
    return pairs, {key: len(people) for key, people in sorted(groups.items()) if len(people) != 2}


class ListedFile(NamedTuple):
    """A line of a list: whose file it is, and where the release puts it; None where the list does not say."""

    name: FileName
    label: str | None
    split: str | None


def read_list(path: str | os.PathLike) -> list[ListedFile]:
    """The files that a list names: the release's filelist.csv, or an early list of pairs (`metadata.csv`).

    Raises:
        FileNotFoundError: if there is no such list.
        ValueError: if it is neither of the two, names nothing, or a name is none.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no list {path}.")
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        rows, header = list(reader), reader.fieldnames or []
    if "file_id" in header:
        found = [ListedFile(parse_name(row["file_id"]), row.get("label"), row.get("split")) for row in rows]
    elif set(_PAIR_COLUMNS) <= set(header):
        found = [ListedFile(parse_name(row[column]), None, None) for row in rows for column in _PAIR_COLUMNS]
    else:
        raise ValueError(
            f"{path} is no list of Seamless Interaction: it needs a column file_id, or {' and '.join(_PAIR_COLUMNS)}; "
            f"it has {', '.join(header) or 'none'}."
        )
    if not found:
        raise ValueError(f"{path} names no files.")
    return found


def count_pairs(names: Iterable[FileName]) -> dict[str, int]:
    """How many conversations a list has, and how many of those with faces give histories and shared prompts."""
    everybody, _ = conversations_of(names)
    pairs = [pair for pair in everybody if pair.first.vendor == FACES_OF]
    directions = [name for pair in pairs for name in pair]
    sessions: dict[str, set[str]] = defaultdict(set)
    for name in directions:
        sessions[name.person].add(name.session)
    of_prompt = Counter(prompt for prompt, _ in {(pair.first.prompt, pair.first.session) for pair in pairs})
    return {
        "conversations": len(everybody),
        "v00_conversations": len(pairs),
        "v00_sessions": len({pair.first.session for pair in pairs}),
        "v00_people": len(sessions),
        "v00_directions": len(directions),
        "v00_directions_with_another_session": sum(len(sessions[name.person]) > 1 for name in directions),
        "v00_conversations_with_shared_prompt": sum(of_prompt[pair.first.prompt] > 1 for pair in pairs),
    }


def people_in_two_splits(files: Iterable[ListedFile]) -> set[str]:
    """People who stand in more than one split; a number with and without A counts as one person here, to be safe."""
    splits: dict[str, set[str]] = defaultdict(set)
    people: dict[str, set[str]] = defaultdict(set)
    for file in files:
        number = file.name.person.removesuffix("A")
        people[number].add(file.name.person)
        if file.split is not None:
            splits[number].add(file.split)
    return {person for number, found in splits.items() if len(found) > 1 for person in people[number]}
