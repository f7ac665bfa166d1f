"""What servers say, made harmless: numbers of headers, and texts that are repeated in messages. Pure."""

from __future__ import annotations

from nexis_store.names import printable

MAX_DIGITS = 18
"""Of a number in a header: what is longer is not the size or the time of anything."""
MAX_SAID = 200
"""Characters of what a server says that are repeated in a message."""


def said(text: str) -> str:
    """What a server says, fit for a message: short, on one line, without control characters."""
    words = " ".join(printable(text[: 4 * MAX_SAID]).split())
    return words if len(words) <= MAX_SAID else f"{words[:MAX_SAID]}…"


def whole_number(text: str) -> int | None:
    """A number of a header (RFC 9110, 8.6); ``None`` for anything else, and for one that is absurdly long."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS else None
