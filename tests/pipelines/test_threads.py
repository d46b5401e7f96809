"""One thread hears, another serves: the reactions are those of the full-clip call, to the last bit.

PERFRDIFF_THREAD_SECONDS says how long the sessions last; the default keeps the test short.
"""

from __future__ import annotations

import os
import threading
import time

import numpy as np
import pytest
import torch

from perfrdiff_hf import serve
from perfrdiff_hf.behaviour import MEAN_FACE
from perfrdiff_hf.data.audio import mfcc_features


SECONDS = float(os.environ.get("PERFRDIFF_THREAD_SECONDS", "1.5"))
FAST = {"num_reactions": 1, "num_inference_steps": 2, "guidance_scale": 2.0}
SESSION = {"audio": 0, "emotion": 0, "coefficients": 0}
FRAMES = 400
RATE = 8000


def behaviour(random):
    """A whole session, as the stream will hear it: raw sound, its features, and a face."""
    samples = random.uniform(-0.5, 0.5, (1, FRAMES * RATE // 25)).astype(np.float32)
    coefficients = MEAN_FACE + 0.1 * random.standard_normal((1, FRAMES, 58))
    return {
        "samples": samples,
        "audio": mfcc_features(samples[0], RATE, FRAMES)[None],
        "emotion": random.uniform(0, 1, (1, FRAMES, 25)).astype(np.float32),
        "coefficients": coefficients.astype(np.float32),
    }


def say(stream, whole, random, raw):
    """Hear everything in random pieces, each stream of behaviour at its own pace."""
    names = ("samples" if raw else "audio", "emotion", "coefficients")
    place = dict.fromkeys(names, 0)
    while left := [name for name in names if place[name] < whole[name].shape[1]]:
        name = min(left, key=lambda n: place[n] / whole[n].shape[1] + random.uniform(0, 0.05))
        per_frame = RATE // 25 if name == "samples" else 1
        stop = place[name] + int(random.integers(1, 40 * per_frame))
        stream.hear(**{name: whole[name][:, place[name] : stop]})
        place[name] = stop
        time.sleep(float(random.choice([0, 0, 0.001])))


def in_a_thread(function, *arguments):
    failures = []

    def run():
        try:
            function(*arguments)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, failures


@pytest.mark.parametrize("raw", [False, True])
def test_one_hears_and_one_serves(pipeline, raw):
    random = np.random.default_rng(5)
    end = time.monotonic() + SECONDS
    sessions = 0
    while not sessions or time.monotonic() < end:
        hop = int(random.choice([50, 45]))
        whole = [behaviour(random) for _ in range(2)]
        streams = [
            pipeline.stream(
                generator=torch.Generator().manual_seed(row),
                streams=SESSION,
                sampling_rate=RATE,
                hop=hop,
                **FAST,
            )
            for row in range(2)
        ]
        threads = [
            in_a_thread(say, stream, one, np.random.default_rng(int(random.integers(2**31))), raw)
            for stream, one in zip(streams, whole)
        ]
        served = {stream: [] for stream in streams}
        while any(thread.is_alive() for thread, _ in threads) or any(stream.is_due for stream in streams):
            for stream in streams:  # one by one, so that rounding is that of the call
                for _, segment in serve([stream]):
                    served[stream].append(segment)
        for thread, failures in threads:
            thread.join()
            assert not failures
        for row, (stream, one) in enumerate(zip(streams, whole)):
            expected = pipeline(
                *(one[name] for name in SESSION), generator=torch.Generator().manual_seed(row), hop=hop, **FAST
            )
            assert stream.frames_heard == FRAMES
            for name in ("reactions", "coefficients"):
                ours = torch.cat([getattr(segment, name) for segment in served[stream]], dim=2)
                assert torch.equal(ours[:, :, :FRAMES], getattr(expected, name))
        sessions += 1


def test_two_threads_that_push_generate_every_window_once(pipeline):
    random = np.random.default_rng(6)
    whole = behaviour(random)
    stream = pipeline.stream(generator=torch.Generator().manual_seed(0), streams=("audio", "emotion"), **FAST)
    segments = []

    def push(name):
        for start in range(0, FRAMES, 20):
            segments.extend(stream.push(**{name: whole[name][:, start : start + 20]}))

    for thread, failures in [in_a_thread(push, name) for name in ("audio", "emotion")]:
        thread.join()
        assert not failures
    segments.sort(key=lambda segment: segment.start)
    expected = pipeline(whole["audio"], whole["emotion"], generator=torch.Generator().manual_seed(0), **FAST)
    assert torch.equal(torch.cat([s.reactions for s in segments], 2)[:, :, :FRAMES], expected.reactions)


def test_a_window_in_work_keeps_nobody_from_hearing(pipeline, monkeypatch):
    whole = behaviour(np.random.default_rng(7))
    stream = pipeline.stream(generator=torch.Generator().manual_seed(0), **FAST)
    stream.hear(emotion=whole["emotion"][:, :30])
    react, working, heard = stream.reactor.react, threading.Event(), threading.Event()

    def slow(window):
        working.set()
        assert heard.wait(10)
        return react(window)

    monkeypatch.setattr(stream.reactor, "react", slow)
    segments = []
    thread, failures = in_a_thread(lambda: segments.extend(serve([stream])))
    assert working.wait(10)
    stream.hear(emotion=whole["emotion"][:, 30:40])
    assert serve([stream]) == []  # the other thread has the turn
    heard.set()
    thread.join()
    assert not failures
    assert len(segments) == 1
    assert stream.frames_heard == 40
