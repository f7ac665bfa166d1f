"""Check the store: every artifact complete on disk, every count right; with --contents every byte as it must be."""

from __future__ import annotations

import argparse

from nexis_store.cli.common import open_store, print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("artifact", nargs="*", metavar="ARTIFACT", help="read the contents of these artifacts only")
    parser.add_argument("--contents", action="store_true", help="read every file and compare it with its digest")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    with open_store(args) as store:
        chosen = [store.find(each) for each in args.artifact] or None
        problems = list(store.verify(contents=args.contents, digests=chosen))
        if args.json:
            print_json(
                [
                    {
                        "kind": each.kind,
                        "digest": str(each.digest) if each.digest else None,
                        "path": each.path,
                        "message": each.message,
                    }
                    for each in problems
                ]
            )
        else:
            for each in problems:
                print(each)
            print(f"{len(problems)} problems" if problems else "no problems")
    return 4 if problems else 0
