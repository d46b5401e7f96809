"""Fréchet distances in closed form, feature files, and motion features."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from perfrdiff_hf.metrics import FeatureStatistics, frrea, frrea_motion, load_frame_features, motion_features


def test_closed_form():
    one = FeatureStatistics(np.zeros(3), np.diag([1.0, 4.0, 9.0]))
    other = FeatureStatistics(np.array([1.0, 0.0, 2.0]), np.diag([4.0, 4.0, 1.0]))
    assert frrea(one, other) == pytest.approx(5 + (1 - 2) ** 2 + 0 + (3 - 1) ** 2)
    assert frrea(one, one) == pytest.approx(0.0, abs=1e-9)


def test_against_the_matrix_root():
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(80, 12)), rng.normal(size=(60, 12)) @ rng.normal(size=(12, 12))
    a, b = np.cov(real.T), np.cov(generated.T)
    gap = real.mean(axis=0) - generated.mean(axis=0)
    expected = gap @ gap + np.trace(a + b - 2 * scipy.linalg.sqrtm(a @ b).real)
    assert frrea(real, generated) == pytest.approx(expected, rel=1e-8)
    assert frrea(generated, real) == pytest.approx(expected, rel=1e-8)


def test_fewer_samples_than_features():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(10, 40))
    assert frrea(features, features) == pytest.approx(0.0, abs=1e-6)
    assert frrea(features, features + 1.0) == pytest.approx(40.0, rel=1e-6)


def test_feature_files(tmp_path):
    from safetensors.numpy import save_file

    features = np.random.default_rng(2).normal(size=(30, 5)).astype(np.float32)
    np.save(tmp_path / "a.npy", features)
    np.savez(tmp_path / "b.npz", features=features)
    np.savez(tmp_path / "c.npz", mu=features.mean(axis=0), sigma=np.cov(features, rowvar=False))
    save_file({"features": features}, tmp_path / "d.safetensors")
    for name in ("a.npy", "b.npz", "c.npz", "d.safetensors"):
        assert frrea(load_frame_features(tmp_path / name), features + 2.0) == pytest.approx(20.0, rel=1e-5)
    with pytest.raises(FileNotFoundError, match=r"e\.npz"):
        load_frame_features(tmp_path / "e.npz")
    np.savez(tmp_path / "f.npz", other=features)
    with pytest.raises(ValueError, match="must hold `features`, or `mu` and `sigma`; it holds other"):
        load_frame_features(tmp_path / "f.npz")
    (tmp_path / "g.pkl").write_bytes(b"")
    with pytest.raises(ValueError, match=r"read from npy, npz or safetensors, not from .*g\.pkl"):
        load_frame_features(tmp_path / "g.pkl")


def test_motion_features():
    ramp = np.arange(100.0)[:, None] * [1.0, -2.0]
    found = motion_features(ramp)
    assert found.shape == (2, 6)
    np.testing.assert_allclose(found[0], [24.5, -49.0, ramp[:50, 0].std(), 2 * ramp[:50, 0].std(), 1.0, 2.0])
    assert motion_features(np.zeros((3, 4, 120, 7))).shape == (24, 21)
    assert motion_features(np.zeros((30, 7))).shape == (1, 21)


def test_motion_distance_orders_systems(clips):
    real = clips.targets
    shaken = real + 0.05 * np.random.default_rng(0).standard_normal(real.shape)
    still = np.repeat(real[:, :1], real.shape[1], axis=1)
    assert frrea_motion(real, real) == pytest.approx(0.0, abs=1e-6)
    assert frrea_motion(real, real + 1e-3 * (shaken - real)) < 0.1 < frrea_motion(real, still)
    assert frrea_motion(real, shaken) > 0.1
    # Rescaling a channel changes nothing, because features are standardised.
    scale = np.linspace(1, 30, 25)
    assert frrea_motion(real * scale, still * scale) == pytest.approx(frrea_motion(real, still), rel=1e-4)


def test_bad_input():
    with pytest.raises(ValueError, match=r"features must have shape \(samples, features\), at least two samples"):
        frrea(np.zeros((1, 4)), np.zeros((5, 4)))
    with pytest.raises(ValueError, match="must have the 4 features of real_features; it has 3"):
        frrea(np.zeros((5, 4)), np.zeros((5, 3)))
    with pytest.raises(ValueError, match="NaN or infinite"):
        frrea(np.full((5, 4), np.nan), np.zeros((5, 4)))
    with pytest.raises(ValueError, match="at least 2 frames"):
        motion_features(np.zeros((1, 25)))
