"""The root of every error a user can cause, and the errors of the store.

An error says three things: where (``place``), what is wrong (the message), and what to do (``hint``). The command
line renders them and exits with ``exit_code``; anything that is not a ``NexisError`` is a bug of ours and is reported
as one.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in a file the user wrote. ``line`` and ``column`` count from 1; 0 means the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if not self.line:
            return self.file
        return f"{self.file}:{self.line}:{self.column}"


class NexisError(Exception):
    """An error with a place, a fact and a cure.

    ``code`` is stable and documented (``nexis-eval explain-error``); ``exit_code`` is the class of the failure.
    """

    code: ClassVar[str] = "E0001"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None, place: Place | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.place = place

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        cure = f"\nhint: {self.hint}" if self.hint else ""
        return f"{where}{self.message}{cure}"


class StoreError(NexisError):
    """The store cannot do what was asked: not there, not writable, damaged, in use by an incompatible version.

    The message says which. The store is ``--store``, else ``$NEXIS_STORE``, else ``~/.local/share/nexis/store``;
    ``nexis-store verify`` looks for damage, ``nexis-store recover`` makes a lost database anew.
    """

    code = "S0001"
    exit_code = 4


class NotInStoreError(StoreError):
    """Something was asked for by digest or name and the store does not have it.

    ``nexis-store ls`` lists what it has. A name serves if only one artifact has it, otherwise the beginning of a digest
    does.
    """

    code = "S0002"


RECOVER = "run 'nexis-store recover': it takes back everything that is on disk"
"""What to do about metadata that are damaged."""


class DamagedStoreError(StoreError):
    """What is on disk contradicts its digest or the metadata.

    ``nexis-store verify --contents`` names all that is damaged, and with ``--repair`` replaces it by good copies: of
    this store, of another place (``--from``), or of a build (``--rebuild-with``).
    """

    code = "S0003"


class HostileArchiveError(StoreError):
    """An archive tried to leave its directory, or to bring in what a store refuses.

    Paths that lead out of the archive, links through which later members would be written elsewhere, devices: nothing
    of it was kept. Whoever made the archive has to make another one.
    """

    code = "S0004"


class ConflictError(StoreError):
    """Something is written to a path of a tree that has something else there already.

    The message names the path. An archive that holds one path twice is damaged or hostile; take it from its source
    again.
    """

    code = "S0005"


@dataclass(frozen=True, slots=True)
class Contested:
    """A path that several parts of a union have, each another content, and nothing says which one wins."""

    path: str
    owners: tuple[str, ...]


class PathConflictError(StoreError):
    """Several parts of a union own a path, and nothing says which one wins.

    The message lists all such paths with their owners. Of the packages of a system, ``[conflicts]`` names the winner.
    """

    code = "S0006"
    exit_code = 2

    def __init__(self, name: str, contested: Sequence[Contested]) -> None:
        lines = [f"both {' and '.join(each.owners)} have {each.path}" for each in contested]
        super().__init__(f"{name}: {chr(10).join(lines)}", hint="leave one of them out, or say which one wins")
        self.contested = tuple(contested)


_NAMED = (errno.ENOTDIR, errno.EISDIR, errno.EINVAL)
"""Reasons that say nothing without the path."""


def cannot_write(error: OSError, what: str) -> StoreError:
    """The error of a write that the system refused, with the cure that fits the reason."""
    hints = {
        errno.ENOSPC: "free some disk space, for example with 'nexis-store gc', then repeat the command",
        errno.EDQUOT: "your disk quota is used up: free some space, then repeat the command",
        errno.EMFILE: "raise the limit of open files (ulimit -n), then repeat the command",
        errno.ENFILE: "the machine has too many open files: close some programs, then repeat the command",
        errno.EROFS: "the file system is mounted read-only: mount it writable, or use another store",
        errno.EACCES: "use a store of your own with --store or $NEXIS_STORE",
        errno.EPERM: "use a store of your own with --store or $NEXIS_STORE",
        errno.ENOENT: "check the path, then repeat the command",
        errno.ENOTDIR: "check the path, then repeat the command",
        errno.EISDIR: "check the path, then repeat the command",
        errno.EINVAL: "remove what does not belong there, then repeat the command",
        errno.EIO: "the disk reports errors: check it, then run 'nexis-store verify --contents'",
    }
    hint = hints.get(
        error.errno or 0, "nothing that was acknowledged is lost; remove the cause, then repeat the command"
    )
    # Which of its parts, where something else stands in its place.
    place = os.fsdecode(error.filename) if error.errno in _NAMED and error.filename is not None else what
    place = "" if place == what else f"{place}: "
    return StoreError(f"{what} could not be written: {place}{error.strerror or error}", hint=hint)


def cannot_read(error: OSError, what: str) -> StoreError:
    """The error of a read that the system refused: of a file that the user named, or of one of the store."""
    hints = {
        errno.EACCES: "let your user read it, or leave it out",
        errno.EPERM: "let your user read it, or leave it out",
        errno.EISDIR: "name a file",
        errno.EIO: "the disk reports errors: check it",
        errno.EMFILE: "raise the limit of open files (ulimit -n), then repeat the command",
    }
    hint = hints.get(error.errno or 0, "check the path, then repeat the command")
    return StoreError(f"{what} cannot be read: {error.strerror or error}", hint=hint)


@contextlib.contextmanager
def writing(what: str) -> Iterator[None]:
    """Turn what the system refuses inside the block (or the decorated function) into a ``StoreError``."""
    try:
        yield
    except OSError as error:
        raise cannot_write(error, what) from error
