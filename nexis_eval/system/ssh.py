"""SSH servers (dropbear, OpenSSH): host keys, which the machine makes for itself and keeps below ``/var``."""

from __future__ import annotations

from collections.abc import Iterator

from nexis_eval.config.model import User
from nexis_eval.graph.derivation import Entry
from nexis_eval.system.contribution import Contribution, Directory, combined
from nexis_eval.system.templates import text
from nexis_eval.system.view import SystemView

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


def ssh(view: SystemView) -> Contribution:
    """What SSH servers need beside their programs.

    Keys are kept where ``/var`` is, and ``sshd`` insists on an account and a directory of its own.
    """
    found = []
    if view.installed(*DROPBEAR):
        found.append(Contribution(files=tuple(_dropbear()), directories=(Directory("/var/lib/dropbear", "0700"),)))
    if view.installed(*OPENSSH):
        account = User("sshd", system=True, shell="/usr/sbin/nologin", home="/run/sshd")
        directories = (Directory("/var/lib/ssh", "0700"), Directory("/run/sshd"))
        found.append(Contribution(files=tuple(_openssh()), directories=directories, accounts=(account,)))
    return combined(found)
