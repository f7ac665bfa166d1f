"""What a reader of a format gives: named values and parts, so that one comparison serves every format. Pure."""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from mmap import mmap

Data = bytes | mmap
Fields = tuple[tuple[str, str], ...]

MAX_EXPANDED_BYTES = 1 << 30
"""No compressed part is expanded beyond this."""


DAMAGE = (
    ValueError,
    IndexError,
    ArithmeticError,
    EOFError,
    NotImplementedError,
    OSError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
)
"""What reading bytes that lie about themselves may raise; ``FormatError`` is one of them."""


class FormatError(ValueError):
    """The bytes are not what their magic number promised; they are then compared as plain bytes."""


@dataclass(frozen=True, slots=True)
class Part:
    """Something inside a container: a member, a section. ``fields`` is what the container says about it."""

    name: str
    content: Callable[[], bytes] | bytes = b""
    fields: Fields = ()

    def read(self) -> bytes:
        """Its bytes; raises ``FormatError`` where they cannot be had."""
        if isinstance(self.content, bytes):
            return self.content
        try:
            return self.content()
        except DAMAGE as error:
            raise FormatError(str(error)) from None


@dataclass(frozen=True, slots=True)
class Parsed:
    """One container. ``ordered``: the sequence of the parts is part of the format, so another order is a finding."""

    format: str
    fields: Fields = ()
    parts: tuple[Part, ...] = ()
    ordered: bool = True
