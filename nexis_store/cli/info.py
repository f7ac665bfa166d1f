"""Show what the store knows about an artifact: name, place, size, references and the builds that made it."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from nexis_store.cli.common import human_size, open_store, print_json

EXAMPLES = """\
examples:
  nexis-store info zlib-1.3
  nexis-store info 45de44f2
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("artifact", metavar="ARTIFACT")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    with open_store(args, readonly=True) as store:
        info = store.info(store.find(args.artifact))
        builds = [found for key in info.realisations if (found := store.realisation(key)) is not None]
        if args.json:
            print_json(
                {
                    "digest": str(info.digest),
                    "name": info.name,
                    "path": str(info.path),
                    "size_bytes": info.size_bytes,
                    "entries": info.entries,
                    "added_ns": info.added_ns,
                    "references": [str(each) for each in info.references],
                    "referrers": [str(each) for each in info.referrers],
                    "realisations": [
                        {
                            "build_key": str(build.key),
                            "derivation": str(build.derivation),
                            "name": build.name,
                            "origin": build.origin,
                            "note": build.note,
                            "duration_ns": build.duration_ns,
                        }
                        for build in builds
                    ],
                }
            )
            return 0
        added = datetime.fromtimestamp(info.added_ns / 1e9, UTC)
        print(f"name        {info.name}")
        print(f"digest      {info.digest}")
        print(f"path        {info.path}")
        print(f"size        {human_size(info.size_bytes)} in {info.entries} entries")
        print(f"added       {added:%Y-%m-%d %H:%M:%S} UTC")
        for title, digests in (("references", info.references), ("referrers", info.referrers)):
            for each in digests:
                print(f"{title:<11} {each.hex()[:16]} {store.artifact(each).name}")
        for build in builds:
            seconds = f", {build.duration_ns / 1e9:.1f} s" if build.duration_ns else ""
            print(f"made by     {build.name} ({build.origin}{seconds}), build key {build.key.hex()[:16]}")
            for line in build.note.splitlines():
                print(f"{'':<11} {line}")
    return 0
