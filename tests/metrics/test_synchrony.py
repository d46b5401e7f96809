"""FRSyn against one lag at a time, with its rule for constant channels, and without it."""

from __future__ import annotations

import numpy as np
import pytest

from perfrdiff_hf.metrics import frsyn, frsyn_per_clip
from perfrdiff_hf.metrics.synchrony import best_offsets


def plain_offset(reaction: np.ndarray, speaker: np.ndarray) -> int:
    """The official figure, lag by lag."""
    means = []
    for lag in range(-49, 50):
        x = reaction[max(lag, 0) : len(reaction) + min(lag, 0)]
        y = speaker[max(-lag, 0) : len(speaker) + min(-lag, 0)]
        with np.errstate(invalid="ignore", divide="ignore"):
            channels = [np.corrcoef(x[:, c], y[:, c])[0, 1] for c in range(x.shape[1])]
        means.append(np.mean(channels))
    undefined = np.flatnonzero(np.isnan(means))
    return int(undefined[0] if len(undefined) else np.argmax(means)) - 49


@pytest.fixture
def dyad() -> tuple[np.ndarray, np.ndarray]:
    """Reactions `(5, 140, 4)` and a speaker `(140, 4)`."""
    rng = np.random.default_rng(5)
    signals = rng.standard_normal((6, 140, 4)).cumsum(axis=1).astype(np.float32)
    return signals[:5], signals[5]


def test_against_plain_loop(dyad):
    reactions, speaker = dyad
    expected = [plain_offset(reaction, speaker) for reaction in reactions]
    assert best_offsets(reactions[None], speaker[None]).official[0].tolist() == expected
    assert len(set(expected)) > 1


@pytest.mark.parametrize("wobble", [1e-4, 1e-8, 1e-12])
def test_channels_that_hardly_move_outside_one_event(dyad, wobble):
    """Expression probabilities are like that; in windows without the event, the wobble is all that is compared."""
    reactions, speaker = dyad[0].copy(), dyad[1].copy()
    for signals in (reactions, speaker[None]):
        signals[..., 1:] *= wobble
        signals[:, 3:6, 1:] = 0.5
    expected = [plain_offset(reaction, speaker) for reaction in reactions]
    assert best_offsets(reactions[None], speaker[None]).official[0].tolist() == expected


@pytest.mark.parametrize("delay", [-20, 0, 13])
def test_delay_is_found(dyad, delay):
    _, speaker = dyad
    delayed = np.roll(speaker, delay, axis=0)
    noise = np.random.default_rng(0).standard_normal(speaker.shape)
    found = best_offsets((delayed + 0.01 * noise)[None, None], speaker[None])
    assert found.official.item() == delay
    assert found.corrected.item() == delay


@pytest.mark.parametrize("side", ["reaction", "speaker"])
def test_constant_channels(dyad, side):
    """Constant throughout, in all but the last 7 frames, in all but the first 7, and in all but two in the middle."""
    for number, active in enumerate((slice(0, 0), slice(-7, None), slice(0, 7), slice(69, 71))):
        reactions, speaker = dyad[0].copy(), dyad[1].copy()
        channel = reactions[:, :, 2] if side == "reaction" else speaker[None, :, 2]
        kept = channel[:, active].copy()
        channel[:] = 0.25
        channel[:, active] = kept
        expected = [plain_offset(reaction, speaker) for reaction in reactions]
        found = best_offsets(reactions[None], speaker[None])
        assert found.official[0].tolist() == expected
        assert (found.undefined == (number < 3)).all()
        varying = [0, 1, 3] if number < 3 else [0, 1, 2, 3]
        without = best_offsets(reactions[None][..., varying], speaker[None][..., varying])
        np.testing.assert_array_equal(found.corrected, without.corrected)


def test_variants(dyad):
    reactions, speaker = dyad
    lags = np.abs([plain_offset(reaction, speaker) for reaction in reactions])
    assert frsyn(reactions[None], speaker[None]) == lags[0]
    assert frsyn(reactions[None], speaker[None], "all") == lags.mean()
    assert frsyn(reactions[None], speaker[None], "corrected") == lags.mean()
    still = np.ones_like(reactions)
    assert frsyn(still[None], speaker[None]) == 49.0
    assert np.isnan(frsyn(still[None], speaker[None], "corrected"))
    both = frsyn_per_clip(np.stack([reactions, still]), np.stack([speaker, speaker]), "corrected")
    assert both[0] == lags.mean()
    assert np.isnan(both[1])
    assert frsyn(np.stack([reactions, still]), np.stack([speaker, speaker]), "corrected") == lags.mean()


@pytest.mark.parametrize("frames", [1, 2, 40, 50, 51])
def test_short_clips(dyad, frames):
    reactions, speaker = (array[..., :frames, :] for array in dyad)
    expected = 49 if frames <= 50 else abs(plain_offset(reactions[0], speaker))
    assert frsyn(reactions[None], speaker[None]) == expected


def test_bad_input(dyad):
    reactions, speaker = dyad
    with pytest.raises(ValueError, match="variant must be one of published, all, corrected; it is 'best'"):
        frsyn(reactions[None], speaker[None], "best")
    with pytest.raises(ValueError, match="speaker must have the 1 clips of the predictions; it has 2"):
        frsyn(reactions[None], np.stack([speaker, speaker]))
    with pytest.raises(ValueError, match="speaker must have the frames and channels"):
        frsyn(reactions[None], speaker[None, :-1])
