"""The first process of a sandbox: sets it up, starts the build as its child, reaps, and tells how it ended.

It is process 1 of the sandbox's PID namespace, so its end is the end of everything the build started: the kernel kills
the rest before the parent can see this process gone. The build itself runs in one more user namespace, in which it has
no power over the mounts, the network, or this process.
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
from nexis_eval.sandbox.places import JOBSERVER_AT
from nexis_eval.sandbox.root import enter
from nexis_eval.sandbox.watch import INTERVAL_MS, Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nexis_eval.sandbox.wire import Report, WireLimits, WireSpec

PHASE_DESCRIPTOR, JOB_DESCRIPTOR, TROUBLE_DESCRIPTOR = 3, 4, 5
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


def main(spec: WireSpec, stdio: list[int], phases: int, report: int, alive: int) -> int:
    """Run the build of ``spec`` to its end; returns this process's exit status.

    ``stdio`` are its standard streams; ``alive`` is the reading end of a pipe of which the spawner holds the only other
    end.
    """
    message: Report
    report = _move_up(report)
    try:
        message = _run(spec, stdio, phases, report, alive)
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


def _run(spec: WireSpec, stdio: list[int], phases: int, report: int, alive: int) -> Report:
    linux.die_with_parent()
    if _has_ended(alive):
        os._exit(1)
    linux.set_host_name(spec["hostname"])
    enter(spec)
    if spec["terminal"]:
        stdio = _make_terminal(report)
    _take_on_identity(spec)
    started, failed = map(_move_up, os.pipe2(os.O_CLOEXEC))
    _arrange_descriptors(stdio, phases, failed, jobserver=any(at == JOBSERVER_AT for at, _ in spec["binds"]))
    os.close(failed)
    child = os.fork()
    if child == 0:
        _become_build(spec)
    log = _above(1)
    os.closerange(0, TROUBLE_DESCRIPTOR + 1)
    trouble = os.read(started, 4096)
    if trouble:
        os.waitpid(child, 0)
        told: Report = marshal.loads(trouble)
        return told
    watch = Watch(spec["limits"], log)
    if not watch.needed:
        os.close(log)
        return {"exit_code": _reap_until(child)}
    return _watch_until(child, watch)


def _take_on_identity(spec: WireSpec) -> None:
    """What the build inherits from this process. Done here and not after the fork, it touches fewer pages twice."""
    linux.write("/proc/self/oom_score_adj", "500")
    if spec["clock_offset_seconds"]:
        linux.unshare(linux.CLONE_NEWTIME)
        offset = spec["clock_offset_seconds"]
        linux.write("/proc/self/timens_offsets", f"monotonic {offset} 0\nboottime {offset} 0\n")
    if spec["cpus"]:
        os.sched_setaffinity(0, spec["cpus"])
    linux.set_personality(spec["personality"])
    os.umask(spec["umask"])
    os.chdir("/build")


def _make_terminal(report: int) -> list[int]:
    """A terminal of the sandbox's own: its outer end goes to the engine, its inner end becomes the standard streams."""
    outer, inner = os.openpty()
    channel = _socket.socket(fileno=os.dup(report))
    rights = struct.pack("i", outer)
    channel.sendmsg([marshal.dumps({"terminal": True})], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    channel.close()
    os.close(outer)
    return [inner] * 3


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
    while not poll.poll(INTERVAL_MS):
        reason = watch.look()
        if reason:
            os.kill(-1, linux.SIGKILL)
            return {"exit_code": 128 + linux.SIGKILL, "reason": reason}
        _reap_orphans(child)
    code = _reap_until(child)
    reason = watch.look_at_disk()
    return {"exit_code": code or 1, "reason": reason} if reason else {"exit_code": code}


def _become_build(spec: WireSpec) -> None:
    """Give up every power and execute the command; tells what went wrong, and never returns."""
    try:
        os.setsid()
        if spec["terminal"]:
            linux.control_terminal(0)
        linux.unshare(linux.CLONE_NEWUSER)
        linux.map_user(spec["uid"], spec["gid"], 0, 0)
        _limit_as_brake(spec["limits"])
        os.closerange(TROUBLE_DESCRIPTOR + 1, MAX_OPEN_FILES)
        if spec["seccomp"]:
            linux.install_seccomp(spec["seccomp"])
        os.execve(spec["argv"][0], spec["argv"], spec["env"])
    except OSError as error:
        trouble = {"failed": str(error.filename or "starting the command"), "errno": error.errno or 0}
        os.write(TROUBLE_DESCRIPTOR, marshal.dumps(trouble))
    except Exception as error:
        os.write(TROUBLE_DESCRIPTOR, marshal.dumps({"bug": repr(error)}))
    finally:
        os._exit(127)


def _limit_as_brake(limits: WireLimits) -> None:
    """Wider than what ``watch`` enforces, so that it sees the limit passed and can say so."""
    if limits["memory_bytes"]:
        limit(resource.RLIMIT_DATA, limits["memory_bytes"] * 2, limits["memory_bytes"] * 2)
    if limits["processes"]:
        limit(resource.RLIMIT_NPROC, limits["processes"] + 16, limits["processes"] + 16)
    if limits["output_bytes"]:
        limit(resource.RLIMIT_FSIZE, limits["output_bytes"], limits["output_bytes"])


def limit(kind: int, soft: int, hard: int) -> None:
    """Set a resource limit, as far as the limits this process was born with allow."""
    ceiling = resource.getrlimit(kind)[1]
    if ceiling != resource.RLIM_INFINITY:
        hard = ceiling if hard == resource.RLIM_INFINITY else min(hard, ceiling)
    resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _arrange_descriptors(stdio: list[int], phases: int, failed: int, *, jobserver: bool) -> None:
    """The standard streams, 3 for phases, 4 for job tokens, 5 (closed by ``execve``) to tell of trouble."""
    tokens = os.open(JOBSERVER_AT, os.O_RDWR | os.O_CLOEXEC) if jobserver else phases
    for target, descriptor in enumerate([_above(each) for each in (*stdio, phases, tokens, failed)]):
        os.dup2(descriptor, target, inheritable=target != TROUBLE_DESCRIPTOR)
        os.close(descriptor)
    if not jobserver:
        os.close(JOB_DESCRIPTOR)


def _above(descriptor: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, HIGH)


def _move_up(descriptor: int) -> int:
    moved = _above(descriptor)
    os.close(descriptor)
    return moved
