"""The authors' folder to a pipeline folder: the whole way at a small size, and every refusal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from perfrdiff_hf.cli import main
from perfrdiff_hf.conversion import folder as conversion_folder
from perfrdiff_hf.conversion.folder import OfficialSettings, convert_checkpoint_folder
from perfrdiff_hf.conversion.models import convert_gafrg, convert_pssl, convert_pwsg
from perfrdiff_hf.models.pwsg import PWSGModel
from perfrdiff_hf.pipelines.perfrdiff import PerFRDiffPipeline
from tests.official_modules import OfficialDenoiser, OfficialEmotionVAE, OfficialHypernetwork, OfficialStyleEncoder


WIDTH = 12
EDITED_LAYERS = ("to_emotion_feat", "decoder.layers.0.multihead_attn", "decoder.layers.1.multihead_attn")
SETTINGS = OfficialSettings(num_heads=2, edited_layers=EDITED_LAYERS)
DENOISER = "diffusion_model/TransformerDenoiser"
PERSONAL_DENOISER = "rewrite_weight/TransformerDenoiser"
HYPERNETWORK = "rewrite_weight/ModifierNetwork"


def save(folder: Path, part: str, module: nn.Module) -> None:
    """Write a checkpoint as the official program does, with the state of its optimiser."""
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    (folder / part).mkdir(parents=True, exist_ok=True)
    checkpoint = {"state_dict": module.state_dict(), "optimizer": optimiser.state_dict()}
    torch.save(checkpoint, folder / part / "checkpoint.pth")


@pytest.fixture
def checkpoints(tmp_path) -> Path:
    """A small folder in the authors' layout."""
    folder = tmp_path / "checkpoints"
    torch.manual_seed(1)
    denoiser = OfficialDenoiser(positions=120)
    save(folder, DENOISER, denoiser)
    save(folder, PERSONAL_DENOISER, denoiser)
    save(folder, "embedder_latent", OfficialEmotionVAE())
    save(folder, "person_specific", OfficialStyleEncoder())
    save(folder, HYPERNETWORK, OfficialHypernetwork([25 * WIDTH, 3 * WIDTH**2, 3 * WIDTH**2]))
    return folder


def state(checkpoints: Path, part: str) -> dict:
    return torch.load(checkpoints / part / "checkpoint.pth", weights_only=True)["state_dict"]


def nothing_written(folder: Path) -> bool:
    """Nothing but the checkpoints lies in the folder."""
    return sorted(entry.name for entry in folder.iterdir()) == ["checkpoints"]


def react(pipeline: PerFRDiffPipeline, history):
    inputs = torch.Generator().manual_seed(3)
    return pipeline(
        speaker_audio=torch.randn(1, 100, 78, generator=inputs),
        speaker_emotion=torch.rand(1, 100, 25, generator=inputs),
        speaker_coefficients=torch.randn(1, 100, 58, generator=inputs),
        listener_history=history,
        num_reactions=2,
        num_inference_steps=3,
        generator=torch.Generator().manual_seed(4),
    ).reactions


def test_the_command_writes_a_folder_that_from_pretrained_loads(checkpoints, capsys):
    output = checkpoints.parent / "pipeline"
    options = ("--checkpoints", checkpoints, "--output", output, "--num-heads", 2, "--edited-layers", *EDITED_LAYERS)
    assert main(["convert", *map(str, options), "--low-rank", "3"]) == 0
    printed = capsys.readouterr().out
    assert "weight_shift_generator" in printed and "loses" in printed and "rewrite_weight" in printed

    pipeline = PerFRDiffPipeline.from_pretrained(str(output))
    for component, model in {
        "denoiser": convert_gafrg(state(checkpoints, DENOISER), 2),
        "style_encoder": convert_pssl(state(checkpoints, "person_specific"), 2),
        "weight_shift_generator": convert_pwsg(state(checkpoints, HYPERNETWORK), EDITED_LAYERS, 2),
    }.items():
        loaded = getattr(pipeline, component).state_dict()
        assert loaded.keys() == model.state_dict().keys()
        assert all(torch.equal(loaded[name], value) for name, value in model.state_dict().items()), component
    history = torch.randn(1, 60, 58)
    personal = react(pipeline, history)
    assert personal.shape == (1, 2, 100, 25)
    assert (personal - react(pipeline, None)).abs().max() > 1e-3

    low_rank = PWSGModel.from_pretrained(str(output), subfolder="weight_shift_generator_rank3")
    assert low_rank.config.rank == 3
    pipeline.register_modules(weight_shift_generator=low_rank)
    assert react(pipeline, history).isfinite().all()
    card = (output / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\n") and f"{HYPERNETWORK}/checkpoint.pth" in card and "rank 3" in card
    assert str(checkpoints.parent) not in card + (output / "model_index.json").read_text(encoding="utf-8")


def test_large_weights_are_written_in_shards_that_load_the_same(checkpoints, monkeypatch):
    monkeypatch.setattr(conversion_folder, "MAX_SHARD_SIZE", "8KB")
    output = checkpoints.parent / "pipeline"
    convert_checkpoint_folder(checkpoints, output, SETTINGS)
    shards = sorted((output / "weight_shift_generator").glob("model-*.safetensors"))
    assert len(shards) > 4 and (output / "weight_shift_generator" / "model.safetensors.index.json").is_file()
    loaded = PWSGModel.from_pretrained(str(output), subfolder="weight_shift_generator").state_dict()
    expected = convert_pwsg(state(checkpoints, HYPERNETWORK), EDITED_LAYERS, 2).state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], value) for name, value in expected.items())


