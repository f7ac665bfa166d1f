"""Memory for builds: how much those that run may use together, as far as earlier builds tell.

What is known of a build is the largest process it ever had; the job tokens keep the number of processes in bounds, so
the sum over the running builds is about what is needed. It is no limit that anything enforces (``Limits`` are), it
keeps builds from being started that would make the machine swap.
"""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path

UNKNOWN_BYTES = 256 << 20
"""What a build is taken to need that never ran before."""
SHARE = 0.9
"""How much of what the machine has to spare is handed out."""


def spare_bytes(meminfo: Path = Path("/proc/meminfo")) -> int:
    """What the machine has to spare now (``MemAvailable``)."""
    for line in meminfo.read_text(encoding="utf-8").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 1 << 62


class MemoryPool:
    """First come, first served; a build that would need more than there is runs alone. For one event loop."""

    def __init__(self, limit_bytes: int | None = None) -> None:
        self.limit_bytes = int(spare_bytes() * SHARE) if limit_bytes is None else limit_bytes
        self._used = 0
        self._holders = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def acquire(self, wanted_bytes: int) -> None:
        """Wait until ``wanted_bytes`` are free; 0 is not known."""
        wanted = wanted_bytes or UNKNOWN_BYTES
        if not self._waiting and self._fits(wanted):
            self._take(wanted)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, future))
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.release(wanted_bytes)
            else:
                self._serve()
            raise

    def release(self, wanted_bytes: int) -> None:
        """Give back what was acquired."""
        self._used -= wanted_bytes or UNKNOWN_BYTES
        self._holders -= 1
        self._serve()

    def _fits(self, wanted: int) -> bool:
        return not self._holders or self._used + wanted <= self.limit_bytes

    def _take(self, wanted: int) -> None:
        self._used += wanted
        self._holders += 1

    def _serve(self) -> None:
        while self._waiting:
            wanted, future = self._waiting[0]
            if not future.done():
                if not self._fits(wanted):
                    return
                self._take(wanted)
                future.set_result(None)
            self._waiting.popleft()
