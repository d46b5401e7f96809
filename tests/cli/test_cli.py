"""The command itself: what it lists, how long that takes, and one spelling of errors and options."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from perfrdiff_hf.cli import COMMANDS, main, underscored


PACKAGE = Path(importlib.import_module("perfrdiff_hf.cli").__file__).parent


def test_every_command_is_a_file_with_help(capsys: pytest.CaptureFixture) -> None:
    helpers = {"__init__", "__main__", "options"}
    assert {path.stem for path in PACKAGE.glob("*.py")} - helpers == set(COMMANDS)
    for name in COMMANDS:
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: perfrdiff {name}")


def test_the_overview_comes_at_once() -> None:
    """Without the libraries that take their time; what is left are 0.05 seconds of Python's own."""
    code = "import sys; from perfrdiff_hf.cli import main; main(['--help']); assert 'numpy' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_does_not_wait_for_the_libraries(name: str) -> None:
    code = f"""
import sys
from perfrdiff_hf.cli import main
try:
    main(["{name}", "--help"])
except SystemExit:
    assert not {{"torch", "datasets", "diffusers"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_lists_that_help_shows_without_libraries_are_whole() -> None:
    """What `--help` lists is written down a second time, so that it need not import what it lists."""
    from perfrdiff_hf.cli import avatar, react, track
    from perfrdiff_hf.faces.formats import FORMATS
    from perfrdiff_hf.live.senders import PROTOCOLS

    written = {form.name: form.suffix for form in FORMATS if form.write or form.write_motion}
    assert {*react.FORMATS, "react2024"} == set(written) and "react2024" not in react.FORMATS
    for listed in (track.FORMATS, avatar.FORMATS):
        assert set(listed.values()) < set(written)
        assert all(written[name] == suffix or name == "react2024" for suffix, name in listed.items())
    assert set(avatar.PROTOCOLS) == set(PROTOCOLS)


def test_unknown_commands_and_none(capsys: pytest.CaptureFixture) -> None:
    assert main(["evalate"]) == 2
    assert "error: there is no command evalate. Did you mean evaluate?" in capsys.readouterr().err
    assert main([]) == 2
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("perfrdiff_hf 0.")


def test_unknown_options_are_usage_errors(misused) -> None:
    misused("check", "somewhere", "--num_porc", "2", match="unrecognized arguments: --num_porc 2")
    # Not taken for --num_proc.
    misused("check", "somewhere", "--num", "2", match="unrecognized arguments: --num")
    misused("similarity", "somewhere", "--write", match="--write needs a --threshold")


def test_a_missing_folder_is_not_looked_for_in_the_network(tmp_path: Path, monkeypatch, refused) -> None:
    asked = []

    def ask(name: str) -> None:
        asked.append(name)
        raise OSError("nothing there")

    monkeypatch.setattr("perfrdiff_hf.baselines.load_system", ask)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo_output").mkdir()
    words = ("personalise", "alice.npy", "--output", "alice", "--model")
    refused(*words, "demo_output/model", match="There is no saved pipeline at demo_output/model")
    assert asked == []
    refused(*words, "somebody/model", match="There is no folder somebody/model, and the Hub gives no pipeline")
    assert asked == ["somebody/model"]


def test_an_interruption_is_one_line(tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture) -> None:
    def interrupt(*given: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("perfrdiff_hf.synthetic.world.write_synthetic_world", interrupt)
    assert main(["world", str(tmp_path / "world")]) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def test_one_spelling_of_options() -> None:
    assert underscored(["--num-proc", "2", "--data-dir=a-b", "-x", "c-d", "--stages.emotion-vae.max-steps=3"]) == [
        "--num_proc", "2", "--data_dir=a-b", "-x", "c-d", "--stages.emotion_vae.max_steps=3",
    ]  # fmt: skip


def test_a_world_is_written_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture, refused, monkeypatch) -> None:
    from perfrdiff_hf.synthetic import world
    from perfrdiff_hf.synthetic.cast import WorldSize

    size = WorldSize(dyads=(1, 1, 1), clips=2, scripts=(1, 1, 1), sample_rate=8000, sound="ULAW")
    monkeypatch.setitem(world.SIZES, "demo", size)
    folder = str(tmp_path / "world")
    assert main(["world", folder, "--num-proc", "1"]) == 0
    assert f"A demo world lies in {folder}." in capsys.readouterr().out
    assert main(["check", folder, "--num-proc", "1"]) == 0
    assert "No problems" in capsys.readouterr().out
    refused("world", folder, match="not empty")
    refused("world", tmp_path / "other", "--size", "huge", match="size must be one of")
    next(Path(folder).rglob("*.wav")).unlink()
    assert main(["check", folder, "--num-proc", "1"]) == 1
    assert "missing" in capsys.readouterr().out
    refused("check", tmp_path / "nowhere", match="is not a folder")


def test_similarity_is_measured_and_written(own_world: Path, capsys: pytest.CaptureFixture, refused) -> None:
    words = ["similarity", str(own_world), "--split", "test", "--cache_dir", str(own_world / "cache")]
    assert main(words) == 0
    assert "precision  recall" in capsys.readouterr().out
    refused(*words, "--threshold", "8", "--write", match="has a matrix for test already")
    (own_world / "Approprirate_facial_reaction.npy").unlink()
    assert main([*words, "--threshold", "8", "--write"]) == 0
    assert (own_world / "neighbour_emotion_test.npy").is_file()


@pytest.fixture
def own_world(tmp_path: Path) -> Path:
    from perfrdiff_hf.synthetic.world import WorldSize, write_synthetic_world

    size = WorldSize(dyads=(1, 1, 1), clips=2, scripts=(1, 1, 1), sample_rate=8000, sound="ULAW")
    return write_synthetic_world(tmp_path / "own", size, seed=0)
