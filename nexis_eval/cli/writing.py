"""Whether what a command is to write can be written where it should be."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from nexis_store.errors import NexisError


class OutputError(NexisError):
    """The result of a build cannot be written where it should be."""

    code = "E0009"
    exit_code = 2


def expect_room_for(
    files: Iterable[Path | None], directories: Iterable[Path | None] = (), error_class: type[NexisError] = OutputError
) -> None:
    """Find out before hours of building whether their result can be written; makes the directories that are missing.

    Raises ``error_class``.
    """
    import tempfile  # some milliseconds, which a build that writes nothing elsewhere has no use for

    seen: set[Path] = set()
    for path, directory in (
        *((each, each.parent) for each in files if each is not None),
        *((each, each) for each in directories if each is not None),
    ):
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise error_class(f"{path} cannot be written: {directory} is a file, not a directory") from None
        except OSError as error:
            raise error_class(f"{path} cannot be written: {directory}: {error.strerror}") from None
        if path != directory and path.is_dir():
            raise error_class(f"{path} cannot be written: it is a directory", hint="name a file in it")
        try:
            if path.exists() and not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            # What may be written is not a matter of modes alone: a file system can be read-only, or take no new files.
            with tempfile.TemporaryFile(dir=directory):
                pass
        except OSError as error:
            raise error_class(f"{path} cannot be written: {error.strerror}") from None
        if path.absolute() in seen:
            raise error_class(f"{path} is named twice, for two things to write", hint="give each a file of its own")
        seen.add(path.absolute())
