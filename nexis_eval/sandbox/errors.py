"""What goes wrong with sandboxes, and the cure."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from nexis_store.errors import NexisError

SYSCTL = Path("/proc/sys")


class SandboxError(NexisError):
    """A sandbox cannot be set up on this machine.

    Builds need user namespaces and no root. The message names what forbids them (``kernel.unprivileged_userns_clone``,
    ``user.max_user_namespaces``, ``kernel.apparmor_restrict_unprivileged_userns``, the filter of a container) and how
    it is allowed. There is no way around the sandbox: what sees this machine would not be the same elsewhere.
    """

    code = "X0001"
    exit_code = 5


class SandboxSpecError(SandboxError):
    """A sandbox cannot be set up as this build asks: a directory to mount on or a file to show is missing.

    One of the inputs of the build is not what its recipe takes it for. A tool set that was left out is the usual
    reason; ``nexis-store verify`` tells whether the input is damaged.
    """

    code = "X0002"


def setup_error(step: str, number: int, *, sysctl: Path = SYSCTL) -> SandboxError:
    """The error for a ``step`` of setting up that failed with errno ``number``, with the cure for this machine."""
    what = f"the build sandbox cannot be set up: {step}: {os.strerror(number)}"
    forbidden = _forbidden(sysctl) if number in (errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EINVAL) else None
    if forbidden is not None:
        return SandboxError(what, hint=forbidden)
    if number == errno.ENOSPC:
        return SandboxError(what, hint="too many namespaces: raise the limits under /proc/sys/user (user.max_*)")
    if number == errno.ENOSYS:
        return SandboxError(what, hint="the sandbox needs Linux 5.12 or later, and a container that does not filter it")
    if number == errno.EPERM:
        return SandboxError(
            what,
            hint="something forbids user namespaces or mounts in them: in a container, run it with "
            "'--security-opt seccomp=unconfined --security-opt systempaths=unconfined' or build on the host",
        )
    if number in (errno.ENOENT, errno.ENOTDIR):
        return SandboxSpecError(what, hint="an input of the build does not have this path: is a toolset missing?")
    return SandboxError(what, hint="docs/sandbox.md says what builds need of the machine")


def _forbidden(sysctl: Path) -> str | None:
    """The cure if one of the known switches is off: Debian's, the kernel's, Ubuntu's."""
    if _read(sysctl / "kernel/unprivileged_userns_clone") == "0":
        return "user namespaces are switched off: 'sudo sysctl -w kernel.unprivileged_userns_clone=1' switches them on"
    if _read(sysctl / "user/max_user_namespaces") == "0":
        return "user namespaces are switched off: 'sudo sysctl -w user.max_user_namespaces=15000' switches them on"
    if _read(sysctl / "kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor restricts user namespaces (Ubuntu 23.10 and later): "
            "'sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0' lifts that for all programs; "
            "an AppArmor profile with 'userns,' for this Python lifts it for one"
        )
    return None


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return None
