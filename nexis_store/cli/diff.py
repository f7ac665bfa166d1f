"""Show how two artifacts differ. Only what differs is looked at: equal directories are skipped by their digests.

Exits with 1 when there are differences, like diff(1).
"""

from __future__ import annotations

import argparse

from nexis_store.cli.common import open_store, print_json
from nexis_store.names import shown
from nexis_store.queries import Difference, diff
from nexis_store.tree import ManifestEntry

_SIGNS = {"added": "+", "removed": "-"}

EXAMPLES = """\
examples:
  nexis-store diff zlib-1.2 zlib-1.3
  nexis-store diff 45de44f2 ee8fb1ba --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("before", metavar="ARTIFACT")
    parser.add_argument("after", metavar="ARTIFACT")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    with open_store(args, readonly=True) as store:
        before, after = store.manifest(store.find(args.before)), store.manifest(store.find(args.after))
        found = list(diff(before, after))
    if args.json:
        print_json([{"path": each.path, "what": each.what} for each in found])
    else:
        for each in found:
            print(f"{_SIGNS.get(each.what, '~')} {shown(each.path)}{_detail(each)}")
    return 1 if found else 0


def _detail(difference: Difference) -> str:
    before, after = difference.before, difference.after
    if before is None or after is None:
        return ""
    if difference.what == "target":
        return f" -> {shown(before.target or '')} became {shown(after.target or '')}"
    if difference.what == "attributes":
        return f" ({_attributes(before)} became {_attributes(after)})"
    if difference.what == "content":
        return f" ({before.size} became {after.size} bytes)" if before.size != after.size else " (same size)"
    return " (another kind of file)"


def _attributes(entry: ManifestEntry) -> str:
    xattrs = "".join(f" {name}" for name, _ in entry.attributes.xattrs)
    return f"{entry.mode:04o} {entry.attributes.owner}:{entry.attributes.group}{xattrs}"
