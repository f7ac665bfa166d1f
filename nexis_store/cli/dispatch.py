"""What every program here does with its command line: find the command's module, run it, turn errors into exit codes.

Only the module of the command that was given is imported: a command must not pay for what others use.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import keyword
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType

from nexis_store.cli.start import quiet_on_interrupt, raise_on_interrupt
from nexis_store.cli.streams import guard
from nexis_store.errors import NexisError
from nexis_store.suggest import nearest

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)
"""Why standard output may not take any more."""


@dataclass(frozen=True, slots=True)
class Program:
    """One program. Its commands are modules of ``package`` with a docstring, ``add_arguments`` and ``run``.

    ``EXAMPLES`` of a module stand at the end of its help, before the epilog. A command that only groups others is a
    module with a docstring, their ``COMMANDS`` and an ``EPILOG``; they are the modules ``GROUP_COMMAND``.
    """

    name: str
    package: str
    usage: str
    """What follows the name in the usage line."""
    purpose: str
    commands: Mapping[str, str]
    """Each command with a summary of one line."""
    epilog: str
    common: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    """Adds the options that every command takes."""
    prefix: str = ""
    """How the names of the modules begin."""


def _help(program: Program) -> str:
    width = max(map(len, program.commands))
    listing = "\n".join(f"  {name.ljust(width)}  {summary}" for name, summary in program.commands.items())
    return (
        f"usage: {program.name} {program.usage}\n\n{program.purpose}\n\ncommands:\n{listing}\n\n"
        f"'{program.name} COMMAND --help' says what a command takes.\n\n{program.epilog}"
    )


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """As wide as the terminal. The base class would import what archives are made with to find that out, each time."""

    def __init__(self, prog: str) -> None:
        columns = os.environ.get("COLUMNS", "")
        if not columns.isdigit() or columns == "0":
            try:
                columns = str(os.get_terminal_size(sys.__stdout__.fileno() if sys.__stdout__ else 1).columns or 80)
            except (OSError, ValueError):
                columns = "80"
        super().__init__(prog, width=int(columns) - 2)


def run(program: Program, arguments: Sequence[str]) -> int:
    """Run one command line (without the program's name); returns the exit code. Errors are raised."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help(program))
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"{program.name} {version('nexisos')}")
        return 0
    command, rest = arguments[0], arguments[1:]
    if command not in program.commands:
        near = nearest(command, program.commands)
        guess = f"; did you mean '{near}'?" if near else ""
        print(
            f"{program.name}: unknown command '{command}'{guess} ('{program.name} --help' lists them)", file=sys.stderr
        )
        return 2
    name = program.prefix + command.replace("-", "_") + ("_" if keyword.iskeyword(command) else "")
    module = importlib.import_module(f"{program.package}.{name}")
    if hasattr(module, "COMMANDS"):
        return run(_group(program, f"{program.name} {command}", f"{name}_", module), rest)
    parser = argparse.ArgumentParser(
        prog=f"{program.name} {command}",
        description=module.__doc__,
        epilog="".join(f"{part}\n" for part in (getattr(module, "EXAMPLES", ""), program.epilog) if part)[:-1],
        formatter_class=_Formatter,
    )
    program.common(parser)
    module.add_arguments(parser)
    # Options and plain arguments in any order: people write ``build system.toml --arch aarch64 zlib``.
    result = module.run(parser.parse_intermixed_args(rest))
    assert isinstance(result, int)
    return result


def _group(program: Program, name: str, prefix: str, module: ModuleType) -> Program:
    return replace(
        program,
        name=name,
        prefix=prefix,
        usage="COMMAND [OPTION...]",
        purpose=(module.__doc__ or "").rstrip(),
        commands=module.COMMANDS,
        epilog=module.EPILOG,
    )


def main(
    program: Program, render: Callable[[NexisError], str], report: Callable[[Exception], int] | None = None
) -> int:
    """Run the process's command line: an error a user can cause is a message, never a traceback.

    ``render`` makes the message of an error; ``report`` deals with a bug and returns the exit code;
    without it a bug prints where it happened.
    """
    guard()
    try:
        raise_on_interrupt()
        return _run(program, render, report)
    except KeyboardInterrupt:
        quiet_on_interrupt()
        print("interrupted; the same command again goes on from here", file=sys.stderr)
        return 130
    finally:
        quiet_on_interrupt()


def _run(program: Program, render: Callable[[NexisError], str], report: Callable[[Exception], int] | None) -> int:
    try:
        code = run(program, sys.argv[1:])
        sys.stdout.flush()
        return code
    except NexisError as error:
        print(render(error), file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except Exception as error:
        if isinstance(error, OSError) and error.filename is None and error.errno in _NO_ROOM:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            print(f"{program.name}: what it prints could not be written: {error.strerror}", file=sys.stderr)
            return 4
        if isinstance(error, FileNotFoundError) and error.filename is None and not _has_working_directory():
            print(
                f"{program.name}: the working directory was deleted: go to one that exists, or give absolute paths",
                file=sys.stderr,
            )
            return 2
        return report(error) if report is not None else report_bug(program, error)


def _has_working_directory() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def report_bug(program: Program, error: Exception) -> int:
    """Print where a bug of ours happened; returns the exit code."""
    import traceback

    traceback.print_exception(error)
    print(f"{program.name}: this is a bug of this program; please report it with the lines above", file=sys.stderr)
    return 70
