"""What the engine tells the spawner, as plain values that ``marshal`` carries between two copies of one interpreter.

The spawner must not import this module (nor ``typing``) at run time: only its types are used there.
"""

from __future__ import annotations

import marshal
import os
from typing import TypedDict

from nexis_eval.sandbox.defaults import counts_processes_by_namespace, machine_memory, resolved
from nexis_eval.sandbox.linux import ADDR_NO_RANDOMIZE, UNAME26
from nexis_eval.sandbox.places import JOBSERVER_AT
from nexis_eval.sandbox.seccomp import program
from nexis_eval.sandbox.spec import Limits, SandboxSpec

MORE_PROCESSES = 16
"""How many more than allowed the kernel lets be, until the watch sees them."""


class WireLimits(TypedDict):
    """What is watched from inside the sandbox, and the brakes that the kernel has; a brake of 0 is none."""

    memory_bytes: int
    processes: int
    output_bytes: int
    disk_bytes: int
    """0 is a share of what is free when the build begins."""
    log_bytes: int
    data_brake: int
    processes_brake: int
    tmpfs_bytes: int


class WireSpec(TypedDict):
    """A ``SandboxSpec`` with nothing left to decide."""

    overlays: list[tuple[str, list[str]]]
    binds: list[tuple[str, str]]
    build: str
    out: str
    argv: list[str]
    env: dict[str, str]
    hostname: str
    uid: int
    gid: int
    umask: int
    personality: int
    clock_offset_seconds: int
    cpus: list[int]
    limits: WireLimits
    seccomp: bytes
    terminal: bool


class Report(TypedDict, total=False):
    """What the first process of a sandbox tells: before it ends, and before it starts if it makes a terminal."""

    terminal: bool
    """The message carries the outer end of the terminal as a descriptor; another one follows."""

    exit_code: int
    reason: str
    failed: str
    """The step of setting up that failed; then ``errno`` says why and nothing was run."""
    errno: int
    bug: str
    """An exception that no mistake of the user's explains."""


def wire_spec(spec: SandboxSpec, turn: int = 0, *, terminal: bool = False) -> WireSpec:
    """Encode ``spec``. ``turn`` spreads builds that see only some processors over all of them.

    ``terminal`` gives the command a terminal made in the sandbox as its standard streams.
    """
    identity = spec.identity
    binds = [(bind.at, os.fspath(bind.source)) for bind in spec.binds]
    if spec.jobserver is not None:
        binds.append((JOBSERVER_AT, os.fspath(spec.jobserver)))
    personality = (0 if identity.aslr else ADDR_NO_RANDOMIZE) | (UNAME26 if identity.kernel_2_6 else 0)
    return WireSpec(
        overlays=[(each.at, [os.fspath(layer) for layer in each.layers]) for each in spec.overlays],
        binds=sorted(binds),
        build=os.fspath(spec.build_directory),
        out=os.fspath(spec.out_directory),
        argv=list(spec.argv),
        env=dict(spec.env),
        hostname=identity.hostname,
        uid=identity.uid,
        gid=identity.gid,
        umask=identity.umask,
        personality=personality,
        clock_offset_seconds=identity.clock_offset_seconds,
        cpus=_cpus(spec.cpus, turn),
        limits=_limits(resolved(spec.limits)),
        seccomp=program(os.uname().machine),
        terminal=terminal,
    )


def _limits(limits: Limits) -> WireLimits:
    """``limits``, and brakes that are a little wider, so that ``watch`` sees the limit passed and can say so."""
    memory, processes = limits.memory_bytes or 0, limits.processes or 0
    # One above what the machine has would stop nothing but programs that reserve much and use little (sanitizers).
    data = memory * 2 if memory * 2 < machine_memory() else 0
    return WireLimits(
        memory_bytes=memory,
        processes=processes,
        output_bytes=limits.output_bytes or 0,
        disk_bytes=limits.disk_bytes or 0,
        log_bytes=limits.log_bytes or 0,
        data_brake=data,
        processes_brake=processes + MORE_PROCESSES if counts_processes_by_namespace() else 0,
        tmpfs_bytes=min(memory * 5 // 4, machine_memory() // 2),
    )


def _cpus(count: int | None, turn: int) -> list[int]:
    if count is None:
        return []
    usable = sorted(os.sched_getaffinity(0))
    return sorted({usable[(turn + index) % len(usable)] for index in range(min(count, len(usable)))})


def encode(spec: WireSpec) -> bytes:
    """The bytes that the spawner's child decodes."""
    return marshal.dumps(dict(spec))
