"""Bars where somebody looks, one line where nobody does."""

from __future__ import annotations

import pytest

from perfrdiff_hf import progress
from perfrdiff_hf.progress import Progress, follow


def test_without_a_terminal_it_is_one_line(capsys: pytest.CaptureFixture) -> None:
    assert list(follow(range(300), "counting", "batch")) == list(range(300))
    out, err = capsys.readouterr()
    assert out == "" and err == "counting: 300 batches in 0 s\n"
    with Progress("one", 1, "clip") as bar:
        bar.update()
    assert capsys.readouterr().err == "one: 1 clip in 0 s\n"


def test_what_failed_or_was_nothing_says_nothing(capsys: pytest.CaptureFixture) -> None:
    assert list(follow([], "nothing", "clip")) == []
    with pytest.raises(RuntimeError), Progress("failing", 2, "clip") as bar:
        bar.update()
        raise RuntimeError
    assert capsys.readouterr().err == ""


def test_on_a_terminal_it_is_a_bar(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "is_watched", lambda: True)
    assert list(follow(iter("abc"), "letters", "letter", total=3)) == ["a", "b", "c"]
    assert "letters: 100%" in capsys.readouterr().err
