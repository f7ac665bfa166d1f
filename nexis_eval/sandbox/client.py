"""The engine's side of the spawner: starts it, sends it specs, waits for sandboxes to end."""

from __future__ import annotations

import asyncio
import itertools
import marshal
import os
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from nexis_eval.sandbox.errors import SandboxError, setup_error
from nexis_eval.sandbox.isolated import command, environment
from nexis_eval.sandbox.spec import SandboxSpec
from nexis_eval.sandbox.wire import WireSpec, encode, wire_spec

_MAX_REPORT = 65536


@dataclass(frozen=True, slots=True)
class Ended:
    """How a sandbox ended. ``reason`` is empty unless something else than the command decided that."""

    exit_code: int
    cpu_ns: int
    max_rss_bytes: int
    reason: str = ""


class SpawnerClient:
    """One spawner process, started when first needed. Use it from one event loop.

    ``disordered`` are the arguments of ``sandbox/disordered.py``, for a spawner that is behind disorderfs.
    """

    def __init__(self, disordered: tuple[str, ...] = ()) -> None:
        self._disordered = disordered
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._ready: asyncio.Future[None] | None = None
        self._running: dict[int, asyncio.Future[tuple[int, int, int]]] = {}
        self._numbers = itertools.count()

    async def run(
        self,
        spec: SandboxSpec,
        stdio: tuple[int, int, int],
        phases: int,
        *,
        on_terminal: Callable[[int], None] | None = None,
    ) -> Ended:
        """Run ``spec``; nothing of it is left when this returns or raises.

        ``stdio`` are the descriptors of its standard input, output and errors, ``phases`` its descriptor 3; they
        remain the caller's. With ``on_terminal`` it gets a terminal of the sandbox's own instead of ``stdio``, and that
        function the other end of it, to keep and close. Raises ``SandboxError`` if it cannot be set up.
        """
        await self._start()
        number = next(self._numbers)
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[tuple[int, int, int]] = loop.create_future()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            self._running[number] = ended
            with theirs:
                wire = wire_spec(spec, turn=number, terminal=on_terminal is not None)
                self._request(number, wire, [*stdio, phases, theirs.fileno()])
            if on_terminal is not None:
                loop.add_reader(ours, _receive_terminal, ours, on_terminal)
            try:
                status, cpu_ns, max_rss, late = await self._wait(number, ended, spec.limits.wall_seconds)
            finally:
                if on_terminal is not None:
                    loop.remove_reader(ours)
            return _ended(status, cpu_ns, max_rss, ours.recv(_MAX_REPORT), spec.limits.wall_seconds if late else None)

    async def _wait(
        self, number: int, ended: asyncio.Future[tuple[int, int, int]], wall_seconds: float | None
    ) -> tuple[int, int, int, bool]:
        late = False
        timer = None

        def kill_late() -> None:
            nonlocal late
            late = True
            self._kill(number)

        if wall_seconds is not None:
            timer = asyncio.get_running_loop().call_later(wall_seconds, kill_late)
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError:
            self._kill(number)
            while not ended.done():
                # Cancelled again or not: whoever cancelled may rely on nothing being left.
                try:
                    await asyncio.wait((ended,))
                except asyncio.CancelledError:
                    continue
            ended.exception()
            raise
        finally:
            if timer is not None:
                timer.cancel()
            self._running.pop(number, None)
        return (*ended.result(), late)

    def _request(self, number: int, spec: WireSpec, descriptors: list[int]) -> None:
        assert self._channel is not None
        request = os.memfd_create("request", os.MFD_CLOEXEC)
        try:
            os.write(request, encode(spec))
            socket.send_fds(self._channel, [marshal.dumps(("run", number))], [request, *descriptors])
        except OSError:
            self._lost()
        finally:
            os.close(request)

    def _kill(self, number: int) -> None:
        if self._channel is not None:
            try:
                self._channel.send(marshal.dumps(("kill", number)))
            except OSError:
                self._lost()

    async def _start(self) -> None:
        if self._ready is None:
            loop = asyncio.get_running_loop()
            self._ready = loop.create_future()
            self._channel, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with other:
                self._process = subprocess.Popen(
                    command(
                        f"nexis_eval.sandbox.{'disordered' if self._disordered else 'spawner'}",
                        str(other.fileno()),
                        *self._disordered,
                    ),
                    pass_fds=[other.fileno()],
                    stdin=subprocess.DEVNULL,
                    env=environment(),
                    cwd="/",
                    # Ctrl-C on the terminal is for the engine to answer.
                    start_new_session=True,
                )
            loop.add_reader(self._channel.fileno(), self._receive)
        await asyncio.shield(self._ready)

    def _receive(self) -> None:
        assert self._channel is not None
        try:
            data = self._channel.recv(_MAX_REPORT)
        except ConnectionResetError:
            data = b""
        if not data:
            self._lost()
            return
        kind, *rest = marshal.loads(data)
        if kind == "ended":
            number, status, cpu_ns, max_rss = rest
            ended = self._running.get(number)
            if ended is not None and not ended.done():
                ended.set_result((status, cpu_ns, max_rss))
            return
        step, code = rest
        assert self._ready is not None
        if step:
            self._ready.set_exception(setup_error(step, code))
        else:
            self._ready.set_result(None)

    def _lost(self) -> None:
        """The spawner ended, and with it every build."""
        self._stop(
            SandboxError(
                "the process that starts build sandboxes ended", hint="run the same command again; was memory short?"
            )
        )

    async def close(self) -> None:
        """End the spawner; every sandbox still running is killed and its ``run`` raises ``SandboxError``."""
        self._stop(SandboxError("the sandboxes were closed while builds were running"))

    def _stop(self, error: SandboxError) -> None:
        if self._channel is not None:
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            self._channel.close()
            self._channel = None
        if self._process is not None:
            # It ends by itself when the channel closes, and does nothing in between that could take long.
            self._process.wait()
            self._process = None
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(error)
        self._ready = None
        for ended in self._running.values():
            if not ended.done():
                ended.set_exception(error)


def _receive_terminal(report: socket.socket, on_terminal: Callable[[int], None]) -> None:
    """The first message of a sandbox with a terminal carries that; an error instead is left for the end."""
    if marshal.loads(report.recv(_MAX_REPORT, socket.MSG_PEEK) or marshal.dumps({})).get("terminal"):
        _, descriptors, _, _ = socket.recv_fds(report, _MAX_REPORT, 1)
        os.set_inheritable(descriptors[0], False)
        on_terminal(descriptors[0])
    asyncio.get_running_loop().remove_reader(report)


def _ended(status: int, cpu_ns: int, max_rss: int, data: bytes, late: float | None) -> Ended:
    if late is not None:
        return Ended(128 + 9, cpu_ns, max_rss, f"it took longer than {late:g} s")
    if not data:
        return Ended(128 + 9, cpu_ns, max_rss, "the sandbox was killed from outside (was memory short?)")
    report = marshal.loads(data)
    if "bug" in report:
        raise RuntimeError(f"in the sandbox's first process: {report['bug']}")
    if "failed" in report:
        raise setup_error(report["failed"], report["errno"])
    return Ended(report["exit_code"], cpu_ns, max_rss, report.get("reason", ""))
