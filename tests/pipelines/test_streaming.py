from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from perfrdiff_hf.data.audio import mfcc_features
from perfrdiff_hf.models.gafrg import GAFRGOutput
from perfrdiff_hf.pipelines.sampling import join_held


FAST = {"num_reactions": 2, "num_inference_steps": 2}
NAMES = {"speaker_audio": "audio", "speaker_emotion": "emotion", "speaker_coefficients": "coefficients"}


def chunks(speaker, lengths):
    start = 0
    for length in lengths:
        yield {NAMES[name]: values[:, start : start + length] for name, values in speaker.items()}
        start += length


@pytest.mark.parametrize("lengths", [[130], [1] * 130, [49, 1, 1, 79], [50, 50, 30], [120, 10]])
@pytest.mark.parametrize("paper_mode", [False, True])
def test_every_chunking_equals_the_full_clip(make_pipeline, speaker, histories, seeded, lengths, paper_mode):
    conditions = ("audio", "coefficients", "speaker_latent", *(("past_emotion",) if paper_mode else ()))
    pipeline = make_pipeline(conditions=conditions)
    full = pipeline(**speaker, listener_history=histories, generator=seeded(), **FAST)
    stream = pipeline.stream(listener_history=histories, batch_size=2, generator=seeded(), **FAST)
    segments = [segment for chunk in chunks(speaker, lengths) for segment in stream.push(**chunk)]
    assert [segment.start for segment in segments] == [0, 50, 100]
    assert stream.frames_heard == 130
    assert torch.equal(torch.cat([s.reactions for s in segments], 2)[:, :, :130], full.reactions)
    assert torch.equal(torch.cat([s.coefficients for s in segments], 2)[:, :, :130], full.coefficients)


def test_segment_comes_with_the_last_frame_of_a_window(pipeline, speaker, seeded):
    stream = pipeline.stream(batch_size=2, generator=seeded(), **FAST)
    counts = [len(stream.push(**chunk)) for chunk in chunks(speaker, [1] * 101)]
    assert [frame + 1 for frame, count in enumerate(counts) if count] == [1, 50, 100]


def test_flush_completes_the_last_window(pipeline, speaker, seeded):
    stream = pipeline.stream(batch_size=2, generator=seeded(), **FAST)
    for chunk in chunks(speaker, [130]):
        stream.push(**chunk)
    (segment,) = stream.flush()
    assert segment.start == 150
    assert stream.flush() == []


