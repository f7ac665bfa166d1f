"""Python's garbage collector, where it costs more than it brings."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def without_collecting() -> Iterator[None]:
    """Hundreds of thousands of small objects are made, none is garbage, and the collector would walk them each time.

    Also once more at the end, so they are put aside first: they go when nothing names them, without the collector.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.freeze()
            gc.enable()
