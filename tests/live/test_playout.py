"""The jitter buffer, on a made-up clock."""

from __future__ import annotations

import numpy as np
import pytest

from perfrdiff_hf.behaviour import BLENDSHAPE_NAMES, MEAN_FACE, ROTATION, STD_FACE
from perfrdiff_hf.faces.motion import face_motion
from perfrdiff_hf.live.playout import BLEND_SECONDS, LARGEST_CHANGE, Playout


HOP = 50
JAW = BLENDSHAPE_NAMES.index("jawOpen")


def reaction(frames: int) -> np.ndarray:
    """The jaw and the head move as slow waves."""
    coefficients = np.tile(MEAN_FACE, (frames, 1))
    seconds = np.arange(frames) / 25
    coefficients[:, JAW] += STD_FACE[JAW] * (1 + np.sin(2 * np.pi * 0.5 * seconds))
    coefficients[:, ROTATION.start] = np.pi
    coefficients[:, ROTATION.start + 1] = 0.3 * np.sin(2 * np.pi * 0.3 * seconds)
    return coefficients


def played(
    arrivals: list[float], fps: int = 60, frames: int = HOP, ends: float | None = None, **settings: float
) -> tuple[np.ndarray, Playout]:
    """What is shown at each tick `(ticks, 55)`, if the segments come at these times."""
    playout = Playout(**settings)  # type: ignore[arg-type]
    whole = reaction(frames * len(arrivals))
    waiting = list(enumerate(arrivals))
    shown = []
    for tick in range(round((arrivals[-1] + 3 if ends is None else ends) * fps)):
        now = tick / fps
        while waiting and waiting[0][1] <= now:
            number, _ = waiting.pop(0)
            playout.add(frames * number, whole[frames * number : frames * (number + 1)], now)
        motion = playout.at(now)
        shown.append(np.concatenate([motion.blendshapes[0], motion.rotation[0]]))
    return np.array(shown), playout


def largest_step(arrivals: list[float], fps: int) -> float:
    """How far the face may move between two ticks: as fast as the source, and a little faster to catch up."""
    motion = face_motion(reaction(HOP * len(arrivals)))
    moves = np.abs(np.diff(np.concatenate([motion.blendshapes, motion.rotation], axis=1), axis=0)).max()
    return moves * 25 / fps * (1 + LARGEST_CHANGE) * 1.001


@pytest.mark.parametrize("fps", [25, 60])
def test_on_time_it_is_the_source_a_little_later(fps: int) -> None:
    shown, playout = played([0.0, 2.0, 4.0, 6.0], fps)
    motion = face_motion(reaction(200))
    whole = np.concatenate([motion.blendshapes, motion.rotation], axis=1)
    seconds = np.arange(len(shown)) / fps
    there = (seconds > playout.delay + BLEND_SECONDS) & (seconds < 7.5)
    at = (seconds - playout.delay) * 25
    expected = np.stack([np.interp(at, np.arange(200), column) for column in whole.T], axis=1)
    np.testing.assert_allclose(shown[there], expected[there], atol=0.02)
    assert (playout.segments, playout.late_segments, playout.missing_frames) == (4, 0, 0)


@pytest.mark.parametrize("fps", [25, 60])
def test_late_segments_are_counted_and_nothing_jumps(fps: int) -> None:
    arrivals = [0.0, 2.0, 4.9, 6.3, 8.05, 11.5, 12.2]
    shown, playout = played(arrivals, fps, ends=22)
    assert playout.late_segments == 2  # the third and the sixth
    steps = np.abs(np.diff(shown, axis=0)).max(axis=1)
    blending = int(BLEND_SECONDS * fps) + 1
    assert steps[blending:].max() <= largest_step(arrivals, fps)
    assert steps[:blending].max() < 0.35 / (BLEND_SECONDS * fps) * 2.5
    # All that came is shown in the end.
    motion = face_motion(reaction(HOP * len(arrivals)))
    np.testing.assert_allclose(shown[-1][:52], motion.blendshapes[-1], atol=0.01)


def test_no_frame_is_left_out() -> None:
    """Each local extreme of the source is passed, however late it comes."""
    arrivals = [0.0, 2.5, 4.2, 7.4, 8.3]
    shown, _ = played(arrivals, 60, ends=16)
    source = face_motion(reaction(HOP * len(arrivals))).blendshapes[:, JAW]

    def turning_points(values: np.ndarray) -> int:
        directions = np.sign(np.diff(np.round(values, 4)))
        directions = directions[directions != 0]
        return int((np.diff(directions) != 0).sum())

    assert turning_points(shown[:, JAW]) == turning_points(source) == 10


