"""Where a user's own directories are, also for a user without a home, as in containers and services."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

from nexis_store.errors import StoreError


def home() -> Path | None:
    """``$HOME``, else what the account says; ``None`` where neither names a directory by its whole path."""
    given = os.environ.get("HOME", "")
    if not os.path.isabs(given):
        import pwd

        try:
            given = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            return None
    return Path(given) if os.path.isabs(given) else None


def default_store_root() -> Path:
    """``$NEXIS_STORE``, else ``nexis/store`` below ``$XDG_DATA_HOME`` or ``~/.local/share``. Raises ``StoreError``."""
    if given := os.environ.get("NEXIS_STORE"):
        return Path(given)
    return _below("XDG_DATA_HOME", ".local/share") / "nexis/store"


def cache_directory(name: str) -> Path:
    """A directory for what can be made again, below ``$XDG_CACHE_HOME`` or ``~/.cache``, or for this run alone."""
    try:
        return _below("XDG_CACHE_HOME", ".cache") / "nexis" / name
    except StoreError:
        return _for_this_run() / name


def _below(variable: str, place: str) -> Path:
    # The specification of these variables says to ignore relative paths.
    if os.path.isabs(given := os.environ.get(variable, "")):
        return Path(given)
    if (own := home()) is None:
        raise StoreError(
            f"user {os.getuid()} has no home directory to keep a store in",
            hint="set NEXIS_STORE to a directory for the store, or give --store DIR",
        )
    return own / place


@cache
def _for_this_run() -> Path:
    path = tempfile.mkdtemp(prefix="nexis-cache-")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return Path(path)
