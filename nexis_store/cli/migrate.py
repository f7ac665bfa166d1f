"""Move the metadata to the other backend: lmdb (fast for one machine) or rocksdb (large stores, many writers).

Artifacts stay where they are. Other programs that have the store open must be started again.
"""

from __future__ import annotations

import argparse

from nexis_store.cli.common import counted, open_store
from nexis_store.errors import writing
from nexis_store.maintenance import BACKENDS, migrate

EXAMPLES = """\
examples:
  nexis-store migrate --to rocksdb
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--to", required=True, choices=BACKENDS, help="the backend to use from now on")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    with open_store(args) as store, writing("the new database"):
        count = migrate(store.layout, store.database, args.to)
    print(f"moved {counted(count, 'record')} to {args.to}" if count else f"the metadata are in {args.to} already")
    return 0
