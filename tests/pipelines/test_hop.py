"""Windows that begin with what was shown already, and answer the speaker until now."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from perfrdiff_hf import PerFRDiffPipeline
from perfrdiff_hf.models.gafrg import GAFRGOutput
from perfrdiff_hf.pipelines import sampling
from perfrdiff_hf.pipelines.serving import serve


FAST = {"num_reactions": 2, "num_inference_steps": 2}
HOP = 12
STUDENT = {"num_inference_steps": 2, "guidance_scale": 1.5, "guidance_scales": [1.0, 2.0]}


@pytest.fixture(scope="module", params=[None, STUDENT])
def live(make_pipeline, request) -> PerFRDiffPipeline:
    """A generator of 83 channels in standard scores that joins shown frames, and a student of such a one."""
    options = {"in_channels": 83, "max_shown_frames": 45, "standardised": True, "context_windows": 2}
    pipeline = make_pipeline(**options, sampling={"guidance_scale": 1.5}, distilled=request.param)
    scores = torch.Generator().manual_seed(3)
    pipeline.denoiser.reaction_scores.fit(
        0.3 * torch.rand(83, generator=scores), 0.1 + torch.rand(83, generator=scores)
    )
    return pipeline


def part(speaker, first, last):
    return {name.removeprefix("speaker_"): values[:, first:last] for name, values in speaker.items()}


def test_a_stream_in_chunks_is_the_call(live, speaker, histories, seeded):
    whole = live(**speaker, listener_history=histories, generator=seeded(), hop=HOP, **FAST)
    assert whole.reactions.shape == (2, 2, 130, 25) and whole.coefficients.shape == (2, 2, 130, 58)
    assert whole.reactions.abs().max() <= 1
    stream = live.stream(listener_history=histories, batch_size=2, generator=seeded(), hop=HOP, **FAST)
    segments = [one for first in range(0, 130, 7) for one in stream.push(**part(speaker, first, min(first + 7, 130)))]
    assert [one.start for one in segments] == list(range(0, 130, HOP))
    assert torch.equal(torch.cat([one.reactions for one in segments], 2)[:, :, :130], whole.reactions)
    assert torch.equal(torch.cat([one.coefficients for one in segments], 2)[:, :, :130], whole.coefficients)


def test_new_frames_answer_the_speaker_until_the_first_of_them_and_no_longer(live, speaker, seeded):
    def react(changed=None):
        given = {name: values.copy() for name, values in speaker.items()}
        if changed is not None:
            given["speaker_emotion"][:, changed] += 0.4
            given["speaker_coefficients"][:, changed] += 0.4
        return live(**given, generator=seeded(), hop=HOP, **FAST).reactions

    plain, first = react(), 5 * HOP
    assert torch.equal(react(first)[:, :, : first + HOP], plain[:, :, : first + HOP])
    assert not torch.equal(react(first)[:, :, first + HOP :], plain[:, :, first + HOP :])
    assert torch.equal(react(first - 1)[:, :, :first], plain[:, :, :first])
    assert not torch.equal(react(first - 1)[:, :, first : first + HOP], plain[:, :, first : first + HOP])


def test_shown_frames_stand_in_the_input_without_noise(live, speaker, seeded, monkeypatch):
    given = []

    def watched(hidden, *arguments, shown=None):
        given.append((hidden.clone(), shown))
        return GAFRGOutput(sample=torch.zeros_like(hidden))

    monkeypatch.setattr(live.denoiser, "forward", watched)
    options = {"num_reactions": 1, "num_inference_steps": 2, "guidance_scale": 1.0}
    segments = live.stream(batch_size=2, generator=seeded(), hop=HOP, **options).push(**part(speaker, 0, 130))
    steps = 2
    for number, (hidden, shown) in enumerate(given):
        assert shown.shape == (2, 50) and (shown.sum(1) == 50 - HOP).all()
        before = torch.cat([torch.zeros(2, 1, 50, 83), *(one.whole for one in segments[: number // steps])], dim=2)
        held = live.denoiser.to_scores(before[:, 0, -(50 - HOP) :])
        torch.testing.assert_close(hidden[:, : 50 - HOP], held, atol=1e-5, rtol=0)
    # A denoiser that predicts mean scores gives the mean reaction, in new frames as in shown ones.
    mean = live.denoiser.reaction_scores.mean
    torch.testing.assert_close(segments[-1].whole[0, 0, -1], mean, atol=0.05, rtol=0)
    movement = torch.as_tensor(live.feature_extractor.remove_mean_face(segments[-1].coefficients))
    torch.testing.assert_close(movement, segments[-1].whole[..., 25:], atol=1e-6, rtol=0)


def test_a_hop_of_a_whole_window_shows_nothing(live, speaker, seeded, monkeypatch):
    shown_frames = []
    forward = live.denoiser.forward

    def watched(*arguments, **options):
        shown_frames.append(options.get("shown"))
        return forward(*arguments, **options)

    monkeypatch.setattr(live.denoiser, "forward", watched)
    live(**speaker, generator=seeded(), **FAST)
    assert shown_frames and all(shown is None for shown in shown_frames)


def test_a_window_with_few_shown_frames_looks_ahead_and_gives_its_hop(make_pipeline, speaker, seeded, monkeypatch):
    pipeline = make_pipeline(in_channels=83, max_shown_frames=8)
    shown_frames = []

    def watched(hidden, *arguments, shown=None):
        shown_frames.append(shown)
        # Every new frame tells how many frames of its window lie before it.
        place = torch.arange(50.0)[:, None].expand(50, 83) / 25
        return GAFRGOutput(sample=place.expand(len(hidden), -1, -1))

    monkeypatch.setattr(pipeline.denoiser, "forward", watched)
    monkeypatch.setattr(sampling, "join_held", lambda predictions, held, **options: predictions)
    options = {"num_reactions": 1, "num_inference_steps": 2, "guidance_scale": 1.0}
    segments = pipeline.stream(batch_size=2, generator=seeded(), hop=HOP, **options).push(**part(speaker, 0, 60))
    assert [one.start for one in segments] == [0, 12, 24, 36, 48, 60]
    assert all((shown.sum(1) == 8).all() and shown[:, :8].all() for shown in shown_frames)
    for segment in segments:
        places = 25 * segment.reactions[0, 0].mean(-1)  # the scheduler leaves a little noise
        assert places.round().tolist() == list(range(8, 8 + HOP))
    # A hop that leaves less room shows less.
    shown_frames.clear()
    pipeline.stream(batch_size=2, generator=seeded(), hop=45, **options).push(**part(speaker, 0, 60))
    assert all((shown.sum(1) == 5).all() for shown in shown_frames)


def test_sessions_of_any_phase_share_a_batch(live, speaker, histories):
    def opened():
        return [
            live.stream(
                listener_history=histories[row : row + 1],
                generator=torch.Generator().manual_seed(row),
                hop=HOP,
                **FAST,
            )
            for row in (0, 1)
        ]

    alone, together = opened(), opened()
    expected, found = ([], []), ([], [])
    for first in range(0, 84, 6):
        for row, shift in ((0, 0), (1, 30)):
            chunk = {
                name: values[row : row + 1] for name, values in part(speaker, first + shift, first + shift + 6).items()
            }
            expected[row].extend(alone[row].push(**chunk))
            together[row].hear(**chunk)
        while served := serve(together):
            for stream, segment in served:
                found[together.index(stream)].append(segment)
    for row in (0, 1):
        assert len(expected[row]) == len(found[row]) > 4
        for mine, theirs in zip(expected[row], found[row]):
            torch.testing.assert_close(theirs.reactions, mine.reactions, atol=1e-4, rtol=0)
            torch.testing.assert_close(theirs.coefficients, mine.coefficients, atol=1e-4, rtol=0)


@pytest.mark.parametrize("heard", [0, 20, 59])
def test_flush_answers_the_last_frames(live, speaker, seeded, heard):
    stream = live.stream(batch_size=2, generator=seeded(), hop=HOP, **FAST)
    segments = stream.push(**part(speaker, 0, heard)) if heard else []
    segments += stream.flush()
    assert [one.start for one in segments] == ([] if not heard else list(range(0, heard + HOP, HOP)))


def test_a_hop_must_lie_within_a_window(live, speaker):
    with pytest.raises(ValueError, match="hop must lie between 1 and the 50 frames of a window; given: 51"):
        live(**speaker, hop=51)


def test_frames_are_not_shown_to_a_model_that_cannot_join_them(pipeline):
    tokens = pipeline.denoiser.encode_condition({"audio": torch.zeros(1, 50, 78)})
    with pytest.raises(ValueError, match="shown needs a denoiser with max_shown_frames"):
        pipeline.denoiser(torch.zeros(1, 50, 25), 3, tokens, shown=torch.zeros(1, 50, dtype=torch.bool))


def test_how_to_sample_is_saved_and_a_call_goes_before_it(make_pipeline, speaker, seeded, tmp_path):
    sampling = {"num_reactions": 3, "num_inference_steps": 2, "guidance_scale": 1.5, "guidance_interval": (0, 0.5)}
    pipeline = make_pipeline(in_channels=83, max_shown_frames=45, sampling={**sampling, "hop": HOP})
    pipeline.save_pretrained(tmp_path)
    loaded = PerFRDiffPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    assert loaded.sampling == {**sampling, "guidance_interval": [0, 0.5], "hop": HOP}
    saved = loaded(**speaker, generator=seeded()).reactions
    assert saved.shape[1] == 3
    assert torch.equal(saved, pipeline(**speaker, generator=seeded(), hop=HOP, **sampling).reactions)
    assert loaded(**speaker, generator=seeded(), num_reactions=1).reactions.shape[1] == 1
    stream = loaded.stream(batch_size=2, generator=seeded())
    assert torch.equal(stream.push(**part(speaker, 0, 20))[0].reactions, saved[:, :, :HOP])


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({"steps": 4}, "sampling may hold num_reactions, .*; given also: steps"),
        ({"hop": 0}, "hop must be at least 1; given: 0"),
        ({"hop": 51}, "hop must lie between 1 and the 50 frames of a window; given: 51"),
        ({"num_inference_steps": 0}, "num_inference_steps must be at least 1"),
        ({"eta": 2.0}, r"eta must lie in \[0, 1\]"),
        ({"guidance_interval": [0.5, 0.1]}, "guidance_interval must rise"),
        ({"binarise_action_units": 1}, "binarise_action_units must be true or false; given: 1"),
        ({"smooth_emotion": "yes"}, "smooth_emotion must be true or false; given: 'yes'"),
        ({"smooth_action_units": 0}, "smooth_action_units must be true or false; given: 0"),
        ({"generator": 3}, "given also: generator"),
    ],
)
def test_saved_sampling_out_of_range_is_found_when_it_is_loaded(make_pipeline, tmp_path, saved, message):
    with pytest.raises(ValueError, match=message):
        make_pipeline(max_shown_frames=45, sampling=saved)
    make_pipeline(max_shown_frames=45).save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    (tmp_path / "model_index.json").write_text(json.dumps({**index, "sampling": saved}))
    with pytest.raises(ValueError, match=message):
        PerFRDiffPipeline.from_pretrained(tmp_path)


def test_action_units_can_be_made_to_occur_or_not(make_pipeline, live, speaker, seeded):
    plain = live(**speaker, generator=seeded(), hop=50, **FAST)
    binary = live(**speaker, generator=seeded(), hop=50, binarise_action_units=True, **FAST)
    # The first window has no past, so the same noise gives the same frames but for the rounding.
    units = plain.reactions[:, :, :50, :15]
    assert 0 < (units > 0.5).float().mean() < 1 and not set(units.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(binary.reactions[:, :, :50, :15], (units > 0.5).float())
    assert torch.equal(binary.reactions[:, :, :50, 15:], plain.reactions[:, :, :50, 15:])
    assert torch.equal(binary.coefficients[:, :, :50], plain.coefficients[:, :, :50])
    assert set(binary.reactions[..., :15].unique().tolist()) == {0.0, 1.0}
    saved = make_pipeline(in_channels=83, max_shown_frames=45, sampling={"binarise_action_units": True})
    assert set(saved(**speaker, generator=seeded(), hop=HOP, **FAST).reactions[..., :15].unique().tolist()) == {
        0.0,
        1.0,
    }


def test_a_clip_may_end_within_a_hop(live, speaker, seeded):
    shorter = {name: values[:, :101] for name, values in speaker.items()}
    assert live(**shorter, generator=seeded(), hop=HOP, **FAST).reactions.shape[2] == 101
    assert np.isfinite(live(**shorter, generator=seeded(), hop=50, **FAST).coefficients.numpy()).all()
