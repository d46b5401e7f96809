"""REGNN, reversible graph neural network: reactions and speakers meet in a space that can be walked back from.

Written anew from its description. Where the source reads features of pixels and of a pre-trained audio network, this
reads emotion with coefficients, and MFCC. Kept: 25 channels are the nodes of a graph and the frames of a window their
features; recorded reactions are encoded by an invertible network on the speaker's edges, and the nearest is what the
speaker's own encoding learns; without a log-determinant; windows overlap by half and are averaged. Not kept: edges are
pruned by each row's own list (in the source hardly any were), the noise of a reaction does not depend on the batch,
the inverse takes so many steps that it has converged, and parts that served neither loss nor output are left out.
Coefficients come from the emotion VAE's regressor; the source has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from ..behaviour import AUDIO_CHANNELS, COEFFICIENT_CHANNELS, EMOTION_CHANNELS, WINDOW_SIZE
from ..data.corpus import Corpus
from ..feature_extraction import PerFRDiffFeatureExtractor
from ..models.emotion_vae import EmotionVAEModel
from ..models.positions import sinusoidal_positions
from ..pipelines.windows import DueWindow
from .emotion_vae import EmotionVAEStage
from .reacting import ReactionSettings, SystemPipeline, SystemReactor, SystemStage
from .recipe import Recipe
from .regnn_layers import AttentionLayer, MotorLayer
from .stage import Examples, Objective, Parts
from .system import System, register_system


FRAME_FEATURES = 64
# Of the running mean of distances, which stands for the mean of the last epoch.
MEMORY = 0.99
EXAMPLES_LOOKED_AT = 64


class REGNNModel(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """From a speaker's window to a place in the space of reactions, and from there to reactions.

    The defaults are the published sizes, but for what is read.

    Args:
        hidden_size: of the layers that read the speaker.
        num_layers: those that let the face read the sound, and as many of self-attention.
        num_heads: of each attention.
        edge_channels: kinds of edges between channels.
        motor_layers: invertible steps.
        kept_edges: edges that each node keeps.
        window_size: frames of a window.
        noise_std: of the noise that tells reactions apart, in the space of reactions.
        online: whether a window answers the window before, or the window itself.

    Raises:
        ValueError: if `kept_edges` is none of 1 to 25, or `noise_std` is negative.
    """

    config: Any
    _no_split_modules: Any = []

    @register_to_config
    def __init__(
        self,
        hidden_size: int = 128,
        num_layers: int = 5,
        num_heads: int = 4,
        edge_channels: int = 8,
        motor_layers: int = 2,
        kept_edges: int = 5,
        window_size: int = WINDOW_SIZE,
        noise_std: float = 0.057,
        online: bool = True,
    ):
        super().__init__()
        if not 1 <= kept_edges <= EMOTION_CHANNELS:
            raise ValueError(f"kept_edges must lie between 1 and {EMOTION_CHANNELS}; given: {kept_edges}.")
        if noise_std < 0:
            raise ValueError(f"noise_std must not be negative; given: {noise_std}.")
        self.read_face = nn.Linear(EMOTION_CHANNELS + COEFFICIENT_CHANNELS, hidden_size, bias=False)
        self.read_audio = nn.Linear(AUDIO_CHANNELS, hidden_size, bias=False)
        self.input_dropout = nn.Dropout(0.25)
        self.cross_layers = nn.ModuleList(AttentionLayer(hidden_size, num_heads) for _ in range(num_layers))
        self.cross_norm = nn.LayerNorm(hidden_size)
        self.self_layers = nn.ModuleList(AttentionLayer(hidden_size, num_heads) for _ in range(num_layers))
        self.self_norm = nn.LayerNorm(hidden_size)
        self.residual = nn.Sequential(
            nn.Linear(hidden_size, hidden_size), nn.ReLU(), nn.Dropout(0.1), nn.Linear(hidden_size, hidden_size)
        )
        self.to_frames = nn.Linear(hidden_size, FRAME_FEATURES)
        self.to_nodes = nn.Sequential(
            nn.Linear(FRAME_FEATURES, FRAME_FEATURES // 2),
            nn.GELU(),
            nn.Linear(FRAME_FEATURES // 2, EMOTION_CHANNELS),
        )
        self.edge_features = nn.Sequential(
            nn.Linear(window_size, window_size), nn.GELU(), nn.Linear(window_size, window_size)
        )
        self.to_edges = nn.Linear(window_size, 2 * edge_channels * window_size, bias=False)
        self.motor = nn.ModuleList(MotorLayer(window_size, edge_channels) for _ in range(motor_layers))

    def encode_speaker(self, audio: Tensor, emotion: Tensor, movement: Tensor) -> tuple[Tensor, Tensor]:
        """Where a speaker's window lies in the space of reactions, and the edges that belong to it.

        Args:
            audio: `(batch, window_size, 78)`.
            emotion: `(batch, window_size, 25)`.
            movement: `(batch, window_size, 58)`, mean face removed.

        Returns:
            `(batch, 25, window_size)` and `(batch, edge_channels, 25, 25)`.
        """
        face = self._placed(self.read_face(torch.cat([emotion, movement], dim=-1)))
        sound = self._placed(self.read_audio(audio))
        for layer in self.cross_layers:
            face = layer(face, sound)
        face = self._placed(self.cross_norm(face))
        for layer in self.self_layers:
            face = layer(face)
        face = self.self_norm(face)
        frames = self.to_frames(face + self.residual(face))
        nodes = self.to_nodes(frames).transpose(1, 2)
        return nodes, self._edges(nodes)

    def to_space(self, emotion: Tensor, edges: Tensor) -> Tensor:
        """Reactions `(batch, window_size, 25)` to `(batch, 25, window_size)`, along edges of their speakers."""
        nodes = emotion.transpose(1, 2)
        for layer in self.motor:
            nodes = layer(nodes, edges)
        return nodes

    def from_space(self, nodes: Tensor, edges: Tensor) -> Tensor:
        """The inverse of `to_space`."""
        for layer in reversed(self.motor):
            nodes = layer.inverse(nodes, edges)
        return nodes.transpose(1, 2)

    @torch.no_grad()
    def fit(self, emotion: Tensor, edges: Tensor) -> None:
        """Scale the invertible steps to reactions `(batch, window_size, 25)` of the data."""
        nodes = emotion.transpose(1, 2)
        for layer in self.motor:
            layer.fit(nodes)
            nodes = layer(nodes, edges)

    def _placed(self, features: Tensor) -> Tensor:
        positions = sinusoidal_positions(features.shape[1], features.shape[2]).to(features)
        return self.input_dropout(features * features.shape[2] ** 0.5 + positions)

    def _edges(self, nodes: Tensor) -> Tensor:
        parts = self.to_edges(self.edge_features(nodes)).unflatten(-1, (2, self.config.edge_channels, -1))
        queries, keys = parts.permute(2, 0, 3, 1, 4)  # each (batch, edge_channels, 25, window_size)
        strengths = (queries @ keys.transpose(-1, -2) / queries.shape[-1] ** 0.5).softmax(dim=-1)
        kept = torch.zeros_like(strengths).scatter_(-1, strengths.topk(self.config.kept_edges, dim=-1).indices, 1.0)
        strengths = strengths * kept
        rows, columns = (strengths / strengths.sum(dim=place, keepdim=True).clamp(min=1e-8) for place in (-1, -2))
        return rows @ columns.transpose(-1, -2)


class REGNNReactor(SystemReactor):
    """Windows that overlap by half: each gives the mean of its first half and of the second half of the one before.

    So that a stream can keep it, a reaction has 50 channels: emotion, and what this window says of the emotion half a
    window later.
    """

    def __init__(
        self,
        model: REGNNModel,
        emotion_vae: EmotionVAEModel,
        settings: ReactionSettings,
        batch_size: int,
        feature_extractor: PerFRDiffFeatureExtractor,
    ):
        super().__init__(
            settings,
            batch_size,
            feature_extractor,
            like=model.to_frames.weight,
            streams=("audio", "emotion", "coefficients"),
            online=model.config.online,
            emotion_vae=emotion_vae,
            channels=2 * EMOTION_CHANNELS,
            hop=feature_extractor.window_size // 2,
            max_shown_frames=0,
        )
        self.model = model

    @torch.no_grad()
    def react(self, window: DueWindow) -> Tensor:
        """The frames of one hop, `(batch, num_reactions, hop, 50)`."""
        heard = [window.speaker[name] for name in self.streams]
        speaker, edges = (
            values.repeat_interleave(self.num_reactions, dim=0) for values in self.model.encode_speaker(*heard)
        )
        noise = self.noise(window.batch_size, EMOTION_CHANNELS, self.window_size).flatten(0, 1)
        emotion = self.model.from_space(speaker + self.model.config.noise_std * noise, edges)
        emotion = emotion.unflatten(0, (window.batch_size, self.num_reactions))
        first, second = emotion[:, :, : self.hop], emotion[:, :, self.hop : 2 * self.hop]
        if window.start:
            first = (first + window.previous[:, :, -self.hop :, EMOTION_CHANNELS:]) / 2
        return torch.cat([first, second], dim=-1)

    def decode(self, reactions: Tensor) -> tuple[Tensor, Tensor]:
        """See `SystemReactor`, without what was said of later frames."""
        return super().decode(reactions[..., :EMOTION_CHANNELS])


class REGNNReactionPipeline(SystemPipeline):
    """REGNN (new implementation) as a pipeline.

    Args:
        regnn: the model.
        emotion_vae: from emotion to coefficients.
        feature_extractor: the mean face and the window length.

    Raises:
        ValueError: if the model is for windows of another length.
    """

    regnn: REGNNModel
    emotion_vae: EmotionVAEModel

    def __init__(self, regnn: REGNNModel, emotion_vae: EmotionVAEModel, feature_extractor: PerFRDiffFeatureExtractor):
        super().__init__()
        if regnn.config.window_size != feature_extractor.window_size:
            raise ValueError(
                f"regnn has windows of {regnn.config.window_size} frames, feature_extractor of "
                f"{feature_extractor.window_size}."
            )
        self.register_modules(regnn=regnn, emotion_vae=emotion_vae, feature_extractor=feature_extractor)

    def new_reactor(self, settings: ReactionSettings, batch_size: int) -> REGNNReactor:
        """See `SystemPipeline`."""
        return REGNNReactor(self.regnn, self.emotion_vae, settings, batch_size, self.feature_extractor)


class REGNNObjective(Objective):
    """The distance from the speaker to the nearest appropriate reaction, and how far these lie from their mean."""

    trained: REGNNModel
    usual_distance: Tensor

    def __init__(self, trained: REGNNModel, feature_extractor: PerFRDiffFeatureExtractor, frozen: Parts | None = None):
        super().__init__(trained, feature_extractor, frozen)
        # A speaker that is near enough, below a third of what is usual, is left alone; at first nobody is.
        self.register_buffer("usual_distance", torch.zeros(()))

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Batch: `speaker_audio`, `speaker_emotion`, `speaker_coefficients` (b, w, ...), `reactions` (b, k, w, 25)."""
        movement = self.feature_extractor.remove_mean_face(batch["speaker_coefficients"])
        speaker, edges = self.trained.encode_speaker(batch["speaker_audio"], batch["speaker_emotion"], movement)
        reactions = batch["reactions"]
        count = reactions.shape[1]
        places = self.trained.to_space(reactions.flatten(0, 1), edges.repeat_interleave(count, dim=0))
        places = places.unflatten(0, (-1, count))
        known = self.feature_extractor.available("emotion")
        if known is not None:
            speaker, places = speaker[:, known.to(speaker.device)], places[:, :, known.to(speaker.device)]
        nearest = (speaker[:, None] - places).square().mean(dim=(2, 3)).amin(dim=1)
        far = nearest > self.usual_distance / 3 if self.training else torch.ones_like(nearest, dtype=torch.bool)
        if self.training:
            self.usual_distance.lerp_(nearest.detach().mean(), 1 - MEMORY)
        parts = {
            "distance_loss": torch.where(far, nearest, torch.zeros_like(nearest)).mean(),
            "spread_loss": (places - places.mean(dim=1, keepdim=True)).square().mean(),
        }
        return {"loss": parts["distance_loss"] + parts["spread_loss"], **parts}


