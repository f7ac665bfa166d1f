"""Remembers what an evaluation gave, for as long as nothing that it read has changed.

What is remembered are bytes of the caller's (an encoded graph); the key is everything that decides them: the request
(file, architecture, profiles, overrides), the content of each file that was read, the files that each included
directory or pattern stood for, and the program itself. Typed configurations are not cached: unpickling 10,000 packages
took half as long as reading them anew (0.12 s and 0.25 s), which a whole cached evaluation is to undercut.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from nexis_eval.config.check import local_paths
from nexis_eval.config.load import list_files
from nexis_eval.config.model import Config
from nexis_eval.config.origin import Origins
from nexis_store.digest import encode_fields

_DOMAIN = b"nexis evaluation cache\x01"
_SETTLED_NS = 2_000_000_000
"""A file that changed less than this before it was recorded may change again without a new time stamp."""

Stamp = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for."""

    file: Path
    arch: str
    profiles: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()

    def name(self) -> str:
        """The name of the record: one a request."""
        parts = [os.path.abspath(self.file), self.arch, *self.profiles, "", *self.overrides]  # noqa: PTH100 - no links
        return blake3(encode_fields(_DOMAIN, [part.encode(errors="surrogateescape") for part in parts])).hexdigest()[
            :32
        ]


def files_read(config: Config, origins: Origins) -> tuple[Path, ...]:
    """The files whose content decides the evaluation of ``config``: those of the configuration and those it names."""
    named = dict.fromkeys(local.path for local, _, _ in local_paths(config))
    return (*config.files, *named)


def program_files() -> tuple[Path, ...]:
    """The files of the program: another program may evaluate differently."""
    package = Path(__file__).resolve().parents[1]
    return tuple(sorted((*package.rglob("*.py"), *package.parent.glob("nexis_store/*.py"))))


def _stamp(path: str) -> Stamp | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - called once a file, pathlib is slow
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _digest(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return blake3(file.read()).hexdigest()
    except OSError:
        return None


class EvaluationCache:
    """Records below one directory, one file a request. Losing or damaging it costs time and nothing else."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get(self, request: Request) -> bytes | None:
        """What was remembered for ``request``; ``None`` if nothing was, or if something that it read has changed."""
        try:
            header, _, payload = (self._directory / request.name()).read_bytes().partition(b"\n")
            record = json.loads(header)
            if blake3(payload).hexdigest() != record["payload"]:
                return None
            unchanged = all(_unchanged(path, *rest) for path, *rest in record["files"])
            listed = all(list_files(where, written) == tuple(files) for where, written, files in record["listings"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return payload if unchanged and listed else None

    def put(self, request: Request, origins: Origins, files: Iterable[Path], payload: bytes) -> None:
        """Remember ``payload``. ``files`` are all whose content decided it; one that is gone counts as being gone."""
        now = time.time_ns()
        rows = []
        for path in dict.fromkeys(map(os.fspath, files)):
            stamp = _stamp(path)
            settled = stamp is not None and max(stamp[1], stamp[2]) < now - _SETTLED_NS
            rows.append([path, stamp if settled else None, _digest(path)])
        record = {
            "files": rows,
            "listings": [[*key, list(found)] for key, found in origins.listings.items()],
            "payload": blake3(payload).hexdigest(),
        }
        self._directory.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._directory, delete=False) as file:
            file.write(json.dumps(record).encode() + b"\n" + payload)
        Path(file.name).replace(self._directory / request.name())


def _unchanged(path: str, stamp: Sequence[int] | None, digest: str | None) -> bool:
    if stamp is not None and _stamp(path) == tuple(stamp):
        return True
    return _digest(path) == digest
