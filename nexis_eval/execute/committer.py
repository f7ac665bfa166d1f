"""Lands and records what builds left, many at a time: one sync of the disk serves all that ended meanwhile.

A build that has ended needs no processor any more, so the next one starts while this one waits to be committed. The
thread hashes and moves what comes in at once, and commits when there is nothing better to wait for: when told that no
build can start before (``hurry``), when many have come together, or when the first has waited for ``MAX_WAIT_SECONDS``.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from nexis_store.realisation import Realisation
from nexis_store.store import Store
from nexis_store.together import Part

MAX_WAIT_SECONDS = 0.05
MAX_TOGETHER = 64
PATIENCE_SECONDS = 3.0
"""So long a landing whose step was cancelled may go on: most are over by then, and their work is kept."""

Landed = tuple[Sequence[Part], Realisation]


@dataclass(slots=True)
class _Item:
    land: Callable[[], Landed]
    cleanup: Callable[[], None]
    done: asyncio.Future[Realisation]
    landed: Landed | None = field(default=None)


async def ended(store: Store, landing: asyncio.Future[Any]) -> None:
    """Wait until a landing is over whose step was cancelled; one that takes long is stopped, as nobody waits for it."""
    until = time.monotonic() + PATIENCE_SECONDS
    try:
        while not landing.done():
            left = until - time.monotonic()
            if left <= 0:
                # Again and again: another that is over takes it back.
                store.stopped.set()
                left = 0.1
            with suppress(asyncio.CancelledError):
                await asyncio.wait((landing,), timeout=left)
    finally:
        store.stopped.clear()


class Committer:
    """For one event loop; use it as an asynchronous context manager. Leaving it commits what is under way."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue: queue.SimpleQueue[_Item | bool] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._waiting = 0

    async def commit(
        self, land: Callable[[], Landed], cleanup: Callable[[], None] = lambda: None, *, hurry: bool = False
    ) -> Realisation:
        """Have ``land`` called in the thread, and what it returns made durable; then ``cleanup``, whatever came of it.

        Raises what either raised. Being cancelled does not stop it unless it takes long: it is over, one way or the
        other, on return.
        """
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, args=(loop,), name="committer", daemon=True)
            self._thread.start()
        done: asyncio.Future[Realisation] = loop.create_future()
        self._waiting += 1
        self._queue.put(_Item(land, cleanup, done))
        if hurry:
            self.hurry()
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            self.hurry()
            await ended(self._store, done)
            raise
        finally:
            self._waiting -= 1
            if done.done() and not done.cancelled():
                done.exception()

    def hurry(self) -> None:
        """Nothing else goes on until something is committed: do not wait for more."""
        if self._waiting:
            self._queue.put(False)

    async def __aenter__(self) -> Committer:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._thread is not None:
            self._queue.put(True)
            await asyncio.to_thread(self._thread.join)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        ending = False
        while not ending:
            first = self._queue.get()
            if isinstance(first, bool):
                ending = first
                continue
            together = [first]
            self._land(first, loop)
            until = time.monotonic() + MAX_WAIT_SECONDS
            while len(together) < MAX_TOGETHER:
                try:
                    more = self._queue.get(timeout=max(0.0, until - time.monotonic()))
                except queue.Empty:
                    break
                if isinstance(more, bool):
                    ending = ending or more
                    break
                together.append(more)
                self._land(more, loop)
            self._commit([each for each in together if each.landed is not None], loop)

    def _land(self, item: _Item, loop: asyncio.AbstractEventLoop) -> None:
        try:
            item.landed = item.land()
        except BaseException as error:
            _clean(item)
            loop.call_soon_threadsafe(item.done.set_exception, error)

    def _commit(self, items: list[_Item], loop: asyncio.AbstractEventLoop) -> None:
        if not items:
            return
        builds = [item.landed for item in items if item.landed is not None]
        try:
            self._store.record_together(builds)
        except BaseException as error:
            for item in items:
                _clean(item)
            loop.call_soon_threadsafe(_fail, [item.done for item in items], error)
            return
        results = [realisation for _, realisation in builds]
        loop.call_soon_threadsafe(_succeed, [item.done for item in items], results)
        for item in items:
            _clean(item)


def _clean(item: _Item) -> None:
    # What cannot be removed now goes with the workspace.
    try:
        item.cleanup()
    except OSError:
        return


def _fail(futures: Sequence[asyncio.Future[Realisation]], error: BaseException) -> None:
    for each in futures:
        each.set_exception(error)


def _succeed(futures: Sequence[asyncio.Future[Realisation]], results: Sequence[Realisation]) -> None:
    for each, result in zip(futures, results, strict=True):
        each.set_result(result)
