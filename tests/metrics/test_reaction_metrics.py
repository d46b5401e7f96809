"""The accumulator: the same figures as the functions, in any batches and processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from perfrdiff_hf.metrics import ReactionMetrics, frcorr, frdist, frdiv, frdvs, frsyn, frvar


def scores(clips, batches, repeats: int | None = None):
    metrics = ReactionMetrics(clips.targets, clips.speaker, clips.appropriate)
    for batch in batches:
        predictions = clips.predictions[batch]
        if repeats:
            predictions = np.broadcast_to(predictions[:, :1], (len(batch), repeats, 70, 25))
        metrics.update(predictions, np.array(batch))
    return metrics.compute()


def test_the_same_as_the_functions(clips):
    found = scores(clips, [[3, 0], [1, 2, 5], [4]])
    predictions, targets, speaker = clips.predictions, clips.targets, clips.speaker
    expected = {
        "FRCorr": frcorr(predictions, targets, clips.appropriate),
        "FRdist": frdist(predictions, targets, clips.appropriate),
        "FRDiv": frdiv(predictions),
        "FRDvs": frdvs(predictions),
        "FRVar": frvar(predictions),
        "FRSyn": frsyn(predictions, speaker),
        "FRSyn all": frsyn(predictions, speaker, "all"),
        "FRSyn corrected": frsyn(predictions, speaker, "corrected"),
    }
    assert list(found.values) == [*expected, "switches at borders", "switches inside"]
    means = {name: values.mean() for name, values in found.values.items() if name in expected}
    assert means == pytest.approx(expected, rel=1e-6)
    assert found.num_reactions == 3
    assert sum(found.groups["FRdist"].values()) == pytest.approx(expected["FRdist"])
    for name in ("FRCorr", "FRDiv", "FRDvs", "FRVar"):  # means over channels
        groups = found.groups[name]
        weighted = 15 * groups["action units"] + 2 * groups["valence arousal"] + 8 * groups["expressions"]
        assert weighted / 25 == pytest.approx(expected[name], rel=1e-6)


def test_batches_do_not_matter(clips):
    whole, parts = scores(clips, [[0, 1, 2, 3, 4, 5]]), scores(clips, [[5], [2, 4], [3, 0, 1]])
    for name, values in whole.values.items():
        np.testing.assert_allclose(parts.values[name], values, rtol=1e-9, err_msg=name)
    assert parts.overall == pytest.approx(whole.overall, rel=1e-6)


def test_equal_reactions_are_scored_once_and_count_for_all(clips):
    shortcut = scores(clips, [[0, 1, 2], [3, 4, 5]], repeats=4)
    metrics = ReactionMetrics(clips.targets, clips.speaker, clips.appropriate)
    metrics.update(np.repeat(clips.predictions[:, :1], 4, axis=1), np.arange(6))
    written_out = metrics.compute()
    for name, values in written_out.values.items():
        np.testing.assert_allclose(shortcut.values[name], values, rtol=1e-6, atol=1e-12, err_msg=name)
    assert shortcut.num_reactions == written_out.num_reactions == 4


def test_several_matrices(clips):
    own = np.eye(6, dtype=bool)
    metrics = ReactionMetrics(clips.targets, clips.speaker, {"MAFRG": clips.appropriate, "PMAFRG": own})
    metrics.update(clips.predictions, np.arange(6))
    values = metrics.compute().values
    assert list(values)[:4] == ["FRCorr MAFRG", "FRCorr PMAFRG", "FRdist MAFRG", "FRdist PMAFRG"]
    assert values["FRCorr PMAFRG"].mean() == pytest.approx(frcorr(clips.predictions, clips.targets, own))
    assert (values["FRdist MAFRG"] <= values["FRdist PMAFRG"]).all()


def test_share_decided_by_constant_channels(clips):
    speaker = clips.speaker.copy()
    speaker[:2, :, 7] = 1.0
    metrics = ReactionMetrics(clips.targets, speaker, clips.appropriate)
    metrics.update(clips.predictions, np.arange(6))
    found = metrics.compute()
    assert found.overall["FRSyn decided by a constant channel"] == pytest.approx(2 / 6)
    assert (found.values["FRSyn"][:2] == 49).all()


def test_bad_input(clips):
    metrics = ReactionMetrics(clips.targets, clips.speaker, clips.appropriate)
    metrics.update(clips.predictions[:2], [0, 1])
    with pytest.raises(ValueError, match="4 of 6 clips have no predictions yet, the first is clip 2"):
        metrics.compute()
    with pytest.raises(ValueError, match="scored once; clip 1 came before"):
        metrics.update(clips.predictions[:2], [1, 2])
    with pytest.raises(ValueError, match="scored once; clip 3 came before"):
        metrics.update(clips.predictions[:2], [3, 3])
    with pytest.raises(ValueError, match=r"clips must lie in 0\.\.5; it goes from 4 to 6"):
        metrics.update(clips.predictions[:2], [4, 6])
    with pytest.raises(ValueError, match="must have 3 reactions to each clip, as before; it has 2"):
        metrics.update(clips.predictions[:1, :2], [2])
    with pytest.raises(ValueError, match=r"clips must name the row of each of the 1 predictions .*shape \(2,\)"):
        metrics.update(clips.predictions[:1], [2, 3])
    with pytest.raises(ValueError, match=r"predictions must have the frames and channels of targets, \(70, 25\)"):
        metrics.update(clips.predictions[:1, :, :60], [2])
    with pytest.raises(ValueError, match="speaker must have the 6 clips of targets; it has 5"):
        ReactionMetrics(clips.targets, clips.speaker[:5], clips.appropriate)


TWO_PROCESSES = """
import sys
import numpy as np
from accelerate import Accelerator
from perfrdiff_hf.metrics import ReactionMetrics

