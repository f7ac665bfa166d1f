"""Network namespaces with nothing but a loopback interface, used again while they are as good as new.

Making one and taking it down costs more than all mounts of a sandbox together. A build cannot change one (its
owner is the spawner's user namespace); what could be left are packets of closed connections, so a namespace through
whose loopback interface anything has passed is not used again.
"""

from __future__ import annotations

import os

from nexis_eval.sandbox import linux

MAX_IDLE = 64


class NetworkPool:
    """Namespaces by descriptor. Taking or giving back one moves this process into it."""

    def __init__(self) -> None:
        self._idle: list[int] = []

    def take(self) -> int:
        """Move into a namespace that no process is in, so that the next child is born there; returns its descriptor."""
        if self._idle:
            network = self._idle.pop()
            linux.enter_namespace(network, linux.CLONE_NEWNET)
            return network
        linux.unshare(linux.CLONE_NEWNET)
        linux.loopback_up()
        return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def give_back(self, network: int) -> None:
        """Keep a namespace whose processes have ended, if it is as good as new."""
        linux.enter_namespace(network, linux.CLONE_NEWNET)
        if len(self._idle) < MAX_IDLE and _is_untouched():
            self._idle.append(network)
        else:
            os.close(network)


def _is_untouched() -> bool:
    descriptor = os.open("/proc/self/net/dev", os.O_RDONLY | os.O_CLOEXEC)
    try:
        lines = os.read(descriptor, 4096).splitlines()
    finally:
        os.close(descriptor)
    # Two lines of headings, then one a device: "lo:", bytes received, packets received, …
    return len(lines) == 3 and lines[2].split()[:3] == [b"lo:", b"0", b"0"]
