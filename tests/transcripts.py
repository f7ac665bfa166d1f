"""Runs the commands of a documented transcript, and writes down what they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path


def commands_of(block: str) -> list[str]:
    """The command lines of a block of console text."""
    return re.findall(r"^\$ (.*)$", block, re.MULTILINE)


def transcript(commands: list[str], directory: Path, store: Path) -> str:
    """What a person would see who types ``commands`` in ``directory``, whose path is written as a dot."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "NO_COLOR": "1",
        "COLUMNS": "100",
        "NEXIS_STORE": str(store),
        "LC_ALL": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",  # as on a terminal: what is printed first is seen first
    }
    lines = []
    for command in commands:
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        lines += [f"$ {command}\n", done.stdout.replace(str(directory), ".")]
    return "".join(lines)
