"""Which of a prompt's two roles each person plays, inferred from what they say: the release does not tell.

A prompt has a text for role A and one for role B. What each person says in the first minute is compared with both
(cosine of tf-idf weights); where one assignment is clearly the better one, it is taken.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ...extras import require


SECONDS = 60.0
# How much better one assignment must be, in cosines summed over both people. A guess: no roles are published.
MARGIN = 0.05
EITHER = "either"
GAMES = ("charades", "grounded_gesture")


class Prompt(NamedTuple):
    """What the two people were asked to talk about."""

    text_a: str
    text_b: str
    kind: str


def read_prompts(path: Path) -> dict[str, Prompt]:
    """The prompts of `interactions.csv` by their number as in names of files; empty if the file is not there.

    Raises:
        ValueError: if columns are missing.
    """
    if not path.is_file():
        return {}
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        needed = ("prompt_hash", "participant_a_prompt_text", "participant_b_prompt_text", "interaction_type")
        if lacking := [name for name in needed if name not in (reader.fieldnames or [])]:
            raise ValueError(f"{path} lacks the columns {', '.join(lacking)}.")
        return {_number(row["prompt_hash"]): Prompt(*(row[name] for name in needed[1:])) for row in reader}


class RoleFinder:
    """Infers roles. What words weigh follows from all prompts.

    Args:
        prompts: by number.
    """

    def __init__(self, prompts: dict[str, Prompt]) -> None:
        self.prompts = prompts
        self._vectoriser = None
        texts = [text for prompt in prompts.values() for text in (prompt.text_a, prompt.text_b) if text.strip()]
        if texts:
            require("training", "Roles of speakers")
            from sklearn.feature_extraction.text import TfidfVectorizer

            self._vectoriser = TfidfVectorizer(sublinear_tf=True).fit(texts)

    def roles(self, prompt: str, said: Sequence[str]) -> tuple[str, str] | None:
        """The roles of two people, ("A", "B") or ("B", "A"); `EITHER` for both where both were asked the same.

        Args:
            prompt: its number.
            said: what the first and the second of them said.

        Returns:
            None where it cannot be told.
        """
        asked = self.prompts.get(prompt)
        if asked is None or self._vectoriser is None:
            return None
        if asked.text_a == asked.text_b:
            return EITHER, EITHER
        vectors = self._vectoriser.transform([*said, asked.text_a, asked.text_b])
        likeness = (vectors[:2] @ vectors[2:].T).toarray()
        better = float(likeness[0, 0] + likeness[1, 1] - likeness[0, 1] - likeness[1, 0])
        if abs(better) < MARGIN:
            return None
        return ("A", "B") if better > 0 else ("B", "A")


def _number(prompt_hash: str) -> str:
    """A prompt's number as names of files have it, whether the table says I00000582, 00000582 or 582 (uncertain)."""
    digits = prompt_hash.strip().removeprefix("I")
    return f"I{int(digits):08d}" if digits.isdigit() else prompt_hash.strip()
