"""What runs on this machine, whoever started it."""

from __future__ import annotations

import time
from pathlib import Path


def processes_with(text: str) -> list[str]:
    """The processes with ``text`` in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and text.encode() in (entry / "cmdline").read_bytes():
                found.append(entry.name)
        except OSError:
            continue
    return found


def wait_for_process(text: str, seconds: float = 30) -> None:
    """Wait until there is a process with ``text`` in its command line."""
    deadline = time.monotonic() + seconds
    while not processes_with(text):
        assert time.monotonic() < deadline, f"no process {text} came"
        time.sleep(0.05)
