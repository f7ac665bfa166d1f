"""One pool of job tokens for all builds of an engine: the GNU make jobserver, as a fifo.

``jobs`` tokens are one byte each in a fifo. Whoever wants to run one more process reads a byte and writes it back
afterwards. A program started by somebody else runs on its starter's token, so the engine takes one token for each
build it starts (``acquire``) and the build's ``make`` takes more when it has more to do: a lone build gets all
processors, and many builds never run more than ``jobs`` processes at a time.

In a sandbox the fifo is ``/in/jobserver``, and is open as descriptor 4: make before 4.4 (Debian 12 has 4.3) knows only
descriptors. ninja 1.13 and later know only the path.

A build that was killed takes the tokens it held with it; when no build is running the pool is filled up again. One
that puts back more than it took would have its neighbours run without bound. Nobody can tell who wrote a byte, so while
builds run the pool counts: what is in the fifo and what the engine holds are never more than ``jobs``. Where they are,
the fifo is given up: it is emptied for as long as anybody has it, and builds that start later share another one. See
"POSIX Jobserver Interaction" in the manual of GNU make.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import termios
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Self

DESCRIPTOR = 4
_TOKEN = b"+"
_MAX_READ = 65536
LOOK_SECONDS = 0.05
"""How often tokens are counted while builds run; and how often once some were too many."""
LOOK_SOON_SECONDS = 0.005


class TokenPool:
    """The fifo and the engine's own dealings with it; use it as a context manager, from one event loop.

    ``on_misuse`` is called when builds that run have put back more tokens than they took.
    """

    def __init__(self, directory: Path, jobs: int, on_misuse: Callable[[], None] = lambda: None) -> None:
        self._directory = directory
        self._jobs = jobs
        self._on_misuse = on_misuse
        self._held = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._given_up: list[int] = []
        self._paths: list[Path] = []
        self._look: asyncio.TimerHandle | None = None
        self._fifo = self._make(jobs)

    def _make(self, tokens: int) -> int:
        number = len(self._paths)
        self.path = self._directory / (f"jobserver-{number}" if number else "jobserver")
        self._paths.append(self.path)
        os.mkfifo(self.path, 0o600)
        fifo = os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        os.write(fifo, _TOKEN * tokens)
        return fifo

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._waiting:
            asyncio.get_running_loop().remove_reader(self._fifo)
        if self._look is not None:
            self._look.cancel()
        for fifo in (self._fifo, *self._given_up):
            os.close(fifo)
        for path in self._paths:
            path.unlink()

    @property
    def environment(self) -> dict[str, str]:
        """What a build's environment needs: a plain ``make``, without ``-j`` of its own, then takes part."""
        return {"MAKEFLAGS": f"-j{self._jobs} --jobserver-auth={DESCRIPTOR},{DESCRIPTOR}"}

    async def acquire(self) -> None:
        """Wait for a token for one build, first come, first served."""
        if not self._held:
            self._refill()
        if not self._waiting and self._take():
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self._waiting:
            asyncio.get_running_loop().add_reader(self._fifo, self._serve)
        self._waiting.append(future)
        try:
            await future
        except asyncio.CancelledError:
            # A waiter that gave up stays in the queue, done, until its turn comes; one that just got its token has it.
            if future.done() and not future.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """Give back the token of a build that has ended."""
        self._held -= 1
        if self._held:
            self._put(_TOKEN)
        else:
            self._refill()

    def _serve(self) -> None:
        while self._waiting:
            if not self._waiting[0].done():
                if not self._take():
                    return
                self._waiting[0].set_result(None)
            self._waiting.popleft()
        asyncio.get_running_loop().remove_reader(self._fifo)

    def _take(self) -> bool:
        try:
            taken = os.read(self._fifo, 1)
        except BlockingIOError:
            return False
        self._held += len(taken)
        if self._look is None:
            self._count_later(LOOK_SECONDS)
        return bool(taken)

    def _count_later(self, seconds: float) -> None:
        self._look = asyncio.get_running_loop().call_later(seconds, self._count)

    def _count(self) -> None:
        """Look whether there are tokens that nobody took before; as long as builds run."""
        for fifo in self._given_up:
            with contextlib.suppress(BlockingIOError):
                os.read(fifo, _MAX_READ)
        if not self._held:
            self._look = None
            return
        there = int.from_bytes(fcntl.ioctl(self._fifo, termios.FIONREAD, bytes(4)), "little")
        if there + self._held > self._jobs:
            self._give_up()
        self._count_later(LOOK_SOON_SECONDS if self._given_up else LOOK_SECONDS)

    def _give_up(self) -> None:
        """Begin with another fifo, which has the tokens that the engine does not hold; the old one is emptied."""
        if self._waiting:
            asyncio.get_running_loop().remove_reader(self._fifo)
        with contextlib.suppress(BlockingIOError):
            os.read(self._fifo, _MAX_READ)
        self._given_up.append(self._fifo)
        self._fifo = self._make(self._jobs - self._held)
        if self._waiting:
            asyncio.get_running_loop().add_reader(self._fifo, self._serve)
        self._on_misuse()

    def _refill(self) -> None:
        """No build holds anything now: what is missing was lost, what is too much was invented."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._fifo, _MAX_READ)
        self._put(_TOKEN * self._jobs)

    def _put(self, tokens: bytes) -> None:
        # Full means that a build invented tens of thousands of tokens: one more or less is no matter then.
        with contextlib.suppress(BlockingIOError):
            os.write(self._fifo, tokens)
