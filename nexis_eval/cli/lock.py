"""Pin what the configuration leaves open: versions, hashes, sets of Debian packages. The result is nexis.lock.

Without options only what is missing is pinned, for every architecture the system evaluates for; nothing that is pinned
moves. Commit the file: it makes the system the same for everybody. What cannot be pinned does not keep the rest.
"""

from __future__ import annotations

import argparse
import asyncio
import difflib
import os
import sys
import tempfile
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from nexis_eval.cli.common import add_system_arguments
from nexis_eval.cli.evaluation import add_store_argument
from nexis_eval.cli.stores import open_store
from nexis_eval.config.errors import is_not_meant
from nexis_eval.config.load import load
from nexis_eval.config.model import Config
from nexis_eval.lock.conflicts import has_conflict, merged
from nexis_eval.lock.model import Lock, LockedSource, LockError, format_lock, load_lock, parse_lock
from nexis_eval.mirrors import default_mirrors
from nexis_eval.places import RULES
from nexis_eval.platforms import PLATFORMS
from nexis_eval.toolchain import PINS, format_pins, load_toolchain
from nexis_eval.ui.text import plural
from nexis_store.errors import NexisError
from nexis_store.store import Store

if TYPE_CHECKING:
    from nexis_eval.lock.resolve import Keep, Resolution


class UnknownPackageError(NexisError):
    """A package is to be pinned anew that the configuration does not have."""

    code = "E0406"
    exit_code = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    add_system_arguments(parser)
    add_store_argument(parser)
    parser.set_defaults(arch=None)
    parser.add_argument(
        "--update", action="append", default=[], metavar="PACKAGE", help="pin this package anew; may be repeated"
    )
    parser.add_argument("--update-all", action="store_true", help="pin every package anew")
    parser.add_argument("--diff", action="store_true", help="show what would change, and change nothing")
    parser.add_argument(
        "--toolchain", action="store_true", help="pin the tool sets of rules/toolchain.toml instead (for maintainers)"
    )


def run(args: argparse.Namespace) -> int:
    """Pin; returns the exit code."""
    if args.toolchain:
        return _toolchain()
    configs = _configs(args)
    update = _to_update(args, configs)
    path = args.file.with_name("nexis.lock")
    before, text = _read(path)
    with nullcontext() if args.diff else keeping(args, configs[0].arch) as keep:
        resolution = resolved(configs, before, update, keep)
    after = resolution.lock
    if args.diff:
        _print_diff(path, before, after)
    elif format_lock(after) == text:
        if not resolution.errors:
            print(f"{path}: everything is pinned")
    else:
        write_atomically(path, format_lock(after))
        for line in changes(before, after):
            print(line)
        sets = plural(len(after.debian), "set")
        print(f"wrote {path}: {plural(len(after.sources), 'download')}, {sets} of Debian packages")
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
        _tell(f"leaving out {arch}, for which the system has mistakes: {mistake.message.splitlines()[0]}")
    return configs


def _read(path: Path) -> tuple[Lock, str]:
    """The lock as it is, and its text; what a merge left in conflict is put together."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Lock(), ""
    if not has_conflict(text):
        return parse_lock(text, str(path)), text
    lock, disputed = merged(text, str(path))
    _tell(f"{path}: kept what both sides of the merge have" + _anew(disputed))
    return lock, text


def _anew(disputed: Collection[str]) -> str:
    return f"; pinning anew what they disagree about: {', '.join(sorted(disputed))}" if disputed else ""


def _to_update(args: argparse.Namespace, configs: Sequence[Config]) -> set[str]:
    known = {name for config in configs for name in config.packages}
    for name in args.update:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            raise UnknownPackageError(
                f"{args.file} has no package '{name}'",
                hint=f"did you mean {' or '.join(map(repr, near))}?" if near else f"it has: {', '.join(sorted(known))}",
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


def changes(before: Lock, after: Lock) -> Iterator[str]:
    """What is different, in a line a package and field: the short form of a difference between two lock files."""
    for key in sorted({*before.sources, *after.sources}):
        old, new = before.sources.get(key), after.sources.get(key)
        if old == new:
            continue
        label = " ".join(filter(None, key))
        yield f"{label}: {_shown(old)} → {_shown(new)}" if old else f"{label}: {_shown(new)}"
    for name, arch in sorted({*before.debian, *after.debian}):
        old_debs = {each.name: each.version for each in before.debian.get((name, arch), ())}
        new_debs = {each.name: each.version for each in after.debian.get((name, arch), ())}
        if not old_debs:
            yield f"{name} {arch}: {len(new_debs)} Debian packages"
            continue
        for each in sorted({*old_debs, *new_debs}):
            was, now = old_debs.get(each, "none"), new_debs.get(each, "none")
            if was != now:
                yield f"{name} {arch}: {each} {was} → {now}"


def _shown(source: LockedSource | None) -> str:
    if source is None:
        return "gone"
    if source.absent:
        return "absent"
    pin = source.commit[:12] if source.commit else f"{source.algorithm}:{source.hash[:12]}…"
    return f"{source.version} ({pin})".lstrip()


def raise_all(errors: Sequence[NexisError]) -> None:
    """Raise what could not be pinned: one error as it is, several as one that holds them all."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        listing = "\n".join(f"- {str(each).replace(chr(10), chr(10) + '  ')}" for each in errors)
        raise LockError(f"{plural(len(errors), 'package')} cannot be pinned; the rest is\n{listing}")


@contextmanager
def keeping(args: argparse.Namespace, arch: str) -> Iterator[Keep]:
    """Puts what is downloaded into the store, which is opened for the first of it, or made as it is set for ``arch``.

    A store that cannot be written keeps nobody from pinning: then it is downloaded again for the build.
    """
    from nexis_eval.sources import keep_locked

    one = argparse.Namespace(**{"store": None, **vars(args), "arch": arch})

    with ExitStack() as stack:
        one_at_a_time, stores, failed = threading.Lock(), list[Store](), list[NexisError]()

        def keep(source: LockedSource, download: Path) -> None:
            with one_at_a_time:
                try:
                    if not stores and not failed:
                        stores.append(stack.enter_context(open_store(one)))
                    for store in stores:
                        keep_locked(store, source, download)
                except NexisError as error:
                    failed.append(error)
                    stores.clear()
                    _tell(f"note: downloads are not kept: {error.message}")

        yield keep


def resolved(
    configs: Sequence[Config], lock: Lock, update: Collection[str] = (), keep: Keep | None = None
) -> Resolution:
    """``lock`` and what it lacks for ``configs``; ``keep`` gets what was downloaded for it."""
    from nexis_eval.lock.resolve import resolve

    mirrors = default_mirrors(configs[0].mirrors)
    return asyncio.run(resolve(configs, lock, update=update, mirrors=mirrors, tell=_tell, keep=keep))


def lock_configs(configs: Sequence[Config], path: Path, args: argparse.Namespace) -> Lock:
    """Fill the lock file at ``path`` with what it lacks for ``configs``; returns it. Raises what cannot be pinned."""
    before = load_lock(path)
    with keeping(args, configs[0].arch) as keep:
        resolution = resolved(configs, before, keep=keep)
    if resolution.lock != before:
        write_atomically(path, format_lock(resolution.lock))
    raise_all(resolution.errors)
    return resolution.lock


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
