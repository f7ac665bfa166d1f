"""How the small programs of this package are started: an interpreter without site-packages or user's settings."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_PACKAGES = Path(__file__).parent.parent.parent


def command(module: str, *arguments: str) -> list[str]:
    """The command line that calls ``main(*arguments)`` of a module in a fresh, nearly empty interpreter.

    The path of the packages is passed along: ``-I`` ignores ``PYTHONPATH`` and ``-S`` an editable install.
    """
    program = f"import sys; sys.path.insert(0, sys.argv[1]); from {module} import main; main(*sys.argv[2:])"
    return [sys.executable, "-I", "-S", "-c", program, str(_PACKAGES), *arguments]


def environment() -> dict[str, str]:
    """What such a program needs of the environment: nothing, but for interpreters that find their library by it."""
    return {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
