"""Add a directory, a file or an archive to the store and print its digest. Without a root it is garbage."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import BinaryIO, cast

from nexis_store.cli.common import print_json
from nexis_store.maintenance import backend_of
from nexis_store.metadata.choose import migration
from nexis_store.publish import Artifact
from nexis_store.store import Store, default_store_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("path", type=Path, metavar="PATH", help="what to add; '-' is standard input")
    parser.add_argument("--name", help="the artifact's name (default: that of the path)")
    parser.add_argument("--unpack", choices=("tar", "zip", "deb"), help="PATH is an archive: add what is in it")
    parser.add_argument("--strip", type=int, default=0, metavar="N", help="drop N leading directories of an archive")
    parser.add_argument("--normalise", action="store_true", help="apply the landing rules for build results")
    parser.add_argument("--root", metavar="NAME", help="keep it by this root")
    parser.add_argument("--profile", choices=("auto", "desktop", "server"), default="auto", help="for a new store")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    with Store.open(args.store or default_store_root(), profile=args.profile) as store:
        artifact = _add(store, args)
        if note := migration(store.layout.root, backend_of(store.layout), args.profile):
            print(f"note: {note}", file=sys.stderr)
        if args.root:
            store.set_root(args.root, artifact.digest)
        if args.json:
            print_json({"digest": str(artifact.digest), "name": artifact.name, "path": str(artifact.path)})
        else:
            print(artifact.digest)
    return 0


def _add(store: Store, args: argparse.Namespace) -> Artifact:
    path: Path = args.path
    name = args.name or (path.resolve().name if str(path) != "-" else "stdin")
    if str(path) == "-":
        stream = cast(BinaryIO, sys.stdin.buffer)
        if args.unpack:
            return store.add_archive(stream, name, format=args.unpack, strip=args.strip)
        with store.writer(name) as writer:
            writer.file(name, stream)
            return writer.commit()
    if args.unpack:
        with open(path, "rb") as file:
            return store.add_archive(file, name, format=args.unpack, strip=args.strip)
    if path.is_dir():
        return store.add_directory(path, name, normalise=args.normalise)
    with store.writer(name) as writer:
        writer.file(path.name, path, executable=os.access(path, os.X_OK))
        return writer.commit()
