"""Work bound by small system calls, on all processors: forked helpers, since threads would share one interpreter.

A helper makes nothing but file system calls for its part and sends back what it found; it touches no database, no lock
and no thread pool. Forking is safe only while the process has a single thread, so any other does all by itself.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

MOST = 4

MANY = 2000
"""So many small files are worth the helpers that copy or link some of them."""

T = TypeVar("T")
R = TypeVar("R")


def processes() -> int:
    """How many may work at once here; 1 where this process must do everything itself."""
    return min(MOST, len(os.sched_getaffinity(0))) if threading.active_count() == 1 else 1


def in_processes(function: Callable[[T], R], parts: Sequence[T]) -> list[R]:
    """``[function(part) for part in parts]``: the first part here, each other one in a helper of its own.

    Results must be picklable. When all have ended, raises what a part raised, or ``ChildProcessError`` for a helper
    that was killed.
    """
    if not parts:
        return []
    with without_collections():
        return _all(function, parts)


@contextlib.contextmanager
def without_collections() -> Iterator[None]:
    """Make tens of thousands of values in the block without looking for circles among them again and again.

    In a helper looking would, besides, copy all the memory that it has from its parent.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _all(function: Callable[[T], R], parts: Sequence[T]) -> list[R]:
    running = [_start(function, part) for part in parts[1:]]
    try:
        found = [function(parts[0])]
    finally:
        outcomes = [_finish(*each) for each in running]
    for good, value in outcomes:
        if not good:
            raise value
        found.append(value)
    return found


def _start(function: Callable[[T], R], part: T) -> tuple[int, int]:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    status = 1
    try:
        os.close(reader)
        try:
            outcome: tuple[bool, object] = (True, function(part))
        except BaseException as error:
            outcome = (False, error)
        data = memoryview(pickle.dumps(outcome))
        while data:
            data = data[os.write(writer, data) :]
        status = 0
    finally:
        os._exit(status)


def _finish(pid: int, reader: int) -> tuple[bool, Any]:
    with open(reader, "rb") as stream:
        data = stream.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status or not data:
        return False, ChildProcessError(f"a helper process ended with {status}")
    good, value = pickle.loads(data)
    return bool(good), value
