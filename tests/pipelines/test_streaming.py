from __future__ import annotations

import numpy as np
import pytest
import torch


FAST = {"num_reactions": 2, "num_inference_steps": 2}
NAMES = {"speaker_audio": "audio", "speaker_emotion": "emotion", "speaker_3dmm": "coefficients"}


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
        ({"audio": np.zeros((2, 5, 77)), "emotion": np.zeros((2, 5, 25))}, "speaker_audio"),
        ({"audio": np.full((2, 5, 78), np.nan), "emotion": np.zeros((2, 5, 25))}, "NaN"),
        ({"audio": np.zeros((2, 5, 78)), "emotion": np.zeros((2, 4, 25))}, "same number of frames"),
        ({"audio": np.zeros((2, 5, 78))}, "streams of the first one"),
        ({"audio": np.zeros((1, 5, 78)), "emotion": np.zeros((1, 5, 25))}, "2 speakers"),
    ],
)
def test_stream_is_usable_after_bad_input(pipeline, speaker, seeded, chunk, message):
    speaker.pop("speaker_3dmm")
    undisturbed = pipeline(**speaker, generator=seeded(), **FAST).reactions
    stream = pipeline.stream(batch_size=2, generator=seeded(), **FAST)
    pieces = chunks(speaker, [60, 70])
    segments = stream.push(**next(pieces))
    with pytest.raises(ValueError, match=message):
        stream.push(**chunk)
    segments += stream.push(**next(pieces))
    assert torch.equal(torch.cat([s.reactions for s in segments], 2)[:, :, :130], undisturbed)
