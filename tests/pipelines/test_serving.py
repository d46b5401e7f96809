"""Streams that are served together get what each would have got alone."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDPMScheduler

from perfrdiff_hf import serve


FAST = {"num_reactions": 2, "num_inference_steps": 3}
NAMES = {"speaker_audio": "audio", "speaker_emotion": "emotion", "speaker_coefficients": "coefficients"}


def part(speaker, row, start, stop):
    return {NAMES[name]: values[row : row + 1, start:stop] for name, values in speaker.items()}


def generator(seed):
    return torch.Generator().manual_seed(seed)


def count_calls(pipeline, monkeypatch):
    batches = []
    denoise = pipeline.denoiser.forward

    def counted(hidden, *arguments):
        batches.append(len(hidden))
        return denoise(hidden, *arguments)

    monkeypatch.setattr(pipeline.denoiser, "forward", counted)
    return batches


def in_double_precision(pipeline):
    """Rounding in float32 reaches 1e-5 where guidance is strong; in float64 a mistake cannot hide behind it."""
    for model in (pipeline.denoiser, pipeline.emotion_vae, pipeline.style_encoder, pipeline.weight_shift_generator):
        model.double()
    return pipeline


@pytest.mark.parametrize("conditions", [(), ("past_emotion",)])
@pytest.mark.parametrize("options", [{}, {"hop": 40}, {"eta": 1.0}])
def test_streams_of_any_phase_get_what_each_gets_alone(make_pipeline, speaker, histories, conditions, options):
    kinds = ("audio", "coefficients", "speaker_latent", *conditions)
    pipeline = in_double_precision(make_pipeline(conditions=kinds))

    def open_streams():
        return [
            pipeline.stream(listener_history=histories[row : row + 1], generator=generator(row), **FAST, **options)
            for row in (0, 1)
        ]

    # The second session is 17 frames ahead of the first one.
    chunks = [
        [part(speaker, 0, start - 17, start), part(speaker, 1, start, start + 17)] for start in range(17, 102, 17)
    ]
    alone, together = open_streams(), open_streams()
    for stream in (alone[1], together[1]):
        stream.hear(**part(speaker, 1, 0, 17))
    expected = {0: [], 1: []}
    served = {0: [], 1: []}
    for pair in chunks:
        for row, chunk in enumerate(pair):
            expected[row] += alone[row].push(**chunk)
            together[row].hear(**chunk)
        for stream, segment in serve(together):
            served[together.index(stream)].append(segment)
    for row in (0, 1):
        assert [segment.start for segment in served[row]] == [segment.start for segment in expected[row]]
        for ours, theirs in zip(served[row], expected[row], strict=True):
            assert torch.allclose(ours.reactions, theirs.reactions, rtol=0, atol=1e-11)
            assert torch.allclose(ours.coefficients, theirs.coefficients, rtol=0, atol=1e-11)


def test_due_windows_are_one_batch(pipeline, speaker, histories, monkeypatch):
    streams = [pipeline.stream(listener_history=histories[row : row + 1], **FAST) for row in (0, 1)]
    for row, stream in enumerate(streams):
        stream.hear(**part(speaker, row, 0, 30))
    batches = count_calls(pipeline, monkeypatch)
    assert len(serve(streams)) == 2
    assert batches == [2 * 2 * 2] * FAST["num_inference_steps"]  # streams, halves of guidance, reactions
    assert serve(streams) == []


def test_streams_that_differ_are_served_beside_each_other(make_pipeline, speaker, histories):
    pipeline = in_double_precision(make_pipeline())
    shifts = pipeline.personalise(histories)
    options = [
        {"weight_shifts": shifts.listener(0), "generator": generator(0), **FAST},
        {"generator": generator(1), **FAST},
        {"weight_shifts": shifts.listener(1), "generator": generator(2), **FAST, "num_inference_steps": 2},
        {"weight_shifts": shifts, "batch_size": 2, "generator": generator(3), **FAST},
        {"weight_shifts": shifts.listener(1), "batch_size": 2, "generator": [generator(4), generator(5)], **FAST},
    ]

    def hear(stream):
        stream.hear(**{NAMES[name]: values[: stream.batch_size, :60] for name, values in speaker.items()})
        return stream

    streams = [hear(pipeline.stream(**each)) for each in options]
    served = {stream: [] for stream in streams}
    while segments := serve(streams):
        for stream, segment in segments:
            served[stream].append(segment.reactions)
    for seed, (stream, each) in enumerate(zip(streams, options)):
        restarted = [generator(4), generator(5)] if seed == 4 else generator(seed)
        alone = hear(pipeline.stream(**{**each, "generator": restarted}))
        expected = [segment.reactions for segment in alone.segments()]
        assert len(expected) == 2
        assert torch.allclose(torch.cat(served[stream], 2), torch.cat(expected, 2), rtol=0, atol=1e-11)


def test_streams_with_another_scheduler_are_no_part_of_the_batch(make_pipeline, speaker, monkeypatch):
    pipeline = make_pipeline()
    streams = [pipeline.stream(guidance_interval=[0.0, 1.0], **FAST)]
    pipeline.scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    streams.append(pipeline.stream(**FAST))
    for row, stream in enumerate(streams):
        stream.hear(**part(speaker, row, 0, 30))
    batches = count_calls(pipeline, monkeypatch)
    assert [stream for stream, _ in serve(streams)] == streams
    assert batches == 2 * [2 * 2] * FAST["num_inference_steps"]


def test_a_batch_that_fails_loses_nothing(pipeline, speaker, monkeypatch):
    """Two batches: the first is made, the second fails, later everything comes as if nothing had happened."""

    def open_streams():
        # Different numbers of steps keep the streams apart.
        streams = [
            pipeline.stream(generator=generator(row), num_reactions=1, num_inference_steps=2 + row % 2)
            for row in range(3)
        ]
        for row, stream in enumerate(streams):
            stream.hear(**part(speaker, row % 2, 0, 60))
        return streams

    expected = [serve(streams) for streams in [open_streams()] for _ in range(2)]
    for broken in ("react", "decode"):
        streams = open_streams()
        serve(streams)
        with monkeypatch.context() as patch:
            patch.setattr(streams[1].reactor, broken, fail)
            with pytest.raises(MemoryError):
                serve(streams)
        again = serve(streams)
        assert [(streams.index(stream), segment.start) for stream, segment in again] == [(0, 50), (2, 50), (1, 50)]
        for (_, ours), (_, theirs) in zip(again, expected[1], strict=True):
            assert torch.equal(ours.reactions, theirs.reactions)
        assert serve(streams) == []


def fail(*arguments, **options):
    raise MemoryError


def test_a_replaced_denoiser_has_a_batch_of_its_own(make_pipeline, speaker, monkeypatch):
    pipeline = make_pipeline()
    other = make_pipeline(fresh=True).denoiser
    with torch.no_grad():
        other.mapping.weight.mul_(2)
    kept = pipeline.denoiser
    streams, expected = [], []
    for denoiser in (kept, other):
        pipeline.register_modules(denoiser=denoiser)
        stream, alone = (pipeline.stream(generator=generator(3), **FAST) for _ in range(2))
        stream.hear(**part(speaker, 0, 0, 30))
        streams.append(stream)
        expected += alone.push(**part(speaker, 0, 0, 30))
    assert not torch.equal(expected[0].reactions, expected[1].reactions)
    for (_, ours), theirs in zip(serve(streams), expected, strict=True):
        assert torch.equal(ours.reactions, theirs.reactions)


def test_pairs_that_share_a_generator_are_served_apart(pipeline, speaker):
    shared = generator(0)
    streams = [pipeline.stream(batch_size=2, generator=shared, **FAST) for _ in range(2)]
    for stream in streams:
        stream.hear(emotion=speaker["speaker_emotion"][:, :30])
    served = serve(streams)
    assert [stream for stream, _ in served] == streams
    again = generator(0)
    for _, segment in served:
        alone = pipeline.stream(batch_size=2, generator=again, **FAST)
        (expected,) = alone.push(emotion=speaker["speaker_emotion"][:, :30])
        assert torch.equal(segment.reactions, expected.reactions)


def test_a_reset_while_a_window_is_generated_drops_it(pipeline, speaker, monkeypatch):
    stream = pipeline.stream(generator=generator(0), **FAST)
    stream.hear(**part(speaker, 0, 0, 60))
    react = stream.reactor.react

    def interrupted(window):
        stream.reset()
        stream.hear(**part(speaker, 1, 0, 30))
        return react(window)

    with monkeypatch.context() as patch:
        patch.setattr(stream.reactor, "react", interrupted)
        assert serve([stream]) == []
    ((_, segment),) = serve([stream])
    assert segment.start == 0
    assert serve([stream]) == []


def test_a_stream_that_heard_much_is_served_window_by_window(pipeline, speaker):
    streams = [pipeline.stream(**FAST) for _ in range(2)]
    for row, (stream, frames) in enumerate(zip(streams, (110, 60))):
        stream.hear(**part(speaker, row, 0, frames))
    rounds = [[(streams.index(stream), segment.start) for stream, segment in serve(streams)] for _ in range(4)]
    assert rounds == [[(0, 0), (1, 0)], [(0, 50), (1, 50)], [(0, 100)], []]
