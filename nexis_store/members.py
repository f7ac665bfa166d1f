"""What an archive holds, one member after another: the values that the readers of tar, zip and deb give. Pure.

The readers trust nothing. What is damaged raises ``BadArchiveError``, as with the tools whose formats these are (GNU
tar, unzip, dpkg-deb); what those could unpack and this cannot raises ``UnsupportedArchiveError``. Where a reader
differs from them is in ``docs/formats/archives.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["file", "directory", "symlink", "hardlink", "device"]
Format = Literal["tar", "zip", "deb"]
Read = Callable[[int], bytes]
"""Gives at most so many bytes, and none only at the end."""

ARCHIVE_CHUNK = 1 << 16
"""So many bytes are read at once."""
_SHOWN = 100


class BadArchiveError(Exception):
    """The archive is damaged, or is not one: no tool could unpack it. The text says what is wrong."""


class HostileMemberError(BadArchiveError):
    """What no honest archive has: a path that climbs out, more bytes than any disk has."""


class UnsupportedArchiveError(Exception):
    """The archive may be fine, but uses something that an artifact cannot hold or this program cannot read."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one archive may unpack to before it is taken for a bomb."""

    entries: int = 4_000_000
    bytes: int = 1 << 38
    ratio: int = 2000
    """What unpacks to more than ``free_bytes`` may have so many times the size of the archive, and no more."""
    free_bytes: int = 1 << 30


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Member:
    """One entry. ``read`` gives the content of a file and is only good until the next member is asked for."""

    path: str
    """Where it lies: relative and normal, or empty for the top of the tree."""
    kind: Kind
    size: int = 0
    executable: bool = False
    target: str = ""
    """Of a symbolic link, as it is; of a hard link the path of a member that came before."""
    mode: int = 0
    owner: str = "root"
    group: str = "root"
    xattrs: tuple[tuple[str, bytes], ...] = ()
    read: Read | None = None


class Meter:
    """Counts what comes out of an archive against what went in; raises ``HostileMemberError`` beyond the limits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._entries = 0
        self._bytes = 0
        self.bytes_in = 0

    def member(self, size: int) -> None:
        """One more member, of ``size`` bytes."""
        self._entries += 1
        if self._entries > self._limits.entries:
            raise HostileMemberError(f"the archive has more than {self._limits.entries:,} entries")
        self._bytes += size
        self.expansion(self._bytes)

    def expansion(self, size: int) -> None:
        """So many bytes came out so far."""
        if size > self._limits.bytes:
            raise HostileMemberError(f"the archive unpacks to more than {self._limits.bytes:,} bytes")
        if size > self._limits.free_bytes and size > self._limits.ratio * self.bytes_in:
            raise HostileMemberError(
                f"the archive unpacks to more than any sane one does: {size:,} bytes from {self.bytes_in:,}"
            )


def shown(text: str) -> str:
    """A name as a message may have it: quoted, and not too long."""
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}…"


def relative_path(name: str) -> str:
    """Where a member lies: without the ``/`` in front, ``.`` and doubled slashes, as GNU tar and unzip take it.

    Raises ``HostileMemberError`` for a name that climbs by ``..``, as GNU tar does.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise HostileMemberError(f"the entry {shown(name)} has a component '..'")
    return "/".join(parts)


__all__ = [
    "ARCHIVE_CHUNK",
    "DEFAULT_LIMITS",
    "BadArchiveError",
    "Format",
    "HostileMemberError",
    "Kind",
    "Limits",
    "Member",
    "Meter",
    "Read",
    "UnsupportedArchiveError",
    "relative_path",
    "shown",
]
