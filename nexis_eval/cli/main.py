"""``nexis-eval``: its commands."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from nexis_eval.collecting import expect_one_command
from nexis_store.cli import dispatch
from nexis_store.cli.start import prepare
from nexis_store.errors import NexisError

COMMANDS: dict[str, str] = {
    "build": "build a system, or parts of it",
    "show-derivation": "print the recipe of a target",
    "derivation": "compare two recipes: derivation diff A B",
    "graph": "print the derivation graph",
    "targets": "list what can be built",
    "why-rebuild": "say what changed since the last build",
    "why-depends": "say why one target needs another",
    "log": "print the log of a build",
    "debug": "run a failing build again and open a shell where it fails",
    "shell": "open a shell in the build environment of a target",
    "check": "read the configuration and report all mistakes",
    "explain": "say who set a value, and why it counts",
    "options": "list or search all settings",
    "schema": "print the JSON Schema of configurations",
    "rules": "list the build systems, or show one with its options",
    "explain-error": "explain an error by its code",
    "repro": "prove that builds are reproducible, compare two of them",
    "lock": "pin versions and hashes in nexis.lock",
    "fetch": "bring all sources into the store, for going offline",
    "bundle": "write all sources of a system to one file",
}

EPILOG = """\
exit codes: 0 done; 1 a build failed; 2 the configuration or the command line is wrong; 3 something could not be
fetched; 4 the store cannot do what was asked; 5 the sandbox is not available; 70 a bug in this program; 130 interrupted
"""


PROGRAM = dispatch.Program(
    name="nexis-eval",
    package="nexis_eval.cli",
    usage="COMMAND [OPTION...]",
    purpose="Describes a whole Linux system in TOML and builds it, bit for bit.",
    commands=COMMANDS,
    epilog=EPILOG,
)


def run(arguments: Sequence[str]) -> int:
    """Run one command line (without the program's name); returns the exit code. Errors are raised."""
    return dispatch.run(PROGRAM, arguments)


def _render(error: NexisError) -> str:
    from nexis_eval.diagnostics import render

    return render(error, colour=sys.stderr.isatty() and "NO_COLOR" not in os.environ)


def _report(error: Exception) -> int:
    from nexis_eval.cli.bug import report

    return report(error)


def main() -> NoReturn:
    """Run the process's command line: no traceback ever reaches a user."""
    prepare()
    expect_one_command()
    code = dispatch.main(PROGRAM, _render, _report)
    # All is done. Taking a hundred thousand objects apart one by one would take as long as recalling them did.
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
