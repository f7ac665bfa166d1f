"""A person in a sandbox: the terminal outside carried to a terminal inside, which is made there and knows only it.

Handing the outer terminal in would let what runs inside type into the shell that started us (``TIOCSTI``).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator

from nexis_eval.sandbox.client import Ended, SpawnerClient
from nexis_eval.sandbox.spec import SandboxSpec

_BLOCK = 65536


def at_terminal() -> bool:
    """Whether there is a person who types and sees."""
    return os.isatty(sys.stdin.fileno()) and os.isatty(sys.stdout.fileno())


async def run_interactive(spec: SandboxSpec) -> Ended:
    """Run ``spec`` at this process's terminal, or with its standard streams where they are none.

    Raises ``SandboxError`` if the sandbox cannot be set up. The terminal is as before when this returns.
    """
    client = SpawnerClient()
    phases = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    streams = (sys.stdin.fileno(), sys.stdout.fileno(), sys.stderr.fileno())
    try:
        if not at_terminal():
            return await client.run(spec, streams, phases)
        relay = _Relay(streams[0], streams[1])
        try:
            return await client.run(spec, (phases, phases, phases), phases, on_terminal=relay.start)
        finally:
            relay.stop()
    finally:
        os.close(phases)
        await client.close()


class _Relay:
    """Copies between the terminal outside and the outer end of the one inside."""

    def __init__(self, keyboard: int, screen: int) -> None:
        self._keyboard = keyboard
        self._screen = screen
        self._inside = -1
        self._cleanup = contextlib.ExitStack()

    def start(self, inside: int) -> None:
        """Begin; ``inside`` belongs to the relay from here on."""
        self._inside = inside
        loop = asyncio.get_running_loop()
        self._cleanup.callback(os.close, inside)
        self._cleanup.enter_context(_raw(self._keyboard))
        self._resize()
        loop.add_signal_handler(signal.SIGWINCH, self._resize)
        self._cleanup.callback(loop.remove_signal_handler, signal.SIGWINCH)
        os.set_blocking(inside, False)
        loop.add_reader(inside, self._show)
        self._cleanup.callback(loop.remove_reader, inside)
        loop.add_reader(self._keyboard, self._type)
        self._cleanup.callback(loop.remove_reader, self._keyboard)

    def stop(self) -> None:
        """Show what is left, and give the terminal back."""
        if self._inside >= 0:
            while self._show():
                pass
        self._cleanup.close()

    def _resize(self) -> None:
        size = fcntl.ioctl(self._screen, termios.TIOCGWINSZ, bytes(8))
        fcntl.ioctl(self._inside, termios.TIOCSWINSZ, size)

    def _show(self) -> bool:
        """Copy some output; whether there was any."""
        try:
            data = os.read(self._inside, _BLOCK)
        except BlockingIOError:
            return False
        except OSError:
            # EIO: nothing inside has the terminal open any more.
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._inside)
        while data:
            data = data[os.write(self._screen, data) :]
            if not data:
                return True
        return False

    def _type(self) -> None:
        data = os.read(self._keyboard, _BLOCK)
        # A full queue inside drops what does not fit, as a terminal does.
        with contextlib.suppress(OSError):
            os.write(self._inside, data)
        if not data:
            asyncio.get_running_loop().remove_reader(self._keyboard)


@contextlib.contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
