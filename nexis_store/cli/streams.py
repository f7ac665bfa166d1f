"""Standard output and errors as commands have them: nothing that they print can steer a terminal."""

from __future__ import annotations

import io
import sys
from typing import Any, TextIO, cast

from nexis_store.names import printable

_UNCUT = 1 << 62


class _Harmless(io.TextIOWrapper):
    """A standard stream that lets text pass, and the colours of messages; lines of at most ``longest`` characters."""

    longest = _UNCUT

    def write(self, text: str) -> int:
        super().write(printable(text, colours=True, longest=self.longest))
        return len(text)


class _Unfiltered:
    """The same stream for a writer that steers the terminal itself, and knows what it writes."""

    def __init__(self, stream: _Harmless) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return io.TextIOWrapper.write(self._stream, text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def guard() -> None:
    """Guard standard errors, whoever reads them, and standard output where that is a person.

    A program that reads standard output gets every byte.
    """
    if not isinstance(sys.stderr, _Harmless):
        sys.stderr = _harmless(2, sys.stderr.isatty())
    if sys.stdout.isatty() and not isinstance(sys.stdout, _Harmless):
        sys.stdout = _harmless(1, terminal=True)


def unfiltered(stream: TextIO) -> TextIO:
    """``stream`` for a progress display, or for data."""
    return cast(TextIO, _Unfiltered(stream)) if isinstance(stream, _Harmless) else stream


def _harmless(descriptor: int, terminal: bool) -> _Harmless:
    raw = io.BufferedWriter(io.FileIO(descriptor, "w", closefd=False))
    return _Harmless(raw, encoding="utf-8", errors="surrogateescape", line_buffering=terminal or descriptor == 2)