data = np.load(sys.argv[1])
accelerator = Accelerator(cpu=True)
metrics = ReactionMetrics(data["targets"], data["speaker"], data["appropriate"], data["target_coefficients"])
with accelerator.split_between_processes(list(range(6))) as mine:
    metrics.update(data["predictions"][mine], mine, data["coefficients"][mine])
assert len(mine) == 3
metrics.gather(accelerator)
np.savez(f"{sys.argv[2]}{accelerator.process_index}.npz", **metrics.compute().values)
accelerator.end_training()
"""


def test_two_processes_find_what_one_finds(clips, tmp_path):
    (tmp_path / "script.py").write_text(TWO_PROCESSES)
    rng = np.random.default_rng(0)
    targets, coefficients = (rng.random((*shape, 70, 58), dtype=np.float32) for shape in ((6,), (6, 3)))
    np.savez(tmp_path / "data.npz", target_coefficients=targets, coefficients=coefficients, **vars(clips))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), environment.get("PYTHONPATH", "")])
    arguments = [str(tmp_path / "script.py"), str(tmp_path / "data.npz"), str(tmp_path / "found")]
    subprocess.run([*launcher, *arguments], env=environment, check=True, timeout=120)
    metrics = ReactionMetrics(clips.targets, clips.speaker, clips.appropriate, targets)
    metrics.update(clips.predictions, np.arange(6), coefficients)
    expected = metrics.compute().values
    assert "head speed" in expected
    for process in (0, 1):
        with np.load(tmp_path / f"found{process}.npz") as found:
            for name, values in expected.items():
                np.testing.assert_allclose(found[name], values, rtol=1e-9, err_msg=name)


def test_a_clip_scored_twice_is_noticed(clips):
    one, other = (ReactionMetrics(clips.targets, clips.speaker, clips.appropriate) for _ in range(2))
    one.update(clips.predictions[:4], np.arange(4))
    other.update(clips.predictions[3:], np.arange(3, 6))
    with pytest.raises(ValueError, match="Clip 3 was scored by two processes"):
        one._merge(other._state)
