"""A machine in QEMU and its serial line: start it, wait for text, type, and see what comes back."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>78]|\x1b\([A-B]|\r")
"""What a terminal would not show (ECMA-48, as far as GRUB, firmware and busybox use it)."""


class SilenceError(AssertionError):
    """What a test waited for did not come; the end of what did come is in the message."""


class Console:
    """A command whose terminal is ours. Use it as a context manager; leaving it kills the command."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, **(env or {})},
            start_new_session=True,
            # Only of its controlling terminal does Ctrl-C become a signal.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.transcript = b""
        """Everything that came, without escape sequences."""
        self._raw = b""
        self._read = 0
        self.started = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._master)

    def _take(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:
            return False
        self._raw += data
        self.transcript = ESCAPES.sub(b"", self._raw)
        return bool(data)

    def wait_for(self, pattern: str, seconds: float, *, consume: bool = True) -> re.Match[bytes]:
        """The first match of ``pattern`` in what came since the last one; raises ``SilenceError``.

        Without ``consume`` what came stays to be searched again: for things whose order is not known.
        """
        wanted = re.compile(pattern.encode(), re.MULTILINE)
        end = time.monotonic() + seconds
        alive = True
        while True:
            found = wanted.search(self.transcript, self._read)
            if found:
                if consume:
                    self._read = found.end()
                return found
            left = end - time.monotonic()
            if left <= 0 or not alive:
                why = f"not within {seconds:.0f} s" if alive else "the machine is off"
                tail = self.transcript[-3000:].decode(errors="replace")
                raise SilenceError(f"{pattern!r}: {why}. The last that came:\n{tail}")
            alive = self._take(min(left, 0.5))

    def send(self, text: str) -> None:
        """Type ``text``."""
        os.write(self._master, text.encode())

    def ended(self, seconds: float) -> int:
        """Wait until the machine is off; the exit code of its command."""
        end = time.monotonic() + seconds
        while self._process.poll() is None:
            if time.monotonic() > end:
                raise SilenceError(f"still running after {seconds:.0f} s")
            self._take(0.2)
        return self._process.returncode
