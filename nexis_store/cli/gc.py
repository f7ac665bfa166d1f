"""Remove the artifacts that no root keeps, and free their disk space.

Safe beside running builds: what they use is kept. Interrupting it loses nothing; the next run goes on.
"""

from __future__ import annotations

import argparse
import os
import sys

from nexis_store.cli.common import (
    counted,
    human_size,
    open_store,
    parse_count,
    parse_duration,
    parse_size,
    print_json,
    progress_for,
)

EXAMPLES = """\
examples:
  nexis-store gc --dry-run
  nexis-store gc --keep-generations 3 --older-than 30d
  nexis-store gc --max-freed 2G --background
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("-n", "--dry-run", action="store_true", help="print what would be removed, remove nothing")
    parser.add_argument("--max-freed", type=parse_size, metavar="SIZE", help="stop after about so much (500M, 2G)")
    parser.add_argument(
        "--older-than",
        type=parse_duration,
        metavar="AGE",
        help="forget generations made so long ago (30d, 12h), and take other garbage only if it is garbage so long",
    )
    parser.add_argument("--background", action="store_true", help="return at once; another process frees the space")
    parser.add_argument("--empty-trash", action="store_true", help="only free what earlier collections left")
    parser.add_argument(
        "--keep-generations",
        type=parse_count,
        metavar="N",
        help="forget all but the N newest generations of each profile (never the current one)",
    )


def run(args: argparse.Namespace) -> int:
    """Do it."""
    with open_store(args) as store:
        if args.empty_trash:
            print(f"freed {human_size(store.empty_trash())}")
            return 0
        plan = store.plan_gc(
            max_freed=args.max_freed, older_than_ns=args.older_than, keep_generations=args.keep_generations
        )
        for root in plan.unreadable:
            print(
                f"note: {root}; it keeps what it kept ('nexis-store roots --remove {root.name}' ends it)",
                file=sys.stderr,
            )
        dead = [{"digest": str(each.digest), "name": each.name, "size_bytes": each.size_bytes} for each in plan.dead]
        if args.dry_run:
            if args.json:
                print_json(
                    {
                        "dead": dead,
                        "size_bytes": plan.size_bytes,
                        "kept_by_limit": plan.kept_by_limit,
                        "roots": list(plan.roots),
                        "unreadable_roots": [each.name for each in plan.unreadable],
                    }
                )
            else:
                for each in plan.dead:
                    print(f"{each.digest.hex()[:16]}  {human_size(each.size_bytes):>10}  {each.name}")
                for name in plan.roots:
                    print(f"would forget {name}")
                print(f"would remove {counted(len(plan.dead), 'artifact')}, at most {human_size(plan.size_bytes)}")
            return 0
        result = store.execute_gc(
            plan, progress_for(args, "removing"), while_freeing=progress_for(args, "freeing"), free=not args.background
        )
        if args.background:
            _free_in_background(store.layout.root)
        if args.json:
            print_json(
                {
                    "dead": dead,
                    "collected": result.collected,
                    "freed_bytes": result.freed_bytes,
                    "seconds_until_gone": result.seconds_until_gone,
                    "seconds_until_freed": result.seconds_until_freed,
                }
            )
        else:
            space = "their space is being freed" if args.background else f"freed {human_size(result.freed_bytes)}"
            print(f"removed {counted(result.collected, 'artifact')}, {space}")
    return 0


def _free_in_background(root: str) -> None:
    """Start a process that nobody waits for; if it is killed, the next collection does its work."""
    command = [sys.executable, "-m", "nexis_store.cli.main", "gc", "--empty-trash", "--store", root]
    nowhere = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
    os.posix_spawn(sys.executable, command, os.environ, file_actions=nowhere, setsid=True)
