"""What a build sees, as data. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from nexis_eval.sandbox.places import HOST_NAME


@dataclass(frozen=True, slots=True)
class Overlay:
    """Directories merged read-only at ``at``, the first one topmost. One directory is a plain bind mount."""

    at: str
    layers: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or directory of the host shown read-only at ``at`` (below ``/in``)."""

    at: str
    source: Path


@dataclass(frozen=True, slots=True)
class Limits:
    """What a build may use. ``None`` is what ``sandbox/defaults.py`` says; only the time is not limited then.

    Exceeding a limit kills the build and says which.
    """

    wall_seconds: float | None = None
    memory_bytes: int | None = None
    processes: int | None = None
    """Processes and threads."""
    output_bytes: int | None = None
    """Largest size of any single file the build writes, and of ``/out`` as a whole; holes count as what they claim."""
    disk_bytes: int | None = None
    """Everything the build writes to disk: ``/build``, ``/out`` and the log together."""
    log_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """What a build can learn about machine and user. ``repro check`` varies these; nothing else may."""

    hostname: str = HOST_NAME
    user: str = "build"
    uid: int = 1000
    gid: int = 1000
    umask: int = 0o022
    home: str = "/build"
    locale: str = "C.UTF-8"
    timezone: str = "UTC"
    aslr: bool = False
    kernel_2_6: bool = False
    """Report a 2.6 kernel version (``UNAME26``), for ``repro check``."""
    clock_offset_seconds: int = 0
    """Shift of the clocks that can be shifted (``CLOCK_BOOTTIME``/``MONOTONIC`` by a time namespace)."""


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """One run: the root, what is bound into it, the writable directories, the command.

    The root is read-only. Writable are ``/build`` (the working directory), ``/out`` and a private ``/tmp``; ``/in``
    holds the binds; ``/dev`` has null, zero, full, random, urandom, tty, ptmx, shm; ``/proc`` is the sandbox's own.
    There is a loopback interface and no other network.
    """

    overlays: tuple[Overlay, ...]
    """The overlay at ``/`` first, then those at directories below it."""
    build_directory: Path
    out_directory: Path
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    binds: tuple[Bind, ...] = ()
    identity: Identity = field(default_factory=Identity)
    limits: Limits = field(default_factory=Limits)
    cpus: int | None = None
    """How many processors the build can see (``sched_setaffinity``); ``None`` leaves all."""
    jobserver: Path | None = None
    """A GNU make jobserver fifo to show at ``/in/jobserver`` and to open as descriptor 4."""
