"""Read what 'nexis-store export' wrote. Every byte is verified before it can be seen.

Prints the digest of the last artifact, which is what was exported.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from nexis_store.cli.common import open_input, print_json
from nexis_store.store import Store, default_store_root
from nexis_store.transfer import load

EXAMPLES = """\
examples:
  nexis-store import desktop.closure --root desktop
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="the archive (default, or '-': standard input)"
    )
    parser.add_argument("--root", metavar="NAME", help="keep the last artifact by this root")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    with open_input(args.file) as stream, Store.open(args.store or default_store_root()) as store:
        found = load(store, stream)
        if args.root and found:
            store.set_root(args.root, found[-1].digest)
        if args.json:
            print_json([{"digest": str(each.digest), "name": each.name} for each in found])
        elif found:
            print(found[-1].digest)
    return 0
