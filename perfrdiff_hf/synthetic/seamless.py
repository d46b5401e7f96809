"""A synthetic world in the format of Seamless Interaction, with the faults that the release is known for.

Each dyad meets in two sessions. The clips of a session whose scripts belong to the same prompt (two scripts share one)
are one conversation, with two seconds of lost faces between them. Nothing in these files comes from the release.

| where | what |
|---|---|
| `<folder>/<label>/<split>/...` | single files, as the server has them, of the features that the package reads |
| `<folder>/<label>/<split>/0000/*.tar` | tars with everything, as the Hub has them; partners lie in different ones |
| `<folder>/filelist.csv`, `interactions.csv` | lists |
"""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from ..behaviour import ACTION_UNIT_NAMES, ACTION_UNITS, CLIP_FRAMES, EXPRESSION_NAMES, EXPRESSIONS, ROTATION
from ..behaviour import FRAME_RATE as OUR_RATE
from ..data.dyads import SPLITS
from ..data.seamless.layout import FEATURES, FRAME_RATE, LIST_FILE, PROMPTS_FILE, RELEASE_SPLITS
from ..data.seamless.mapping import DEAD_UNITS, EXPRESSIONS_THERE, STRONGEST, UNITS
from ..data.seamless.names import FileName
from ..faces import rules
from .cast import PERSONS, Performance, World
from .recording import render


LABEL = "improvised"
SAMPLE_RATE = 48_000
CLIP_SOURCE_FRAMES = CLIP_FRAMES * FRAME_RATE // OUR_RATE
LOST = 60  # frames of a block without a face
SCRIPTS_OF_PROMPT = 2
FILLERS = "well you know so then really it was like that yes and no maybe".split()  # noqa: SIM905
FAULTS = ("no wav", "58 bytes of wav", "no frames", "alone", "two splits")
# Feature -> shape of one frame; what the package does not read is there for the format's sake.
UNREAD = {
    "movement:FAUToken": (1,), "movement:EmotionValenceToken": (1,), "movement:EmotionArousalToken": (1,),
    "movement:alignment_translation": (2, 3), "movement:gaze_encodings": (2,), "movement:expression": (128,),
    "movement:frame_latent": (64,), "smplh:body_pose": (21, 3), "smplh:global_orient": (3,),
    "smplh:left_hand_pose": (15, 3), "smplh:right_hand_pose": (15, 3), "smplh:translation": (3,),
    "boxes_and_keypoints:box": (4,), "boxes_and_keypoints:keypoints": (133, 3),
}  # fmt: skip
HYPERNET = "movement:hypernet_features"


@dataclass(frozen=True)
class SeamlessFile:
    """One person in one conversation, as the release would have it.

    Args:
        split: of the release.
        name: of the file.
        arrays: by `group:feature`.
        wav: the bytes of the sound; None: there is none.
        vad: when the person speaks, `{"start", "end"}` in seconds.
        transcript: what they say, `{"start", "end", "transcript", "words"}`.
    """

    split: str
    name: FileName
    arrays: dict[str, np.ndarray]
    wav: bytes | None
    vad: list[dict[str, Any]]
    transcript: list[dict[str, Any]]


def write_as_seamless(world: World, folder: str | Path, faults: bool = True, tars: bool = True) -> Path:
    """Write a world as the release's single files and, with `tars`, as its tars.

    Args:
        world: the world.
        folder: where to.
        faults: add conversations with each of `FAULTS`.
        tars: write the same as tars, too.
    """
    folder = Path(folder)
    listed = []
    archives: dict[tuple[str, int], list[SeamlessFile]] = defaultdict(list)
    for file in seamless_files(world, faults):
        archive = int(file.name.participant[1:].removesuffix("A")) % 2
        listed.append([str(file.name), LABEL, file.split, 0, archive, 1, 0, 0])
        _write_single(folder / LABEL / file.split, file)
        if tars:
            archives[file.split, archive].append(file)
    for (split, archive), some in archives.items():
        _write_tar(folder / LABEL / split / "0000" / f"{archive:04d}.tar", some)
    header = "file_id,label,split,batch_idx,archive_idx,has_imitator_movement,has_annotation_1p,has_annotation_3p"
    _write_csv(folder / LIST_FILE, header.split(","), listed)
    _write_prompts(folder / PROMPTS_FILE, world)
    return folder


def clips_in(world: World, split: str) -> dict[FileName, list[Performance]]:
    """Which recordings of the world stand one after the other in each person's file of a split of the world."""
    found: dict[FileName, list[Performance]] = defaultdict(list)
    plays: dict[tuple[str, str, int], int] = defaultdict(int)
    sessions = sorted({row.session for row in world.recordings})
    for row in sorted(world.of_split(split), key=lambda r: (r.session, r.person, r.script, r.clip)):
        dyad, side = sessions.index(row.session), PERSONS.index(row.person)
        play = plays[row.session, row.person, row.script] % 2
        plays[row.session, row.person, row.script] += 1
        person = f"P{2 * dyad + side:04d}{'A' if side == 0 else ''}"
        found[FileName("V00", f"S{2 * dyad + play:04d}", _prompt(split, row.script), person)].append(row)
    return dict(found)


