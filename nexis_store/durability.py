"""Getting bytes to the disk before anybody is told that they are there, at the least cost."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from nexis_store import fs


class Durability:
    """Syncs for all threads of a process; those that wait at the same time share one ``syncfs``.

    It beats an fsync for each file from five files on, also on a busy disk: ``docs/decisions/store-syncing.md``.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._condition = threading.Condition()
        self._started = 0
        self._finished = 0
        self._running = False
        self._put_off = threading.local()

    @contextlib.contextmanager
    def put_off(self) -> Iterator[None]:
        """Let ``sync`` do nothing in this thread while the block runs: its caller syncs afterwards, once for all."""
        self._put_off.now = True
        try:
            yield
        finally:
            self._put_off.now = False

    def sync(self) -> None:
        """Return when everything that was written to the file system before the call is on the disk."""
        if getattr(self._put_off, "now", False):
            return
        with self._condition:
            # A call that is under way may have passed our bytes already; only one that starts later covers them.
            wanted = self._started + 1
            while self._running and self._finished < wanted:
                self._condition.wait()
            if self._finished >= wanted:
                return
            self._started += 1
            mine = self._started
            self._running = True
        done = False
        try:
            fs.sync_file_system(self._root)
            done = True
        finally:
            with self._condition:
                self._running = False
                if done:
                    self._finished = max(self._finished, mine)
                self._condition.notify_all()


class SyncAhead:
    """A sync that has begun while its caller still computes: the one that counts then finds little left to do."""

    def __init__(self, durability: Durability) -> None:
        self._durability = durability
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._durability.sync()
        except Exception as error:
            self._error = error

    def wait(self) -> None:
        """Return when it is over. Raises what it met: the system reports a failed write only once."""
        self._thread.join()
        if self._error is not None:
            raise self._error
