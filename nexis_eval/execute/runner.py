"""Runs one sandbox after another on this machine, and reads what their scripts report."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nexis_eval.sandbox.client import SpawnerClient
from nexis_eval.sandbox.spec import SandboxSpec

_PHASE = b"@nexis phase "
_MAX_LINE = 256


@dataclass(frozen=True, slots=True)
class SandboxRun:
    """One run, with all paths settled. ``log`` receives stdout and stderr as they come."""

    spec: SandboxSpec
    log: Path
    on_phase: Callable[[str], None] | None = None
    """Called with the phase's name whenever the script enters one (a line ``@nexis phase NAME`` on descriptor 3)."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """How it ended. ``exit_code`` is the script's, or 128 + signal; ``reason`` names the limit that ended it."""

    exit_code: int
    duration_ns: int
    cpu_ns: int = 0
    max_rss_bytes: int = 0
    phase: str = ""
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether the script succeeded."""
        return self.exit_code == 0


class PhaseReader:
    """Reads the lines ``@nexis phase NAME`` that a build writes to its descriptor 3; anything else is ignored."""

    def __init__(self, on_phase: Callable[[str], None] | None) -> None:
        self._on_phase = on_phase
        self._rest = b""
        self.phase = ""

    def feed(self, data: bytes) -> None:
        """Take in what was read, however it was cut."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[: 2 * _MAX_LINE]
        for line in lines:
            if line.startswith(_PHASE) and len(line) <= _MAX_LINE:
                self.phase = "".join(filter(str.isprintable, line[len(_PHASE) :].decode(errors="replace"))).strip()
                if self._on_phase is not None:
                    self._on_phase(self.phase)


class SandboxRunner:
    """Runs sandboxes. Its spawner starts with the first one; ``close`` ends it.

    Cancelling the task kills the script and everything it started before ``run`` returns.

    ``disordered`` puts it behind disorderfs: its path, a directory, the place to show that in, options of disorderfs.
    """

    def __init__(self, disordered: tuple[str, ...] = ()) -> None:
        self._spawner = SpawnerClient(disordered)
        self._empty = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    async def run(self, request: SandboxRun) -> RunResult:
        """Run one script to its end; raises ``SandboxError`` if its sandbox cannot be set up."""
        reader = PhaseReader(request.on_phase)
        loop = asyncio.get_running_loop()
        log = os.open(request.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        # A build may open its log anew, by /dev/stderr; and it is another user than root (``sandbox/linux.py``).
        if os.geteuid() == 0:
            os.fchmod(log, 0o666)
        phases, phases_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(phases, False)
        loop.add_reader(phases, _drain, phases, reader)
        started = time.monotonic_ns()
        try:
            ended = await self._spawner.run(request.spec, (self._empty, log, log), phases_end)
            duration = time.monotonic_ns() - started
            _drain(phases, reader)
        finally:
            loop.remove_reader(phases)
            for descriptor in (log, phases, phases_end):
                os.close(descriptor)
        return RunResult(
            exit_code=ended.exit_code,
            duration_ns=duration,
            cpu_ns=ended.cpu_ns,
            max_rss_bytes=ended.max_rss_bytes,
            phase=reader.phase,
            reason=ended.reason,
        )

    async def close(self) -> None:
        """End the spawner."""
        await self._spawner.close()
        if self._empty >= 0:
            os.close(self._empty)
            self._empty = -1


def _drain(descriptor: int, reader: PhaseReader) -> None:
    while True:
        try:
            data = os.read(descriptor, 65536)
        except BlockingIOError:
            return
        if not data:
            return
        reader.feed(data)
