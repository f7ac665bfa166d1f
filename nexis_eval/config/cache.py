"""Remembers what an evaluation gave, for as long as nothing that it read has changed.

What is remembered are bytes of the caller's, in parts: the first is read whenever the record holds, the others when
they are wanted. The key is everything that decides them: the request (file, architecture, profiles, overrides), the
content of each file that was read, the files that each included directory or pattern stood for, and the program itself.

This is all that a command runs when nothing has changed, so it imports next to nothing.
"""

from __future__ import annotations

import marshal
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from nexis_eval.config.listing import list_files
from nexis_store.digest import encode_fields

_DOMAIN = b"nexis evaluation cache\x02"
_DIGEST_BYTES = 32
_PROGRAM = os.path.abspath(__file__)  # noqa: PTH100 - pathlib is slow
_SETTLED_NS = 2_000_000_000
"""A file that changed less than this before it was recorded may change again without a new time stamp."""

Stamp = tuple[int, int, int, int]
Row = tuple[str, Stamp | None, bytes | None]
"""A file that was read: its path, its time stamp if that can be trusted, the digest of its content if there is one."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for."""

    file: Path
    arch: str
    profiles: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()

    def name(self) -> str:
        """The name of the record: one a request."""
        file = os.path.abspath(self.file)  # noqa: PTH100 - no links
        # The record is in a form of this very Python's and of this program's: there may be another one elsewhere.
        parts = [sys.version, _PROGRAM, file, self.arch, *self.profiles, "", *self.overrides]
        encoded = encode_fields(_DOMAIN, [part.encode(errors="surrogateescape") for part in parts])
        return blake3(encoded).hexdigest()[:32]


def program_files() -> tuple[Path, ...]:
    """The files of the program: another program may evaluate differently."""
    package = Path(__file__).resolve().parents[1]
    store = package.with_name("nexis_store")
    return tuple(sorted((*package.rglob("*.py"), *package.glob("config/*.txt"), *store.rglob("*.py"))))


def _stamp(path: str) -> Stamp | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - called once a file, pathlib is slow
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _touched_since(path: str, began_ns: int) -> bool:
    # Kernels before 6.13 stamp with the time of the last tick, so that what changes in the very first one is not seen.
    stamp = _stamp(path)
    return stamp is not None and max(stamp[1], stamp[2]) > began_ns


def _digest(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return blake3(file.read()).digest()
    except IsADirectoryError:
        return _digest_of_names(path)
    except OSError:
        return None


def _digest_of_names(directory: str) -> bytes | None:
    """Of a directory of rules: an editor's own files in it change nothing."""
    try:
        found = os.listdir(directory)  # noqa: PTH208 - names are wanted
    except OSError:
        return None
    names = sorted(os.fsencode(name) for name in found if name.endswith((".toml", ".lock")))
    return blake3(encode_fields(_DOMAIN, names)).digest()


def row_of(path: str, now_ns: int) -> Row:
    """What has to be remembered of a file that is read now."""
    stamp = _stamp(path)
    settled = stamp is not None and max(stamp[1], stamp[2]) < now_ns - _SETTLED_NS
    return path, stamp if settled else None, _digest(path)


@dataclass(frozen=True, slots=True)
class Recalled:
    """What was remembered for a request."""

    file: str
    rows: Sequence[Row]
    listings: Sequence[tuple[str, str, tuple[str, ...]]]
    parts: Sequence[tuple[bytes, int, int]]
    """Of each the digest, where it starts in the file, and its length in bytes."""

    def part(self, number: int) -> bytes | None:
        """One of the parts that were remembered; ``None`` if it is damaged, or was replaced meanwhile."""
        digest, start, length = self.parts[number]
        try:
            with open(self.file, "rb") as file:
                file.seek(start)
                content = file.read(length)
        except OSError:
            return None
        return content if blake3(content).digest() == digest else None

    def changed(self) -> list[str]:
        """The files that are not what they were."""
        return [path for path, stamp, digest in self.rows if not _unchanged(path, stamp, digest)]

    def same_listings(self) -> bool:
        """Whether included directories and patterns still stand for the same files."""
        return all(list_files(where, written) == files for where, written, files in self.listings)


class EvaluationCache:
    """Records below one directory, one file a request. Losing or damaging it costs time and nothing else."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find(self, request: Request) -> Recalled | None:
        """What was remembered for ``request``, whether it still holds or not."""
        name = os.path.join(self._directory, request.name())  # noqa: PTH118 - opened as it is
        try:
            with open(name, "rb") as file:
                digest, length = file.read(_DIGEST_BYTES), file.read(4)
                header = file.read(int.from_bytes(length, "big"))
            if blake3(length + header).digest() != digest:
                return None
            rows, listings, parts = marshal.loads(header)
            start = _DIGEST_BYTES + len(length) + len(header)
            found = []
            for each, size in parts:
                found.append((each, start, size))
                start += size
            return Recalled(name, rows, listings, found)
        except (OSError, ValueError, EOFError, TypeError):
            return None

    def get(self, request: Request) -> Recalled | None:
        """What was remembered; ``None`` if nothing was, or if something that it read has changed."""
        found = self.find(request)
        return None if found is None or found.changed() or not found.same_listings() else found

    def put(
        self,
        request: Request,
        began_ns: int,
        listings: Mapping[tuple[str, str], tuple[str, ...]],
        files: Iterable[Path | str],
        *parts: bytes,
    ) -> None:
        """Remember ``parts``. ``files`` are all whose content decided them; one that is gone counts as being gone.

        Nothing is remembered if one of them changed after ``began_ns``, when reading them began: what was read may be
        what it was before.
        """
        rows = [row_of(path, began_ns) for path in dict.fromkeys(os.fspath(file) for file in files)]
        self.put_rows(request, began_ns, [(*key, found) for key, found in listings.items()], rows, *parts)

    def put_rows(
        self,
        request: Request,
        began_ns: int,
        listings: Sequence[tuple[str, str, tuple[str, ...]]],
        rows: Sequence[Row],
        *parts: bytes,
    ) -> None:
        """The same for files that were looked at already."""
        if any(stamp is None and _touched_since(path, began_ns) for path, stamp, _ in rows):
            return
        header = marshal.dumps(([*rows], [*listings], [(blake3(part).digest(), len(part)) for part in parts]))
        data = len(header).to_bytes(4, "big") + header
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = self._directory / request.name()
        temporary = f"{name}.{os.getpid()}.{time.monotonic_ns()}"
        # For nobody else: what is remembered is what the files say, and these may be for their owner alone.
        with open(temporary, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(blake3(data).digest())
            file.write(data)
            for part in parts:
                file.write(part)
        os.replace(temporary, name)  # noqa: PTH105 - the name is a string


def _unchanged(path: str, stamp: Stamp | None, digest: bytes | None) -> bool:
    if stamp is not None and _stamp(path) == stamp:
        return True
    return _digest(path) == digest