def test_half_precision_halves_the_files_and_still_reacts(checkpoints):
    single, half = checkpoints.parent / "single", checkpoints.parent / "half"
    convert_checkpoint_folder(checkpoints, single, SETTINGS)
    convert_checkpoint_folder(checkpoints, half, SETTINGS, dtype=torch.float16, low_rank=2)
    file = "weight_shift_generator/model.safetensors"
    assert (half / file).stat().st_size < 0.6 * (single / file).stat().st_size
    pipeline = PerFRDiffPipeline.from_pretrained(str(half))
    assert pipeline.weight_shift_generator.dtype == torch.float16
    expected = react(PerFRDiffPipeline.from_pretrained(str(single)), None)
    assert (react(pipeline, None) - expected).abs().max() < 0.2
    pipeline.to(dtype=torch.float32)
    assert react(pipeline, torch.randn(1, 60, 58)).isfinite().all()


def test_parts_may_lie_one_level_up_and_the_folder_above_will_do(checkpoints):
    for part, place in ((DENOISER, "diffusion_model"), (HYPERNETWORK, "ModifierNetwork")):
        (checkpoints / place).mkdir(exist_ok=True)
        os.replace(checkpoints / part / "checkpoint.pth", checkpoints / place / "checkpoint.pth")
    (checkpoints / PERSONAL_DENOISER / "checkpoint.pth").unlink()
    output = checkpoints.parent / "pipeline"
    report = convert_checkpoint_folder(checkpoints.parent, output, SETTINGS)
    assert report.files["denoiser"] == "checkpoints/diffusion_model/checkpoint.pth"
    assert report.parameters["weight_shift_generator"] == sum(
        value.numel()
        for value in PWSGModel.from_pretrained(str(output), subfolder="weight_shift_generator").parameters()
    )


def test_a_generator_beside_the_hypernetwork_that_differs_is_taken_and_remarked(checkpoints):
    save(checkpoints, PERSONAL_DENOISER, OfficialDenoiser(positions=120))
    output = checkpoints.parent / "pipeline"
    report = convert_checkpoint_folder(checkpoints, output, SETTINGS)
    assert "not the generic one" in report.remarks[0]
    assert report.remarks[0] in (output / "README.md").read_text(encoding="utf-8")
    loaded = PerFRDiffPipeline.from_pretrained(str(output)).denoiser
    assert torch.equal(loaded.mapping.weight, state(checkpoints, PERSONAL_DENOISER)["to_emotion_feat.weight"])


def test_a_folder_without_personalisation_becomes_a_generic_pipeline(checkpoints):
    for part in ("person_specific", HYPERNETWORK):
        (checkpoints / part / "checkpoint.pth").unlink()
    output = checkpoints.parent / "pipeline"
    with pytest.raises(FileNotFoundError, match="generic"):
        convert_checkpoint_folder(checkpoints, output, SETTINGS)
    convert_checkpoint_folder(checkpoints, output, SETTINGS, generic=True)
    pipeline = PerFRDiffPipeline.from_pretrained(str(output))
    assert pipeline.style_encoder is None and pipeline.weight_shift_generator is None
    assert react(pipeline, None).shape == (1, 2, 100, 25)


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ("embedder_latent", "emotion VAE"),
        ("person_specific", "PSSL style encoder"),
        (HYPERNETWORK, "PWSG hypernetwork"),
    ],
)
def test_a_missing_part_is_named_and_nothing_is_written(checkpoints, part, named):
    (checkpoints / part / "checkpoint.pth").unlink()
    with pytest.raises(FileNotFoundError, match=named):
        convert_checkpoint_folder(checkpoints, checkpoints.parent / "pipeline", SETTINGS)
    assert nothing_written(checkpoints.parent)


