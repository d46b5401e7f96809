"""NOTICE names what an installation brings, and what npm is asked for."""

from __future__ import annotations

import json
import re
from pathlib import Path


ROOT = Path(__file__).resolve().parents[1]


def test_every_third_party_part_is_named_in_its_place() -> None:
    """Each requirement of setup.py stands below its own extra, and each npm package with its version."""
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    brought = notice[notice.index("What an installation brings") : notice.index("What a user may add")]
    places = dict(re.findall(r"^  (?:extra `)?(\w+)`?\n((?:    .*\n)+)", brought, re.M))
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    lists = dict(re.findall(r"^([A-Z]+) = \[(.*)\]$", setup, re.M))
    extras = re.findall(r'^        "(\w+)": (.+),$', setup[setup.index("extras_require") :], re.M)
    assert ["always", *(name for name, _ in extras)] == list(places)
    needed = {name: lists[listed.rpartition(" ")[2]] for name, listed in extras}
    needed["always"] = setup[setup.index("install_requires") : setup.index("extras_require")]
    for place, requirements in needed.items():
        names = re.findall(r'"([\w-]+)(?:\[\w+\])?[<>=]', requirements)
        assert names
        missing = [name for name in names if not re.search(rf"(?<![\w-]){name}(?![\w-])", places[place])]
        assert not missing, (place, missing)
    page = json.loads((ROOT / "perfrdiff_hf" / "live" / "page" / "package.json").read_text(encoding="utf-8"))
    tools = re.findall(r"([\w-]+)@(\d[\w.-]*)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert len(tools) == 2
    for name, version in [*page["dependencies"].items(), *tools]:
        assert re.search(rf"{re.escape(name)}(\.js)? {re.escape(version)}[ :]", notice), (name, version)
