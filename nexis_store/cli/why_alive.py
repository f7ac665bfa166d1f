"""Show which roots keep an artifact, each with a chain of references from the root to it. Exits with 1 if none does."""

from __future__ import annotations

import argparse

from nexis_store.cli.common import open_store, print_json
from nexis_store.queries import why_alive

EXAMPLES = """\
examples:
  nexis-store why-alive zlib-1.3
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("artifact", metavar="ARTIFACT")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    with open_store(args, readonly=True) as store:
        digest = store.find(args.artifact)
        found = why_alive(store, digest)
        if args.json:
            print_json({name: [str(each) for each in chain] for name, chain in found})
        else:
            for name, chain in found:
                print(f"{name}: " + " -> ".join(f"{store.artifact(each).name}" for each in chain))
            if not found:
                print(f"no root keeps {store.artifact(digest).name}: the next 'nexis-store gc' removes it")
    return 0 if found else 1
