"""The plan of a synthetic world: who meets whom, which script they play, and how each listener happens to react.

Everything that is drawn before a single frame is rendered stands here, and in `world.json` beside the recordings.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..behaviour import CLIP_FRAMES, FRAME_RATE
from ..data.dyads import SPLITS, Recording, check_split
from .people import (
    ACT_FRAMES,
    ACT_FRAMES_SPREAD,
    ACTS,
    FACTORS,
    REACTIONS,
    Reactions,
    cast_styles,
    draw_reactions,
)


SITE = "NoXI"
PERSONS = ("Expert_video", "Novice_video")
WORLD_FILE = "world.json"

# Frames from the end of a turn to the start of the next. Negative: people do not wait until the other is done. So both
# react for most of the clip, and the acts of one are not simply where the other is silent.
TURN_GAPS = (-50, -15)
FIRST_GAP = (5, 25)


@dataclass(frozen=True)
class WorldSize:
    """How large a world is.

    Args:
        dyads: number of sessions (two people each) in train, val and test.
        clips: clips of 30 s per session; clip 1 is the history.
        scripts: number of scripts that each split plays, disjoint between splits.
        sample_rate: of the sound, in Hz, a multiple of 25.
        sound: subtype of the wav files, as `soundfile` names it.
        plays: how often each dyad plays each of its scripts, with the same roles. So one listener has several
            reactions to the same behaviour, as PMAFRG and equation 11 want.
    """

    dyads: tuple[int, int, int]
    clips: int
    scripts: tuple[int, int, int]
    sample_rate: int
    sound: str
    plays: int = 2

    def __post_init__(self) -> None:
        if min(self.dyads) < 1 or min(self.scripts) < 1 or self.clips < 2:
            raise ValueError(f"A world needs a dyad and a script in every split and two clips or more; given: {self}.")
        if not 1 <= self.plays <= self.clips:
            raise ValueError(f"plays must lie between 1 and the {self.clips} clips of a session; given: {self.plays}.")
        if self.sample_rate < 8000 or self.sample_rate % FRAME_RATE:
            raise ValueError(
                f"sample_rate must be a multiple of {FRAME_RATE}, 8000 or more; given: {self.sample_rate}."
            )


SIZES = {
    "quick": WorldSize(dyads=(8, 1, 2), clips=2, scripts=(4, 1, 1), sample_rate=8000, sound="ULAW"),
    "demo": WorldSize(dyads=(60, 1, 4), clips=4, scripts=(60, 2, 4), sample_rate=8000, sound="ULAW"),
    "bench": WorldSize(dyads=(240, 12, 12), clips=4, scripts=(240, 12, 12), sample_rate=16000, sound="PCM_16"),
    # As bench, with many listeners to test on and nobody to train with: for effects that 24 listeners cannot tell.
    "listeners": WorldSize(dyads=(1, 1, 36), clips=4, scripts=(1, 1, 36), sample_rate=16000, sound="PCM_16"),
}


@dataclass(frozen=True)
class Script:
    """A sequence of acts: whose turn it is (role 0 or 1), what they do, its length and the gap before it in frames."""

    turns: tuple[int, ...]
    kinds: tuple[int, ...]
    lengths: tuple[int, ...]
    gaps: tuple[int, ...]


@dataclass(frozen=True)
class Performance:
    """One person in one clip: the acts they play and how they react to the acts of the other.

    Args:
        split: train, val or test.
        session: name of the session folder.
        person: Expert_video or Novice_video.
        clip: number of the clip, from 1.
        script: number of the script in the split.
        role: which part of the script the person plays, 0 or 1.
        acts: kinds of the person's own acts, indices into `ACTS`.
        starts: their first frames.
        ends: the frames after their last.
        reactions: to the other person's acts, one after the other; `Reactions` as a dict of lists.
    """

    split: str
    session: str
    person: str
    clip: int
    script: int
    role: int
    acts: tuple[int, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    reactions: dict[str, list[float]] = field(default_factory=dict)

    @property
    def listener_id(self) -> str:
        return f"{SITE}/{self.session}/{self.person}"

    @property
    def partner_id(self) -> str:
        return f"{SITE}/{self.session}/{PERSONS[1 - PERSONS.index(self.person)]}"

    @property
    def recording(self) -> Recording:
        """As a data folder's list names it: the Expert is the first of the pair."""
        return Recording(SITE, self.session, self.person, str(self.clip), PERSONS.index(self.person))

    def drawn(self) -> Reactions:
        """The reactions as arrays."""
        return Reactions(**{name: np.asarray(values) for name, values in self.reactions.items()})


@dataclass(frozen=True)
class World:
    """The truth about a synthetic world.

    Args:
        seed: that it was drawn from.
        size: of the world.
        styles: style `(6,)` of every person, by listener id (`NoXI/session/person`).
        pitches: voice of every person in Hz.
        recordings: one per person and clip.
    """

    seed: int
    size: WorldSize
    styles: dict[str, np.ndarray]
    pitches: dict[str, float]
    recordings: list[Performance]

    def of_split(self, split: str) -> list[Performance]:
        """Recordings of a split in the row order of `load_react2024`: all Novices, then all Experts.

        Row i holds the listener; the speaker of row i is the listener of row (i + n) mod 2n.
        """
        check_split(split)
        rows = [recording for recording in self.recordings if recording.split == split]
        rows.sort(key=lambda r: (r.person != PERSONS[1], r.session, str(r.clip)))
        return rows

    def partner(self, recording: Performance) -> Performance:
        """The other person's recording of the same clip."""
        return self._by_key[recording.partner_id, recording.clip]

    @cached_property
    def _by_key(self) -> dict[tuple[str, int], Performance]:
        return {(recording.listener_id, recording.clip): recording for recording in self.recordings}

    def save(self, path: str | Path) -> None:
        """Write the truth as json."""
        document = {
            "seed": self.seed,
            "size": asdict(self.size),
            "factors": FACTORS,
            "acts": ACTS,
            "reactions": REACTIONS,
            "people": {
                name: {"style": [round(float(v), 6) for v in style], "pitch": self.pitches[name]}
                for name, style in self.styles.items()
            },
            "recordings": [asdict(recording) for recording in self.recordings],
        }
        Path(path).write_text(json.dumps(document), encoding="utf-8")


