"""Every stage of every system says which settings it reads, so that no model is taken for that of other settings."""

from __future__ import annotations

from typing import Any

import pytest

from perfrdiff_hf.baselines import get_system
from perfrdiff_hf.training.config import load_config
from perfrdiff_hf.training.saving import feature_extractor_of
from tests.training.test_reruns import Watched


CONFIG_OF = {
    **{name: f"{name}_bench" for name in ("trans_vae", "regnn", "unifarn", "beamer", "latent_context", "belfusion")},
    "student": "demo",
    "style_input": "demo",
}


@pytest.mark.parametrize("name", CONFIG_OF)
def test_stages_declare_the_settings_that_they_read(name: str, corpus: Any) -> None:
    """Else a change of one would go unnoticed when a run is resumed."""
    system, recipe = get_system(name), load_config(CONFIG_OF[name])
    extractor, parts = feature_extractor_of(corpus, recipe), {}
    for stage in system.stages:
        needed = {part: parts[part] for part in stage.needs}
        watched: Any = Watched(recipe)
        parts[stage.name] = stage.new_model(watched, needed)
        stage.examples(corpus, "train", watched)
        stage.draws(watched, stage.objective(parts[stage.name], needed, extractor, watched))
        own = {f"models.{stage.name}"}
        assert watched.read | own == {*stage.reads} | own, stage.name
