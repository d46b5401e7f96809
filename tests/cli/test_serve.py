"""`perfrdiff serve`: what is asked of its command line, and what it says where something is missing."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from perfrdiff_hf.cli import main
from perfrdiff_hf.cli.serve import find_face_model
from perfrdiff_hf.live import installing


def test_misuse(misused: Any) -> None:
    misused("serve", match="give model, or install")
    misused("serve", "--model", "m", "--open", "--token", "t", match="give token or open, not both")
    misused("serve", "--model", "m", "--sessions", "0", match="must be positive")
    misused("serve", "--model", "m", "--port", "99999", match="port must lie in 1 ... 65535; given: 99999")


def test_what_is_missing(refused: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("starlette", reason="the extra [live] is not installed")
    refused("serve", "--model", "m", "--page_dir", tmp_path, match="perfrdiff serve --install")
    monkeypatch.setattr(installing, "is_installed", lambda folder: True)
    refused("serve", "--model", tmp_path / "none", "--page_dir", tmp_path, match="no saved pipeline")
    # Nobody could come in.
    for silent in ("--quiet", "--json"):
        refused("serve", "--model", "m", "--page_dir", tmp_path, "--host", "0.0.0.0", silent, match="Give a token")
    refused(
        "serve", "--model", "m", "--page_dir", tmp_path, "--token", "my secret", match="token must be made of letters"
    )
    monkeypatch.setenv("PATH", "")
    refused("serve", "--install", "--page_dir", tmp_path / "page", match="npm was not found")
    assert list(tmp_path.iterdir()) == []


def test_the_address_that_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("starlette", reason="the extra [live] is not installed")
    monkeypatch.setenv("PERFRDIFF_HOME", str(tmp_path))
    monkeypatch.setattr(installing, "is_installed", lambda folder: True)
    monkeypatch.setattr("perfrdiff_hf.cli.serve.load_models", lambda names, device: {"tiny": None})
    monkeypatch.setattr("perfrdiff_hf.live.server.run_server", lambda app, host, port: app)
    for words, address in (((), "http://127.0.0.1:8000/ "), (("--host", "::1"), "http://[::1]:8000/ ")):
        assert main(["serve", "--model", "tiny", "--page_dir", str(tmp_path), *words]) == 0
        assert address in capsys.readouterr().out


def test_the_face_model_is_the_one_given_or_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERFRDIFF_HOME", str(tmp_path))
    assert find_face_model(None) is None
    downloaded, given = tmp_path / "face_landmarker.task", tmp_path / "given.task"
    downloaded.touch()
    assert find_face_model(None) == downloaded
    with pytest.raises(FileNotFoundError, match="perfrdiff track --download_model"):
        find_face_model(given)
    given.touch()
    assert find_face_model(given) == given


def test_install_takes_what_npm_brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With npm's part played here: the lock file is there, nothing may run, and files come to their places."""
    calls = []

    def npm(words: list[str], cwd: str, **options: Any) -> subprocess.CompletedProcess:
        calls.append(words[1:])
        assert (Path(cwd) / "package-lock.json").is_file()
        for packaged in installing.VENDORED.values():
            path = Path(cwd) / "node_modules" / packaged
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(packaged)
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(installing.shutil, "which", lambda name: "/usr/bin/npm")
    monkeypatch.setattr(installing.subprocess, "run", npm)
    folder = tmp_path / "cache" / "page"
    assert main(["serve", "--install", "--page_dir", str(folder)]) == 0
    assert installing.is_installed(folder) and calls[0][:2] == ["ci", "--ignore-scripts"]
    assert (folder / "three.module.js").read_text() == "three/build/three.module.js"


def test_install_says_why_npm_failed(refused: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "npm error code EINTEGRITY\nnpm error sha512 differs\n")
    monkeypatch.setattr(installing.shutil, "which", lambda name: "/usr/bin/npm")
    monkeypatch.setattr(installing.subprocess, "run", lambda *words, **options: failed)
    refused("serve", "--install", "--page_dir", tmp_path / "page", match="sha512 differs")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    refused("serve", "--install", "--page_dir", tmp_path / "mine", match="holds something else")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_versions_are_exact_and_without_telemetry() -> None:
    import json

    asked = json.loads((installing.PAGE / "package.json").read_text())["dependencies"]
    locked = json.loads((installing.PAGE / "package-lock.json").read_text())["packages"]
    for name, version in asked.items():
        assert locked[f"node_modules/{name}"]["version"] == version
        assert locked[f"node_modules/{name}"]["integrity"].startswith("sha512-")
    assert asked["@mediapipe/tasks-vision"] == "0.10.35"