def seamless_files(world: World, faults: bool = True) -> Iterator[SeamlessFile]:
    """Every file of a world, and with `faults` further ones, each with one of `FAULTS`."""
    for split in SPLITS:
        clips = clips_in(world, split)
        for name, rows in clips.items():
            yield _file(world, split, name, rows)
        if faults and split == "train":
            yield from _faulty(world, clips)


def _file(world: World, split: str, name: FileName, rows: list[Performance]) -> SeamlessFile:
    rng = np.random.default_rng((world.seed, *str(name).encode()))
    frames = len(rows) * (CLIP_SOURCE_FRAMES + LOST) - LOST
    face = {"FAUValue": 24, "emotion_scores": 8, "emotion_valence": 1, "emotion_arousal": 1}
    face |= {"alignment_head_rotation": 3}
    arrays = {f"movement:{key}": np.zeros((frames, width), np.float32) for key, width in face.items()}
    valid = np.zeros((frames, 1), np.float32)
    sound = np.zeros(frames * SAMPLE_RATE // FRAME_RATE, np.float32)
    vad, transcript = [], []
    for number, row in enumerate(rows):
        first = number * (CLIP_SOURCE_FRAMES + LOST)
        part = slice(first, first + CLIP_SOURCE_FRAMES)
        shown = _face_of(world, row, rng)
        for key, values in shown.items():
            arrays[f"movement:{key}"][part] = values
        valid[part] = 1
        heard = soxr.resample(render(world, row).sound, world.size.sample_rate, SAMPLE_RATE)
        begin = first * SAMPLE_RATE // FRAME_RATE
        heard = heard[: min(len(sound) - begin, CLIP_SOURCE_FRAMES * SAMPLE_RATE // FRAME_RATE)]
        sound[begin : begin + len(heard)] = heard
        for start, end in zip(row.starts, row.ends):
            span = {"start": first / FRAME_RATE + start / OUR_RATE, "end": first / FRAME_RATE + end / OUR_RATE}
            vad.append(span)
            transcript.append({**span, **_said(rng, name.prompt, row.role)})
    # Every other file has the flat shape.
    odd = int(name.participant[1:].removesuffix("A")) % 2
    arrays["movement:is_valid"] = valid[:, 0] if odd else valid
    arrays["movement:head_encodings"] = np.rad2deg(arrays["movement:alignment_head_rotation"])
    arrays |= _unread(frames, valid)
    return SeamlessFile(RELEASE_SPLITS[split], name, arrays, _wav(sound), vad, transcript)


def _face_of(world: World, row: Performance, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A recording's face at 30 frames per second, in the release's channels."""
    rendered = render(world, row)
    emotion, coefficients = rendered.emotion, rendered.coefficients[:CLIP_FRAMES]
    activation = rules.react_activation(coefficients)
    graded = rules.action_units_of_blendshapes(activation)
    on = emotion[:, ACTION_UNITS] > rules.ON
    graded = np.where(on, graded.clip(0.6, 1), graded.clip(0.01, 0.4))
    units = dict(zip(ACTION_UNIT_NAMES, graded.T))
    for unit in UNITS:
        if unit not in units:
            shapes = list(rules.ACTION_UNIT_MOVES.get(unit, {}))
            places = [rules.BLENDSHAPE_NAMES.index(shape) for shape in shapes]
            units[unit] = activation[:, places].mean(axis=1).clip(0, 1) if shapes else np.zeros(CLIP_FRAMES)
    order = [EXPRESSION_NAMES.index(name) for name in EXPRESSIONS_THERE]
    logits = np.log(emotion[:, EXPRESSIONS][:, order].clip(1e-4, 1))
    found = {
        "FAUValue": STRONGEST * np.stack([units[unit] for unit in UNITS], axis=1),
        "emotion_scores": logits - logits.mean(axis=1, keepdims=True),
        "emotion_valence": emotion[:, 15:16],
        "emotion_arousal": emotion[:, 16:17],
        "alignment_head_rotation": coefficients[:, ROTATION] - np.array([np.pi, 0, 0]),
    }
    ours, theirs = np.arange(CLIP_FRAMES) / OUR_RATE, np.arange(CLIP_SOURCE_FRAMES) / FRAME_RATE
    resampled = {
        key: np.stack([np.interp(theirs, ours, channel) for channel in values.T], axis=1)
        for key, values in found.items()
    }
    dead = [UNITS.index(unit) for unit in DEAD_UNITS]
    resampled["FAUValue"][:, dead] = rng.uniform(0, 0.02, (CLIP_SOURCE_FRAMES, len(dead)))
    return resampled


def _unread(frames: int, valid: np.ndarray) -> dict[str, np.ndarray]:
    arrays = {key: np.zeros((frames, *shape), np.float32) for key, shape in UNREAD.items()}
    arrays[HYPERNET] = np.zeros((frames // 15, 5120), np.float32)
    arrays["smplh:translation"][valid[:, 0] == 0] = 1e12
    seen = valid[:, 0] == 1
    return arrays | {"smplh:is_valid": seen, "boxes_and_keypoints:is_valid_box": seen.copy()}


def _faulty(world: World, clips: dict[FileName, list[Performance]]) -> Iterator[SeamlessFile]:
    """The first clip of the first conversation again, once for each fault, under a prompt of its own."""
    first = next(iter(clips)).conversation
    pair = sorted(name for name in clips if name.conversation == first)
    for side, name in enumerate(pair):
        whole = _file(world, "train", name, clips[name][:1])
        for number, fault in enumerate(FAULTS):
            file = replace(whole, name=name._replace(prompt=f"I{90_000_000 + number:08d}"))
            if fault == "two splits":
                # Two more dyads, which share P9000: one to train with, one to validate with.
                yield replace(file, name=file.name._replace(session="S9000", participant=f"P900{side}"))
                other = file.name._replace(session="S9001", participant=f"P900{2 * side}")
                yield replace(file, name=other, split=RELEASE_SPLITS["val"])
            elif side == 0:
                yield _broken(file, fault)
            elif fault != "alone":
                yield file


def _broken(file: SeamlessFile, fault: str) -> SeamlessFile:
    if fault == "no wav":
        return replace(file, wav=None)
    if fault == "58 bytes of wav" and file.wav is not None:
        return replace(file, wav=file.wav[:58])
    if fault == "no frames":
        return replace(file, arrays={key: values[:0] for key, values in file.arrays.items()})
    return file


def _prompt(split: str, script: int) -> str:
    return f"I{1000 * SPLITS.index(split) + script // SCRIPTS_OF_PROMPT:08d}"


def _topic(prompt: str, role: int) -> list[str]:
    """The words that a role of a prompt is about, made of syllables."""
    rng = np.random.default_rng((int(prompt[1:]), role))
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    return ["".join(rng.choice(syllables, 3)) for _ in range(12)]


def _said(rng: np.random.Generator, prompt: str, role: int) -> dict[str, Any]:
    """A sentence: fillers, some words of one's own topic, fewer of the other's."""
    own, other = _topic(prompt, role), _topic(prompt, 1 - role)
    words = [str(rng.choice((FILLERS, own, other)[rng.choice(3, p=(0.55, 0.3, 0.15))])) for _ in range(12)]
    return {"transcript": " ".join(words), "words": []}


def _wav(sound: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound, SAMPLE_RATE, subtype="PCM_16", format="WAV")
    return file.getvalue()


def _write_single(place: Path, file: SeamlessFile) -> None:
    arrays = {key: file.arrays[f"movement:{key}"] for key in FEATURES}
    contents = {f"movement/{key}/{file.name}.npy": _npy(values) for key, values in arrays.items()}
    for kind, lines in (("vad", file.vad), ("transcript", file.transcript)):
        contents[f"metadata/{kind}/{file.name}.jsonl"] = "\n".join(map(json.dumps, lines)).encode()
    if file.wav is not None:
        contents[f"audio/{file.name}.wav"] = file.wav
    for name, content in contents.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)


def _write_tar(path: Path, files: list[SeamlessFile]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for file in files:
            archive = io.BytesIO()
            np.savez_compressed(archive, **file.arrays)  # type: ignore[arg-type]
            about = {"metadata:vad": file.vad, "metadata:transcript": file.transcript}
            contents = {"npz": archive.getvalue(), "json": json.dumps(about).encode(), "wav": file.wav}
            for ending, content in contents.items():
                if content is not None:
                    member = tarfile.TarInfo(f"{file.name}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


def _npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def _write_prompts(path: Path, world: World) -> None:
    prompts = sorted({_prompt(row.split, row.script) for row in world.recordings})
    header = (
        "prompt_hash,prompt_id_unique,participant_a_prompt_text,participant_b_prompt_text,ipc_a,ipc_b,interaction_type"
    )
    rows = [[p, p, " ".join(_topic(p, 0)), " ".join(_topic(p, 1)), "", "", "ipc_conversation"] for p in prompts]
    _write_csv(path, header.split(","), rows)


def _write_csv(path: Path, header: list[str], rows: list[list[Any]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