def test_the_delay_learns_from_lateness() -> None:
    always_late = [0.0, *(2.0 * k + 0.6 for k in range(1, 12))]
    shown, playout = played(always_late, 60)
    assert playout.late_segments == 1  # once, then it plays far enough behind
    assert 0.6 < playout.delay < 0.9
    # When segments are on time for long enough, it comes closer again.
    better = [0.0, 2.6, *(2.0 * k for k in range(2, 16))]
    _, playout = played(better, 60)
    assert playout.delay == pytest.approx(playout.min_delay)


def test_the_delay_has_an_end() -> None:
    _, playout = played([0.0, 9.0], 60, max_delay=1.0)
    assert playout.delay == 1.0 and playout.late_segments == 1


def test_before_and_after() -> None:
    playout = Playout()
    assert not playout.at(5.0).blendshapes.any() and playout.buffered == 0
    playout.add(0, reaction(HOP), 5.0)
    assert playout.buffered == pytest.approx(49 / 25)
    np.testing.assert_allclose(playout.at(5.0).blendshapes, 0, atol=1e-6)
    end = face_motion(reaction(HOP)).blendshapes[-1]
    np.testing.assert_allclose(playout.at(12.0).blendshapes[0], end, atol=1e-3)
    np.testing.assert_allclose(playout.at(500.0).blendshapes[0], end, atol=1e-6)


def test_a_new_session_begins_where_the_old_one_was_left() -> None:
    playout = Playout()
    playout.add(0, reaction(HOP), 0.0)
    before = playout.at(1.0)
    playout.reset()
    np.testing.assert_array_equal(playout.at(30.0).blendshapes, before.blendshapes)
    playout.add(0, reaction(HOP), 40.0)
    shown = np.array([playout.at(40 + k / 60).blendshapes[0, JAW] for k in range(60)])
    assert shown[0] == pytest.approx(before.blendshapes[0, JAW], abs=1e-6)
    assert np.abs(np.diff(shown)).max() < 0.05
    assert (playout.segments, playout.late_segments) == (2, 0)


def test_gaps_and_repetitions() -> None:
    whole = reaction(3 * HOP)
    playout = Playout()
    playout.add(100, whole[:HOP], 0.0)  # a session that is joined later
    playout.add(100 + HOP - 10, whole[HOP - 10 : 2 * HOP], 1.0)
    playout.add(100 + 2 * HOP + 5, whole[2 * HOP + 5 :], 3.0)
    assert playout.missing_frames == 5
    shown = np.array([playout.at(k / 60).blendshapes[0, JAW] for k in range(600)])
    assert np.abs(np.diff(shown[30:])).max() < 0.02
    source = face_motion(whole).blendshapes[:, JAW]
    assert shown.max() == pytest.approx(source.max(), abs=0.005)


def test_after_a_long_gap_the_face_is_soon_where_the_source_is() -> None:
    """A server that was too slow left out ten seconds: they are not made up by a face in slow motion."""
    whole = reaction(400)
    playout = Playout()
    playout.add(0, whole[:HOP], 0.0)
    for k in range(720):
        before = playout.at(k / 60)
    playout.add(300, whole[300:350], 12.0)
    shown = [playout.at(12 + k / 60).blendshapes[0, JAW] for k in range(61)]
    assert playout.missing_frames == 250
    source = face_motion(whole).blendshapes[:, JAW]
    assert shown[-1] == pytest.approx(source[320], abs=0.01)
    assert np.abs(np.diff([before.blendshapes[0, JAW], *shown])).max() < 0.05


def test_a_neutral_and_bad_input() -> None:
    person = MEAN_FACE + 0.5 * STD_FACE
    playout = Playout(neutral=person)
    playout.add(0, np.tile(person, (HOP, 1)), 0.0)
    shown = playout.at(1.0)
    assert np.abs(shown.blendshapes).max() < 1e-6 and np.abs(shown.rotation).max() < 1e-6
    with pytest.raises(ValueError, match="coefficients holds 1 NaN"):
        playout.add(HOP, np.where(np.arange(58) == 3, np.nan, MEAN_FACE)[None], 2.0)
    assert playout.segments == 1
    with pytest.raises(ValueError, match="min_delay <= max_delay"):
        Playout(min_delay=3.0)
