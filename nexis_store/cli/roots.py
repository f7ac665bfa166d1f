"""List the GC roots, or change them. A root keeps an artifact and everything it refers to.

Roots are symlinks in the store's directory .roots: making and removing them there by hand does the same.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from nexis_store.cli.common import open_store, print_json

EXAMPLES = """\
examples:
  nexis-store roots
  nexis-store roots --set work/zlib zlib-1.3
  nexis-store roots --link ./result zlib-1.3
  nexis-store roots --remove work/zlib
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    change = parser.add_mutually_exclusive_group()
    change.add_argument("--set", nargs=2, metavar=("NAME", "ARTIFACT"), help="let the root NAME keep ARTIFACT")
    change.add_argument(
        "--link", nargs=2, metavar=("PATH", "ARTIFACT"), help="keep ARTIFACT while the symlink PATH is there"
    )
    change.add_argument("--remove", metavar="NAME", help="remove the root NAME")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    with open_store(args, readonly=not (args.set or args.link or args.remove)) as store:
        if args.set:
            store.set_root(args.set[0], store.find(args.set[1]))
            return 0
        if args.link:
            store.set_indirect_root(Path(args.link[0]), store.find(args.link[1]))
            return 0
        if args.remove:
            store.remove_root(args.remove)
            return 0
        found = {name: store.artifact(digest) for name, digest in store.roots().items()}
        if args.json:
            print_json(
                {
                    name: {"digest": str(each.digest), "name": each.name, "link": store.indirect_root(name)}
                    for name, each in found.items()
                }
            )
            return 0
        width = max(map(len, found), default=0)
        for name, each in found.items():
            print(f"{name.ljust(width)}  {each.digest.hex()[:16]}  {each.name}{_from(store.indirect_root(name))}")
    return 0


def _from(link: str | None) -> str:
    return f"  by {link}" if link is not None else ""
