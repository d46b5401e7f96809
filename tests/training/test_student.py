"""A student is taught where its teacher's sampler goes, with listeners and without; and the whole of its training."""

from __future__ import annotations

import copy
import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from perfrdiff_hf import PerFRDiffPipeline
from perfrdiff_hf.baselines import get_system
from perfrdiff_hf.pipelines.sampling import SamplingSettings, WindowSampler
from perfrdiff_hf.training.config import load_config
from perfrdiff_hf.training.config_file import build
from perfrdiff_hf.training.run import TrainingConfig, TrainingJob, run_training
from perfrdiff_hf.training.stages.distillation import (
    Distillation,
    StudentObjective,
    student_scheduler,
    teacher_scheduler,
)
from perfrdiff_hf.training.stages.student_denoiser import StudentDenoiserStage


DISTIL = Path(__file__).resolve().parents[2] / "examples" / "distill.py"
ROWS, SHOWN = 3, 2


@pytest.fixture
def settings() -> dict[str, Any]:
    values = load_config("demo").to_dict()
    sizes = {"hidden_size": 16, "num_layers": 2, "num_heads": 2, "feed_forward_size": 16}
    values["models"]["denoiser"] |= sizes
    values["models"]["emotion_vae"] = {"hidden_size": 16, "latent_size": 8, "decoder_sizes": [16]}
    values["models"]["style_encoder"] |= {"hidden_size": 16, "num_hidden_layers": 1, "style_size": 8}
    values["models"]["weight_shift_generator"]["edited"]["layers"] = [0, 1]
    values["models"]["sampling"] |= {"guidance_interval": [0, 0.5], "guidance_scale": 2.0}
    values["data"] |= {"history_frames": 60, "style_frames": 40, "style_speakers": 2, "style_clips": 2}
    for stage in values["stages"].values():
        stage |= {"max_steps": 2, "batch_size": 2, "warmup_steps": 0}
    values["stages"]["student_denoiser"] = {"max_steps": 3, "batch_size": 2, "learning_rate": 1e-3}
    values["models"]["student_denoiser"] = {"num_inference_steps": 2, "teacher_steps": 4}
    values["run"] = {"validation_examples": 2, "validation_clips": 1, "validation_reactions": 1, "report_to": None}
    return {**values, "system": "student"}


def objective(pipeline: PerFRDiffPipeline, settings: dict[str, Any], **told: Any) -> StudentObjective:
    recipe = build(TrainingConfig, copy.deepcopy(settings))
    recipe.models["student_denoiser"] = {"num_inference_steps": 2, "teacher_steps": 4, **told}
    recipe.models["denoiser"] = {}
    parts = {name: pipeline.components[name] for name in StudentDenoiserStage.needs}
    stage = StudentDenoiserStage()
    return stage.objective(stage.new_model(recipe, parts), parts, pipeline.feature_extractor, recipe)


@pytest.fixture
def pipeline(make_pipeline: Any) -> PerFRDiffPipeline:
    return make_pipeline(in_channels=83, max_shown_frames=5, standardised=True)


@pytest.fixture
def batch(pipeline: PerFRDiffPipeline) -> dict[str, Tensor]:
    """Three windows; the second is generic, the third has other shown frames than the others."""
    random = torch.Generator().manual_seed(3)

    def some(*shape: int) -> Tensor:
        return 0.3 * torch.randn(ROWS, *shape, generator=random)

    kinds = len(pipeline.denoiser.condition_widths)
    return {
        "reactions": some(1, 50, 83),
        "noise": some(1, 50, 83) / 0.3,
        "speaker_audio": some(50, 78),
        "speaker_emotion": some(50, 25),
        "speaker_coefficients": some(50, 58),
        "history": some(60, 58),
        "timestep": torch.zeros(ROWS, dtype=torch.long),
        "dropped": torch.zeros(ROWS, kinds, dtype=torch.bool),
        "generic": torch.tensor([False, True, False]),
        "guidance_scale": torch.tensor([2.0, 3.0, 1.0]),
        "shown_frames": torch.tensor([SHOWN, SHOWN, 0]),
    }


@torch.no_grad()
def test_its_teacher_goes_where_the_sampler_goes(pipeline, settings, batch):
    objective_ = objective(pipeline, settings)
    shown, counts = objective_.shown(batch)
    shifts = objective_.shifts(batch)
    states = objective_.teacher_states(batch, shown, counts, shifts)
    assert states.shape == (ROWS, 3, 50, 83) and torch.equal(states[:, 0], batch["noise"][:, 0])
    denoiser, tokens = pipeline.denoiser, objective_.encode(pipeline.denoiser, batch)
    seen: list[Tensor] = []
    for row, scale in enumerate(batch["guidance_scale"].tolist()):
        seen.clear()
        sampling = SamplingSettings(1, 4, scale, (0.0, 0.5))
        count = int(counts[row])
        held = denoiser.from_scores(shown[row, :count])[None, None] if count else None
        sampler = WindowSampler(
            denoiser, objective_.teacher_scheduler, sampling, None if row == 1 else shifts.listener(row),
            on_step_end=lambda step, timestep, tensors: seen.append(tensors["latents"]) or {},
        )  # fmt: skip
        sampler.sample(tokens[row : row + 1], batch["noise"][row : row + 1], held)
        for place, latents in ((1, seen[1]), (2, seen[3])):
            torch.testing.assert_close(states[row, place, count:], latents[0, 0, count:], atol=1e-4, rtol=0)


