"""The pipeline as a whole against the official program: its guided trajectory, its listeners, its silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file
from torch import Tensor

from perfrdiff_hf import PerFRDiffFeatureExtractor, PerFRDiffPipeline
from perfrdiff_hf.conversion.models import convert_emotion_vae, convert_gafrg, convert_pssl, convert_pwsg
from perfrdiff_hf.models.emotion_vae import EmotionVAEEncoderOutput
from perfrdiff_hf.pipelines.sampling import OFFICIAL_SCHEDULER_CONFIG, SamplingSettings, WindowSampler


BRANCHES = ["to_emotion_feat", "decoder.layers.0.multihead_attn", "decoder.layers.1.multihead_attn"]
# Unlike REACT's, so that taking the wrong one shows; halves, so that adding it costs few bits.
MEAN_FACE = np.arange(58) % 7 * 0.5 - 1


@pytest.fixture(scope="module")
def recorded(golden) -> dict[str, dict[str, Tensor]]:
    names = ("denoiser_default", "sampling_default", "rnn_vae", "pssl", "hypernet_shift_all")
    return {name: load_file(golden / f"{name}.safetensors") for name in names}


@pytest.fixture
def official(recorded) -> PerFRDiffPipeline:
    """The official models of the golden files as one pipeline."""

    def state(name: str) -> dict[str, Tensor]:
        return {key.removeprefix("state."): value for key, value in recorded[name].items() if key.startswith("state.")}

    pipeline = PerFRDiffPipeline(
        convert_gafrg(state("denoiser_default"), num_heads=4),
        convert_emotion_vae(state("rnn_vae")),
        DDIMScheduler(**OFFICIAL_SCHEDULER_CONFIG),
        PerFRDiffFeatureExtractor(mean_face=MEAN_FACE.tolist()),
        convert_pssl(state("pssl"), num_heads=4),
        convert_pwsg(state("hypernet_shift_all"), BRANCHES, 4),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def golden_speaker(recorded, official, monkeypatch) -> dict[str, Tensor]:
    """Three speakers of two windows, the first of which are the recorded conditions.

    The recording has the speaker's latent, not the emotion that it came from. So the first channel of the emotion
    says whose latent it is, in quarters, and the encoder is replaced by looking it up.
    """
    tensors = recorded["denoiser_default"]
    latents = tensors["in.speaker_latent_embed"][:, 0]

    def look_up(emotion: Tensor) -> EmotionVAEEncoderOutput:
        numbers = (emotion[:, -1, 0] * 4).round().long()
        hidden = torch.cat([torch.zeros_like(latents[:1]), latents])[numbers].to(emotion)
        return EmotionVAEEncoderOutput(hidden, hidden, hidden)

    monkeypatch.setattr(official.emotion_vae, "encode", look_up)
    emotion = torch.zeros(3, 50, 25)
    emotion[:, :, 0] = torch.tensor([0.25, 0.5, 0.75])[:, None]
    window = {
        "speaker_audio": tensors["in.speaker_audio_encodings"],
        "speaker_emotion": emotion,
        "speaker_coefficients": tensors["in.speaker_3dmm_encodings"].double() + torch.from_numpy(MEAN_FACE),
    }
    # What comes in the second window must not matter to the reactions of the second window.
    return {name: torch.cat([values, values.flip(0)], dim=1) for name, values in window.items()}


def with_noise(monkeypatch: pytest.MonkeyPatch, noise: Tensor) -> None:
    """Let every window begin with the same noise."""

    def drawn(shape: Any, *arguments: Any, **options: Any) -> Tensor:
        assert tuple(shape) == tuple(noise.shape)
        return noise.to(options["dtype"])

    monkeypatch.setattr(torch, "randn", drawn)


@pytest.mark.parametrize(("prefix", "dtype"), [("f32", torch.float32), ("f64", torch.float64)])
def test_a_call_follows_the_official_trajectory(
    official, golden_speaker, recorded, monkeypatch, prefix: str, dtype: torch.dtype
) -> None:
    official.to(dtype)
    expected = recorded["sampling_default"]
    with_noise(monkeypatch, expected["in.noise"][:, None])
    seen: dict[int, dict[str, Tensor]] = {}

    def look(pipeline: Any, step: int, timestep: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        seen[step - 50] = {name: values[:, 0].clone() for name, values in tensors.items()}
        return {}

    output = official(
        **golden_speaker,
        num_reactions=1,
        num_inference_steps=50,
        guidance_scale=7.5,
        callback_on_step_end=look,
        callback_on_step_end_tensor_inputs=("latents", "predictions"),
    )
    compared = 0
    for step, tensors in seen.items():
        clean = tensors["predictions"].clamp(-1, 1)
        for name, values in (("sample_after_step", tensors["latents"]), ("x0_at_step", clean)):
            recording = expected.get(f"{prefix}.{name}_{step}")
            if recording is not None:
                # The last step goes from 0 to 0 and would change nothing, but for the rounding of its constants.
                tolerance = 2e-5 if step < 49 else 2e-4
                assert (values - recording).abs().max() < tolerance, (name, step)
                compared += 1
    assert compared >= 3
    # A trace of noise is left after the last step: where the clean value is 1, the official sample lies up to 0.02
    # beyond it. The pipeline promises reactions within [-1, 1].
    final = expected[f"{prefix}.final"].clamp(-1, 1)
    assert (output.reactions[:, 0, 50:] - final).abs().max() < 2e-4
    # The first window answers silence, and so nothing of this.
    assert (output.reactions[:, 0, :50] - final).abs().max() > 0.1


@torch.no_grad()
def test_the_window_sampler_follows_the_official_trajectory(official, recorded) -> None:
    tensors, expected = recorded["denoiser_default"], recorded["sampling_default"]
    tokens = official.denoiser.encode_condition(
        {
            "audio": tensors["in.speaker_audio_encodings"],
            "coefficients": tensors["in.speaker_3dmm_encodings"],
            "speaker_latent": tensors["in.speaker_latent_embed"][:, 0],
        }
    )
    settings = SamplingSettings(num_reactions=1, num_inference_steps=50, guidance_scale=7.5)
    sampler = WindowSampler(official.denoiser, official.scheduler, settings)
    window = sampler.sample(tokens, expected["in.noise"][:, None])
    assert (window[:, 0] - expected["f32.final"].clamp(-1, 1)).abs().max() < 2e-4


def test_a_listener_is_read_and_applied_as_officially(official, recorded) -> None:
    file = recorded["hypernet_shift_all"]
    history = file["in.clip"].double() + torch.from_numpy(MEAN_FACE)
    shifts = official.personalise(history)
    assert (shifts["mapping"].delta[0] - file["f64.delta.0"]).abs().max() < 1e-5
    for branch in (1, 2):
        packed = [shifts[f"layers.{branch - 1}.cross_attention.to_{part}"].delta[0] for part in "qkv"]
        assert (torch.cat(packed) - file[f"f64.delta.{branch}"]).abs().max() < 1e-5
    # The recorded output belongs to single steps, one of another time for each window.
    tensors = recorded["denoiser_default"]
    tokens = official.denoiser.encode_condition(
        {
            "audio": tensors["in.speaker_audio_encodings"],
            "coefficients": tensors["in.speaker_3dmm_encodings"],
            "speaker_latent": tensors["in.speaker_latent_embed"][:, 0],
        }
    )
    sampler = WindowSampler(official.denoiser, OneStep(), SamplingSettings(1, 1, 7.5), shifts)
    for row in range(3):
        sampler.scheduler.step_to_take = tensors["in.t"][row]
        window = sampler.sample(tokens, tensors["in.x_t"][:, None])
        expected = file["f32.denoiser_after"][row]
        error = (window[row, 0] - expected.clamp(-1, 1)).abs().max()
        assert error < 1e-5 * expected.abs().max().clamp(min=1)


class OneStep:
    """A scheduler of one step at a given time, which takes the prediction for the sample."""

    init_noise_sigma = 1.0
    config: dict[str, Any] = {}

    step_to_take = torch.tensor(0)

    @classmethod
    def from_config(cls, config: Any) -> OneStep:
        return cls()

    @property
    def timesteps(self) -> Tensor:
        return self.step_to_take.reshape(1)

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
        pass

    def scale_model_input(self, sample: Tensor, timestep: Tensor) -> Tensor:
        return sample

    def step(self, predictions: Tensor, timestep: Tensor, sample: Tensor) -> Any:
        class Output:
            prev_sample = predictions

        return Output


def test_the_first_window_answers_zeros(official, monkeypatch) -> None:
    """The official first window has zeros in all conditions: whoever shows the mean face is as silent."""
    torch.manual_seed(3)
    with_noise(monkeypatch, torch.randn(1, 2, 50, 25))
    silence = {
        "speaker_audio": torch.zeros(1, 100, 78),
        "speaker_emotion": torch.zeros(1, 100, 25),
        "speaker_coefficients": torch.from_numpy(MEAN_FACE).expand(1, 100, 58),
    }
    reactions = official(**silence, num_reactions=2, num_inference_steps=4).reactions
    assert torch.equal(reactions[:, :, :50], reactions[:, :, 50:])
    heard = {**silence, "speaker_audio": torch.ones(1, 100, 78)}
    others = official(**heard, num_reactions=2, num_inference_steps=4).reactions
    assert torch.equal(others[:, :, :50], reactions[:, :, :50])
    assert (others[:, :, 50:] - reactions[:, :, 50:]).abs().max() > 1e-3


def test_each_stream_reaches_the_reactions(make_pipeline: Callable[..., PerFRDiffPipeline]) -> None:
    """Each stream reaches the reactions by itself: changing it alone changes them."""
    pipeline = make_pipeline()
    torch.manual_seed(5)
    speaker = {
        "speaker_audio": torch.randn(1, 100, 78),
        "speaker_emotion": torch.rand(1, 100, 25),
        "speaker_coefficients": torch.randn(1, 100, 58),
    }

    def react(streams: dict[str, Tensor]) -> Tensor:
        generator = torch.Generator().manual_seed(7)
        return pipeline(**streams, num_reactions=1, num_inference_steps=3, generator=generator).reactions

    before = react(speaker)
    for name, values in speaker.items():
        after = react({**speaker, name: values.flip(1)})
        assert torch.equal(after[:, :, :50], before[:, :, :50])
        assert (after[:, :, 50:] - before[:, :, 50:]).abs().max() > 1e-3, name


def test_guidance_of_a_listener_is_that_of_the_merged_model(
    make_pipeline: Callable[..., PerFRDiffPipeline], speaker: dict[str, np.ndarray], histories: np.ndarray
) -> None:
    """Both halves of guidance are the listener's own, as in the official program, which writes the shifts down."""
    pipeline = make_pipeline()
    for model in (pipeline.denoiser, pipeline.emotion_vae, pipeline.style_encoder, pipeline.weight_shift_generator):
        model.double()
    shifts = pipeline.personalise(histories[:1])

    def react(**listener: Any) -> Tensor:
        generator = torch.Generator().manual_seed(7)
        options: dict[str, Any] = {"num_reactions": 2, "num_inference_steps": 3, "guidance_scale": 7.5}
        return pipeline(**speaker, **listener, generator=generator, **options).reactions

    personal, generic = react(weight_shifts=shifts), react()
    pipeline.denoiser.fuse_weight_shifts(shifts)
    torch.testing.assert_close(react(), personal, rtol=0, atol=1e-9)
    assert (personal - generic).abs().max() > 1e-3
