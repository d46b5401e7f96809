"""Systems that react: what each is, how it is trained and loaded, and the reference rows beside them.

A system to compare with is one file here, which ends with its `register_system` and is imported below.
"""

from .beamer import BEAMERModel, BEAMERReactionPipeline
from .belfusion import LatentDiffusionReactionPipeline
from .latent_context import LatentContextReactionPipeline
from .latent_denoiser import LatentDenoiserMLPModel
from .latent_sequence import LatentSequenceDenoiserModel
from .oracles import oracle_rows
from .recipe import DataConfig, Recipe
from .reference import Predictions, reference_rows
from .regnn import REGNNModel, REGNNReactionPipeline
from .stage import Draws, Examples, NoDraws, Objective, Parts, Stage, Validation
from .system import System, get_system, load_system, register_system, system_names
from .trans_vae import TransVAEModel, TransVAEReactionPipeline
from .unifarn import UniFaRNReactionPipeline, UniFaRNTransformerModel


__all__ = [
    "BEAMERModel",
    "BEAMERReactionPipeline",
    "DataConfig",
    "Draws",
    "Examples",
    "LatentContextReactionPipeline",
    "LatentDenoiserMLPModel",
    "LatentDiffusionReactionPipeline",
    "LatentSequenceDenoiserModel",
    "NoDraws",
    "Objective",
    "Parts",
    "Predictions",
    "REGNNModel",
    "REGNNReactionPipeline",
    "Recipe",
    "Stage",
    "System",
    "TransVAEModel",
    "TransVAEReactionPipeline",
    "UniFaRNReactionPipeline",
    "UniFaRNTransformerModel",
    "Validation",
    "get_system",
    "load_system",
    "oracle_rows",
    "reference_rows",
    "register_system",
    "system_names",
]
