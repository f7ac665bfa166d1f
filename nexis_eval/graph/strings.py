"""Lists of strings as bytes, and single values as strings: what the encoding of recipes is made of. Pure.

A list is joined by NUL; inside a string NUL and 0x01 are written as ``01 01`` and ``01 02``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def join(strings: Sequence[str]) -> bytes:
    """Encode a list of strings so that no two lists give the same bytes."""
    text = "\0".join(strings)
    if "\1" in text or text.count("\0") >= len(strings):
        text = "\0".join([each.replace("\1", "\1\2").replace("\0", "\1\1") for each in strings])
    return text.encode()


def split(data: bytes) -> list[str]:
    """The inverse of ``join`` for lists of one string or more."""
    strings = data.decode().split("\0")
    if b"\1" in data:
        return [each.replace("\1\1", "\0").replace("\1\2", "\1") for each in strings]
    return strings


class Reader:
    """Takes strings off a list, first one first."""

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = iter(strings)

    def take(self) -> str:
        """Return the next string."""
        return next(self._strings)

    def list(self) -> tuple[str, ...]:
        """Return a list that begins with its length, as ``counted`` writes it."""
        return tuple(self.take() for _ in range(int(self.take())))

    def rest(self) -> tuple[str, ...]:
        """Return everything that is left."""
        return tuple(self._strings)

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Return everything that is left, two by two."""
        return tuple(zip(self._strings, self._strings, strict=True))

    def __iter__(self) -> Iterator[str]:
        return self._strings


def counted(strings: Sequence[str]) -> tuple[str, ...]:
    """Return a list with its length before it."""
    return (str(len(strings)), *strings)


def optional(value: str | None) -> str:
    """Encode a text that may be absent."""
    return "" if value is None else f"={value}"


def read_optional(text: str) -> str | None:
    """Decode what ``optional`` wrote."""
    return text[1:] if text else None


def flag(value: bool) -> str:
    """Encode a truth; ``bool`` decodes it."""
    return "yes" if value else ""


def octal(value: int | None) -> str:
    """Encode permission bits that may be absent."""
    return "" if value is None else f"{value:o}"


def read_octal(text: str) -> int | None:
    """Decode what ``octal`` wrote."""
    return int(text, 8) if text else None
