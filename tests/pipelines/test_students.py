"""Students: an ordinary pipeline that refuses what it was not trained for, and takes its teacher's listeners."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, LCMScheduler, UniPCMultistepScheduler

from perfrdiff_hf import PerFRDiffPipeline
from perfrdiff_hf.models.lora import lora_state_dict
from perfrdiff_hf.pipelines.sampling import join_held, join_shown
from perfrdiff_hf.pipelines.students import student_sampling


STEPS = 4


@pytest.fixture
def teacher(make_pipeline) -> PerFRDiffPipeline:
    return make_pipeline(in_channels=83, max_shown_frames=5)


@pytest.fixture
def student(make_pipeline, teacher) -> PerFRDiffPipeline:
    """As training leaves one: other weights than its teacher's, and its teacher's digests."""
    edited = teacher.weight_shift_generator.config.edited_layers
    distilled = {"num_inference_steps": STEPS, "guidance_scale": 3.0, "guidance_scales": [1.0, 5.0]}
    distilled["weight_digests"] = teacher.denoiser.weight_digests(edited)
    pipeline = make_pipeline(
        in_channels=83, max_shown_frames=5, distilled=distilled, sampling={"num_reactions": 2, "guidance_scale": 3.0}
    )
    pipeline.register_modules(
        **{name: teacher.components[name] for name in ("style_encoder", "weight_shift_generator")}
    )
    with torch.no_grad():
        for values in pipeline.denoiser.parameters():
            values.add_(0.02 * torch.randn(values.shape, generator=torch.Generator().manual_seed(5)))
    return pipeline


def test_it_is_sampled_as_it_was_trained_unless_told_otherwise(student, speaker, histories, seeded, tmp_path):
    assert student.sampling == {"num_reactions": 2, "num_inference_steps": STEPS, "guidance_scale": 3.0}
    whole = student(**speaker, listener_history=histories, generator=seeded()).reactions
    assert whole.shape == (2, 2, 130, 25)
    binary = student_sampling({"binarise_action_units": True}, STEPS)
    assert binary["smooth_action_units"]  # what does not become 0 or 1 does not flicker either
    explicit = {"num_inference_steps": STEPS, "guidance_scale": 3.0}
    assert torch.equal(student(**speaker, listener_history=histories, generator=seeded(), **explicit).reactions, whole)
    student.save_pretrained(tmp_path)
    loaded = PerFRDiffPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    assert loaded.sampling == student.sampling
    assert dict(loaded.denoiser.config.distilled) == dict(student.denoiser.config.distilled)
    assert torch.equal(loaded(**speaker, listener_history=histories, generator=seeded()).reactions, whole)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"num_inference_steps": 10},
            "num_inference_steps must be 4: this model was distilled .*; given: 10",
        ),
        ({"guidance_scale": 0.5}, "guidance_scale must lie between 1 and 5: .* distilled for these; given: 0.5"),
        ({"guidance_scale": 7.5}, "guidance_scale must lie between 1 and 5: .* distilled for these; given: 7.5"),
        ({"guidance_interval": (0.0, 0.5)}, r"guidance_interval must be left out: .* given: \(0.0, 0.5\)"),
        ({"eta": 0.5}, "eta must be 0: a distilled model takes no noise between steps; given: 0.5"),
    ],
)
def test_what_it_was_not_trained_for_is_refused(student, speaker, settings, message):
    with pytest.raises(ValueError, match=message):
        student(**speaker, **settings)
    with pytest.raises(ValueError, match=message):
        student.stream(**settings)


@torch.no_grad()
def test_guidance_is_an_input_that_costs_no_second_pass(student, speaker, histories, seeded, monkeypatch):
    torch.nn.init.normal_(student.denoiser.time_embedding.cond_proj.weight)
    rows, denoise = [], student.denoiser.forward

    def watched(hidden_states, *arguments, **options):
        rows.append(len(hidden_states))
        return denoise(hidden_states, *arguments, **options)

    monkeypatch.setattr(student.denoiser, "forward", watched)
    told = {"listener_history": histories, "num_reactions": 2}
    first, second = (
        student(**speaker, **told, generator=seeded(), guidance_scale=scale).reactions for scale in (1.0, 5.0)
    )
    assert set(rows) == {4}  # two speakers, two reactions each
    assert not torch.allclose(first, second, atol=1e-3)


@torch.no_grad()
def test_each_condition_has_its_own_guidance(student, teacher):
    random = torch.Generator().manual_seed(2)
    tokens, noisy = torch.randn(2, 101, 32, generator=random), torch.randn(4, 50, 83, generator=random)
    step = student.denoiser
    both = step(noisy, 300, step.cache_condition(tokens, guidance_scale=torch.tensor([1.0, 4.0]))).sample
    for row, scale in ((0, 1.0), (1, 4.0)):
        alone = step(
            noisy[2 * row : 2 * row + 2], 300, step.cache_condition(tokens[row : row + 1], None, scale)
        ).sample
        torch.testing.assert_close(both[2 * row : 2 * row + 2], alone)
    usual = step(noisy, 300, tokens).sample
    torch.testing.assert_close(usual, step(noisy, 300, step.cache_condition(tokens, None, 3.0)).sample)
    with pytest.raises(ValueError, match="guidance_scale is an input of students alone"):
        teacher.denoiser.cache_condition(tokens, None, 3.0)


@pytest.mark.parametrize("kind", [LCMScheduler, UniPCMultistepScheduler, DDIMScheduler])
def test_another_scheduler_is_refused(student, speaker, kind):
    config = {**student.scheduler.config, "timestep_spacing": "leading"}
    student.scheduler = kind.from_config(config)
    with pytest.raises(
        ValueError, match=f"scheduler must be a DDIMScheduler .* given: {kind.__name__} with 'leading'"
    ):
        student(**speaker)


def test_listeners_belong_to_teacher_and_student_alike(teacher, student, make_pipeline, histories, speaker, tmp_path):
    teacher.personalise(histories[:1]).save_pretrained(tmp_path / "alice")
    student.personalise(histories[:1]).save_pretrained(tmp_path / "again")
    options = {"num_inference_steps": STEPS, "num_reactions": 1}
    noise = torch.Generator().manual_seed
    for name in ("alice", "again"):
        assert teacher(**speaker, weight_shifts=teacher.load_listener(tmp_path / name), **options).reactions.numel()
    alice, again = (student.load_listener(tmp_path / name) for name in ("alice", "again"))
    first = student(**speaker, weight_shifts=alice, generator=noise(3)).reactions
    assert torch.equal(first, student(**speaker, weight_shifts=again, generator=noise(3)).reactions)
    assert not torch.allclose(first, student(**speaker, generator=noise(3)).reactions, atol=1e-3)
    stranger = make_pipeline(in_channels=83, max_shown_frames=5)
    with torch.no_grad():
        stranger.denoiser.mapping.weight.add_(0.01)
    stranger.personalise(histories[:1]).save_pretrained(tmp_path / "stranger")
    with pytest.raises(ValueError, match="made for another generator"):
        student.load_listener(tmp_path / "stranger")


@torch.no_grad()
def test_a_listener_fused_or_exported_reacts_as_shifted(student, speaker, histories, seeded):
    alice = student.personalise(histories[:1])
    shifted = student(**speaker, weight_shifts=alice, generator=seeded()).reactions
    student.denoiser.fuse_weight_shifts(alice)
    assert torch.allclose(student(**speaker, generator=seeded()).reactions, shifted, atol=1e-4)
    student.denoiser.unfuse_weight_shifts()
    student.denoiser.load_lora_adapter(lora_state_dict(alice), prefix=None, adapter_name="alice")
    assert torch.allclose(student(**speaker, generator=seeded()).reactions, shifted, atol=1e-4)


def test_one_evaluation_gives_what_it_predicts(make_pipeline, speaker, seeded, monkeypatch):
    distilled = {"num_inference_steps": 1, "guidance_scale": 2.0, "guidance_scales": [1, 3]}
    pipeline = make_pipeline(distilled=distilled, sampling={"guidance_scale": 2.0})
    given, denoise = [], pipeline.denoiser.forward

    def watched(*arguments, **options):
        given.append(denoise(*arguments, **options))
        return given[-1]

    monkeypatch.setattr(pipeline.denoiser, "forward", watched)
    reactions = pipeline(**speaker, num_reactions=1, generator=seeded()).reactions
    assert len(given) == 3  # windows
    torch.testing.assert_close(reactions[:, 0, :50], given[0].sample.clamp(-1, 1), atol=0.05, rtol=0)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_rows_with_frames_of_their_own_are_joined_as_windows_are(count):
    random = torch.Generator().manual_seed(1)
    predictions, shown = torch.randn(2, 3, 12, 4, generator=random)
    joined = join_shown(predictions, shown, torch.tensor([count, 0, 3]))
    expected = predictions
    if count:
        expected = join_held(predictions[:, None], shown[:, None, :count], meets=count, fade_frames=2)[:, 0]
    torch.testing.assert_close(joined[0], expected[0])
    assert torch.equal(joined[1], predictions[1])
    assert torch.equal(joined[2, :3], shown[2, :3]) and not torch.equal(joined[2, 3:], predictions[2, 3:])
