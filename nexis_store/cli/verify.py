"""Check the store: every artifact complete on disk, every count right; with --contents every byte as it must be.

With --contents, an interrupted run goes on where it stopped when it is started with --resume. Exits with 4 when
something is wrong and was not repaired.
"""

from __future__ import annotations

import argparse
import sys

from nexis_store.checking import check_contents
from nexis_store.cli.common import open_store, print_json, progress_for
from nexis_store.repair import recount, repair_problem
from nexis_store.verify import Problem


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("artifact", nargs="*", metavar="ARTIFACT", help="read the contents of these artifacts only")
    parser.add_argument("--contents", action="store_true", help="read every file and compare it with its digest")
    parser.add_argument("--resume", action="store_true", help="with --contents: go on where the last run stopped")
    parser.add_argument("--refcounts", action="store_true", help="count all references anew and correct the counts")
    parser.add_argument("--repair", action="store_true", help="replace damaged files by good copies of the store")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    with open_store(args) as store:
        counted = recount(store.layout, store.database) if args.refcounts else None
        chosen = [store.find(each) for each in args.artifact]
        problems = list(store.verify())
        if args.contents or chosen:
            problems += check_contents(store, chosen or None, resume=args.resume, progress=progress_for(args))
        repaired: list[Problem] = []
        if args.repair:
            repaired = [each for each in problems if repair_problem(store.layout, store.database, each, None)]
        left = [each for each in problems if each not in repaired]
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
                    for each in problems
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
        print(f"{len(left)} problems" if left else "no problems")
        if left and not args.repair:
            print("'nexis-store verify --contents --repair' replaces what other copies can replace", file=sys.stderr)
    return 4 if left else 0
