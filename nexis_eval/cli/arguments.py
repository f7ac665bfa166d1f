"""The arguments that commands have in common: which system, which variant of it, which targets, which store."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path

from nexis_store.errors import NexisError

DEFAULT_TARGET = "images"
DEFAULT = "the images, or all packages where there is no kernel"
"""What ``default_names`` does, for help texts."""


class TargetCountError(NexisError):
    """A command was given too many or too few targets."""

    code = "E0005"
    exit_code = 2


def system_file(named: str) -> Path:
    """The configuration that a person names: a file, or the ``system.toml`` in a directory."""
    inside = Path(named, "system.toml")
    return inside if inside.exists() else Path(named)


def add_system_arguments(parser: argparse.ArgumentParser, *, every_arch: bool = False) -> None:
    """Add the system file and what selects its variant."""
    parser.add_argument(
        "file",
        nargs="?",
        type=system_file,
        default=Path("system.toml"),
        metavar="SYSTEM.toml",
        help="the configuration, or its directory (default: ./system.toml)",
    )
    add_variant_arguments(parser, every_arch=every_arch)


def add_variant_arguments(parser: argparse.ArgumentParser, *, every_arch: bool = False) -> None:
    """Add ``--arch``, ``--profile`` and ``--set`` alone; with ``every_arch`` no architecture is the default."""
    default, told = (None, "every one that the system is for") if every_arch else ("x86_64", "x86_64")
    parser.add_argument("--arch", default=default, help=f"x86_64, aarch64 or riscv64 (default: {told})")
    parser.add_argument(
        "--profile", action="append", default=[], metavar="NAME", help="count the [profile.NAME] parts; may be repeated"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="KEY=VALUE",
        help="set a value, stronger than every file (packages.zlib.version=1.3); may be repeated",
    )


def add_evaluation_arguments(parser: argparse.ArgumentParser, targets: str = "") -> None:
    """The system file, the targets (``targets`` is their help text), the architecture, the lock switches."""
    parser.add_argument(
        "arguments",
        nargs="*",
        type=_named,
        metavar="SYSTEM.toml TARGET" if targets else "SYSTEM.toml",
        help="the configuration, or its directory (default: ./system.toml)" + (f"; {targets}" if targets else ""),
    )
    add_variant_arguments(parser)
    parser.add_argument(
        "--locked", action="store_true", help="fail where nexis.lock lacks something, instead of pinning it"
    )


def _named(text: str) -> str:
    # Otherwise a script whose variable is empty would build everything.
    if not text:
        raise argparse.ArgumentTypeError("an argument is empty: is a variable in your script not set?")
    return text


def add_store_argument(parser: argparse.ArgumentParser) -> None:
    """``--store``."""
    parser.add_argument(
        "--store",
        type=Path,
        metavar="DIR",
        help="the store (default: $NEXIS_STORE, else nexis/store in your data directory)",
    )


def default_jobs() -> int:
    """As many builds side by side as there are processors this process may use."""
    return len(os.sched_getaffinity(0))


def positive(value: str) -> int:
    """A whole number, at least 1."""
    try:
        number = int(value)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"'{value}' is not a positive integer")
    return number


def add_jobs_argument(parser: argparse.ArgumentParser) -> None:
    """``--jobs``."""
    parser.add_argument(
        "-j", "--jobs", type=positive, default=default_jobs(), metavar="N", help="processors to use (default: all)"
    )


def selection(args: argparse.Namespace) -> tuple[str, ...]:
    """What another command must be told to mean the same system, variant and store; quoted for a shell."""
    words = [] if args.file == Path("system.toml") else [str(args.file)]
    words += ["--arch", args.arch] if args.arch != "x86_64" else []
    for name in args.profile:
        words += ["--profile", name]
    if args.overrides:
        # Imported on use: most commands have none.
        from nexis_eval.secrets import blotted_override

        for override in args.overrides:
            words += ["--set", blotted_override(override)]
    words += ["--store", str(args.store)] if args.store is not None else []
    return tuple(map(shlex.quote, words))


def take_targets(args: argparse.Namespace, least: int, most: int | None) -> list[str]:
    """Tell the system file (a path ending in .toml, or a directory that has one) from the targets in ``args``.

    Sets ``args.file``; returns the targets. Raises ``TargetCountError`` unless there are ``least`` to ``most`` of them.
    """
    args.file = Path("system.toml")
    targets = []
    for argument in args.arguments:
        # A directory that has none may be called what a target is called.
        if argument.endswith(".toml") or "/" in argument or Path(argument, "system.toml").exists():
            args.file = system_file(argument)
        else:
            targets.append(argument)
    if len(targets) < least or (most is not None and len(targets) > most):
        wanted = f"{least}" if least == most else f"{least} to {most}" if most is not None else f"at least {least}"
        count = "no target" if not targets else "1 target" if len(targets) == 1 else f"{len(targets)} targets"
        given = f"{count} given" + (f" ({', '.join(targets)})" if targets else "")
        raise TargetCountError(
            f"{given}, {wanted} wanted",
            hint="'nexis-eval targets' lists what a system has",
        )
    return targets
