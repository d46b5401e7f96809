"""The seven metrics of multiple appropriate facial reaction generation, and whether reactions look alive.

One function a metric, with the official definition as default; `*_per_clip` gives what each clip contributes, and its
mean is the metric. `ReactionMetrics` computes all of them over batches and processes, `compare` puts several systems
into one table. Inputs are NumPy arrays or torch tensors on any device. Predictions on an accelerator that knows
float64 have FRCorr and FRdist computed there; the other metrics are always computed on the CPU.
"""

from .diversity import frdiv, frdiv_per_clip, frdvs, frdvs_per_clip, frvar, frvar_per_clip
from .frcorr_frdist import frcorr, frcorr_per_clip, frdist, frdist_per_clip
from .liveliness import (
    head_range_per_clip,
    head_speed_per_clip,
    nod_share_per_clip,
    nods_per_clip,
    switches_per_clip,
)
from .reaction_metrics import ReactionMetrics, Scores
from .realism import FeatureStatistics, frrea, frrea_motion, load_frame_features, motion_features
from .statistics import Interval, PairedTest, bootstrap_interval, paired_test
from .synchrony import frsyn, frsyn_per_clip


__all__ = [
    "FeatureStatistics",
    "Interval",
    "PairedTest",
    "ReactionMetrics",
    "Scores",
    "bootstrap_interval",
    "frcorr",
    "frcorr_per_clip",
    "frdist",
    "frdist_per_clip",
    "frdiv",
    "frdiv_per_clip",
    "frdvs",
    "frdvs_per_clip",
    "frrea",
    "frrea_motion",
    "frsyn",
    "frsyn_per_clip",
    "frvar",
    "frvar_per_clip",
    "head_range_per_clip",
    "head_speed_per_clip",
    "load_frame_features",
    "motion_features",
    "nod_share_per_clip",
    "nods_per_clip",
    "paired_test",
    "switches_per_clip",
]
