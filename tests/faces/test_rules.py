"""The rules between blendshapes, action units, valence, arousal and expressions."""

from __future__ import annotations

import numpy as np
import pytest

from perfrdiff_hf.behaviour import ACTION_UNIT_NAMES, EMOTION_NAMES, EXPRESSION_NAMES, EXPRESSIONS, MEAN_FACE
from perfrdiff_hf.faces import rules


def test_rules_agree_in_both_directions() -> None:
    for name in ACTION_UNIT_NAMES:
        shown = rules.blendshapes_of_action_units({name: np.ones(1)})
        units = rules.action_units_of_blendshapes(shown)[0]
        assert units[ACTION_UNIT_NAMES.index(name)] > rules.ON
        assert set(np.flatnonzero(units > rules.ON)) <= {ACTION_UNIT_NAMES.index(also) for also in (name, "AU25")}
    activation = np.random.default_rng(0).uniform(0, 0.4, (5, 52)).astype(np.float32)
    coefficients = np.tile(MEAN_FACE, (5, 1))
    coefficients[:, :52] = rules.react_blendshapes(activation)
    np.testing.assert_allclose(rules.react_activation(coefficients), activation, atol=2e-4)
    np.testing.assert_allclose(rules.arkit_activation(rules.arkit_blendshapes(activation)), activation, atol=1e-6)


def test_expressions_of_prototypes() -> None:
    rest = rules.emotion_of_action_units(np.zeros((1, 15), np.float32))[0]
    assert rest[EMOTION_NAMES.index("Neutral")] == pytest.approx(np.exp(4) / (np.exp(4) + 7), rel=1e-5)
    assert (rest[15:17] == 0).all()
    for expression, prototype in rules.EXPRESSION_PROTOTYPES.items():
        units = np.zeros((1, 15), np.float32)
        units[0, [ACTION_UNIT_NAMES.index(name) for name in prototype]] = 1
        emotion = rules.emotion_of_action_units(units)[0]
        assert EXPRESSION_NAMES[emotion[EXPRESSIONS].argmax()] == expression
        assert emotion[EXPRESSIONS].sum() == pytest.approx(1, abs=1e-5)
        assert np.sign(emotion[15]) == {"Happy": 1, "Surprise": 0, "Contempt": -1}.get(expression, -1)
