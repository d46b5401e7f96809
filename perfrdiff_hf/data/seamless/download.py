"""Single files of the release over the network: features, voice activity, transcripts, and sound as features.

Only what was asked for is fetched. Each file appears whole or not at all, so that the same command goes on where an
interrupted one stopped. A file that the server does not have is counted, never fatal.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from http.client import HTTPException
from itertools import islice
from pathlib import Path
from typing import Literal
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from ...files import file_beside, remove_leftovers
from ...progress import follow
from .layout import (
    BASE_URL,
    FEATURES,
    LIST_FILE,
    LIST_URL,
    PROMPTS_FILE,
    audio_features_path,
    begin_folder,
    check_license,
    check_place,
    feature_path,
    metadata_path,
    sound_path,
)
from .names import FACES_OF, FileName, ListedFile, conversations_of, read_list
from .sound import keep_features


MOST_WORKERS = 16
TRIES = 3
TIMEOUT = 60.0
PIECE = 1 << 18
# What the server answers for what it does not have.
ABSENT = (403, 404)
Sound = Literal["features", "keep", "none"]


def select_files(
    listed: Iterable[ListedFile], label: str, split: str, sessions: Sequence[str] = (), most: int | None = None
) -> list[FileName]:
    """The files of whole conversations with faces that a list has of a label and split.

    Args:
        listed: lines of a list; those that do not tell label and split are taken for the asked ones.
        label: "improvised" or "naturalistic".
        split: "train", "dev" or "test".
        sessions: only these, such as S0809; empty: all.
        most: at most so many conversations, the first ones; None: all.

    Raises:
        ValueError: if nothing is left; the message says why.
    """
    there = [file.name for file in listed if file.label in (None, label) and file.split in (None, split)]
    if not there:
        raise ValueError(f"The list has nothing of {label}/{split}.")
    faces = [name for name in there if name.vendor == FACES_OF]
    if not faces:
        vendors = ", ".join(sorted({name.vendor for name in there}))
        raise ValueError(f"The list has {vendors} only, whose people have no face features; {FACES_OF} has.")
    if absent := sorted(set(sessions) - {name.session for name in faces}):
        raise ValueError(f"sessions: {', '.join(absent)} are not among those of {FACES_OF} in {label}/{split}.")
    pairs, _ = conversations_of(name for name in faces if not sessions or name.session in sessions)
    if not pairs:
        raise ValueError(f"The list has no conversation of two people with faces in {label}/{split}.")
    return [name for pair in pairs[:most] for name in pair]


class Download:
    """Fetches files of one label and split into a folder.

    Args:
        output: the folder to fill.
        label: "improvised" or "naturalistic".
        split: "train", "dev" or "test", as the release calls it.
        accept: the name of the licence, to confirm it.
        sound: "features" turns each wav into audio features and keeps these; "keep" keeps the wav, too; "none" leaves
            the sound out.
        workers: files at a time, 1 to 16.
        base_url: of the server.

    Raises:
        ValueError: if the licence was not confirmed or an argument is wrong.
        OSError: if the folder cannot be made.
    """

    def __init__(
        self,
        output: str | Path,
        label: str,
        split: str,
        accept: str | None,
        sound: Sound = "features",
        workers: int = 4,
        base_url: str = BASE_URL,
    ) -> None:
        check_license(accept)
        check_place(label, split)
        if not 1 <= workers <= MOST_WORKERS:
            raise ValueError(f"workers must lie between 1 and {MOST_WORKERS}; given: {workers}.")
        self.root = begin_folder(output)
        self.place = self.root / label / split
        self.label, self.split = label, split
        self.sound = sound
        self.workers = workers
        self.base_url = base_url.rstrip("/")
        self.bytes = 0
        self._lock = threading.Lock()

    def list_of_files(self, path: str | Path | None = None, url: str = LIST_URL) -> list[ListedFile]:
        """The list of a file, or the release's own, which is fetched once.

        A list that tells splits is kept in the folder: by it the loader knows who stands in two of them.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if it is no list of the release.
        """
        kept = self.root / LIST_FILE
        if path is None:
            if not kept.is_file() and not self._fetch(url, kept):
                raise FileNotFoundError(f"There is no list at {url}; give one by its path.")
            return read_list(kept)
        listed = read_list(path)
        if not kept.is_file() and all(file.split is not None for file in listed):
            with file_beside(kept) as beside:
                shutil.copyfile(path, beside)
        return listed

    def run(self, names: Sequence[FileName]) -> Counter[str]:
        """Fetch everything of these people; what was there already is not fetched again.

        Returns:
            How many files were fetched, were there before, are missing on the server, and have no sound.

        Raises:
            OSError: if the server cannot be reached, or the disk is full; what was finished stays.
        """
        counts: Counter[str] = Counter()
        if not (self.root / PROMPTS_FILE).is_file():
            self._fetch(f"{self.base_url}/{PROMPTS_FILE}", self.root / PROMPTS_FILE)
        for folder in {path.parent for name in names for _, path in self._wanted(name)}:
            folder.mkdir(parents=True, exist_ok=True)
            remove_leftovers(folder)
        for found in follow(self._all(names), f"fetching {self.label}/{self.split}", "person", len(names)):
            counts.update(found)
        return counts

    def _all(self, names: Sequence[FileName]) -> Iterable[Counter[str]]:
        """What became of each person's files; no more of them wait than are fetched at a time."""
        coming = iter(names)
        pool = ThreadPoolExecutor(self.workers)
        waiting: set[Future[Counter[str]]] = set()
        try:
            while True:
                waiting |= {pool.submit(self._person, name) for name in islice(coming, self.workers - len(waiting))}
                if not waiting:
                    return
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:
            pool.shutdown(cancel_futures=True)

    def _person(self, name: FileName) -> Counter[str]:
        counts: Counter[str] = Counter()
        for url, path in self._wanted(name):
            if path.is_file():
                counts["there before"] += 1
            elif self._fetch(url, path):
                counts["fetched"] += 1
            else:
                counts["missing"] += 1
        if self.sound != "none":
            counts[self._hear(name)] += 1
        return counts

    def _wanted(self, name: FileName) -> list[tuple[str, Path]]:
        paths = [feature_path(self.place, feature, name) for feature in FEATURES]
        paths += [metadata_path(self.place, kind, name) for kind in ("vad", "transcript")]
        return [(f"{self.base_url}/{path.relative_to(self.root).as_posix()}", path) for path in paths]

    def _hear(self, name: FileName) -> str:
        """Fetch a wav and keep its features; what became of it."""
        features, wav = audio_features_path(self.place, name), sound_path(self.place, name)
        if features.is_file() and (self.sound != "keep" or wav.is_file()):
            return "there before"
        wav.parent.mkdir(parents=True, exist_ok=True)
        url = f"{self.base_url}/{wav.relative_to(self.root).as_posix()}"
        if not wav.is_file() and not self._fetch(url, wav):
            return "missing"
        heard = keep_features(wav, features)
        if self.sound != "keep" or not heard:
            wav.unlink()
        return "fetched" if heard else "without sound"

    def _fetch(self, url: str, path: Path) -> bool:
        """Fetch one file; False if the server does not have it."""
        for attempt in range(TRIES):
            try:
                with file_beside(path) as beside:
                    self._stream(url, beside)
                return True
            except HTTPError as error:
                if error.code in ABSENT:
                    return False
                failure: Exception = error
            except (URLError, HTTPException, TimeoutError, ConnectionError) as error:
                failure = error
            except OSError as error:
                raise OSError(f"{path} cannot be written ({error}); the same command goes on from here.") from error
            time.sleep(0.2 * attempt)
        raise OSError(f"{url} cannot be fetched after {TRIES} tries: {failure}. The same command goes on from here.")

    def _stream(self, url: str, path: Path) -> None:
        with urlopen(Request(url, headers={"User-Agent": "perfrdiff_hf"}), timeout=TIMEOUT) as answer:
            expected = answer.headers.get("Content-Length")
            received = 0
            with open(path, "wb") as file:
                while piece := answer.read(PIECE):
                    file.write(piece)
                    received += len(piece)
        if expected is not None and received != int(expected):
            raise ConnectionError(f"the connection ended after {received} of {expected} bytes")
        with self._lock:
            self.bytes += received
