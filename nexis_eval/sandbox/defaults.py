"""What a build may use where nobody says it: more than any honest build needs, and less than the machine has.

Limits are no part of a build's identity, so they may depend on the machine.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from nexis_eval.sandbox.linux import version
from nexis_eval.sandbox.spec import Limits

GIB = 1 << 30
OUTPUT_BYTES = 64 * GIB
LOG_BYTES = 2 * GIB
SHARE = 0.9
"""Of the machine's memory."""
PROCESSES, PROCESSES_A_CPU = 1024, 256


def resolved(limits: Limits) -> Limits:
    """``limits`` with a number for everything but the time, and the disk, of which the watch knows what is free."""
    return Limits(
        wall_seconds=limits.wall_seconds,
        memory_bytes=limits.memory_bytes or int(machine_memory() * SHARE),
        processes=limits.processes or _processes(),
        output_bytes=limits.output_bytes or OUTPUT_BYTES,
        disk_bytes=limits.disk_bytes,
        log_bytes=limits.log_bytes or LOG_BYTES,
    )


@cache
def machine_memory() -> int:
    """Bytes of memory that the machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@cache
def _processes() -> int:
    """More on larger machines, and never more than half of the process numbers that there are."""
    wanted = PROCESSES + PROCESSES_A_CPU * (os.cpu_count() or 1)
    try:
        numbers = int(Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return wanted
    return min(wanted, numbers // 2)


@cache
def counts_processes_by_namespace() -> bool:
    """Whether ``RLIMIT_NPROC`` counts those of a user namespace, since Linux 5.14; before, all of the user's."""
    return version() >= (5, 14)
