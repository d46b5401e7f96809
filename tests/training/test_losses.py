"""The losses against golden values and closed forms."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import normalize

from perfrdiff_hf.baselines.emotion_vae import emotion_vae_losses, kl_divergence
from perfrdiff_hf.training.stages.style_encoder import supervised_contrastive_loss


def test_contrastive_loss_equals_golden(golden: Path) -> None:
    tensors = load_file(golden / "pssl.safetensors")
    loss = supervised_contrastive_loss(tensors["supcon.feature"], tensors["supcon.label"])
    torch.testing.assert_close(loss, tensors["supcon.loss"], rtol=1e-12, atol=0)


def test_contrastive_loss_equals_equation_11_spelled_out() -> None:
    style = normalize(torch.randn(7, 5, dtype=torch.float64), dim=-1)
    label = [0, 0, 0, 1, 1, 2, 3]
    expected = 0.0
    for i in range(7):
        positives = [q for q in range(7) if q != i and label[q] == label[i]]
        denominator = sum(math.exp(style[i] @ style[g] / 0.07) for g in range(7) if g != i)
        for q in positives:
            expected -= math.log(math.exp(style[i] @ style[q] / 0.07) / denominator) / len(positives)
    loss = supervised_contrastive_loss(style, torch.tensor(label))
    assert loss.item() == pytest.approx(expected / 7, rel=1e-10)


def test_groups_are_compared_within_themselves_only() -> None:
    style = normalize(torch.randn(8, 6), dim=-1)
    label = torch.tensor([0, 0, 1, 1, 0, 0, 2, 2])
    group = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    parts = [supervised_contrastive_loss(style[rows], label[rows]) for rows in (slice(0, 4), slice(4, 8))]
    torch.testing.assert_close(supervised_contrastive_loss(style, label, group), torch.stack(parts).mean())
    assert not torch.isclose(supervised_contrastive_loss(style, label), torch.stack(parts).mean())


def test_clips_without_company_contribute_zero_and_no_gradient() -> None:
    style = normalize(torch.randn(5, 4), dim=-1).requires_grad_()
    label, group = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 0, 0, 0, 1])
    loss = supervised_contrastive_loss(style, label, group)
    loss.backward()
    alone = supervised_contrastive_loss(style[:4], label[:4])
    torch.testing.assert_close(loss, alone * 4 / 5)
    assert style.grad is not None and torch.isfinite(style.grad).all()
    assert torch.equal(style.grad[4], torch.zeros(4))


def test_contrastive_loss_keeps_its_precision_under_autocast() -> None:
    style = normalize(torch.randn(12, 32), dim=-1)
    label = torch.arange(12) // 3
    exact = supervised_contrastive_loss(style, label)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(supervised_contrastive_loss(style, label), exact)


def test_kl_divergence_equals_torch() -> None:
    mean, logvar = torch.randn(6, 3), torch.randn(6, 3)
    ours = torch.distributions.Normal(mean, (0.5 * logvar).exp())
    standard = torch.distributions.Normal(torch.zeros(6, 3), torch.ones(6, 3))
    expected = torch.distributions.kl_divergence(ours, standard).sum(-1).mean()
    torch.testing.assert_close(kl_divergence(mean, logvar), expected)


def test_vae_loss_is_the_sum_of_its_parts() -> None:
    shapes = [(2, 4, 25), (2, 4, 58), (2, 4, 25), (2, 4, 58), (2, 3), (2, 3)]
    losses = emotion_vae_losses(*(torch.randn(shape) for shape in shapes))
    expected = losses["emotion_loss"] + losses["coefficient_loss"] + 1e-5 * losses["kl_loss"]
    torch.testing.assert_close(losses["loss"], expected)
