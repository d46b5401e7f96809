"""From sampled windows to shown ones: ranges, action units that occur or not, and smooth emotion."""

from __future__ import annotations

from itertools import product

import torch

from perfrdiff_hf.pipelines.finishing import SMOOTHING, UNDECIDED, finished


def window(channels: int = 83) -> torch.Tensor:
    return 2 * torch.randn(2, 3, 20, channels, generator=torch.Generator().manual_seed(1))


def test_emotion_keeps_its_range_and_movement_is_left_alone():
    given = window()
    shown = finished(given, None, False, False)
    assert torch.equal(shown[..., :25], given[..., :25].clamp(-1, 1))
    assert torch.equal(shown[..., 25:], given[..., 25:])
    assert torch.equal(finished(given[..., :25], None, False, False), shown[..., :25])


def test_held_frames_stay_as_they_were_shown():
    given, held = window(), 0.3 * window()[:, :, :6]
    plain = finished(given, held, False, False)
    for options in product((False, True), repeat=3):
        shown = finished(given, held, *options)
        assert torch.equal(shown[:, :, :6], held)
        assert torch.equal(shown[:, :, 6:, 25:], plain[:, :, 6:, 25:])


def test_action_units_occur_or_not():
    given = window()
    shown = finished(given, None, True, False)
    assert torch.equal(shown[..., :15], (given[..., :15] > 0.5).float())
    assert torch.equal(shown[..., 15:25], given[..., 15:25].clamp(-1, 1))


def test_smoothing_is_a_weighted_mean_over_five_frames():
    assert sum(SMOOTHING) == 1
    given, held = 0.2 * window(), 0.2 * window()[:, :, -4:]
    shown = finished(given, held, False, True)
    before = torch.cat([held[..., :25], given[:, :, 4:, :25].clamp(-1, 1)], dim=2)
    assert torch.equal(shown[..., :15], before[..., :15])
    for frame in (4, 5, 11, 19):
        around = [min(max(frame + step, 0), 19) for step in (-2, -1, 0, 1, 2)]
        mean = sum(weight * before[:, :, place, 15:25] for weight, place in zip(SMOOTHING, around))
        torch.testing.assert_close(shown[:, :, frame, 15:25], mean)


def test_smoothing_keeps_what_is_steady_and_stills_what_trembles():
    steady = torch.full((1, 1, 20, 25), 0.4)
    torch.testing.assert_close(finished(steady, None, False, True), steady)
    trembling = steady + 0.1 * (-1.0) ** torch.arange(20)[:, None]
    torch.testing.assert_close(finished(trembling, None, False, True)[:, :, 2:-2, 15:], steady[:, :, 2:-2, 15:])


def test_smoothed_action_units_do_not_flicker_for_a_frame():
    """One frame over a half goes, a longer stay remains, and what was shown before counts at the border."""
    given, held = torch.zeros(1, 1, 20, 25), torch.zeros(1, 1, 2, 25)
    given[:, :, 5, :15] = given[:, :, 10:15, :15] = 0.9
    given[:, :, :, 15:] = 0.3
    held[..., :15] = 1.0
    shown = finished(given, held, True, False, True)
    expected = torch.zeros(20)
    expected[[0, 1, 10, 11, 12, 13, 14]] = 1.0
    assert torch.equal(shown[0, 0, :, :15], expected[:, None].expand(20, 15))
    assert torch.equal(shown[:, :, 2:, 15:], given[:, :, 2:, 15:])
    smooth = finished(given, None, False, False, True)[0, 0, :, 0]
    torch.testing.assert_close(smooth[3:8], 0.9 * torch.tensor(SMOOTHING))


def test_smoothed_action_units_near_a_half_stay_what_they_were():
    """A slow way up, a rest near a half, and down again; forwards, and from frames that were shown before."""
    near = UNDECIDED / 2
    course = torch.cat([torch.full((8,), value) for value in (0.1, 0.5 + near, 0.9, 0.5 - near, 0.1)])
    given = course[:, None].expand(1, 1, 40, 25).clone()
    on = torch.zeros(40)
    on[14:30] = 1.0  # smoothing reaches two frames ahead
    assert torch.equal(finished(given, None, True, False, True)[0, 0, :, :15], on[:, None].expand(40, 15))
    resting = torch.full((1, 1, 20, 25), 0.5 + near)
    for was in (0.0, 1.0):
        held = torch.full((1, 1, 5, 25), was)
        shown = finished(resting, held, True, False, True)
        assert (shown[..., :15] == was).all()
    assert (finished(resting, None, True, False, True)[..., :15] == 1).all()
    torch.testing.assert_close(finished(resting, None, False, False, True), resting)


def test_undecided_action_units_are_as_one_after_another_tells():
    """Against the rule frame by frame."""
    given = 0.5 + 0.05 * torch.randn(2, 3, 50, 25, generator=torch.Generator().manual_seed(2))
    held = (torch.rand(2, 3, 4, 25, generator=torch.Generator().manual_seed(3)) > 0.5).float()
    smooth = finished(given, held, False, False, True)[..., :15]
    shown = finished(given, held, True, False, True)[..., :15]
    state = held[:, :, -1, :15]
    for frame in range(4, 50):
        now = smooth[:, :, frame]
        state = torch.where((now - 0.5).abs() > UNDECIDED, (now > 0.5).float(), state)
        assert torch.equal(shown[:, :, frame], state)
