"""Callbacks at the end of steps, in the ways of diffusers."""

from __future__ import annotations

import pytest
import torch
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback


FAST = {"num_reactions": 2, "num_inference_steps": 3}


class Recorder(PipelineCallback):
    """An official callback that looks at predictions and may end the call."""

    tensor_inputs = ["predictions"]

    def __init__(self, stop_at=None):
        super().__init__()
        self.stop_at = stop_at
        self.seen = []

    def callback_fn(self, pipeline, step_index, timesteps, callback_kwargs):
        assert set(callback_kwargs) >= set(self.tensor_inputs)
        self.seen.append(callback_kwargs["predictions"])
        if step_index == self.stop_at:
            pipeline._interrupt = True
        return callback_kwargs


class Latents(Recorder):
    tensor_inputs = ["latents", "predictions"]


def test_official_callbacks_say_what_they_get(pipeline, speaker, seeded):
    expected = pipeline(**speaker, generator=seeded(), **FAST).reactions
    both = [Recorder(), Latents()]
    output = pipeline(**speaker, generator=seeded(), callback_on_step_end=MultiPipelineCallbacks(both), **FAST)
    assert torch.equal(output.reactions, expected)
    assert [len(one.seen) for one in both] == [9, 9]
    alone = Recorder()
    pipeline(**speaker, generator=seeded(), callback_on_step_end=alone, **FAST)
    assert all(torch.equal(a, b) for a, b in zip(alone.seen, both[0].seen, strict=True))


def test_an_interrupted_call_ends_with_its_window(pipeline, speaker, seeded):
    expected = pipeline(**speaker, generator=seeded(), **FAST).reactions
    recorder = Recorder(stop_at=4)  # the second step of the second window
    output = pipeline(**speaker, generator=seeded(), callback_on_step_end=recorder, **FAST)
    assert pipeline.interrupt
    assert len(recorder.seen) == 5
    assert output.reactions.shape == (2, 2, 100, 25)
    assert output.coefficients.shape == (2, 2, 100, 58)
    assert torch.equal(output.reactions[:, :, :50], expected[:, :, :50])
    # What was known of the clean window then.
    assert torch.equal(output.reactions[:, :, 50:], recorder.seen[4].clamp(-1, 1))
    # The next call is not interrupted, and neither was any stream.
    assert torch.equal(pipeline(**speaker, generator=seeded(), **FAST).reactions, expected)
    assert not pipeline.interrupt


def test_what_cannot_be_changed_is_not_dropped_in_silence(pipeline, speaker):
    def change(pipeline, step, timestep, tensors):
        return {"predictions": tensors["predictions"] + 1}

    with pytest.raises(ValueError, match=r"may change latents only.*predictions"):
        pipeline(**speaker, callback_on_step_end=change, callback_on_step_end_tensor_inputs=["predictions"], **FAST)
    with pytest.raises(ValueError, match="may change latents only"):
        pipeline(**speaker, callback_on_step_end=lambda *_: {"prompt_embeds": None}, **FAST)


def test_latents_can_be_changed(pipeline, speaker, seeded):
    def change(pipeline, step, timestep, tensors):
        return {"latents": torch.full_like(tensors["latents"], 0.25)}

    reactions = pipeline(**speaker, generator=seeded(), callback_on_step_end=change, **FAST).reactions
    assert torch.equal(reactions, torch.full_like(reactions, 0.25))
