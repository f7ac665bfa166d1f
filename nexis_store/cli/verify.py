"""Check the store: every artifact complete on disk, every count right; with --contents every byte as it must be.

When --contents was interrupted, --resume goes on where it stopped. Exits with 4 when something is wrong and was not
repaired.

--repair replaces damaged files by good copies: first of this store; then of what --from names (another store, a binary
cache on disk, a file that 'nexis-store export' wrote, or a directory of such files); then of what the command given by
--rebuild-with makes. That command runs with $NEXIS_STORE set to a store that has everything but what is damaged.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nexis_store.checking import check_contents
from nexis_store.cli.common import open_store, open_to_look, print_json, progress_for
from nexis_store.errors import StoreError
from nexis_store.queries import built_from
from nexis_store.repair import recount
from nexis_store.store import Store
from nexis_store.verify import Problem

_WRONG_CONTENT = ("damaged", "missing", "surplus")
"""Kinds of problems of an artifact by which a build may have come out wrong."""

EXAMPLES = """\
examples:
  nexis-store verify
  nexis-store verify --contents --repair
  nexis-store verify --contents --repair --from /mnt/backup/store
  nexis-store verify --refcounts
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("artifact", nargs="*", metavar="ARTIFACT", help="read the contents of these artifacts only")
    parser.add_argument("--contents", action="store_true", help="read every file and compare it with its digest")
    parser.add_argument("--resume", action="store_true", help="--contents, going on where the last run stopped")
    parser.add_argument("--refcounts", action="store_true", help="count all references anew and correct the counts")
    parser.add_argument("--repair", action="store_true", help="replace damaged files by good copies")
    parser.add_argument(
        "--from", dest="sources", type=Path, action="append", default=[], metavar="PLACE", help="look there for copies"
    )
    parser.add_argument("--rebuild-with", metavar="COMMAND", help="for example: 'nexis-eval build system.toml'")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    for place in args.sources:
        if not place.exists():
            raise StoreError(f"there is no {place} to repair from", hint="check what --from names")
    opened = open_store if args.refcounts or _wants_repair(args) else open_to_look
    with opened(args) as store:
        counted = recount(store.layout, store.database) if args.refcounts else None
        chosen = [store.find(each) for each in args.artifact]
        everything = args.contents and not chosen and not args.resume
        problems = list(store.verify(descriptions=not everything))
        if args.contents or args.resume or chosen:
            try:
                progress = progress_for(args, "reading")
                problems += check_contents(
                    store, chosen or None, resume=args.resume, descriptions=everything, progress=progress
                )
            except KeyboardInterrupt:
                print("interrupted; 'nexis-store verify --resume' goes on from here", file=sys.stderr)
                return 130
        repaired, left = _repair(store, args, problems) if problems and _wants_repair(args) else ([], problems)
        wrong = {each.digest for each in problems if each.digest is not None and each.kind in _WRONG_CONTENT}
        builds = built_from(store, wrong) if wrong else []
        if args.json:
            print_json(
                [
                    {
                        "kind": each.kind,
                        "digest": str(each.digest) if each.digest else None,
                        "path": each.path,
                        "message": each.message,
                        "repaired": each in repaired,
                    }
                    for each in (*repaired, *left)
                ]
            )
            return 4 if left else 0
        if counted is not None:
            print(
                f"counted {counted.artifacts} artifacts: {counted.corrected} counts corrected, "
                f"{counted.unreachable} found that only kept each other"
            )
        for each in repaired:
            print(f"repaired: {each}")
        for each in left:
            print(each)
        for build in builds:
            outputs = ", ".join(digest.hex()[:16] for digest in build.outputs.values())
            print(f"built from what is or was damaged: {build.name} ({outputs})")
        if builds:
            print("'nexis-eval repro' builds again and compares")
        print(f"{len(left)} problem{'s' if len(left) > 1 else ''}" if left else "no problems")
        if any(each.kind == "lost" for each in left):
            print("'nexis-store recover' takes back what roots keep and the metadata have lost")
        elif left and not _wants_repair(args):
            print("'nexis-store verify --contents --repair' replaces what other copies can replace")
        elif left and not args.sources and not args.rebuild_with:
            print("this store has no other copy: --from and --rebuild-with bring some from elsewhere")
    return 4 if left else 0


def _wants_repair(args: argparse.Namespace) -> bool:
    return bool(args.repair or args.sources or args.rebuild_with)


def _repair(store: Store, args: argparse.Namespace, problems: list[Problem]) -> tuple[list[Problem], list[Problem]]:
    from nexis_store import salvage

    with salvage.opened(store, args.sources) as sources:
        result = salvage.repair(store, problems, sources)
    repaired, left = list(result.repaired), list(result.left)
    if left and args.rebuild_with:
        with salvage.rebuilt(store, left, args.rebuild_with) as source:
            result = salvage.repair(store, left, [source])
        repaired, left = [*repaired, *result.repaired], list(result.left)
    return repaired, left