@torch.no_grad()
def test_its_teacher_goes_where_endless_steps_would_and_stops_where_students_do(pipeline, settings, batch):
    """With few steps of UniPC nearer than with as many of DDIM, which with many ends there, too."""
    few, many = (objective(pipeline, settings, num_inference_steps=1, teacher_steps=steps) for steps in (10, 200))
    many.teacher_scheduler = many.scheduler
    ends = {"many": many, "few": few}
    shown, counts = few.shown(batch)
    found = {name: one.teacher_states(batch, shown, counts, one.shifts(batch))[:, -1] for name, one in ends.items()}
    few.teacher_scheduler = few.scheduler
    found["few of DDIM"] = few.teacher_states(batch, shown, counts, few.shifts(batch))[:, -1]
    errors = {name: (end - found["many"]).square().mean().item() for name, end in found.items()}
    assert errors["few"] < 0.8 * errors["few of DDIM"]
    solver = teacher_scheduler(few.scheduler)
    for scheduler in (few.scheduler, solver):
        scheduler.set_timesteps(20)
    assert torch.equal(few.scheduler.timesteps, solver.timesteps)


@torch.no_grad()
def test_what_its_teacher_predicts_is_clipped_where_its_sampler_clips(pipeline, settings, batch):
    settings["models"]["scheduler"] = {"clip_sample": True, "clip_sample_range": 0.05}
    objective_ = objective(pipeline, settings)
    shown, counts = objective_.shown(batch)
    states = objective_.teacher_states(batch, shown, counts, objective_.shifts(batch))
    assert states[:, -1].abs().max() <= 0.05 + 1e-6 < states[:, 1].abs().max()


@torch.no_grad()
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_its_targets_lead_from_where_the_teacher_was_to_where_it_goes(pipeline, settings, batch, steps):
    objective_ = objective(pipeline, settings, num_inference_steps=steps)
    shown, counts = objective_.shown(batch)
    states = objective_.teacher_states(batch, shown, counts, objective_.shifts(batch))
    targets, scheduler = objective_.targets(states), objective_.scheduler
    timesteps = objective_.timesteps
    assert targets.shape == (ROWS, steps, 50, 83) and len(timesteps) == steps
    for place, timestep in enumerate(timesteps):
        landed = scheduler.step(targets[:, place], timestep, states[:, place]).prev_sample
        torch.testing.assert_close(landed, states[:, place + 1], atol=1e-4, rtol=0)


@torch.no_grad()
def test_it_begins_as_its_teacher_whatever_guidance_it_is_asked_for(pipeline, settings, batch):
    objective_ = objective(pipeline, settings)
    teacher, student = pipeline.denoiser, objective_.trained.eval()
    tokens, noisy = objective_.encode(teacher, batch), batch["noise"][:, 0]
    cache = student.cache_condition(tokens, guidance_scale=batch["guidance_scale"])
    assert torch.equal(student(noisy, 500, cache).sample, teacher(noisy, 500, tokens).sample)


@torch.no_grad()
def test_half_of_the_windows_are_taught_the_usual_guidance(pipeline, settings):
    stage, recipe = StudentDenoiserStage(), build(TrainingConfig, copy.deepcopy(settings))
    draws, random = stage.draws(recipe, objective(pipeline, settings)), torch.Generator().manual_seed(0)
    example = {"reactions": torch.zeros(1, 50, 83)}
    scales = torch.stack([draws(example, random)["guidance_scale"] for _ in range(2000)])
    usual = scales == 2.0
    assert 0.45 < usual.float().mean() < 0.55
    others = scales[~usual]
    assert 1.0 <= others.min() < 1.05 and 2.95 < others.max() <= 3.0 and abs(others.mean() - 2.0) < 0.1


