"""Add a directory, a file or an archive to the store and print its digest. Without a root it is garbage."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from nexis_store.cli.common import open_input, parse_count, print_json
from nexis_store.errors import StoreError
from nexis_store.maintenance import backend_of
from nexis_store.metadata.choose import migration
from nexis_store.publish import Artifact
from nexis_store.roots import check_root_name
from nexis_store.store import Store, default_store_root

EXAMPLES = """\
examples:
  nexis-store add ./tree --name tree-1.0 --root tree
  nexis-store add zlib-1.3.tar.xz --unpack tar --strip 1 --name zlib-1.3-source
  nexis-store add ./app --reference zlib-1.3
  date | nexis-store add - --name today
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("path", type=Path, metavar="PATH", help="what to add; '-' is standard input")
    parser.add_argument("--name", help="the artifact's name (default: that of the path)")
    parser.add_argument("--unpack", choices=("tar", "zip", "deb"), help="PATH is an archive: add what is in it")
    parser.add_argument(
        "--strip", type=parse_count, default=0, metavar="N", help="drop N leading directories of an archive"
    )
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="PATH", help="leave out PATH of an archive, and all below it"
    )
    parser.add_argument("--normalise", action="store_true", help="apply the landing rules for build results")
    parser.add_argument("--root", metavar="NAME", help="keep it by this root")
    parser.add_argument(
        "--reference",
        action="append",
        default=[],
        metavar="ARTIFACT",
        help="it needs ARTIFACT, which is kept with it; can be given several times",
    )
    parser.add_argument("--profile", choices=("auto", "desktop", "server"), default="auto", help="for a new store")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    if args.root:
        check_root_name(args.root)
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
    references = [store.find(each) for each in args.reference]
    if args.unpack:
        with open_input(path) as stream:
            return store.add_archive(
                stream, name, format=args.unpack, strip=args.strip, exclude=args.exclude, references=references
            )
    if path.is_dir():
        return store.add_directory(path, name, normalise=args.normalise, references=references)
    if str(path) != "-" and path.exists() and not path.is_file():
        raise StoreError(
            f"{path} is a device, socket or fifo, which no artifact can hold",
            hint=f"to add what comes out of it: nexis-store add - --name NAME < {path}",
        )
    with open_input(path) as stream, store.writer(name) as writer:
        if str(path) == "-":
            writer.file(name, stream)
        else:
            writer.file(path.name, path, executable=os.access(path, os.X_OK))
        return writer.commit(references)
