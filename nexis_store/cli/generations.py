"""List the generations of profiles, or change them. The current one is marked with *.

A profile is a named series of artifacts, such as the systems a machine has run. Each generation keeps its artifact;
switching and rolling back only change which one is current. They are symlinks in the store's directory .generations.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from nexis_store.cli.common import open_store, print_json
from nexis_store.errors import StoreError
from nexis_store.generations import Generation
from nexis_store.store import Store

EXAMPLES = """\
examples:
  nexis-store generations
  nexis-store generations desktop --add 45de44f2
  nexis-store generations desktop --roll-back
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("profile", nargs="?", metavar="PROFILE", help="this profile only")
    change = parser.add_mutually_exclusive_group()
    change.add_argument("--add", metavar="ARTIFACT", help="make it the newest generation of PROFILE, and current")
    change.add_argument("--switch", type=int, metavar="NUMBER", help="make another generation the current one")
    change.add_argument("--roll-back", action="store_true", help="switch to the generation before the current one")
    change.add_argument("--delete", type=int, nargs="+", metavar="NUMBER", help="forget generations")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    changes = args.add is not None or args.switch is not None or args.roll_back or args.delete
    if changes and args.profile is None:
        raise StoreError(
            "no profile is given", hint="name it, for example: nexis-store generations desktop --roll-back"
        )
    with open_store(args, readonly=not changes) as store:
        if changes:
            return _change(store, args)
        profiles = store.profiles() if args.profile is None else [args.profile]
        found = [each for profile in profiles for each in store.generations(profile)]
        if args.json:
            print_json([_fields(each) for each in found])
            return 0
        for each in found:
            print(_line(each))
    return 0


def _change(store: Store, args: argparse.Namespace) -> int:
    if args.delete:
        store.remove_generations(args.profile, args.delete)
        return 0
    if args.add is not None:
        now = store.add_generation(args.profile, store.find(args.add))
    elif args.roll_back:
        now = store.roll_back(args.profile)
    else:
        now = store.switch_generation(args.profile, args.switch)
    if args.json:
        print_json(_fields(now))
    else:
        print(_line(now))
    return 0


def _line(each: Generation) -> str:
    made = datetime.fromtimestamp(each.made_ns / 1e9, UTC)
    mark = "*" if each.current else " "
    return f"{mark} {each.profile} {each.number:>4}  {made:%Y-%m-%d %H:%M}  {each.digest.hex()[:16]}  {each.name}"


def _fields(each: Generation) -> dict[str, object]:
    return {
        "profile": each.profile,
        "number": each.number,
        "digest": str(each.digest),
        "name": each.name,
        "made_ns": each.made_ns,
        "current": each.current,
    }
