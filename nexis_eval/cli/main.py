"""``nexis-eval``: finds the command's module, runs it, turns errors into messages and exit codes.

Only the module of the command that was given is imported: a no-op build must not pay for what it does not use.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from nexis_store.errors import NexisError

COMMANDS: dict[str, str] = {
    "build": "build a system, or parts of it",
    "show-derivation": "print the recipe of a target",
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


def _module(command: str) -> str:
    return f"nexis_eval.cli.{command.replace('-', '_')}"


def _version() -> str:
    from importlib.metadata import version

    return f"nexis-eval {version('nexisos')}"


def _help() -> str:
    width = max(map(len, COMMANDS))
    listing = "\n".join(f"  {name.ljust(width)}  {summary}" for name, summary in COMMANDS.items())
    return (
        "usage: nexis-eval COMMAND [OPTION...]\n\n"
        "Describes a whole Linux system in TOML and builds it, bit for bit.\n\n"
        f"commands:\n{listing}\n\n"
        "'nexis-eval COMMAND --help' says what a command takes.\n\n"
        f"{EPILOG}"
    )


def _parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Options and plain arguments in any order: people write ``build system.toml --arch aarch64 zlib``."""
    try:
        return parser.parse_intermixed_args(arguments)
    except TypeError:
        # A command with commands of its own; those cannot stand among options.
        return parser.parse_args(arguments)


def run(arguments: Sequence[str]) -> int:
    """Run one command line (without the program's name); returns the exit code. Errors are raised."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        print(_version())
        return 0
    command, rest = arguments[0], arguments[1:]
    if command not in COMMANDS:
        from difflib import get_close_matches

        near = get_close_matches(command, COMMANDS, n=1)
        guess = f"; did you mean '{near[0]}'?" if near else ""
        print(f"nexis-eval: unknown command '{command}'{guess} ('nexis-eval --help' lists them)", file=sys.stderr)
        return 2
    module = importlib.import_module(_module(command))
    parser = argparse.ArgumentParser(
        prog=f"nexis-eval {command}",
        description=module.__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    result = module.run(_parse(parser, rest))
    assert isinstance(result, int)
    return result


def main() -> int:
    """Entry point: no traceback ever reaches a user."""
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
        return code
    except NexisError as error:
        from nexis_eval.diagnostics import render

        print(render(error, colour=sys.stderr.isatty() and "NO_COLOR" not in os.environ), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; the same command again goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except Exception as error:
        from nexis_eval.cli.bug import report

        return report(error)


if __name__ == "__main__":
    raise SystemExit(main())