@pytest.mark.parametrize("part", [PERSONAL_DENOISER, "embedder_latent", "person_specific", HYPERNETWORK])
def test_a_truncated_file_is_named_and_nothing_is_written(checkpoints, part):
    file = checkpoints / part / "checkpoint.pth"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf"{part}/checkpoint\.pth is not a readable"):
        convert_checkpoint_folder(checkpoints, checkpoints.parent / "pipeline", SETTINGS)
    assert nothing_written(checkpoints.parent)


class Payload:
    """What runs when an unsafe loader unpickles it."""

    def __reduce__(self):
        return (Path.touch, (Path("payload-ran"),))


@pytest.mark.parametrize("part", ["embedder_latent", HYPERNETWORK])
def test_a_pickled_payload_is_refused_and_does_not_run(checkpoints, monkeypatch, part):
    monkeypatch.chdir(checkpoints.parent)
    torch.save({"state_dict": state(checkpoints, part), "extra": Payload()}, checkpoints / part / "checkpoint.pth")
    with pytest.raises(ValueError, match="not tensors"):
        convert_checkpoint_folder(checkpoints, checkpoints.parent / "pipeline", SETTINGS)
    assert nothing_written(checkpoints.parent)


@pytest.mark.parametrize(
    ("part", "other"),
    [
        (PERSONAL_DENOISER, "embedder_latent"),
        ("embedder_latent", "person_specific"),
        ("person_specific", PERSONAL_DENOISER),
        (HYPERNETWORK, PERSONAL_DENOISER),
    ],
)
def test_the_checkpoint_of_another_model_is_refused_and_nothing_is_written(checkpoints, part, other):
    torch.save({"state_dict": state(checkpoints, other)}, checkpoints / part / "checkpoint.pth")
    with pytest.raises(ValueError, match="another model"):
        convert_checkpoint_folder(checkpoints, checkpoints.parent / "pipeline", SETTINGS)
    assert nothing_written(checkpoints.parent)


@pytest.mark.parametrize(
    ("part", "module", "named"),
    [
        ("embedder_latent", lambda: OfficialEmotionVAE(width=16), "16 wide"),
        ("person_specific", lambda: OfficialStyleEncoder(style=7), "7 wide"),
        (PERSONAL_DENOISER, lambda: OfficialDenoiser(layers=1), r"layers\.1\.cross_attention"),
        (HYPERNETWORK, lambda: OfficialHypernetwork([24 * WIDTH, 3 * WIDTH**2, 3 * WIDTH**2]), "mapping"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(checkpoints, part, module, named):
    save(checkpoints, part, module())
    with pytest.raises(ValueError, match=named):
        convert_checkpoint_folder(checkpoints, checkpoints.parent / "pipeline", SETTINGS)
    assert nothing_written(checkpoints.parent)


def test_a_low_rank_that_cannot_be_had_is_explained_before_anything_is_written(checkpoints):
    settings = OfficialSettings(num_heads=2, edited_layers=EDITED_LAYERS, shift_mode="offset")
    with pytest.raises(ValueError, match="can't be had"):
        convert_checkpoint_folder(checkpoints, checkpoints.parent / "pipeline", settings, low_rank=2)
    assert nothing_written(checkpoints.parent)


def test_a_failure_in_the_middle_of_writing_leaves_nothing(checkpoints, monkeypatch):
    def full_disk(*arguments, **options):
        raise OSError("No space left on device")

    monkeypatch.setattr(conversion_folder, "save_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        convert_checkpoint_folder(checkpoints, checkpoints.parent / "pipeline", SETTINGS)
    assert nothing_written(checkpoints.parent)


def test_an_output_that_holds_something_is_left_alone(checkpoints, refused):
    output = checkpoints.parent / "pipeline"
    output.mkdir()
    (output / "notes.txt").write_text("mine", encoding="utf-8")
    refused("convert", "--checkpoints", checkpoints, "--output", output, match="there already")
    assert [entry.name for entry in output.iterdir()] == ["notes.txt"]


def test_the_command_says_what_is_wrong_in_one_line(tmp_path, refused):
    options = ("--checkpoints", tmp_path / "nowhere", "--output", tmp_path / "out")
    refused("convert", *options, match="There is no folder")
    refused("convert", *options, "--shift_mode", "twist", match="nowhere|twist")
    # Nothing would ever fill this condition, so the listener would be ignored without a word.
    refused("convert", *options, "--conditions", "audio", "personal", match=r"conditions must be.*\['personal'\]")
