"""SSH servers (dropbear, OpenSSH): host keys, which the machine makes for itself and keeps below ``/var``."""

from __future__ import annotations

from collections.abc import Iterator

from nexis_eval.graph.derivation import Entry
from nexis_eval.system.context import System
from nexis_eval.system.templates import text
from nexis_store.digest import DerivationId

DROPBEAR = ("dropbear", "dropbear-bin")
OPENSSH = ("openssh", "openssh-server")
KEY = "ssh_host_ed25519_key"


def _dropbear() -> Iterator[Entry]:
    """``dropbear -R`` makes the keys that it lacks, in a directory that must exist."""
    yield Entry("var/lib/dropbear", mode=0o700)
    yield Entry("etc/dropbear", target="../var/lib/dropbear")


def _openssh() -> Iterator[Entry]:
    """What the scripts of a distribution's package do: keys, and a configuration without which ``sshd`` ends."""
    yield Entry("var/lib/ssh", mode=0o700)
    for name in (KEY, f"{KEY}.pub"):
        yield Entry(f"etc/ssh/{name}", target=f"../../var/lib/ssh/{name}")
    yield Entry("etc/ssh/sshd_config", text=text("sshd_config"))
    yield Entry("usr/lib/nexis/start/ssh-host-keys", text=text("ssh-host-keys"), mode=0o755)


def ssh_directories(system: System) -> Iterator[str]:
    """What must exist at every start: keys are kept where ``/var`` is, and ``sshd`` insists on its directory."""
    if system.installed(*DROPBEAR):
        yield "0700 root root /var/lib/dropbear\n"
    if system.installed(*OPENSSH):
        yield "0700 root root /var/lib/ssh\n"
        yield "0755 root root /run/sshd\n"


def ssh(system: System) -> DerivationId | None:
    """What SSH servers need beside their programs as a part, if the system has one."""
    entries: list[Entry] = []
    if system.installed(*DROPBEAR):
        entries += _dropbear()
    if system.installed(*OPENSSH):
        entries += _openssh()
    return system.files("system-ssh", entries) if entries else None
