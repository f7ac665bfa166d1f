"""A booted system as others see it: its ports, by way of QEMU's user network, and its SSH server."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

ANSWER_SECONDS = 120
"""For what must answer. A machine without acceleration on a busy host is slow."""
SILENCE_SECONDS = 10
"""For what must not answer, after something else has."""


def free_port() -> int:
    """A TCP port of this machine that nobody uses."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _greeting(port: int, request: bytes, seconds: float) -> bytes:
    """The first bytes that come back. QEMU accepts every connection, and ends those that the machine does not take."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
            connection.settimeout(seconds)
            connection.sendall(request)
            return connection.recv(1024)
    except OSError:
        return b""


def answers(port: int, request: bytes = b"GET / HTTP/1.0\r\n\r\n", *, seconds: float = ANSWER_SECONDS) -> bool:
    """Whether something behind ``port`` answers ``request`` within ``seconds``."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if _greeting(port, request, max(left, 0.1)):
            return True
        time.sleep(min(left, 0.5))
    return False


def is_silent(port: int, request: bytes = b"GET / HTTP/1.0\r\n\r\n") -> bool:
    """Whether nothing behind ``port`` answers. Only means something after another port has answered."""
    return not answers(port, request, seconds=SILENCE_SECONDS)


class Key:
    """A key pair made for one run."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self.private = directory / "key"
        if not self.private.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.private)], check=True)
        self.public = (directory / "key.pub").read_text().strip()
        self._known = directory / "known_hosts"

    def ssh(self, port: int, user: str, command: str) -> subprocess.CompletedProcess[str]:
        """Run ``command`` as ``user`` in the machine. The first host key counts: another one later is an error."""
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": str(ANSWER_SECONDS),
            "HostKeyAlias": "machine",
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "accept-new",
            "UserKnownHostsFile": str(self._known),
        }
        settings = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return subprocess.run(
            ["ssh", "-F", "none", "-i", str(self.private), *settings, "-p", str(port), f"{user}@127.0.0.1", command],
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
