from __future__ import annotations

import numpy as np
import pytest
import soundfile

from perfrdiff_hf.data.audio import mfcc_features, read_audio
from tests.golden_files import golden_folder, if_shared


GOLDEN = ("short_padded_48000", "quiet_22050", *if_shared("mono_16000", "stereo_44100"))


@pytest.fixture
def noise():
    return np.random.default_rng(0).uniform(-0.3, 0.3, 16000 * 2).astype(np.float32)


@pytest.mark.parametrize("name", GOLDEN)
def test_features_agree_with_the_published_loader(name):
    case = np.load(golden_folder(f"mfcc/{name}.npz") / "mfcc" / f"{name}.npz")
    waveform = case["waveform_int16"].astype(np.float32) / 32768
    features = mfcc_features(waveform, int(case["sample_rate"]), int(case["n_frames"]))
    assert features.dtype == np.float32
    # The published loader computes in float32 throughout.
    np.testing.assert_allclose(features, case["features"], atol=2e-4, rtol=0)


def test_features_of_real_speech_agree(golden, realdata):
    case = np.load(golden / "mfcc" / "jfk_16000.npz")
    waveform, sample_rate = read_audio(realdata / "speech" / "jfk_16k_mono.wav")
    features = mfcc_features(waveform, sample_rate, int(case["n_frames"]))
    np.testing.assert_allclose(features, case["features"], atol=1e-3, rtol=0)


@pytest.mark.parametrize("sample_rate", [8000, 11025, 16000, 22050, 44100, 48000, 12345])
def test_a_frame_depends_on_its_own_sound_only(sample_rate):
    per_frame = int(sample_rate / 25)
    sound = np.random.default_rng(1).uniform(-1, 1, (per_frame * 5, 2)).astype(np.float32)
    whole = mfcc_features(sound, sample_rate, 5)
    pieces = [mfcc_features(sound[i * per_frame : (i + 1) * per_frame], sample_rate, 1)[0] for i in range(5)]
    np.testing.assert_allclose(whole, pieces, atol=1e-4)


def test_first_coefficient_is_the_log_energy_of_each_subframe():
    time = np.arange(640) / 16000
    tone = 0.5 * np.sin(2 * np.pi * 400 * time)  # whole periods in 25 ms, so no constant part
    features = mfcc_features(tone, 16000, 1)[0]
    np.testing.assert_allclose(features[:2], np.log(0.25 / 2 * 400), rtol=1e-5)
    assert mfcc_features(tone / 1000, 16000, 1)[0, 0] == 0  # energy below 1 counts as 1


def test_deltas_follow_from_two_subframes(noise):
    parts = mfcc_features(noise, 16000, 50).reshape(50, 3, 13, 2)
    difference = 0.3 * (parts[:, 0, :, 1] - parts[:, 0, :, 0])
    np.testing.assert_allclose(parts[:, 1], np.stack([difference, difference], -1), atol=1e-5)
    assert not parts[:, 2].any()


def test_channels_are_averaged_and_ends_are_padded_or_cut(noise):
    mono = mfcc_features(noise, 16000, 50)
    np.testing.assert_allclose(mfcc_features(np.stack([noise, noise], 1), 16000, 50), mono, atol=1e-4)
    np.testing.assert_array_equal(mfcc_features(noise, 16000, 20), mono[:20])
    padded = mfcc_features(noise, 16000, 60)
    np.testing.assert_array_equal(padded[:50], mono)
    np.testing.assert_array_equal(padded[50:], mfcc_features(np.zeros(640 * 10, np.float32), 16000, 10))


@pytest.mark.parametrize(
    ("waveform", "sample_rate", "num_frames", "error", "says"),
    [
        (np.zeros(100, np.int16), 16000, 1, TypeError, "int16"),
        (np.zeros((2, 100, 1)), 16000, 1, ValueError, r"\(2, 100, 1\)"),
        (np.zeros((2, 100)), 16000, 1, ValueError, "transposed"),
        (np.full(100, np.nan), 16000, 1, ValueError, "finite"),
        (np.full(100, 3000.0), 16000, 1, ValueError, "3000"),
        (np.zeros(100), 4000, 1, ValueError, "sample_rate must be at least 8000"),
        (np.zeros(100), 16000, 0, ValueError, "num_frames"),
    ],
)
def test_bad_sound_is_refused(waveform, sample_rate, num_frames, error, says):
    with pytest.raises(error, match=says):
        mfcc_features(waveform, sample_rate, num_frames)


def test_reading_sound(tmp_path):
    samples = np.random.default_rng(0).uniform(-0.9, 0.9, (100, 2))
    soundfile.write(tmp_path / "two.wav", samples, 22050)
    waveform, sample_rate = read_audio(tmp_path / "two.wav")
    assert (waveform.shape, waveform.dtype, sample_rate) == ((100, 2), np.float32, 22050)
    np.testing.assert_allclose(waveform, samples, atol=1 / 32767)
    (tmp_path / "broken.wav").write_bytes(b"RIFF, but no more")
    soundfile.write(tmp_path / "empty.wav", np.zeros((0, 1)), 22050)
    for name, error in (("none.wav", FileNotFoundError), ("broken.wav", ValueError), ("empty.wav", ValueError)):
        with pytest.raises(error, match=name):
            read_audio(tmp_path / name)
