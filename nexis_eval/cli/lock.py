"""Pin what the configuration leaves open: versions, hashes, sets of Debian packages. The result is nexis.lock.

Without options only what is missing is pinned, for every architecture the system evaluates for; nothing that is pinned
moves. Commit the file: it makes the system the same for everybody.
"""

from __future__ import annotations

import argparse
import asyncio
import difflib
import os
import sys
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from nexis_eval.cli.common import add_system_arguments
from nexis_eval.config.load import load
from nexis_eval.config.model import Config
from nexis_eval.lock.model import Lock, format_lock, load_lock
from nexis_eval.mirrors import default_mirrors
from nexis_eval.platforms import PLATFORMS
from nexis_eval.toolchain import PINS, format_pins, load_toolchain

RULES = Path(__file__).resolve().parents[2] / "rules"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_system_arguments(parser)
    parser.set_defaults(arch=None)
    parser.add_argument(
        "--update", action="append", default=[], metavar="PACKAGE", help="pin this package anew; may be repeated"
    )
    parser.add_argument("--diff", action="store_true", help="show what would change, and change nothing")
    parser.add_argument(
        "--toolchain", action="store_true", help="pin the tool sets of rules/toolchain.toml instead (for maintainers)"
    )


def run(args: argparse.Namespace) -> int:
    """Pin; returns the exit code."""
    if args.toolchain:
        return _toolchain()
    arches = [args.arch] if args.arch else list(PLATFORMS)
    configs = [load(args.file, arch=each, profiles=args.profile, overrides=args.overrides) for each in arches]
    path = args.file.with_name("nexis.lock")
    before = load_lock(path)
    after = resolved(configs, before, args.update)
    if args.diff:
        sys.stdout.writelines(
            difflib.unified_diff(
                format_lock(before).splitlines(keepends=True),
                format_lock(after).splitlines(keepends=True),
                f"{path} (now)",
                f"{path} (would be)",
            )
        )
        return 0
    if after == before and path.exists():
        print(f"{path}: everything is pinned")
        return 0
    write_atomically(path, format_lock(after))
    print(f"wrote {path}: {len(after.sources)} downloads, {len(after.debian)} sets of Debian packages")
    return 0


def resolved(configs: Sequence[Config], lock: Lock, update: Collection[str] = ()) -> Lock:
    """``lock`` and what it lacks for ``configs``."""
    from nexis_eval.lock.resolve import resolve

    return asyncio.run(resolve(configs, lock, update=update, mirrors=default_mirrors(configs[0].mirrors), tell=_tell))


def lock_configs(configs: Sequence[Config], path: Path) -> Lock:
    """Fill the lock file at ``path`` with what it lacks for ``configs``, and return it."""
    before = load_lock(path)
    after = resolved(configs, before)
    if after != before:
        write_atomically(path, format_lock(after))
    return after


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


def _toolchain() -> int:
    from nexis_eval.lock.resolve import resolve_toolchain

    pins = asyncio.run(resolve_toolchain(load_toolchain(RULES), mirrors=default_mirrors({}), tell=_tell))
    write_atomically(RULES / PINS, format_pins(pins))
    print(f"wrote {RULES / PINS}")
    return 0


def write_atomically(path: Path, text: str) -> None:
    """Replace a file by one rename: a kill leaves the old one or the new one."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)
