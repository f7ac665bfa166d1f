"""Read what 'nexis-store export' wrote. Every byte is verified before it can be seen.

Prints the digest of the last artifact, which is what was exported.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import BinaryIO, cast

from nexis_store.cli.common import print_json
from nexis_store.store import Store, default_store_root
from nexis_store.transfer import load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="the archive (default: standard input)")
    parser.add_argument("--root", metavar="NAME", help="keep the last artifact by this root")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    with Store.open(args.store or default_store_root()) as store:
        if args.file is None:
            found = load(store, cast(BinaryIO, sys.stdin.buffer))
        else:
            with open(args.file, "rb") as stream:
                found = load(store, stream)
        if args.root and found:
            store.set_root(args.root, found[-1].digest)
        if args.json:
            print_json([{"digest": str(each.digest), "name": each.name} for each in found])
        elif found:
            print(found[-1].digest)
    return 0
