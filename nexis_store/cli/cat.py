"""Print files of an artifact to standard output."""

from __future__ import annotations

import argparse
import shutil
import sys

from nexis_store.cli.common import open_store
from nexis_store.errors import NotInStoreError


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
                raise NotInStoreError(f"{store.artifact(digest).name} has no file {path}", hint=hint)
            with open(place / path, "rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
    return 0
