"""Open a shell in the build environment of a target: its inputs, its variables, its empty /build and /out.

'bash /in/script' runs the build; work on it in pieces as you like. Nothing in it is kept when you leave.
"""

from __future__ import annotations

import argparse

from nexis_eval.cli.enter import FILES_AT, add_enter_arguments, shell_startup, staged
from nexis_eval.cli.stopping import run_stoppable
from nexis_eval.sandbox.interactive import at_terminal, run_interactive

EXAMPLES = """\
examples:
  nexis-eval shell zlib
  nexis-eval shell zlib -c 'cc --version'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_enter_arguments(parser, "the target whose build environment is wanted")
    parser.add_argument("-c", "--command", metavar="TEXT", help="run this in bash there, instead of a shell to type in")


def run(args: argparse.Namespace) -> int:
    """Open it; returns the exit code of the shell or the command."""
    with staged(args) as room:
        label = room.derivation.label
        greeting = (
            f"echo 'The build environment of {label} for {room.derivation.platform}: /in/script is the build,'\n"
            "echo '/build is yours to work in, /out takes the result. Nothing is kept when you leave.'"
        )
        files = {"startup": shell_startup(label, greeting)}
        if args.command is not None:
            argv: tuple[str, ...] = ("/bin/bash", "-c", args.command)
        elif at_terminal():
            argv = ("/bin/bash", "--rcfile", f"{FILES_AT}/startup", "-i")
        else:
            argv = ("/bin/bash",)
        return run_stoppable(run_interactive(room.with_files(files, argv))).exit_code
