"""Modules whose state dicts have the official names and shapes, made of PyTorch's own layers, at any size."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class OfficialDenoiser(nn.Module):
    """The official denoiser with the default conditions; time channels and sinusoid are passed in."""

    def __init__(self, width=12, layers=2, heads=2, inner=20, latent=None, personal=None, channels=25, positions=40):
        super().__init__()
        self.to_emotion_embed = nn.Linear(channels, width)
        self.to_emotion_feat = nn.Linear(width, channels)
        self.time_embedding = nn.Module()
        self.time_embedding.linear_1 = nn.Linear(8, width)
        self.time_embedding.linear_2 = nn.Linear(width, width)
        self.speaker_audio_proj = nn.Linear(78, width)
        self.speaker_3dmm_proj = nn.Linear(58, width)
        self.speaker_emotion_proj = nn.Linear(25, width)
        self.listener_emotion_proj = nn.Linear(channels, width)
        if latent is not None:
            self.speaker_latent_proj = nn.Sequential(nn.ReLU(), nn.Linear(latent, width))
            self.listener_latent_proj = nn.Sequential(nn.ReLU(), nn.Linear(latent, width))
        if personal is not None:
            self.listener_personal_proj = nn.Linear(personal, width)
        self.query_pos, self.mem_pos = nn.Module(), nn.Module()
        self.query_pos.pe = nn.Parameter(torch.rand(positions, 1, width))
        self.mem_pos.pe = nn.Parameter(torch.rand(positions, 1, width))
        layer = nn.TransformerDecoderLayer(width, heads, inner, dropout=0.1, activation="gelu")
        self.decoder = nn.TransformerDecoder(layer, layers, nn.LayerNorm(width))
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.3)

    def forward(self, noisy: Tensor, time_channels: Tensor, tokens: list[Tensor]) -> Tensor:
        """Batch first; `tokens` are projected and follow the token of the time step."""
        time = self.time_embedding.linear_2(nn.functional.silu(self.time_embedding.linear_1(time_channels)))
        memory = torch.cat([time[:, None], *tokens], dim=1).transpose(0, 1)
        query = self.to_emotion_embed(noisy).transpose(0, 1)
        query = query + self.query_pos.pe[: len(query)]
        hidden = self.decoder(query, memory + self.mem_pos.pe[: len(memory)])
        return self.to_emotion_feat(hidden).transpose(0, 1)


class OfficialStyleEncoder(nn.Module):
    """The official style encoder."""

    def __init__(self, width=12, layers=2, heads=2, inner=20, style=6):
        super().__init__()
        self.embed_layer = nn.Linear(58, width)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width))
        layer = nn.TransformerEncoderLayer(width, heads, inner, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.proj_head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, style))


class OfficialEmotionVAE(nn.Module):
    """The official emotion VAE."""

    def __init__(self, width=12, latent=10, inner=(9, 7)):
        super().__init__()
        self.x_rnn, self.d_rnn, self.d_mlp = nn.Module(), nn.Module(), nn.Module()
        self.x_rnn.rnn_f = nn.GRUCell(25, width)
        self.fc_mu_enc, self.fc_logvar_enc = nn.Linear(width, latent), nn.Linear(width, latent)
        self.fc_z_dec = nn.Linear(latent, width)
        self.d_rnn.rnn_f = nn.GRUCell(width + 25, width)
        self.d_mlp.affine_layers = nn.ModuleList([nn.Linear(width, inner[0]), nn.Linear(*inner)])
        self.d_out = nn.Linear(inner[1], 25)
        self.coeff_reg = nn.Sequential(nn.Linear(25, width), nn.Tanh(), nn.Linear(width, 58))


class OfficialHypernetwork(nn.Module):
    """The official hypernetwork: a trunk, and one branch for each number of entries."""

    def __init__(self, branches: list[int], style=6, trunk=10):
        super().__init__()
        self.shared_layers = nn.ModuleList([nn.Linear(style, trunk), nn.Linear(trunk, trunk)])
        self.branches = nn.ModuleList(nn.Linear(trunk, size) for size in branches)

    def forward(self, style: Tensor) -> list[Tensor]:
        for layer in self.shared_layers:
            style = torch.relu(layer(style))
        return [branch(style) for branch in self.branches]
