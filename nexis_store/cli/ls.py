"""List the artifacts of the store, or with an artifact the paths in it."""

from __future__ import annotations

import argparse
import stat

from nexis_store.cli.common import human_size, open_store, print_json
from nexis_store.names import shown
from nexis_store.tree import ManifestEntry

_KINDS = {"f": stat.S_IFREG, "d": stat.S_IFDIR, "l": stat.S_IFLNK}

EXAMPLES = """\
examples:
  nexis-store ls
  nexis-store ls zlib-1.3
  nexis-store ls zlib-1.3 --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("artifact", nargs="?", metavar="ARTIFACT", help="list the paths in this artifact")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    with open_store(args, readonly=True) as store:
        if args.artifact is not None:
            entries = list(store.manifest(store.find(args.artifact)).entries())
            if args.json:
                print_json([_fields(entry) for entry in entries])
            else:
                for entry in entries:
                    print(_line(entry))
            return 0
        artifacts = sorted(store.artifacts(), key=lambda each: (each.name, each.digest))
        if args.json:
            print_json(
                [
                    {
                        "digest": str(each.digest),
                        "name": each.name,
                        "size_bytes": each.size_bytes,
                        "path": str(each.path),
                    }
                    for each in artifacts
                ]
            )
            return 0
        for each in artifacts:
            print(f"{each.digest.hex()[:16]}  {human_size(each.size_bytes):>10}  {each.name}")
    return 0


def _fields(entry: ManifestEntry) -> dict[str, object]:
    fields: dict[str, object] = {
        "path": entry.path,
        "kind": {"f": "file", "d": "directory", "l": "symlink"}[entry.kind],
        "mode": f"{entry.mode:04o}",
        "owner": entry.attributes.owner,
        "group": entry.attributes.group,
    }
    if entry.kind == "f":
        fields |= {"size_bytes": entry.size, "digest": str(entry.digest), "executable": entry.executable}
    if entry.target is not None:
        fields["target"] = entry.target
    if entry.attributes.xattrs:
        fields["xattrs"] = {name: value.hex() for name, value in entry.attributes.xattrs}
    return fields


def _line(entry: ManifestEntry) -> str:
    mode = stat.filemode(_KINDS[entry.kind] | entry.mode)
    owner = f"{entry.attributes.owner}:{entry.attributes.group}"
    arrow = f" -> {shown(entry.target)}" if entry.target is not None else ""
    return f"{mode} {owner:<11} {entry.size:>10} {shown(entry.path)}{arrow}"