def load_world(folder: str | Path) -> World:
    """The truth about the world in `folder`.

    Raises:
        FileNotFoundError: if the folder holds no `world.json`.
    """
    path = Path(folder) / WORLD_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: {folder} is not a synthetic world.")
    document = json.loads(path.read_text(encoding="utf-8"))
    people = document["people"]
    return World(
        seed=document["seed"],
        size=WorldSize(**_with_tuples(document["size"])),
        styles={name: np.array(person["style"]) for name, person in people.items()},
        pitches={name: person["pitch"] for name, person in people.items()},
        recordings=[Performance(**_with_tuples(entry)) for entry in document["recordings"]],
    )


def _with_tuples(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}


def plan_world(size: WorldSize, seed: int) -> World:
    """Draw people, scripts, timings and reactions of a world."""
    styles: dict[str, np.ndarray] = {}
    pitches: dict[str, float] = {}
    recordings: list[Performance] = []
    first = 1
    for number, split in enumerate(SPLITS):
        rng = np.random.default_rng((seed, number))
        dyads = size.dyads[number]
        cast = cast_styles(rng, 2 * dyads).round(6)
        scripts = draw_scripts(rng, size.scripts[number])
        orders = _orders(rng, dyads, size.clips, len(scripts), size.plays)
        for dyad in range(dyads):
            session = f"{first + dyad:03d}_2024-01-01_Synthetic"
            for side, person in enumerate(PERSONS):
                name = f"{SITE}/{session}/{person}"
                styles[name] = cast[2 * dyad + side]
                pitches[name] = round(float(rng.uniform(105, 200)), 3)
            flips = rng.integers(2, size=len(scripts))
            for clip in range(1, size.clips + 1):
                script = int(orders[dyad, clip - 1])
                pair = _play(rng, scripts[script], int(flips[script]))
                pair = [replace(r, split=split, session=session, clip=clip, script=script) for r in pair]
                recordings += _react(rng, pair, styles)
        first += dyads
    return World(seed, size, styles, pitches, recordings)


def draw_scripts(rng: np.random.Generator, count: int) -> list[Script]:
    """Scripts in which two people take turns until the clip is over; no role repeats an act before it played all."""
    scripts = []
    for number in range(count):
        decks = [rng.permutation(len(ACTS)) for _ in range(2)]
        turns: list[tuple[int, int, int, int]] = []
        now = 0
        while now < CLIP_FRAMES - ACT_FRAMES[0] // 2:
            role = (number + len(turns)) % 2
            kind = int(decks[role][len(turns) // 2 % len(ACTS)])
            gap = int(rng.integers(*(TURN_GAPS if turns else FIRST_GAP)))
            length = int(rng.integers(*ACT_FRAMES))
            turns.append((role, kind, length, gap))
            now += gap + length
        scripts.append(Script(*zip(*turns)))
    return scripts


def _orders(rng: np.random.Generator, dyads: int, clips: int, scripts: int, plays: int) -> np.ndarray:
    """Which script each dyad plays in each clip, `(dyads, clips)`: every script about equally often.

    A dyad plays each of its scripts `plays` times before it takes up another; the last one perhaps less often.
    """
    each = -(-clips // plays)
    deal = (np.arange(dyads)[:, None] * each + np.arange(each)) % scripts
    played = np.repeat(rng.permutation(scripts)[deal], plays, axis=1)[:, :clips]
    return rng.permuted(played, axis=1)


def _play(rng: np.random.Generator, script: Script, flip: int) -> list[Performance]:
    """A dyad plays a script in its own time; `flip` decides who has which role."""
    lengths = np.array(script.lengths) + rng.integers(-ACT_FRAMES_SPREAD, ACT_FRAMES_SPREAD + 1, len(script.lengths))
    gaps = np.array(script.gaps) + rng.integers(-5, 6, len(lengths))
    ends = np.zeros(len(lengths), dtype=int)
    for turn in range(len(lengths)):
        earliest = ends[turn - 2] + 5 if turn > 1 else 0  # nobody plays two acts at once
        start = max(earliest, gaps[turn] + (ends[turn - 1] if turn else 0))
        ends[turn] = start + lengths[turn]
    starts = ends - lengths
    pair = []
    for side, person in enumerate(PERSONS):
        role = (side + flip) % 2
        mine = [i for i, turn in enumerate(script.turns) if turn == role and starts[i] < CLIP_FRAMES - 10]
        pair.append(
            Performance(
                split="",
                session="",
                person=person,
                clip=0,
                script=0,
                role=role,
                acts=tuple(script.kinds[i] for i in mine),
                starts=tuple(int(starts[i]) for i in mine),
                ends=tuple(int(ends[i]) for i in mine),
            )
        )
    return pair


def _react(rng: np.random.Generator, pair: list[Performance], styles: dict[str, np.ndarray]) -> list[Performance]:
    """Draw how each of the two reacts to the acts of the other."""
    reacted = []
    for me, other in zip(pair, reversed(pair)):
        drawn = draw_reactions(rng, styles[me.listener_id], np.array(other.acts))
        lists = {name: np.round(values, 4).tolist() for name, values in vars(drawn).items()}
        reacted.append(replace(me, reactions=lists))
    return reacted
