from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from perfrdiff_hf import PerFRDiffFeatureExtractor
from perfrdiff_hf.behaviour import MEAN_FACE
from perfrdiff_hf.data.audio import mfcc_features


def test_mean_face_is_removed_and_added():
    extractor = PerFRDiffFeatureExtractor()
    assert np.allclose(extractor.remove_mean_face(MEAN_FACE[None]), 0)
    coefficients = torch.rand(3, 4, 58)
    assert torch.allclose(extractor.add_mean_face(extractor.remove_mean_face(coefficients)), coefficients, atol=1e-6)


def test_save_and_load_keep_every_bit(tmp_path):
    mean = np.random.default_rng(0).standard_normal(58).astype(np.float32)
    PerFRDiffFeatureExtractor(mean_face=mean, window_size=25).save_pretrained(tmp_path)
    loaded = PerFRDiffFeatureExtractor.from_pretrained(tmp_path)
    assert np.array_equal(np.float32(loaded.mean_face), mean)
    assert loaded.window_size == 25


def test_sound_and_face_become_pipeline_arguments():
    waveform = np.random.default_rng(0).uniform(-0.5, 0.5, 16000).astype(np.float32)
    coefficients = np.tile(MEAN_FACE, (20, 1))
    features = PerFRDiffFeatureExtractor()(waveform, sampling_rate=16000, coefficients=coefficients)
    assert np.array_equal(features["speaker_audio"][0], mfcc_features(waveform, 16000, 20))
    assert np.array_equal(features["speaker_coefficients"][0], coefficients)
    assert "speaker_emotion" not in features
    alone = PerFRDiffFeatureExtractor()(waveform, sampling_rate=16000, return_tensors="pt")
    assert alone["speaker_audio"].shape == (1, 25, 78)


def test_no_other_frame_rate_than_that_of_the_audio_features(tmp_path):
    """At another rate, sound would be cut into frames of the wrong length without a word."""
    with pytest.raises(ValueError, match=r"frame_rate must be 25.*given: 50"):
        PerFRDiffFeatureExtractor(frame_rate=50)
    PerFRDiffFeatureExtractor(frame_rate=25).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "preprocessor_config.json").read_text())["frame_rate"] == 25
    assert PerFRDiffFeatureExtractor.from_pretrained(tmp_path).frame_rate == 25


def test_bad_input():
    with pytest.raises(ValueError, match="window_size must be at least 1"):
        PerFRDiffFeatureExtractor(window_size=0)
    with pytest.raises(ValueError, match="58 values"):
        PerFRDiffFeatureExtractor(mean_face=[0.0] * 57)
    with pytest.raises(ValueError, match="sampling_rate"):
        PerFRDiffFeatureExtractor()(np.zeros(16000, dtype=np.float32))
