"""Rebuild the database from what is on disk: artifacts from their descriptions, roots from the symlinks, builds from
the history. Use it when the database is lost or damaged. Stop other programs that use the store first.
"""

from __future__ import annotations

import argparse
import os

from nexis_store.cli.common import counted, print_json
from nexis_store.errors import NotInStoreError, writing
from nexis_store.layout import Layout
from nexis_store.maintenance import recover
from nexis_store.store import default_store_root

EXAMPLES = """\
examples:
  nexis-store recover
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes: nothing but what all take."""


def run(args: argparse.Namespace) -> int:
    """Do it."""
    layout = Layout(os.path.abspath(args.store or default_store_root()))
    if not os.path.isdir(layout.root):
        raise NotInStoreError(f"there is no store at {layout.root}", hint="give its place with --store or $NEXIS_STORE")
    with writing("the new database"):
        result = recover(layout)
    if args.json:
        print_json(
            {
                "artifacts": result.artifacts,
                "realisations": result.realisations,
                "roots": result.roots,
                "damaged": list(result.damaged),
                "unreadable_roots": [each.name for each in result.unreadable],
            }
        )
        return 4 if result.damaged or result.unreadable else 0
    print(
        f"recovered {counted(result.artifacts, 'artifact')}, {counted(result.realisations, 'build')}, "
        f"{counted(result.roots, 'root')}"
    )
    for path in result.damaged:
        print(f"damaged, left out: {path}")
    for root in result.unreadable:
        print(f"{root}; 'nexis-store gc' refuses to run until the link can be read or the root is removed")
    return 4 if result.damaged or result.unreadable else 0