@pytest.mark.parametrize("heard", [60, 90, 100, 101])
@pytest.mark.parametrize("hop", [50, 40])
def test_flush_first_gives_what_is_due(pipeline, speaker, seeded, heard, hop):
    """A service hears and serves; when a caller hangs up, windows are due and the last one is not yet."""
    options = {"batch_size": 2, "hop": hop, **FAST}
    stream = pipeline.stream(generator=seeded(), **options)
    stream.hear(**next(chunks(speaker, [heard])))
    segments = stream.flush()
    held = {
        name: np.concatenate([v[:, :heard], v[:, heard - 1 : heard].repeat(60, 1)], 1) for name, v in speaker.items()
    }
    longer = pipeline.stream(generator=seeded(), **options).push(**{NAMES[name]: v for name, v in held.items()})
    # One window more than what was due, unless the last frame that was heard completed one.
    stride = hop
    assert [segment.start for segment in segments] == [segment.start for segment in longer][: -(-heard // stride) + 1]
    assert all(torch.equal(a.reactions, b.reactions) for a, b in zip(segments, longer))
    assert stream.frames_heard == heard
    assert stream.flush() == []


def test_flush_drops_sound_that_no_face_goes_with(pipeline, speaker, seeded):
    samples = np.random.default_rng(3).uniform(-0.5, 0.5, (2, 60 * 640 + 99)).astype(np.float32)
    flushed = []
    for until in (samples.shape[1], 40 * 640):
        stream = pipeline.stream(batch_size=2, generator=seeded(), sampling_rate=16000, **FAST)
        stream.hear(samples=samples[:, :until], emotion=speaker["speaker_emotion"][:, :40])
        flushed.append(stream.flush())
        assert stream.frames_heard == 40
    assert [segment.start for segment in flushed[0]] == [0, 50]
    assert all(torch.equal(ours.reactions, theirs.reactions) for ours, theirs in zip(*flushed, strict=True))


def test_a_flushed_session_is_over_until_reset(pipeline, speaker, seeded):
    stream = pipeline.stream(batch_size=2, generator=seeded(), **FAST)
    (chunk,) = chunks(speaker, [60])
    stream.push(**chunk)
    stream.flush()
    for take in (stream.push, stream.hear):
        with pytest.raises(ValueError, match=r"ended by flush.*reset"):
            take(**chunk)
    stream.reset()
    assert [segment.start for segment in stream.push(**chunk)] == [0, 50]


def test_announced_streams_may_come_one_at_a_time(pipeline, speaker, seeded):
    full = pipeline(**speaker, generator=seeded(), **FAST).reactions
    stream = pipeline.stream(batch_size=2, generator=seeded(), streams=NAMES.values(), **FAST)
    segments = []
    for start, stop in ((0, 70), (70, 130)):
        for name, values in speaker.items():
            assert not segments or start  # nothing is generated before every stream was heard
            segments += stream.push(**{NAMES[name]: values[:, start:stop]})
    assert torch.equal(torch.cat([s.reactions for s in segments], 2)[:, :, :130], full)


def test_sound_may_come_before_the_face(pipeline, speaker, seeded):
    waveform = np.random.default_rng(2).uniform(-0.5, 0.5, (2, 38400)).astype(np.float32)
    features = np.stack([mfcc_features(one, 16000, 60) for one in waveform])
    face = speaker["speaker_emotion"][:, :60]
    whole = pipeline.stream(batch_size=2, generator=seeded(), **FAST).push(audio=features, emotion=face)
    options = {"sampling_rate": 16000, "streams": ("audio", "emotion")}
    stream = pipeline.stream(batch_size=2, generator=seeded(), **options, **FAST)
    assert stream.push(samples=waveform) == []
    assert not stream.is_due
    assert stream.frames_heard == 0
    segments = stream.push(emotion=face)
    assert all(torch.equal(a.reactions, b.reactions) for a, b in zip(segments, whole, strict=True))


def test_streams_that_were_not_announced_are_refused(make_pipeline, pipeline, speaker):
    stream = pipeline.stream(streams=("audio", "emotion"), **FAST)
    with pytest.raises(ValueError, match=r"may hold \['audio', 'emotion'\].*coefficients"):
        stream.push(coefficients=speaker["speaker_coefficients"][:1])
    with pytest.raises(ValueError, match=r"streams must be some of.*picture"):
        pipeline.stream(streams=("picture",))
    with pytest.raises(ValueError, match="needs speaker_coefficients"):
        make_pipeline(condition_dropout=0.0).stream(streams=("audio", "emotion"))


def test_a_window_that_failed_is_generated_as_if_nothing_had_happened(pipeline, speaker, seeded, monkeypatch):
    expected = pipeline.stream(batch_size=2, generator=seeded(), **FAST).push(**next(chunks(speaker, [60])))
    stream = pipeline.stream(batch_size=2, generator=seeded(), **FAST)
    with monkeypatch.context() as patch:
        patch.setattr(pipeline.denoiser, "forward", fail)
        with pytest.raises(MemoryError):
            stream.push(**next(chunks(speaker, [60])))
    segments = list(stream.segments())
    assert all(torch.equal(a.reactions, b.reactions) for a, b in zip(segments, expected, strict=True))


def fail(*arguments, **options):
    raise MemoryError


def test_reset_begins_anew(pipeline, speaker, seeded):
    generator = seeded()
    stream = pipeline.stream(batch_size=2, generator=generator, **FAST)
    first = [s.reactions for chunk in chunks(speaker, [70]) for s in stream.push(**chunk)]
    stream.reset()
    assert stream.frames_heard == 0
    generator.manual_seed(7)
    again = [s.reactions for chunk in chunks(speaker, [70]) for s in stream.push(**chunk)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        ({"audio": np.zeros((2, 5, 77)), "emotion": np.zeros((2, 5, 25))}, "^audio must have shape"),
        ({"audio": np.full((2, 5, 78), np.nan), "emotion": np.zeros((2, 5, 25))}, "NaN"),
        ({"audio": np.zeros((2, 5, 78)), "emotion": np.zeros((2, 4, 25))}, "same number of frames"),
        ({"audio": np.zeros((2, 5, 78))}, "streams of the first one"),
        ({"audio": np.zeros((1, 5, 78)), "emotion": np.zeros((1, 5, 25))}, "2 speakers"),
    ],
)
def test_stream_is_usable_after_bad_input(pipeline, speaker, seeded, chunk, message):
    speaker.pop("speaker_coefficients")
    undisturbed = pipeline(**speaker, generator=seeded(), **FAST).reactions
    stream = pipeline.stream(batch_size=2, generator=seeded(), **FAST)
    pieces = chunks(speaker, [60, 70])
    segments = stream.push(**next(pieces))
    with pytest.raises(ValueError, match=message):
        stream.push(**chunk)
    segments += stream.push(**next(pieces))
    assert torch.equal(torch.cat([s.reactions for s in segments], 2)[:, :, :130], undisturbed)


@pytest.mark.parametrize("hop", [50, 40, 20])
def test_segments_cover_every_frame_once(pipeline, speaker, seeded, hop):
    full = pipeline(**speaker, generator=seeded(), hop=hop, **FAST).reactions
    stream = pipeline.stream(batch_size=2, generator=seeded(), hop=hop, **FAST)
    segments = [segment for chunk in chunks(speaker, [7] * 19) for segment in stream.push(**chunk)]
    assert segments[0].reactions.shape[2] == 50
    assert all(segment.reactions.shape[2] == hop for segment in segments[1:])
    assert [segment.start for segment in segments[1:]] == [50 + hop * n for n in range(len(segments) - 1)]
    streamed = torch.cat([segment.reactions for segment in segments], dim=2)
    assert streamed.shape[2] >= 130
    assert torch.equal(streamed[:, :, :130], full)


def test_held_frames_are_those_already_shown(pipeline, speaker, seeded):
    shown = []
    sampler_class = type(pipeline.stream(batch_size=2, **FAST).reactor.sampler)

    class Spy(sampler_class):
        def sample(self, tokens, latents, held=None):
            window = super().sample(tokens, latents, held)
            shown.append((held, window))
            return window

    stream = pipeline.stream(batch_size=2, generator=seeded(), hop=40, **FAST)
    stream.reactor.sampler.__class__ = Spy
    for chunk in chunks(speaker, [130]):
        stream.push(**chunk)
    assert shown[0][0] is None
    for (_, before), (held, window) in pairwise(shown):
        assert torch.equal(held, before[:, :, -10:])
        assert torch.equal(window[:, :, :10], held)


def test_new_frames_are_led_up_to_the_held_ones():
    random = torch.Generator().manual_seed(0)
    predictions = torch.randn(1, 2, 50, 25, generator=random)
    fitting = join_held(predictions, predictions[:, :, :5], meets=4, fade_frames=8)
    assert torch.equal(fitting, predictions)

    held = torch.randn(1, 2, 5, 25, generator=random)
    joined = join_held(predictions, held, meets=4, fade_frames=8)
    assert torch.equal(joined[:, :, :5], held)
    missing = held[:, :, 4] - predictions[:, :, 4]
    for ahead in (1, 8, 45):
        shift = joined[:, :, 4 + ahead] - predictions[:, :, 4 + ahead]
        assert torch.allclose(shift, missing * np.exp(-ahead / 8), atol=1e-6)

    # Where shown frames are not predicted, the first new frame is what the last held one is compared with.
    joined = join_held(predictions, held, meets=5, fade_frames=2)
    shift = joined[:, :, 6] - predictions[:, :, 6]
    assert torch.allclose(shift, (held[:, :, 4] - predictions[:, :, 5]) * np.exp(-2 / 2), atol=1e-6)


@pytest.mark.parametrize(("hop", "jump"), [(50, 1.0), (45, 1 - np.exp(-1 / 8))])
def test_a_short_hop_spreads_the_jump_between_windows(pipeline, speaker, seeded, monkeypatch, hop, jump):
    """Every window of this denoiser is flat, the first one at -0.5 and the others at 0.5."""
    steps, calls = 5, []

    def flat(hidden, *arguments):
        calls.append(len(hidden))
        level = -0.5 if len(calls) <= steps else 0.5
        return GAFRGOutput(sample=torch.full_like(hidden, level))

    monkeypatch.setattr(pipeline.denoiser, "forward", flat)
    options = {"num_reactions": 1, "num_inference_steps": steps, "guidance_scale": 1.0}
    reactions = pipeline(**speaker, generator=seeded(), hop=hop, **options).reactions
    velocity = reactions.diff(dim=2).abs()
    assert torch.allclose(velocity[:, :, 49], torch.tensor(float(jump)), atol=0.03)
    assert velocity.amax() <= velocity[:, :, 49].amax() + 0.03
    assert torch.allclose(reactions[:, :, 90], torch.tensor(0.5), atol=0.03)


def test_a_hop_lies_within_a_window(pipeline):
    with pytest.raises(ValueError, match="hop must lie between 1 and the 50 frames"):
        pipeline.stream(hop=51)
    with pytest.raises(ValueError, match="hop must be at least 1"):
        pipeline.stream(hop=0)


def test_guidance_interval_chooses_the_guided_steps(pipeline, speaker, seeded):
    def react(**options):
        return pipeline(**speaker, generator=seeded(), num_reactions=1, num_inference_steps=4, **options).reactions

    everywhere, nowhere = react(), react(guidance_interval=(0.0, 0.0))
    assert torch.equal(nowhere, react(guidance_scale=1.0))
    half = react(guidance_interval=(0.0, 0.5))
    assert not torch.equal(half, everywhere)
    assert not torch.equal(half, nowhere)
    with pytest.raises(ValueError, match="guidance_interval"):
        react(guidance_interval=(0.5, 0.2))


@pytest.mark.parametrize("lengths", [[700] * 70, [1] * 5 + [16000, 33000], [49000]])
def test_raw_samples_equal_features_of_the_whole(pipeline, speaker, seeded, lengths):
    waveform = np.random.default_rng(2).uniform(-0.5, 0.5, (2, 49000)).astype(np.float32)
    features = np.stack([mfcc_features(one, 16000, 76) for one in waveform])
    whole = pipeline.stream(batch_size=2, generator=seeded(), **FAST)
    expected = whole.push(audio=features, emotion=speaker["speaker_emotion"][:, :76])
    stream = pipeline.stream(batch_size=2, generator=seeded(), sampling_rate=16000, **FAST)
    # The face comes with the first sound, the rest of the sound comes alone.
    segments = stream.push(samples=waveform[:, :100], emotion=speaker["speaker_emotion"][:, :76])
    start = 100
    for length in lengths:
        segments += stream.push(samples=waveform[:, start : start + length])
        start += length
    assert len(segments) == len(expected) == 2
    assert all(torch.equal(a.reactions, b.reactions) for a, b in zip(segments, expected))
    assert stream.frames_heard == 76


def test_sound_that_runs_away_is_refused(pipeline, speaker):
    stream = pipeline.stream(batch_size=2, sampling_rate=8000, **FAST)
    stream.push(samples=np.zeros((2, 8000), np.float32), emotion=speaker["speaker_emotion"][:, :25])
    with pytest.raises(ValueError, match=r"audio is .* frames ahead of emotion"):
        stream.push(samples=np.zeros((2, 8000 * 90), np.float32))
    assert stream.frames_heard == 25


def test_samples_need_a_rate(pipeline):
    with pytest.raises(ValueError, match="sampling_rate"):
        pipeline.stream(batch_size=2, **FAST).push(samples=np.zeros((2, 100), np.float32))


def test_memory_stays_bounded_over_a_long_session(pipeline, seeded):
    stream = pipeline.stream(num_reactions=1, num_inference_steps=1, guidance_scale=1.0, generator=seeded())
    random = np.random.default_rng(0)
    for _ in range(300):
        stream.push(emotion=random.uniform(0, 1, (1, int(random.integers(1, 40)), 25)))
        assert stream._shown.shape[2] <= 100
        assert all(values.shape[1] < 100 for values in stream._hearing.streams.values())
        assert all(values.untyped_storage().nbytes() < 200 * 25 * 4 for values in stream._hearing.streams.values())
