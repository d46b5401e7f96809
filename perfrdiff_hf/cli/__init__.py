"""The command `perfrdiff`: one file for each of its commands, listed here.

A command's file has a docstring, which is its help, `add_arguments(parser)` and `run(options)`. Where options depend
on each other it has `check_options(options)`, and one that takes words beside its options has
`take_rest(options, rest)`. What is heavy is imported in `run`, so that help and mistakes in the command line are
answered at once.

Options are spelled with underscores, and hyphens are understood. What the user can mend is one line on standard error,
`error: ...`, and exit code 1; a command line that makes no sense ends with 2, and ctrl-c with 130.

Every command takes `--quiet`, with which it says nothing but errors, and `--json`, with which it prints one JSON
object at its end and nothing else: `ok`, and what its `run` gave back, or what was wrong as `error`.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import io
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from types import ModuleType
from typing import Any


COMMANDS = {
    "world": "write a synthetic world of speakers and listeners",
    "check": "check a folder of recorded dyads",
    "similarity": "compute which reactions are appropriate where nobody has said so",
    "train": "train models, one stage or all",
    "evaluate": "score a model, or predictions of any system",
    "react": "react to a speaker: video, sound or tracks in, all formats out",
    "personalise": "a video or track of a listener to a listener that react takes",
    "track": "a video of a face to a face track",
    "render": "draw a speaker and reactions, as a video or a picture",
    "avatar": "put a face track on an avatar: a file, or live over the network",
    "serve": "a page in the browser: speak, and see listeners react",
    "convert": "convert the authors' checkpoints",
    "demo": "the whole method on a small synthetic world",
}
# What a user can mend; anything else is a fault of the program and keeps its traceback.
MENDABLE = (ValueError, TypeError, OSError, ImportError, FloatingPointError)
INTERRUPTED = 130  # as shells have it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: the words after `perfrdiff`; by default those of this process.

    Returns:
        The exit code.

    Raises:
        SystemExit: after help or a usage error of a command, and when training was interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        print(overview())
        return 0 if words else 2
    if words[0] == "--version":
        package = __name__.partition(".")[0]  # the front door, which no room imports from
        print(f"{package} {sys.modules[package].__version__}")
        return 0
    name, *rest = words
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        print(f"error: there is no command {name}.{meant} Commands: {', '.join(COMMANDS)}.", file=sys.stderr)
        return 2
    module = importlib.import_module(f".{name}", __name__)
    return _run(module, parse(module, name, rest))


def overview() -> str:
    """What commands there are."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        ["usage: perfrdiff COMMAND ...", "", *lines, "", "perfrdiff COMMAND --help says more. --version: the version."]
    )


def parse(module: ModuleType, name: str, words: Sequence[str]) -> argparse.Namespace:
    """The options of a command.

    Raises:
        SystemExit: after help, or with code 2 if the words make no sense.
    """
    parser = argparse.ArgumentParser(
        prog=f"perfrdiff {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    saying = parser.add_argument_group("what is said").add_mutually_exclusive_group()
    saying.add_argument("--quiet", action="store_true", help="nothing but errors")
    saying.add_argument("--json", action="store_true", help="one JSON object on standard output, and nothing else")
    options, rest = parser.parse_known_args(underscored(words))
    try:
        if hasattr(module, "take_rest"):
            module.take_rest(options, rest)
        elif rest:
            raise argparse.ArgumentTypeError(f"unrecognized arguments: {' '.join(rest)}")
        if hasattr(module, "check_options"):
            module.check_options(options)
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))
    return options


def underscored(words: Sequence[str]) -> list[str]:
    """The words with the names of options in one spelling: `--num-proc=2` is `--num_proc=2`."""
    spelled = []
    for word in words:
        if word.startswith("--") and word != "--":
            name, equals, value = word[2:].partition("=")
            word = f"--{name.replace('-', '_')}{equals}{value}"
        spelled.append(word)
    return spelled


def _run(module: ModuleType, options: argparse.Namespace) -> int:
    failure = 1
    try:
        with _manner(options.quiet or options.json):
            done = module.run(options)
    except MENDABLE as error:
        print(f"error: {error}", file=sys.stderr)
        outcome: dict[str, Any] = {"ok": False, "error": str(error)}
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        failure, outcome = INTERRUPTED, {"ok": False, "error": "interrupted"}
    else:
        outcome = {"ok": True, **(done if isinstance(done, Mapping) else {})}
    if options.json:
        print(json.dumps(outcome, default=str))
    return 0 if outcome["ok"] else failure


@contextmanager
def _manner(is_silent: bool) -> Iterator[None]:
    """How much is said while a command runs."""
    from ..progress import quieten_libraries, silenced

    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    # Of several training processes, one speaks.
    speaks = os.environ.get("RANK", "0") == "0" and not is_silent
    logging.getLogger("perfrdiff_hf").setLevel(logging.INFO if speaks else logging.ERROR)
    if not is_silent:
        quieten_libraries()
        yield
        return
    with silenced(), redirect_stdout(io.StringIO()):
        quieten_libraries()
        yield
