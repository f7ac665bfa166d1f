"""Pin what the configuration leaves open: versions, hashes, sets of Debian packages. The result is nexis.lock.

Without options only what is missing is pinned, for every architecture the system evaluates for; nothing that is pinned
moves. Commit the file: it makes the system the same for everybody. What cannot be pinned does not keep the rest.
"""

from __future__ import annotations

import argparse
import asyncio
import difflib
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from nexis_eval.cli.arguments import add_store_argument, add_system_arguments
from nexis_eval.cli.pinning import keeping, pinning, raise_all, resolved, tell, write_atomically
from nexis_eval.config.errors import is_not_meant
from nexis_eval.config.load import load, load_tables
from nexis_eval.config.model import Config
from nexis_eval.config.origin import shown_path
from nexis_eval.lock.changes import changes
from nexis_eval.lock.conflicts import has_conflict, merged
from nexis_eval.lock.model import Lock, format_lock, lock_file, parse_lock, read_lock
from nexis_eval.mirrors import default_mirrors
from nexis_eval.places import RULES
from nexis_eval.platforms import DEFAULT_BUILD_ARCH, PLATFORMS
from nexis_eval.toolchain import DEFINITION, PINS, ToolchainError, format_pins, load_toolchain
from nexis_eval.ui.text import plural
from nexis_store.errors import NexisError
from nexis_store.suggest import did_you_mean


class UnknownPackageError(NexisError):
    """A package is to be pinned anew that the configuration does not have.

    ``--update`` takes the ``name`` of a ``[[packages]]`` table, without the version.
    """

    code = "E0406"
    exit_code = 2


EXAMPLES = """\
examples:
  nexis-eval lock
  nexis-eval lock --update zlib
  nexis-eval lock --update-all --diff
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_system_arguments(parser, every_arch=True)
    add_store_argument(parser)
    parser.add_argument(
        "--update", action="append", default=[], metavar="PACKAGE", help="pin this package anew; may be repeated"
    )
    parser.add_argument("--update-all", action="store_true", help="pin every package anew")
    parser.add_argument("--diff", action="store_true", help="show what would change, and change nothing")
    parser.add_argument(
        "--older-index",
        action="store_true",
        help="take Debian's package index also if it has expired or is older than the one that nexis.lock is from",
    )
    parser.add_argument(
        "--toolchain",
        action="store_true",
        help="pin the tool sets of your own that [rules] names, in toolchain.lock beside their toolchain.toml",
    )


def run(args: argparse.Namespace) -> int:
    """Pin; returns the exit code."""
    if args.toolchain:
        return _toolchain(args)
    configs = _configs(args)
    update = _to_update(args, configs)
    path = lock_file(args.file)
    if args.diff:
        before, _ = _read(path)
        resolution = resolved(configs, before, update, verified=args.update, older_index=args.older_index)
        _print_diff(path, before, resolution.lock)
        raise_all(resolution.errors)
        return 0
    with pinning(path):
        before, text = _read(path)
        with keeping(args, configs[0].store.profile) as keep:
            resolution = resolved(configs, before, update, keep, args.update, args.older_index)
        after = resolution.lock
        written = format_lock(after)
        if written != text:
            write_atomically(path, written)
    if written != text:
        for line in changes(before, after):
            print(line)
        sets = plural(len(after.debian), "set")
        print(f"wrote {path}: {plural(len(after.sources), 'download')}, {sets} of Debian packages")
    elif not resolution.errors:
        print(f"{path}: everything is pinned")
    raise_all(resolution.errors)
    return 0


def _configs(args: argparse.Namespace) -> list[Config]:
    """The system for every architecture it can be evaluated for, or for the one that was asked for."""
    if args.arch:
        return [load(args.file, arch=args.arch, profiles=args.profile, overrides=args.overrides)]
    configs, failed = [], []
    for arch in PLATFORMS:
        try:
            configs.append(load(args.file, arch=arch, profiles=args.profile, overrides=args.overrides))
        except NexisError as error:
            failed.append((arch, error))
    if not configs:
        raise failed[0][1]
    for arch, mistake in failed:
        if is_not_meant(mistake):
            continue
        tell(f"leaving out {arch}, for which the system has mistakes: {mistake.message.splitlines()[0]}")
    return configs


def _read(path: Path) -> tuple[Lock, str]:
    """The lock as it is, and its text; what a merge left in conflict is put together."""
    text = read_lock(path)
    if text is None:
        return Lock(), ""
    if not has_conflict(text):
        return parse_lock(text, str(path)), text
    lock, disputed = merged(text, str(path))
    tell(f"{path}: kept what both sides of the merge have" + _anew(disputed))
    return lock, text


def _anew(disputed: Collection[str]) -> str:
    return f"; pinning anew what they disagree about: {', '.join(sorted(disputed))}" if disputed else ""


def _to_update(args: argparse.Namespace, configs: Sequence[Config]) -> set[str]:
    known = {name for config in configs for name in config.packages}
    for name in args.update:
        if name not in known:
            raise UnknownPackageError(
                f"{args.file} has no package '{name}'",
                hint=did_you_mean(name, known, f"it has: {', '.join(sorted(known))}", most=3),
            )
    return known if args.update_all else set(args.update)


def _print_diff(path: Path, before: Lock, after: Lock) -> None:
    sys.stdout.writelines(
        difflib.unified_diff(
            format_lock(before).splitlines(keepends=True),
            format_lock(after).splitlines(keepends=True),
            f"{path} (now)",
            f"{path} (would be)",
        )
    )


def _toolchain(args: argparse.Namespace) -> int:
    """Pin the tool sets of the configuration's own directories; the product's where there is no configuration."""
    if not args.file.exists() and args.file == Path("system.toml"):
        _pin_sets([RULES], {}, args)
        return 0
    variant = {"arch": args.arch or DEFAULT_BUILD_ARCH, "profiles": args.profile, "overrides": args.overrides}
    tables = load_tables(args.file, "rules", "mirrors", **variant)
    own = tuple(each.path for each in tables["rules"].get("paths", ()))  # type: ignore[attr-defined]
    defining = [each for each in own if (each / DEFINITION).exists()]
    if not defining:
        raise ToolchainError(
            f"{args.file} has no tool sets of its own to pin",
            hint=f"write {DEFINITION} in a directory that [rules] paths names; see docs/extending.md",
        )
    for index, directory in enumerate(own):
        if directory in defining:
            _pin_sets([RULES, *own[: index + 1]], tables["mirrors"], args)
    return 0


def _pin_sets(directories: Sequence[Path], mirrors: Mapping[str, Any], args: argparse.Namespace) -> None:
    """Pin the sets that the last of the directories defines."""
    from nexis_eval.lock.resolve import resolve_toolchain

    toolchain, path = load_toolchain(*directories), directories[-1] / PINS
    names = [name for name, each in toolchain.sets.items() if each.path == directories[-1]]
    pins = asyncio.run(
        resolve_toolchain(toolchain, names, mirrors=default_mirrors(mirrors), tell=tell, older_index=args.older_index)
    )
    write_atomically(path, format_pins(*pins))
    print(f"wrote {shown_path(path)}")
