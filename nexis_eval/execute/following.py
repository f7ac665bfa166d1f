"""The log of a build while it runs, in whichever process: read along until the build has ended."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from nexis_eval.execute.workspace import build_name
from nexis_store.digest import DerivationId
from nexis_store.store import Store

INTERVAL_SECONDS = 0.1
_BLOCK = 1 << 16


def follow(store: Store, name: str, each: DerivationId, waiting: Callable[[], None] = lambda: None) -> Iterator[bytes]:
    """What the build of ``each``, a derivation called ``name``, prints, as it comes, from its beginning to its end.

    If it has not begun but some engine works on this store, ``waiting`` is called and its beginning waited for. Yields
    nothing when it is done already, or nobody is at work.
    """
    told = False
    while (log := running_log(store, name, each)) is None:
        if store.realised(each) is not None or not _engines(store):
            return
        if not told:
            waiting()
            told = True
        time.sleep(INTERVAL_SECONDS)
    try:
        descriptor = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        while True:
            # First look whether it has ended, then read: so nothing that it wrote is missed.
            ended = not log.exists() or not _is_held(log.parent.parent)
            while data := os.read(descriptor, _BLOCK):
                yield data
            if ended:
                return
            time.sleep(INTERVAL_SECONDS)
    finally:
        os.close(descriptor)


def running_log(store: Store, name: str, each: DerivationId) -> Path | None:
    """The file into which a running build of ``each`` writes."""
    for engine in _engines(store):
        for found in engine.glob(f"{build_name(name, each)}-*/log"):
            return found
    return None


def _engines(store: Store) -> list[Path]:
    """The directories of the engines that are at work."""
    return [each for each in (store.root / ".build").glob("engine-*") if _is_held(each)]


def _is_held(engine: Path) -> bool:
    try:
        descriptor = os.open(engine / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)
