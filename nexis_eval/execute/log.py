"""What is kept of the log that a build wrote: all of a usual one, the two ends of one that is longer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from nexis_store.names import printable

HEAD_BYTES, TAIL_BYTES = 4 << 20, 12 << 20
LAST_BYTES = 1 << 20
"""How much of the end is looked at for what went wrong."""
LONGEST = 500
"""Characters of a line that is quoted."""
_BLOCK = 1 << 18


def kept(file: Path, reason: str = "") -> Iterator[bytes]:
    """The log in pieces; of a long one its head, its tail, and between them how much is left out.

    ``reason`` is why what the build made could not be used: it becomes the last line.
    """
    with file.open("rb") as log:
        size = os.fstat(log.fileno()).st_size
        if size <= HEAD_BYTES + TAIL_BYTES:
            yield from _pieces(log.read, size)
        else:
            yield from _pieces(log.read, HEAD_BYTES)
            left = size - HEAD_BYTES - TAIL_BYTES
            yield f"\nnexis: {left:,} bytes of this log were not kept\n".encode()
            log.seek(-TAIL_BYTES, os.SEEK_END)
            yield from _pieces(log.read, TAIL_BYTES)
    if reason:
        yield f"\nnexis: {reason}\n".encode(errors="surrogateescape")


def _pieces(read: Callable[[int], bytes], size: int) -> Iterator[bytes]:
    while size > 0 and (piece := read(min(_BLOCK, size))):
        size -= len(piece)
        yield piece


def last_lines(file: Path) -> list[str]:
    """The last lines of a log as people may be shown them."""
    with file.open("rb") as log:
        size = os.fstat(log.fileno()).st_size
        log.seek(max(0, size - LAST_BYTES))
        text = log.read(LAST_BYTES).decode(errors="replace")
    lines = text.removesuffix("\n").split("\n") if text else []
    # A terminal shows of a line what was written after the last carriage return.
    return [printable(line.rstrip("\r").rpartition("\r")[2], longest=LONGEST) for line in lines]
