"""Write artifacts and all they refer to as one stream, which 'nexis-store import' reads into another store."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import BinaryIO, cast

from nexis_store.cli.common import counted, open_output, open_to_look
from nexis_store.errors import StoreError
from nexis_store.transfer import export

EXAMPLES = """\
examples:
  nexis-store export desktop -o desktop.closure
  nexis-store export desktop | ssh elsewhere nexis-store import --root desktop
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("artifact", nargs="+", metavar="ARTIFACT")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="where to write (default: standard output)")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    with open_to_look(args) as store:
        digests = [store.find(each) for each in args.artifact]
        if args.output is None:
            if sys.stdout.isatty():
                raise StoreError("an archive is nothing for a terminal", hint="give a file with --output, or a pipe")
            export(store, digests, cast(BinaryIO, sys.stdout.buffer))
            return 0
        with open_output(args.output) as out:
            count = export(store, digests, out)
    print(f"{counted(count, 'artifact')} written to {args.output}", file=sys.stderr)
    return 0
