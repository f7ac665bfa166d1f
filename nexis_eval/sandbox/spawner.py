"""The fork server: a small process with one thread that starts sandboxes for the engine.

Forking the engine itself would copy its page tables and is unsafe beside its threads; starting an interpreter costs
10 ms a build. This process starts once (``python -I -S``), imports next to nothing, moves into a user namespace in
which it may create the other namespaces, and then forks once a build, straight into them.

Protocol: datagrams on one ``SOCK_SEQPACKET`` pair, each a tuple written by ``marshal``:

- request ``("run", number)`` with descriptors: a file holding the ``WireSpec``, standard input,
  output and errors, phases, and a socket for reports
- request ``("kill", number)``
- answer ``("ready", step, errno)``: the first one; ``step`` is what failed, "" if nothing did
- answer ``("ended", number, wait status, CPU time in ns, largest RSS in bytes)``

"ended" means that every process of the build is gone. When the engine's end of the socket closes, this process ends,
and with it (by their parent-death signal) all builds.
"""

from __future__ import annotations

import _socket
import gc
import marshal
import os
import select
import sys

from nexis_eval.sandbox import inside, linux, root
from nexis_eval.sandbox.networks import NetworkPool
from nexis_eval.sandbox.places import HOST_NAME

NAMESPACES = linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWIPC
MAX_DATAGRAM = 512
MAX_DESCRIPTORS = 6


class Spawner:
    """The state of the server: running builds by number and by the descriptor that tells their end."""

    def __init__(self, channel: _socket.socket, builder: int) -> None:
        self._channel = channel
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)
        self._networks = NetworkPool()
        self._processes: dict[int, int] = {}
        self._ends: dict[int, tuple[int, int, int]] = {}
        self._alive, self._life = os.pipe2(os.O_CLOEXEC)
        self._builder = builder

    def serve(self) -> None:
        """Answer requests until the engine goes away."""
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor in self._ends:
                    self._collect(descriptor)
                elif not self._receive():
                    return

    def _receive(self) -> bool:
        data, ancillary, _, _ = self._channel.recvmsg(
            MAX_DATAGRAM, _socket.CMSG_SPACE(4 * MAX_DESCRIPTORS), _socket.MSG_CMSG_CLOEXEC
        )
        if not data:
            return False
        kind, number = marshal.loads(data)
        if kind == "kill":
            if number in self._processes:
                os.kill(self._processes[number], linux.SIGKILL)
            return True
        received = ancillary[0][2]
        descriptors = [int.from_bytes(received[at : at + 4], sys.byteorder) for at in range(0, len(received), 4)]
        self._start(number, *descriptors)
        return True

    def _start(self, number: int, request: int, *descriptors: int) -> None:
        try:
            network = self._networks.take()
            pid, end = linux.clone(NAMESPACES)
        except OSError as error:
            os.write(descriptors[-1], marshal.dumps({"failed": "creating namespaces", "errno": error.errno}))
            self._answer(("ended", number, 0, 0, 0))
        else:
            if pid == 0:
                self._become_sandbox(request, descriptors)
            self._processes[number] = pid
            self._ends[end] = (number, pid, network)
            self._poll.register(end, select.POLLIN)
        for descriptor in (request, *descriptors):
            os.close(descriptor)

    def _become_sandbox(self, request: int, descriptors: tuple[int, ...]) -> None:
        status = 1
        try:
            os.close(self._life)
            self._channel.close()
            size = os.fstat(request).st_size
            *stdio, phases, report = descriptors
            spec = marshal.loads(os.pread(request, size, 0))
            status = inside.main(spec, stdio, phases, report, self._alive, self._builder)
        finally:
            os._exit(status)

    def _collect(self, end: int) -> None:
        number, pid, network = self._ends.pop(end)
        self._poll.unregister(end)
        os.close(end)
        _, status, usage = os.wait4(pid, 0)
        del self._processes[number]
        cpu_ns = int((usage.ru_utime + usage.ru_stime) * 1e9)
        self._answer(("ended", number, status, cpu_ns, usage.ru_maxrss * 1024))
        self._networks.give_back(network)

    def end_all(self) -> None:
        """Kill every sandbox and see it gone."""
        for pid in self._processes.values():
            os.kill(pid, linux.SIGKILL)
            os.waitpid(pid, 0)

    def _answer(self, answer: tuple[str | int, ...]) -> None:
        self._channel.send(marshal.dumps(answer), _socket.MSG_NOSIGNAL)


def prepare() -> tuple[str, int, int]:
    """Enter the user namespace that owns all sandboxes.

    Returns the step that failed and its errno, or ("", 0); and the user of the namespace that builds are.
    """
    try:
        linux.drop_groups()
        builder = linux.BUILDER if root.give_files_away() else 0
        linux.enter_user_namespace(with_builder=builder != 0)
        # One for all: no build can change it, and hardly any needs another name.
        linux.unshare(linux.CLONE_NEWUTS)
        linux.set_host_name(HOST_NAME)
        root.prepare(builder)
    except OSError as error:
        return str(error.filename), error.errno or 0, 0
    return "", 0, builder


def main(descriptor: str, failed: tuple[str, int] | None = None) -> None:
    """Serve on the socket ``descriptor``; ``failed`` is the step and errno of what went wrong before."""
    # Whatever our starter ignored, builds shall not; Python's own two exceptions included.
    linux.default_signals(*range(1, linux.MAX_SIGNAL + 1))
    # What is made of a sandbox has the modes that it is given, whatever the umask of our starter is.
    os.umask(0o022)
    inside.fix_limits()
    linux.no_new_privileges()
    channel = _socket.socket(fileno=int(descriptor))
    step, number, builder = (*failed, 0) if failed else prepare()
    channel.send(marshal.dumps(("ready", step, number)))
    # Nothing here makes reference cycles, and a collection in a child would copy pages for nothing.
    gc.disable()
    gc.freeze()
    spawner = Spawner(channel, builder)
    try:
        spawner.serve()
    except (BrokenPipeError, ConnectionResetError):
        pass
    finally:
        spawner.end_all()
