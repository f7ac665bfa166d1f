"""Python's garbage collector, where it costs more than it brings."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

_ONE_COMMAND = 50_000
"""Objects to be made before the collector looks at them, in a process that runs one command and ends."""


def expect_one_command() -> None:
    """Say that this process runs one command and ends.

    Importing makes thousands of objects that stay: looking for garbage among them takes a twentieth of the start.
    """
    gc.set_threshold(_ONE_COMMAND)


@contextlib.contextmanager
def without_collecting() -> Iterator[None]:
    """Hundreds of thousands of small objects are made, none is garbage, and the collector would walk them each time.

    Also once more at the end, so in a process that will end soon they are put aside: they go when nothing names them,
    but without the collector.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            if gc.get_threshold()[0] == _ONE_COMMAND:
                gc.freeze()
            gc.enable()
