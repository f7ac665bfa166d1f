"""The first process of a sandbox: sets it up, starts the build as its child, reaps, and tells how it ended.

It is process 1 of the sandbox's PID namespace, so its end is the end of everything the build started: the kernel kills
the rest before the parent can see this process gone. When all is set up it moves into one more user namespace, gives up
every power over the mounts and the network, and starts the build there, by ``posix_spawn``: that costs no copy of this
process as ``fork`` would. The build has no power over this process either, which is not dumpable and so neither to be
traced nor to be seen, and as the first of its PID namespace not to be killed.
"""

from __future__ import annotations

import _socket
import fcntl
import marshal
import os
import resource
import select
import struct

from nexis_eval.sandbox import linux
from nexis_eval.sandbox.places import HOST_NAME, JOBSERVER_AT
from nexis_eval.sandbox.root import enter
from nexis_eval.sandbox.watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nexis_eval.sandbox.wire import Report, WireLimits, WireSpec

    Action = tuple[int, int, int] | tuple[int, int, str, int, int]
    """One of ``posix_spawn``'s: of its kind, on a descriptor."""

PHASE_DESCRIPTOR, JOB_DESCRIPTOR = 3, 4
HIGH = 64
"""Above every descriptor that has a meaning by its number."""
MAX_OPEN_FILES = 65536
FIXED_LIMITS = (
    # One byte: no core file, and no core handler of the host is started either (see core(5)).
    (resource.RLIMIT_CORE, 1, 1),
    # The stack's soft limit decides how long a command line may be.
    (resource.RLIMIT_STACK, 8 << 20, resource.RLIM_INFINITY),
    (resource.RLIMIT_NOFILE, 4096, MAX_OPEN_FILES),
)


def main(spec: WireSpec, stdio: list[int], phases: int, report: int, alive: int, builder: int) -> int:
    """Run the build of ``spec`` to its end; returns this process's exit status.

    ``stdio`` are its standard streams; ``alive`` is the reading end of a pipe of which the spawner holds the only other
    end; ``builder`` is the user that the build is, outside of its own user namespace: 0 is the one that we are.
    """
    message: Report
    report = _move_up(report)
    try:
        message = _run(spec, stdio, phases, report, alive, builder)
    except OSError as error:
        message = {"failed": str(error.filename or "setting up"), "errno": error.errno or 0}
    except Exception as error:
        message = {"bug": repr(error)}
    os.write(report, marshal.dumps(dict(message)))
    return 0


def fix_limits() -> None:
    """Set what is the same for all builds; it is inherited."""
    for kind, soft, hard in FIXED_LIMITS:
        limit(kind, soft, hard)


def _run(spec: WireSpec, stdio: list[int], phases: int, report: int, alive: int, builder: int) -> Report:
    linux.die_with_parent()
    if _has_ended(alive):
        os._exit(1)
    if spec["hostname"] != HOST_NAME:
        linux.unshare(linux.CLONE_NEWUTS)
        linux.set_host_name(spec["hostname"])
    if not os.stat(spec["build"]).st_uid == os.stat(spec["out"]).st_uid == builder:
        # On a file system that cannot be mounted with other owners than it has.
        builder = 0
    enter(spec, builder)
    terminal = _make_terminal(report, builder) if spec["terminal"] else ""
    log = _above(stdio[1])
    _take_on_identity(spec)
    _give_up_power(spec, alive, builder)
    streams = _terminal_streams(terminal) if terminal else _streams(stdio)
    jobserver = any(at == JOBSERVER_AT for at, _ in spec["binds"])
    child = os.posix_spawn(
        spec["argv"][0],
        spec["argv"],
        spec["env"],
        file_actions=[*streams, *_channels(phases, jobserver=jobserver)],
        setsid=True,
    )
    for descriptor in (*stdio, phases):
        os.close(descriptor)
    return _watch_until(child, Watch(spec["limits"], log))


