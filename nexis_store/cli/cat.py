"""Print files of an artifact to standard output."""

from __future__ import annotations

import argparse
import shutil
import sys

from nexis_store.cli.common import open_store
from nexis_store.errors import DamagedStoreError, NotInStoreError
from nexis_store.fs import open_regular
from nexis_store.hashing import hash_file
from nexis_store.tree import ManifestEntry

EXAMPLES = """\
examples:
  nexis-store cat zlib-1.3 usr/lib/pkgconfig/zlib.pc
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("artifact", metavar="ARTIFACT")
    parser.add_argument("path", nargs="+", metavar="PATH", help="a path in it, such as etc/passwd")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    with open_store(args, readonly=True) as store:
        digest = store.find(args.artifact)
        manifest, place = store.manifest(digest), store.path(digest)
        for given in args.path:
            path = given.strip("/")
            entry = manifest.get(path)
            if entry is None or entry.kind != "f":
                hint = f"'nexis-store ls {args.artifact}' lists its files"
                raise NotInStoreError(f"{store.artifact(digest).name} has no file {path}{_instead(entry)}", hint=hint)
            if not _is_whole(f"{place}/{path}", entry):
                raise DamagedStoreError(
                    f"{place}/{path} is damaged", hint=f"run 'nexis-store verify --repair {args.artifact}'"
                )
            with open(open_regular(f"{place}/{path}"), "rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
    return 0


def _is_whole(path: str, entry: ManifestEntry) -> bool:
    try:
        return hash_file(path) == entry.digest
    except OSError:
        return False


def _instead(entry: ManifestEntry | None) -> str:
    if entry is None:
        return ""
    return ": that is a directory" if entry.kind == "d" else f": that is a symlink to {entry.target}"