def test_it_learns_and_its_teacher_does_not(pipeline, settings, batch):
    objective_ = objective(pipeline, settings).train()
    teacher = copy.deepcopy(pipeline.denoiser.state_dict())
    optimizer = torch.optim.Adam(objective_.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        torch.manual_seed(0)
        loss = objective_(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    assert objective_.trained.time_embedding.cond_proj.weight.abs().max() > 1e-3  # it begins as nothing
    assert all(torch.equal(values, teacher[name]) for name, values in pipeline.denoiser.state_dict().items())
    assert all(part.training is False for part in objective_.frozen.values())


@torch.no_grad()
def test_listeners_and_shown_frames_count_where_they_are(pipeline, settings, batch):
    objective_ = objective(pipeline, settings).eval()
    shifts = objective_.shifts(batch)
    size = sum(shift.weight_change(None).abs().amax(dim=(1, 2)) for shift in shifts.values())
    assert size[1] == 0 and size[0] > 0 and size[2] > 0
    loss = objective_(batch)["loss"]
    changed = {name: values.clone() for name, values in batch.items()}
    changed["history"][1] += torch.randn(60, 58)
    changed["reactions"][:2, :, SHOWN:] += 1.0  # nothing but shown frames is read of recorded reactions
    changed["reactions"][2] += 1.0
    torch.testing.assert_close(objective_(changed)["loss"], loss)
    changed["reactions"][0, :, :SHOWN] += 1.0
    assert not torch.allclose(objective_(changed)["loss"], loss)


def test_the_whole_training_leaves_a_pipeline_that_teaches_no_other(settings, small_world, tmp_path, capsys):
    cache = small_world.parent / "cache"
    run_training(TrainingJob("all", build(TrainingConfig, settings), small_world, tmp_path / "run", cache))
    student = PerFRDiffPipeline.from_pretrained(str(tmp_path / "run" / "model"))
    assert student.sampling["num_inference_steps"] == 2 and student.sampling["guidance_scale"] == 2.0
    assert student.denoiser.config.distilled["guidance_scales"] == [1.0, 3.0]
    assert student.is_personal and student.scheduler.config.timestep_spacing == "trailing"
    parts = {stage.name: stage.model for stage in get_system("student").stages}
    loaded = {name: kind.from_pretrained(str(tmp_path / "run" / name)) for name, kind in parts.items()}
    edited = loaded["weight_shift_generator"].config.edited_layers
    assert student.denoiser.weight_digests(edited) == loaded["denoiser"].weight_digests(edited)
    assert not torch.equal(student.denoiser.mapping.weight, loaded["denoiser"].mapping.weight)

    loaded.pop("student_denoiser")
    teacher = get_system("perfrdiff").assemble(loaded, student.feature_extractor, build(TrainingConfig, settings))
    teacher.save_pretrained(str(tmp_path / "teacher"))
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({n: v for n, v in settings.items() if n != "system"}))
    distil = runpy.run_path(str(DISTIL))["main"]
    words = ["--config", str(tmp_path / "tiny.yaml"), "--data_dir", str(small_world), "--cache_dir", str(cache)]
    words += ["--steps", "1", "--teacher_steps", "4", "--output_dir", str(tmp_path / "one")]
    words += ["--stages.student_denoiser.max_steps=2", "--stages.student_denoiser.batch_size=2"]
    assert distil(["--teacher", str(tmp_path / "teacher"), *words]) == 0
    one = PerFRDiffPipeline.from_pretrained(str(tmp_path / "one" / "model"))
    assert one.sampling == {**student.sampling, "num_inference_steps": 1}
    report = json.loads((tmp_path / "one" / "student_denoiser" / "training.json").read_text())
    assert report["settings"]["models"]["sampling"]["guidance_interval"] == [0, 0.5]
    assert set(report["settings"]["inputs"]) == {"data", *StudentDenoiserStage.needs}
    capsys.readouterr()
    assert distil(["--teacher", str(tmp_path / "one" / "model"), *words]) == 1
    assert "of another teacher than" in capsys.readouterr().err
    words[words.index(str(tmp_path / "one"))] = str(tmp_path / "two")
    assert distil(["--teacher", str(tmp_path / "one" / "model"), *words]) == 1
    assert "The teacher is a student itself" in capsys.readouterr().err
    assert distil(["--teacher", str(tmp_path), *words]) == 1
    assert "holds no pipeline" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"num_inference_steps": 3}, r"teacher_steps must be a multiple of num_inference_steps \(3\); given: 20"),
        ({"teacher_steps": 0}, "teacher_steps must be at least 1"),
        ({"generic": 1.5}, r"generic must lie in \[0, 1\]; given: 1.5"),
        ({"guidance_reach": 0.5}, "guidance_reach must be at least 1; given: 0.5"),
    ],
)
def test_impossible_distillations_are_refused(told, message):
    with pytest.raises(ValueError, match=message):
        Distillation(**told)


def test_a_teacher_that_does_not_fit_is_refused(make_pipeline, settings):
    stage, recipe = StudentDenoiserStage(), build(TrainingConfig, settings)
    parts = {name: make_pipeline().components[name] for name in stage.needs}
    with pytest.raises(ValueError, match="does not fit the configuration: its denoiser has hidden_size 32, and"):
        stage.new_model(recipe, parts)
    recipe.models["denoiser"] = {}
    recipe.models["student_denoiser"]["teacher_steps"] = 6
    with pytest.raises(ValueError, match="teacher_steps must divide 1000 time steps; given: 6"):
        stage.new_model(recipe, parts)
    assert student_scheduler(recipe).config.timestep_spacing == "trailing"
    parts["weight_shift_generator"].config.shift_mode = "weight"
    with pytest.raises(ValueError, match="shifts replace its weights"):
        stage.new_model(recipe, parts)
