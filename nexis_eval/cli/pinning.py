"""Pinning what the lock lacks: what ``nexis-eval lock`` does, and every command that finds something not pinned."""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import sys
import tempfile
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from nexis_eval.cli.stores import open_store
from nexis_eval.config.model import Config
from nexis_eval.lock.model import Lock, LockedSource, LockError, format_lock, load_lock
from nexis_eval.mirrors import default_mirrors
from nexis_eval.ui.text import plural
from nexis_store.errors import NexisError
from nexis_store.store import Store

if TYPE_CHECKING:
    from nexis_eval.lock.resolve import Keep, Resolution


def lock_configs(configs: Sequence[Config], path: Path, args: argparse.Namespace) -> Lock:
    """Fill the lock file at ``path`` with what it lacks for ``configs``; returns it. Raises what cannot be pinned."""
    with pinning(path):
        before = load_lock(path)
        with keeping(args, configs[0].store.profile) as keep:
            resolution = resolved(configs, before, keep=keep)
        if resolution.lock != before:
            write_atomically(path, format_lock(resolution.lock))
    raise_all(resolution.errors)
    return resolution.lock


@contextmanager
def pinning(path: Path) -> Iterator[None]:
    """Wait until nobody else pins in ``path``: who comes second completes what the first one wrote."""
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        # Where there are no locks (some network file systems) two at once are left to their luck.
        with suppress(OSError):
            try:
                fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                tell(f"waiting for another nexis-eval that is pinning in {path}")
                fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def resolved(
    configs: Sequence[Config],
    lock: Lock,
    update: Collection[str] = (),
    keep: Keep | None = None,
    verified: Collection[str] = (),
    older_index: bool = False,
) -> Resolution:
    """``lock`` and what it lacks for ``configs``; ``keep`` gets what was downloaded for it."""
    from nexis_eval.lock.resolve import resolve

    mirrors = default_mirrors(configs[0].mirrors)
    return asyncio.run(
        resolve(
            configs,
            lock,
            update=update,
            verified=verified,
            mirrors=mirrors,
            tell=tell,
            keep=keep,
            older_index=older_index,
        )
    )


@contextmanager
def keeping(args: argparse.Namespace, store_profile: str) -> Iterator[Keep]:
    """Put what is downloaded into the store, which is opened for the first of it, or made for ``store_profile``.

    A store that cannot be written keeps nobody from pinning: then it is downloaded again for the build.
    """
    from nexis_eval.sources import keep_locked

    chosen = argparse.Namespace(**{"store": None, **vars(args)})

    with ExitStack() as stack:
        one_at_a_time, stores, failed = threading.Lock(), list[Store](), list[NexisError]()

        def keep(source: LockedSource, download: Path) -> None:
            with one_at_a_time:
                try:
                    if not stores and not failed:
                        stores.append(stack.enter_context(open_store(chosen, store_profile)))
                    for store in stores:
                        keep_locked(store, source, download)
                except NexisError as error:
                    failed.append(error)
                    stores.clear()
                    tell(f"note: downloads are not kept: {error.message}")

        yield keep


def raise_all(errors: Sequence[NexisError]) -> None:
    """Raise what could not be pinned: one error as it is, several as one that holds them all."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        listing = "\n".join(f"- {str(each).replace(chr(10), chr(10) + '  ')}" for each in errors)
        raise LockError(f"{plural(len(errors), 'package')} cannot be pinned; the rest is\n{listing}")


def write_atomically(path: Path, text: str) -> None:
    """Replace a file by one rename: a kill leaves the old one or the new one."""
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)


def tell(line: str) -> None:
    """Say how it goes: on stderr, as stdout is for results."""
    print(line, file=sys.stderr)
