"""Fetching single files from a server on the loopback address: bounded, resumable, whole or not at all."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perfrdiff_hf import load_dyads
from perfrdiff_hf.data.seamless import download as download_module
from perfrdiff_hf.data.seamless.__main__ import main
from perfrdiff_hf.data.seamless.download import Download, select_files
from perfrdiff_hf.data.seamless.names import parse_name, read_list
from perfrdiff_hf.synthetic.seamless import FAULTS
from tests.seamless_server import FileServer


ACCEPT = "cc-by-nc-4.0"
ALONE = f"I{90_000_000 + FAULTS.index('alone')}"  # one person without a partner, whom nobody downloads


@pytest.fixture
def server(seamless_release: Path) -> Iterator[FileServer]:
    with FileServer(seamless_release) as running:
        yield running


def files_below(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def words(server: FileServer, output: Path, *more: str) -> list[str]:
    place = ["--label", "improvised", "--split", "train", "--output", str(output), "--base_url", server.url]
    return ["download", *place, "--list", str(server.folder / "filelist.csv"), "--accept", ACCEPT, *more]


def test_a_session_comes_whole_and_a_second_time_nothing_does(
    server: FileServer, seamless_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    output = tmp_path / "out"
    assert main(words(server, output, "--sessions", "S0000", "--workers", "2")) == 0
    said = capsys.readouterr().out
    assert "CC BY-NC 4.0" in said and "missing 1" in said and "without sound 1" in said
    assert (output / "LICENSE.txt").is_file() and ACCEPT in (output / "seamless.json").read_text()
    assert server.most_at_once <= 2
    found = files_below(output)
    assert not [name for name in found if name.endswith(".wav") or "partial" in name]
    assert not [name for name in server.requests if "S0001" in name or "dev/" in name]
    # What came over the network is what came from the tars.
    for name, content in files_below(seamless_folder).items():
        if "S0000" in name and ALONE not in name:
            assert found[name] == content, name
    asked = len(server.requests)
    assert main(words(server, output, "--sessions", "S0000")) == 0
    # Only what the server did not have, or was no sound, is asked for again.
    assert len(server.requests) - asked == 2


def test_it_goes_on_where_it_was_interrupted(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    whole, output = tmp_path / "whole", tmp_path / "out"
    assert main(words(server, whole, "--sessions", "S0001")) == 0
    server.sent, server.cut_after_bytes = 0, 1_000_000
    assert main(words(server, output, "--sessions", "S0001", "--workers", "2")) == 1
    assert "cannot be fetched after 3 tries" in capsys.readouterr().err
    before = files_below(output)
    expected = files_below(whole)
    assert 0 < len(before) < len(expected)
    assert all(expected[name] == content for name, content in before.items())  # nothing is half there
    server.cut_after_bytes = None
    server.requests.clear()
    assert main(words(server, output, "--sessions", "S0001")) == 0
    assert files_below(output) == expected
    assert not {name for name in before if name.endswith(".npy")} & set(server.requests)


def test_the_sound_is_kept_or_left_out_on_demand(server: FileServer, tmp_path: Path) -> None:
    assert main(words(server, tmp_path / "kept", "--sessions", "S0002", "--keep_sound")) == 0
    kept = files_below(tmp_path / "kept")
    assert sum(name.endswith(".wav") for name in kept) == sum("audio_features" in name for name in kept) == 2
    assert main(words(server, tmp_path / "without", "--sessions", "S0002", "--no_sound")) == 0
    assert not [name for name in files_below(tmp_path / "without") if "audio" in name]


def test_sound_that_comes_later_is_found(server: FileServer, tmp_path: Path) -> None:
    output, cache = tmp_path / "out", tmp_path / "cache"
    given = words(server, output, "--sessions", "S0002", "S0003")
    assert main([*given, "--no_sound"]) == 0
    with pytest.raises(ValueError, match="has no sound of train"):
        load_dyads("seamless", output, "train", cache_dir=cache)
    assert main(given) == 0
    assert "audio" in load_dyads("seamless", output, "train", cache_dir=cache).dataset.column_names
    assert (output / "filelist.csv").is_file() and (output / "interactions.csv").is_file()


def test_the_list_is_fetched_once_and_kept(server: FileServer, tmp_path: Path) -> None:
    job = Download(tmp_path, "improvised", "dev", ACCEPT, base_url=server.url)
    listed = job.list_of_files(url=f"{server.url}/filelist.csv")
    assert listed == read_list(server.folder / "filelist.csv") == job.list_of_files(url="http://127.0.0.1:1/none")
    with pytest.raises(FileNotFoundError, match="no list at"):
        Download(tmp_path / "b", "improvised", "dev", ACCEPT).list_of_files(url=f"{server.url}/nothing.csv")


def test_a_full_disk_in_the_middle_leaves_nothing_half(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    stream, written = Download._stream, []

    def filling(job: Download, url: str, path: Path) -> None:
        if len(written) == 5:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        stream(job, url, path)
        written.append(url)

    monkeypatch.setattr(Download, "_stream", filling)
    assert main(words(server, tmp_path / "out", "--sessions", "S0001", "--workers", "1")) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "No space left on device" in said and "goes on from here" in said
    found = files_below(tmp_path / "out")
    assert not [name for name, content in found.items() if "partial" in name or content == b"half"]


@pytest.mark.parametrize("accepted", [[], ["--accept", "mit"]])
def test_the_licence_must_be_confirmed(
    accepted: list[str], server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    given = [word for word in words(server, tmp_path / "out") if word not in ("--accept", ACCEPT)]
    assert main([*given, *accepted]) == 1
    said = capsys.readouterr().err
    assert "say cc-by-nc-4.0 to confirm the licence" in said and "non-commercial purposes" in said
    assert not (tmp_path / "out").exists() and not server.requests


def listed(*texts: str) -> list[Any]:
    return [download_module.ListedFile(parse_name(text), "improvised", "dev") for text in texts]


def test_what_cannot_be_selected_is_named() -> None:
    with pytest.raises(ValueError, match="V02, V03 only, whose people have no face features; V00 has"):
        select_files(listed("V03_S1_I1_P1", "V03_S1_I1_P2", "V02_S1_I1_P2"), "improvised", "dev")
    two = listed("V00_S1_I1_P1", "V00_S1_I1_P2")
    with pytest.raises(ValueError, match="nothing of improvised/test"):
        select_files(two, "improvised", "test")
    with pytest.raises(ValueError, match="S7 are not among those"):
        select_files(two, "improvised", "dev", ["S1", "S7"])
    with pytest.raises(ValueError, match="no conversation of two people"):
        select_files(two[:1], "improvised", "dev")
    assert len(select_files(two, "improvised", "dev", ["S1"])) == 2
    with pytest.raises(ValueError, match="workers must lie between 1 and 16; given: 99"):
        Download("unused", "improvised", "dev", ACCEPT, workers=99)
    with pytest.raises(ValueError, match="label must be one of"):
        Download("unused", "acted", "dev", ACCEPT)


def test_a_wav_gives_the_same_features_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import soundfile

    from perfrdiff_hf.data.audio import mfcc_features
    from perfrdiff_hf.data.seamless import sound

    heard = np.random.default_rng(0).uniform(-0.5, 0.5, 48000 * 3 + 100).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", heard, 48000, subtype="FLOAT")
    monkeypatch.setattr(sound, "FRAMES_AT_ONCE", 20)
    np.testing.assert_array_equal(sound.features_of_wav(tmp_path / "a.wav"), mfcc_features(heard, 48000, 75))
    for content in (b"", b"RIFF" + b"\0" * 54):
        (tmp_path / "b.wav").write_bytes(content)
        assert sound.features_of_wav(tmp_path / "b.wav") is None
