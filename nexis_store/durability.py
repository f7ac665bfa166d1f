"""Getting bytes to the disk before anybody is told that they are there, at the least cost."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from nexis_store import fs

FEW = 48
"""Up to so many paths are synced one by one. Beyond that one ``syncfs`` is cheaper, although it also waits for whatever
else the file system has to write."""


class Durability:
    """Syncs for all threads of a process; those that wait for ``syncfs`` at the same time share one call."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._condition = threading.Condition()
        self._started = 0
        self._finished = 0
        self._running = False

    def sync(self, paths: Sequence[str]) -> None:
        """Return when all ``paths`` (files and directories, children first) are on the disk."""
        if len(paths) <= FEW:
            for path in paths:
                fs.sync_path(path)
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
