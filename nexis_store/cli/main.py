"""``nexis-store``: finds the command's module, runs it, turns errors into messages and exit codes."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from nexis_store.errors import NexisError

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
An ARTIFACT is named by its digest, the unique beginning of one (an even number of digits, at least 4), its name if only
one has it, a root, or its path in the store. The store is --store, else $NEXIS_STORE, else ~/.local/share/nexis/store.

exit codes: 0 done; 2 the command line is wrong; 4 the store cannot do what was asked, or is damaged; 130 interrupted
"""


def _module(command: str) -> str:
    return f"nexis_store.cli.{'import_' if command == 'import' else command.replace('-', '_')}"


def _help() -> str:
    width = max(map(len, COMMANDS))
    listing = "\n".join(f"  {name.ljust(width)}  {summary}" for name, summary in COMMANDS.items())
    return (
        "usage: nexis-store COMMAND [--store DIR] [OPTION...]\n\n"
        "Looks into a store of build results, keeps it small and proves it.\n\n"
        f"commands:\n{listing}\n\n"
        "'nexis-store COMMAND --help' says what a command takes.\n\n"
        f"{EPILOG}"
    )


def run(arguments: Sequence[str]) -> int:
    """Run one command line (without the program's name); returns the exit code. Errors are raised."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"nexis-store {version('nexisos')}")
        return 0
    command, rest = arguments[0], arguments[1:]
    if command not in COMMANDS:
        from difflib import get_close_matches

        near = get_close_matches(command, COMMANDS, n=1)
        guess = f"; did you mean '{near[0]}'?" if near else ""
        print(f"nexis-store: unknown command '{command}'{guess} ('nexis-store --help' lists them)", file=sys.stderr)
        return 2
    module = importlib.import_module(_module(command))
    parser = argparse.ArgumentParser(
        prog=f"nexis-store {command}",
        description=module.__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--store", type=Path, metavar="DIR", help="the store (default: $NEXIS_STORE)")
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    module.add_arguments(parser)
    result = module.run(parser.parse_args(rest))
    assert isinstance(result, int)
    return result


def main() -> int:
    """Entry point: an error a user can cause is a message, never a traceback."""
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
        return code
    except NexisError as error:
        print(f"error[{error.code}]: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; the same command again goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141


if __name__ == "__main__":
    sys.exit(main())
