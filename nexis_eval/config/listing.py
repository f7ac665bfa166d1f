"""The files that an included directory or pattern stands for."""

from __future__ import annotations

import os

PATTERN = frozenset("*?[")


def list_files(directory: str, written: str) -> tuple[str, ...] | None:
    """The files that an included directory or pattern stands for, in the order of their names.

    ``written`` is relative to ``directory``; ``None`` if it is neither.
    """
    import glob

    pattern = os.path.join(glob.escape(directory), written)  # noqa: PTH118 - strings are what glob takes
    if not PATTERN & set(written):
        if not os.path.isdir(os.path.join(directory, written)):  # noqa: PTH112, PTH118
            return None
        pattern = os.path.join(pattern, "*.toml")  # noqa: PTH118
    found = {os.path.normpath(each) for each in glob.glob(pattern, recursive=True)}  # noqa: PTH207
    return tuple(sorted(each for each in found if os.path.isfile(each)))  # noqa: PTH113
