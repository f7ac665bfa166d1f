"""``nexis-store``: its commands."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from nexis_store.cli import dispatch
from nexis_store.cli.start import prepare
from nexis_store.errors import NexisError, cannot_read
from nexis_store.names import shown

COMMANDS: dict[str, str] = {
    "ls": "list artifacts, or what is in one",
    "info": "show what is known about an artifact",
    "cat": "print files of an artifact",
    "tree": "draw an artifact's references",
    "diff": "show how two artifacts differ",
    "du": "show what artifacts take on the disk",
    "references": "list what an artifact refers to",
    "referrers": "list which artifacts refer to one",
    "closure": "list everything an artifact needs",
    "why-alive": "show which roots keep an artifact",
    "roots": "list, set and remove GC roots",
    "generations": "list, add, switch, roll back and delete generations of profiles",
    "add": "add a directory, a file or an archive",
    "export": "write a closure as one stream",
    "import": "read an exported closure",
    "gc": "remove what no root keeps, and free the disk space",
    "verify": "check the store, on request every byte, and repair it",
    "recover": "rebuild the database from what is on disk",
    "migrate": "move the metadata to the other backend",
    "stats": "print totals",
}

EPILOG = """\
An ARTIFACT is named by its digest, the unique beginning of one (at least 4 digits), its name if only one has it, a
root, or its path in the store. The store is --store, else $NEXIS_STORE, else ~/.local/share/nexis/store.

exit codes: 0 done; 1 there are differences (diff), or no root (why-alive); 2 the command line is wrong; 4 the store
cannot do what was asked, or is damaged; 70 a bug in this program; 130 interrupted
"""


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", type=Path, metavar="DIR", help="the store (default: $NEXIS_STORE)")
    parser.add_argument("--json", action="store_true", help="print JSON for programs")


PROGRAM = dispatch.Program(
    name="nexis-store",
    package="nexis_store.cli",
    usage="COMMAND [--store DIR] [OPTION...]",
    purpose="Looks into a store of build results, keeps it small and proves it.",
    commands=COMMANDS,
    epilog=EPILOG,
    common=_common,
)


def run(arguments: Sequence[str]) -> int:
    """Run one command line (without the program's name); returns the exit code. Errors are raised."""
    return dispatch.run(PROGRAM, arguments)


def _render(error: NexisError) -> str:
    # A hostile archive may have names that speak to the terminal.
    return "\n".join(map(shown, f"error[{error.code}]: {error}".split("\n")))


def _report(error: Exception) -> int:
    """What the system refuses is no bug: the place and the reason suffice."""
    if isinstance(error, OSError) and error.filename is not None:
        told = cannot_read(error, os.fsdecode(error.filename))
        print(_render(told), file=sys.stderr)
        return told.exit_code
    return dispatch.report_bug(PROGRAM, error)


def main() -> int:
    """Run the process's command line; returns the exit code."""
    prepare()
    return dispatch.main(PROGRAM, _render, _report)


if __name__ == "__main__":
    sys.exit(main())
