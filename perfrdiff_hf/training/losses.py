"""The losses of the paper: equations 10 and 11, and that of the emotion VAE."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def supervised_contrastive_loss(
    style: Tensor, label: Tensor, group: Tensor | None = None, temperature: float = 0.07
) -> Tensor:
    """Pull together what one person shows, push apart what different people show (equation 11).

    Args:
        style: `(clips, width)` styles of unit length.
        label: `(clips,)` integers, equal for clips of the same person.
        group: `(clips,)` integers: clips are compared only with those of their own group, in the paper the reactions
            that are appropriate to the same speaker behaviour. None: one group.
        temperature: what the similarities are divided by.

    Returns:
        The mean over all clips, a scalar; a clip without another of the same person in its group contributes zero.
    """
    others = ~torch.eye(len(label), dtype=torch.bool, device=label.device)
    if group is not None:
        others &= group[:, None] == group[None, :]
    positives = others & (label[:, None] == label[None, :])
    with torch.autocast(style.device.type, enabled=False):
        style = style.float() if style.dtype in (torch.float16, torch.bfloat16) else style
        similarity = style @ style.T / temperature
    # A clip that is alone in its group has no denominator; it has no positive either, so any finite value will do.
    log_denominator = similarity.masked_fill(~others, -torch.inf).logsumexp(dim=1, keepdim=True)
    log_probability = similarity - log_denominator.nan_to_num(neginf=0.0)
    per_clip = -(log_probability * positives).sum(dim=1) / positives.sum(dim=1).clamp(min=1)
    return per_clip.mean()


def kl_divergence(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL divergence of N(mean, exp(logvar)) from N(0, 1), summed over the latent and averaged over the batch.

    Args:
        mean: `(batch, latent)`.
        logvar: `(batch, latent)`.
    """
    return -0.5 * (1 + logvar - mean.square() - logvar.exp()).sum(dim=-1).mean()


def emotion_vae_losses(
    emotion: Tensor, coefficients: Tensor, decoded: Tensor, regressed: Tensor, mean: Tensor, logvar: Tensor
) -> dict[str, Tensor]:
    """Reconstruction of emotion, regression of the coefficients from it, and the KL term.

    Args:
        emotion: `(batch, frames, 25)` recorded emotion.
        coefficients: `(batch, frames, 58)` recorded coefficients, mean face removed.
        decoded: `(batch, frames, 25)` reconstructed emotion.
        regressed: `(batch, frames, 58)` coefficients predicted from the reconstruction, mean face removed.
        mean: `(batch, latent)`.
        logvar: `(batch, latent)`.

    Returns:
        `loss`, the sum with the KL term weighted by 1e-5, and its three parts.
    """
    parts = {
        "emotion_loss": functional.mse_loss(decoded, emotion),
        "coefficient_loss": functional.mse_loss(regressed, coefficients),
        "kl_loss": kl_divergence(mean, logvar),
    }
    loss = parts["emotion_loss"] + parts["coefficient_loss"] + 1e-5 * parts["kl_loss"]
    return {"loss": loss, **parts}