class REGNNStage(SystemStage):
    """Trains REGNN on speaker windows with several appropriate reactions each."""

    name = "regnn"
    title = "REGNN"
    model = REGNNModel
    needs = ("emotion_vae",)
    reads = ("data.window_size", "data.num_reactions")
    pipeline = REGNNReactionPipeline

    def new_model(self, recipe: Recipe, parts: Parts) -> REGNNModel:
        """See `Stage`."""
        model = REGNNModel(**({"window_size": recipe.data.window_size} | recipe.arguments(self.name)))
        if model.config.window_size != recipe.data.window_size:
            raise ValueError(f"window_size must be data.window_size ({recipe.data.window_size}).")
        return model

    @torch.no_grad()
    def look_at_data(self, model: REGNNModel, corpus: Corpus, recipe: Recipe, parts: Parts) -> None:
        """The scale of recorded reactions."""
        examples = self.examples(corpus, "train", recipe)
        batch = self.collate(examples.__getitems__(range(min(len(examples), EXAMPLES_LOOKED_AT))))
        movement = batch["speaker_coefficients"] - torch.from_numpy(corpus.mean_face())
        model.eval()
        _, edges = model.encode_speaker(batch["speaker_audio"], batch["speaker_emotion"], movement)
        model.fit(batch["reactions"][:, 0], edges)
        model.train()

    def examples(self, corpus: Corpus, split: str, recipe: Recipe) -> Examples:
        """Speaker windows and several appropriate reactions to each."""
        return self.windows(corpus, split, recipe, num_reactions=recipe.data.num_reactions)

    def objective(
        self, model: Any, parts: Parts, feature_extractor: PerFRDiffFeatureExtractor, recipe: Recipe
    ) -> REGNNObjective:
        """See `Stage`."""
        return REGNNObjective(model, feature_extractor, parts)


REGNN = register_system(System("regnn", "REGNN", REGNNReactionPipeline, (EmotionVAEStage(), REGNNStage())))
