"""What the people of the synthetic world sound like: a humming voice whose prosody tells which act is played."""

from __future__ import annotations

import numpy as np

from ..behaviour import FRAME_RATE
from .people import ACTS, act_envelopes


# Rows in the order of ACTS. Pitch (relative), its slide over the act, its swing at 1.5 Hz, syllables per second,
# loudness (root mean square), spectral tilt (exponent of the fall), share of breath noise, resonance in Hz.
PROSODY = np.array(
    [
        [1.35, 0.0, 0.18, 6.0, 0.22, 0.7, 0.08, 1300],
        [1.15, -0.10, 0.10, 3.5, 0.17, 1.3, 0.05, 900],
        [1.05, 0.45, 0.05, 4.5, 0.18, 1.0, 0.05, 1800],
        [1.10, -0.20, 0.04, 3.0, 0.26, 0.4, 0.04, 2400],
        [0.75, -0.15, 0.03, 2.2, 0.13, 1.9, 0.12, 500],
        [0.85, 0.0, 0.01, 1.2, 0.09, 1.5, 0.80, 2900],
    ]
)
HARMONICS = 16
ROOM_NOISE = 0.002


def speak(
    kinds: np.ndarray, starts: np.ndarray, ends: np.ndarray, pitch: float, frames: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How a person's acts sound, frame by frame.

    Args:
        kinds: `(acts,)` indices into `ACTS`.
        starts: `(acts,)` first frames.
        ends: `(acts,)` frames after the last.
        pitch: fundamental frequency of the person in Hz.
        frames: number of frames.
        rng: source of variation in pitch, rhythm and loudness.

    Returns:
        prosody `(frames, 8)` (pitch in Hz, loudness and the rest as in `PROSODY`), how strongly each act is played
        `(frames, 6)`, and syllables `(frames,)` in [0, 1].
    """
    time = np.arange(frames)
    played = act_envelopes(starts, ends, time)
    acting = played.T @ np.eye(len(ACTS))[kinds]
    current = np.argmax(played, axis=0)
    prosody = PROSODY[kinds][current] * np.exp(0.06 * rng.standard_normal((len(kinds), PROSODY.shape[1])))[current]
    progress = np.clip((time - starts[current]) / (ends - starts)[current], 0, 1)
    swing = np.sin(2 * np.pi * (1.5 * time / FRAME_RATE + rng.random()))
    prosody[:, 0] *= pitch * (1 + prosody[:, 1] * (progress - 0.3) + prosody[:, 2] * swing)
    beat = 2 * np.pi * np.cumsum(prosody[:, 3] * np.exp(0.15 * rng.standard_normal(frames))) / FRAME_RATE
    syllables = (0.5 - 0.5 * np.cos(beat)) * played.max(axis=0)
    prosody[:, 4] *= played.max(axis=0) * (0.35 + 0.65 * syllables)
    return prosody, acting, syllables


def synthesise(prosody: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """A voice with the given prosody: harmonics under a resonance, breath noise, and the noise of the room.

    Args:
        prosody: `(frames, 8)` from `speak`.
        sample_rate: in Hz, a multiple of 25.
        rng: source of noise.

    Returns:
        `(frames * sample_rate / 25,)` float32 in [-1, 1].
    """
    hop = sample_rate // FRAME_RATE
    pitch, _, _, _, loudness, tilt, breath, resonance = prosody.T
    order = np.arange(1, HARMONICS + 1)
    frequency = order * pitch[:, None]
    heights = order ** -tilt[:, None] + 1.2 * np.exp(-(((frequency - resonance[:, None]) / 350) ** 2))
    heights *= frequency < 0.45 * sample_rate
    heights *= (loudness * np.sqrt(2 * (1 - breath)) / np.sqrt((heights**2).sum(axis=1)))[:, None]
    phase = 2 * np.pi * np.cumsum(_to_samples(pitch, hop)) / sample_rate
    voice = np.zeros(len(phase))
    # sin(kx) from the two harmonics below it: a sine per harmonic would cost most of the time of a whole world.
    twice_cosine, before, harmonic = 2 * np.cos(phase), np.zeros(len(phase)), np.sin(phase)
    for k in range(HARMONICS):
        voice += _to_samples(heights[:, k], hop) * harmonic
        before, harmonic = harmonic, twice_cosine * harmonic - before
    noise = rng.standard_normal(len(phase), dtype=np.float32)
    voice += noise * (_to_samples(loudness * np.sqrt(breath), hop) + ROOM_NOISE)
    return np.clip(voice, -1, 1).astype(np.float32)


def _to_samples(values: np.ndarray, hop: int) -> np.ndarray:
    """Values per frame, joined by lines, `hop` samples per frame."""
    steps = np.diff(values, append=values[-1])
    return (values[:, None] + steps[:, None] * (np.arange(hop) / hop)).ravel()
