r"""Get Seamless Interaction, whose licence (CC BY-NC 4.0) everybody can accept.

    python -m perfrdiff_hf.data.seamless pairs LIST.csv
    python -m perfrdiff_hf.data.seamless download --label improvised --split dev --sessions S0809 --output DIR \
        --accept cc-by-nc-4.0
    python -m perfrdiff_hf.data.seamless import TARS ... --label improvised --split dev --output DIR \
        --accept cc-by-nc-4.0
    python -m perfrdiff_hf.data.seamless index DIR

`pairs` counts the conversations of a list, as json. `download` fetches single files, about 1 MB for each person and
conversation, and turns sound into features; started again it goes on. `import` takes tars or folders that are there.
`index` looks through a folder and says what can be used; the other two do so at their end. Then
`load_dyads("seamless", DIR, "val")` reads it.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .download import MOST_WORKERS, Download, Sound, select_files
from .importing import import_files
from .index import index_of
from .layout import BASE_URL, LABELS, RELEASE_SPLITS, TERMS, places
from .names import count_pairs, read_list


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 1 if something has to be mended, in one line on standard error."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        options.run(options)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m perfrdiff_hf.data.seamless",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    pairs = commands.add_parser("pairs", help="count the conversations of a list")
    pairs.add_argument("list", help="filelist.csv, or an early list of pairs")
    pairs.set_defaults(run=_pairs)
    download = commands.add_parser("download", help="fetch single files")
    _add_place(download)
    download.add_argument("--list", help="filelist.csv or a list of pairs (default: the release's own, fetched)")
    download.add_argument("--sessions", nargs="+", default=[], help="only these, such as S0809 (default: all)")
    download.add_argument("--conversations", type=int, help="at most so many (default: all)")
    sound = download.add_mutually_exclusive_group()
    sound.add_argument("--keep_sound", action="store_true", help="keep the wav beside its features")
    sound.add_argument("--no_sound", action="store_true", help="leave the sound out")
    download.add_argument("--workers", type=int, default=4, help=f"files at a time, up to {MOST_WORKERS} (default 4)")
    download.add_argument("--base_url", default=BASE_URL, help="another server with the same files")
    download.set_defaults(run=_download)
    bring = commands.add_parser("import", help="take tars or folders that are there")
    bring.add_argument("sources", nargs="+", help="tars, or folders with tars or with <id>.npz, .json, .wav")
    _add_place(bring)
    bring.set_defaults(run=_import)
    index = commands.add_parser("index", help="look through a folder again")
    index.add_argument("data_dir", type=Path)
    index.set_defaults(run=_index)
    return parser


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--label", required=True, choices=LABELS)
    parser.add_argument("--split", required=True, choices=tuple(RELEASE_SPLITS.values()))
    parser.add_argument("--output", required=True, type=Path, help="the folder to fill")
    parser.add_argument("--accept", help="the licence that you accept, cc-by-nc-4.0")


def _pairs(options: argparse.Namespace) -> None:
    print(json.dumps(count_pairs(file.name for file in read_list(options.list)), indent=2))


def _download(options: argparse.Namespace) -> None:
    sound: Sound = "keep" if options.keep_sound else "none" if options.no_sound else "features"
    job = Download(
        options.output, options.label, options.split, options.accept, sound, options.workers, options.base_url
    )
    print(TERMS)
    names = select_files(
        job.list_of_files(options.list), options.label, options.split, options.sessions, options.conversations
    )
    _tell(job.run(names))
    print(f"{job.bytes / 1e6:.1f} MB came over the network for {len(names)} people in {len(names) // 2} conversations")
    _describe(job.place)


def _import(options: argparse.Namespace) -> None:
    counts = import_files(options.sources, options.output, options.label, options.split, options.accept)
    print(TERMS)
    _tell(counts)
    _describe(options.output / options.label / options.split)


def _index(options: argparse.Namespace) -> None:
    found = places(options.data_dir)
    if not found:
        raise FileNotFoundError(f"{options.data_dir} has no <label>/<split> of the release.")
    for place in found:
        _describe(place)


def _tell(counts: Counter[str]) -> None:
    print(", ".join(f"{what} {count}" for what, count in sorted(counts.items())))


def _describe(place: Path) -> None:
    """Look through a folder, and say in two lines what it holds."""
    index = index_of(place, again=True)
    clips = sum(len(meeting.starts) for meeting in index.meetings)
    known = sum(meeting.roles is not None for meeting in index.meetings)
    print(
        f"{place.parent.name}/{place.name}: {len(index.meetings)} conversations with {clips} clips of 30 s, "
        f"roles known in {known}"
    )
    if index.problems:
        counted = Counter(problem.kind for problem in index.problems)
        print("left out: " + ", ".join(f"{kind} {count}" for kind, count in sorted(counted.items())))


if __name__ == "__main__":
    sys.exit(main())
