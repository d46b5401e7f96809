"""Every scheduler that the pipeline takes, and those that it does not."""

from __future__ import annotations

import diffusers
import pytest
import torch

from perfrdiff_hf.models.gafrg import GAFRGOutput
from perfrdiff_hf.pipelines.sampling import WORKING_SCHEDULERS


OPTIONS = {"num_reactions": 2, "num_inference_steps": 5}


@pytest.fixture
def swapped(make_pipeline):
    pipeline = make_pipeline()

    def with_scheduler(name, **changes):
        pipeline.scheduler = getattr(diffusers, name).from_config(pipeline.scheduler.config, **changes)
        return pipeline

    return with_scheduler


@pytest.mark.parametrize("name", WORKING_SCHEDULERS)
def test_it_ends_at_what_the_denoiser_predicts(swapped, speaker, seeded, monkeypatch, name):
    pipeline = swapped(name)
    level = torch.linspace(-0.9, 0.9, 25)
    guided = []

    def predict(hidden, timestep, *arguments):
        guided.append(len(hidden) == 2 * 2 * OPTIONS["num_reactions"])
        return GAFRGOutput(sample=level.expand_as(hidden))

    monkeypatch.setattr(pipeline.denoiser, "forward", predict)
    reactions = pipeline(**speaker, generator=seeded(), **OPTIONS).reactions
    # The official scheduler, and those like it, leave a trace of noise after the last step.
    assert (reactions - level).abs().max() < 0.05
    assert all(guided)  # Heun's second halves of steps too
    assert len(guided) >= 3 * OPTIONS["num_inference_steps"]


@pytest.mark.parametrize("name", WORKING_SCHEDULERS)
def test_its_reactions_are_reactions(swapped, speaker, seeded, name):
    pipeline = swapped(name)
    generators = [torch.Generator().manual_seed(seed) for seed in (7, 8)]
    reactions = pipeline(**speaker, generator=generators, **OPTIONS).reactions
    assert torch.isfinite(reactions).all()
    assert reactions.abs().max() <= 1
    assert (reactions[:, 0] - reactions[:, 1]).abs().max() > 0.01
    again = [torch.Generator().manual_seed(seed) for seed in (7, 8)]
    assert torch.equal(reactions, pipeline(**speaker, generator=again, **OPTIONS).reactions)


@pytest.mark.parametrize(
    "name",
    ["EulerAncestralDiscreteScheduler", "KDPM2DiscreteScheduler", "PNDMScheduler", "IPNDMScheduler",
     "FlowMatchEulerDiscreteScheduler", "DDIMInverseScheduler"],
)  # fmt: skip
def test_others_are_refused_before_any_work(swapped, speaker, monkeypatch, name):
    pipeline = swapped(name)
    monkeypatch.setattr(pipeline.denoiser, "forward", lambda *_: pytest.fail("began"))
    for use in (pipeline, lambda **options: pipeline.stream()):
        with pytest.raises(ValueError, match=f"scheduler must be one of DDIMScheduler.*given: {name}"):
            use(**speaker, **OPTIONS)


def test_another_kind_of_prediction_is_refused(swapped, speaker):
    with pytest.raises(ValueError, match=r"prediction_type 'sample'.*'epsilon'"):
        swapped("DDIMScheduler", prediction_type="epsilon")(**speaker, **OPTIONS)


def test_a_scheduler_made_from_a_working_one_is_taken(make_pipeline, speaker, seeded):
    class Own(diffusers.DDIMScheduler):
        pass

    pipeline = make_pipeline()
    expected = pipeline(**speaker, generator=seeded(), **OPTIONS).reactions
    pipeline.scheduler = Own.from_config(pipeline.scheduler.config)
    assert torch.equal(pipeline(**speaker, generator=seeded(), **OPTIONS).reactions, expected)
