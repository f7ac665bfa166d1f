"""The passwords of a configuration, read when they are wanted: by ``check``, and for the copies of images."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from nexis_eval.config.errors import PasswordFileError
from nexis_eval.config.model import Config, LocalPath
from nexis_eval.config.values import is_password_hash
from nexis_eval.secrets import Secret

_MOST_BYTES = 4096


def read_password(file: LocalPath) -> Secret:
    """Read the hash that ``file`` holds.

    Raises ``PasswordFileError``, whose message shows nothing of the content.
    """
    try:
        with open(file.path, "rb", opener=_open) as stream:
            mode = os.fstat(stream.fileno()).st_mode
            content = stream.read(_MOST_BYTES) if stat.S_ISREG(mode) else b""
    except OSError as error:
        raise PasswordFileError(
            f"cannot read '{file.written}': {error.strerror}", hint="name a file that you may read"
        ) from None
    if not stat.S_ISREG(mode):
        raise PasswordFileError(f"'{file.written}' is not a file", hint="name a file that you may read")
    text = content.decode(errors="replace").removesuffix("\n")
    if not is_password_hash(text) or text in ("!", "*"):
        raise PasswordFileError(
            f"'{file.written}' does not hold one password hash",
            hint=f"make it anew: openssl passwd -6 >{file.written}",
        )
    if stat.S_IMODE(mode) & 0o077:
        raise PasswordFileError(
            f"others may read or write '{file.written}': its mode is {stat.S_IMODE(mode):04o}",
            hint=f"keep it to yourself: chmod 600 {file.written}",
        )
    return Secret(text)


def _open(path: str, flags: int) -> int:
    # A fifo in place of the file does not make anybody wait.
    return os.open(path, flags | os.O_NONBLOCK)


def passwords(config: Config) -> Mapping[str, Secret]:
    """The password hash of each account that has one, by name. Raises ``PasswordFileError``."""
    found = {}
    for name, user in config.users.items():
        value = user.password_hash if user.password_hash_file is None else read_password(user.password_hash_file)
        if isinstance(value, Secret):
            found[name] = value
    return found