def _take_on_identity(spec: WireSpec) -> None:
    """What the build inherits from this process."""
    linux.write("/proc/self/oom_score_adj", "500")
    if spec["clock_offset_seconds"]:
        linux.unshare(linux.CLONE_NEWTIME)
        offset = spec["clock_offset_seconds"]
        linux.write("/proc/self/timens_offsets", f"monotonic {offset} 0\nboottime {offset} 0\n")
        # Before Linux 6.1 a process that shares its parent's memory, as a spawned one does at first, cannot be born
        # into another time namespace than its parent's.
        clock = os.open("/proc/self/ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC)
        linux.enter_namespace(clock, linux.CLONE_NEWTIME)
        os.close(clock)
    if spec["cpus"]:
        os.sched_setaffinity(0, spec["cpus"])
    linux.set_personality(spec["personality"])
    os.umask(spec["umask"])
    os.chdir("/build")


def _give_up_power(spec: WireSpec, alive: int, builder: int) -> None:
    """Become the user that the build is, who owns nothing but the files that it writes."""
    if builder:
        linux.become(builder)
        if _has_ended(alive):
            os._exit(1)
    linux.unshare(linux.CLONE_NEWUSER)
    linux.map_user(spec["uid"], spec["gid"], builder, builder)
    # After the maps: the files of a process that is not dumpable in /proc belong to the machine's root.
    linux.forbid_tracing()
    _limit_as_brake(spec["limits"])
    if spec["seccomp"]:
        linux.install_seccomp(spec["seccomp"])


def _make_terminal(report: int, builder: int) -> str:
    """A terminal of the sandbox's own: its outer end goes to the engine; returns the path of the inner one."""
    outer, inner = os.openpty()
    path = os.ttyname(inner)
    os.fchown(inner, builder, -1)
    channel = _socket.socket(fileno=os.dup(report))
    rights = struct.pack("i", outer)
    channel.sendmsg([marshal.dumps({"terminal": True})], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    channel.close()
    os.close(outer)
    # The inner end stays open here: if none were, the engine would read the end before the build has opened it.
    _above(inner)
    os.close(inner)
    return path


def _terminal_streams(path: str) -> list[Action]:
    """Standard streams of a session leader who opens its terminal, which makes that the one that controls it."""
    return [(os.POSIX_SPAWN_OPEN, 0, path, os.O_RDWR, 0), (os.POSIX_SPAWN_DUP2, 0, 1), (os.POSIX_SPAWN_DUP2, 0, 2)]


def _streams(stdio: list[int]) -> list[Action]:
    return [(os.POSIX_SPAWN_DUP2, _above(each), target) for target, each in enumerate(stdio)]


def _channels(phases: int, *, jobserver: bool) -> list[Action]:
    """3 for phases, 4 for job tokens; every other descriptor closes by itself when the command is executed."""
    phases = _above(phases)
    actions: list[Action] = [(os.POSIX_SPAWN_DUP2, phases, PHASE_DESCRIPTOR)]
    if jobserver:
        actions.append((os.POSIX_SPAWN_OPEN, JOB_DESCRIPTOR, JOBSERVER_AT, os.O_RDWR, 0))
    return actions


def _has_ended(alive: int) -> bool:
    """Whether the spawner died before ``die_with_parent`` took effect."""
    poll = select.poll()
    poll.register(alive, 0)
    return bool(poll.poll(0))


def _reap_until(child: int) -> int:
    """Collect dead processes until ``child`` is among them; returns its exit code, or 128 + signal."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _reap_orphans(child: int) -> None:
    """Collect those who died so far, up to ``child``."""
    look = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while (dead := os.waitid(os.P_ALL, 0, look)) is not None and dead.si_pid != child:
        os.waitpid(dead.si_pid, 0)


def _watch_until(child: int, watch: Watch) -> Report:
    """``_reap_until`` with an eye on the limits; kills everything in the sandbox when one is passed."""
    poll = select.poll()
    poll.register(os.pidfd_open(child), select.POLLIN)
    while not poll.poll(watch.pause_ms):
        reason = watch.look()
        if reason:
            os.kill(-1, linux.SIGKILL)
            return {"exit_code": 128 + linux.SIGKILL, "reason": reason}
        _reap_orphans(child)
    code = _reap_until(child)
    reason = watch.look_at_the_end(code)
    return {"exit_code": code or 1, "reason": reason} if reason else {"exit_code": code}


def _limit_as_brake(limits: WireLimits) -> None:
    """Wider than what ``watch`` enforces, so that it sees the limit passed and can say so."""
    for kind, most in (
        (resource.RLIMIT_DATA, limits["data_brake"]),
        (resource.RLIMIT_NPROC, limits["processes_brake"]),
        (resource.RLIMIT_FSIZE, limits["output_bytes"]),
    ):
        if most:
            limit(kind, most, most)


def limit(kind: int, soft: int, hard: int) -> None:
    """Set a resource limit, as far as the limits this process was born with allow."""
    ceiling = resource.getrlimit(kind)[1]
    if ceiling != resource.RLIM_INFINITY:
        hard = ceiling if hard == resource.RLIM_INFINITY else min(hard, ceiling)
    resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _above(descriptor: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, HIGH)


def _move_up(descriptor: int) -> int:
    moved = _above(descriptor)
    os.close(descriptor)
    return moved
