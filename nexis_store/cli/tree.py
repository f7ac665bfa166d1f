"""Draw an artifact's references as a tree. What was drawn before is marked with * and not opened again."""

from __future__ import annotations

import argparse

from nexis_store.cli.common import human_size, open_store, parse_count, print_json
from nexis_store.digest import TreeDigest
from nexis_store.store import Store

EXAMPLES = """\
examples:
  nexis-store tree desktop
  nexis-store tree desktop --depth 1
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("artifact", metavar="ARTIFACT")
    parser.add_argument("--depth", type=parse_count, metavar="N", help="open at most N levels")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    with open_store(args, readonly=True) as store:
        start = store.find(args.artifact)
        if args.json:
            print_json({str(each): [str(one) for one in store.references(each)] for each in store.closure([start])})
            return 0
        _draw(store, start, "", "", set(), args.depth)
    return 0


def _draw(store: Store, digest: TreeDigest, lead: str, below: str, seen: set[TreeDigest], depth: int | None) -> None:
    artifact = store.artifact(digest)
    again = digest in seen and bool(artifact.references)
    print(f"{lead}{artifact.name} {digest.hex()[:12]} {human_size(artifact.size_bytes)}{' *' if again else ''}")
    if again or depth == 0:
        return
    seen.add(digest)
    last = len(artifact.references) - 1
    for number, each in enumerate(artifact.references):
        corner, line = ("└── ", "    ") if number == last else ("├── ", "│   ")
        _draw(store, each, below + corner, below + line, seen, None if depth is None else depth - 1)
