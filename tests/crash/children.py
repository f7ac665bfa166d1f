"""Forked children that do the work of crash tests.

The parent never opens a store: RocksDB does not survive a fork, and a child of one that has would wait forever for
threads that it does not have (``conftest`` sees to it).
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable


def in_child(body: Callable[[], None]) -> tuple[int, str]:
    """Run ``body`` in a forked child; returns (exit status, what it wrote)."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        os.dup2(writer, 1)
        status = 1
        try:
            body()
            status = 0
        except BaseException:
            os.write(1, traceback.format_exc().encode())
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader, "rb") as stream:
        output = stream.read().decode()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), output
