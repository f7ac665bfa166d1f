"""Watches what a build uses, from the sandbox's first process, and says which limit was passed.

The kernel's own limits (``setrlimit``) are set too, a little wider: they stop what grows faster than we look, but they
fail some call deep in the build without saying why. Every build is watched, so looking must cost next to nothing: one
read tells for the whole machine that this build cannot have passed a limit, and only where it does not are processes
and files counted. The pauses grow with what a look takes.
"""

from __future__ import annotations

import os
import resource
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nexis_eval.sandbox.wire import WireLimits

INTERVAL_MS = 50
_SHARE = 50
"""A look takes at most one part in this many of the time."""
_DISK_PAUSE_SECONDS = 1.0
_DISK_SHARE = 20
"""The same for the walk over the disk."""
_LEAST_DISK = 1 << 30
"""A disk that is full already says so itself."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MIB = 1 << 20
_MAX_PATH = 2048
_MEMINFO = {b"MemTotal": 1, b"MemAvailable": -1, b"SwapTotal": 1, b"SwapFree": -1}
_INODE = 1024
"""What a file costs beside its content, however little that is: on disk, and as much in memory on a tmpfs."""


class Watch:
    """Looks at one sandbox from inside, where ``/proc`` shows its processes and nothing else."""

    def __init__(self, limits: WireLimits, log: int) -> None:
        self._limits = limits
        self._log = log
        self._next_walk = time.monotonic() + _DISK_PAUSE_SECONDS
        self._free = _free_bytes()
        # Below: others may free as much as this build takes, but hardly half of the disk.
        self._disk = limits["disk_bytes"] or max(self._free // 10 * 9, _LEAST_DISK)
        self._free_tells = self._disk >= self._free // 2
        self.pause_ms = INTERVAL_MS
        """How long to wait before the next look."""

    def look(self) -> str:
        """The limit that is passed now, in words for people; empty if none."""
        started = time.monotonic()
        reason = self._look_at_processes() or self._look_at_log()
        now = time.monotonic()
        self.pause_ms = max(INTERVAL_MS, int((now - started) * 1000 * _SHARE))
        if not reason and now >= self._next_walk:
            reason = self._look_at_disk()
            done = time.monotonic()
            self._next_walk = done + max(_DISK_PAUSE_SECONDS, (done - now) * _DISK_SHARE)
        return reason

    def _look_at_processes(self) -> str:
        limits = self._limits
        crowded, full = _machine_threads() > limits["processes"], _machine_memory_used() > limits["memory_bytes"]
        if not crowded and not full:
            return ""
        processes = [name for name in os.listdir("/proc") if name.isdigit() and name != "1"]
        if crowded and _threads(processes) > limits["processes"]:
            return f"it had more than {limits['processes']} processes"
        if full and _memory(processes, limits["memory_bytes"]) > limits["memory_bytes"]:
            return f"it used more than {_size(limits['memory_bytes'])} of memory"
        return ""

    def _look_at_log(self) -> str:
        log, most = os.fstat(self._log).st_size, min(self._limits["log_bytes"], self._limits["output_bytes"])
        return f"it wrote a log of {_size(most)} or more" if log >= most else ""

    def look_at_the_end(self, code: int) -> str:
        """``look`` when the build has ended, with exit code ``code``: at what remains to be seen then."""
        memory = self._limits["memory_bytes"]
        # A file that the kernel did not let grow is the reason of a failure, wherever it is.
        self._free_tells = self._free_tells and not code
        # One that takes memory as fast as it can meets the brake between two looks, and fails by that.
        if code and max(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, _temporary_files()) > memory:
            return f"it used more than {_size(memory)} of memory"
        return self._look_at_log() or self._look_at_disk()

    def _look_at_disk(self) -> str:
        """Whether too much is in ``/out``, where holes count since they will be read; and on the disk, where not.

        A build that fails at a file of the size that the kernel forbids to pass is told so, whichever directory has it.
        """
        largest = self._limits["output_bytes"]
        output, claimed, too_large = _walk("/out", largest)
        if not too_large and claimed > largest:
            return f"it wrote more than {_size(largest)} to /out"
        total = output + os.fstat(self._log).st_size
        if not too_large and not (self._free_tells and self._free - _free_bytes() <= self._disk):
            build, _, too_large = _walk("/build", largest)
            total += build
        if too_large:
            return f"it wrote a file of {_size(largest)} or more: {too_large}"
        return f"it wrote more than {_size(self._disk)} to disk" if total > self._disk else ""


def _free_bytes() -> int:
    """What is free where the build writes."""
    status = os.statvfs("/build")
    return status.f_bfree * status.f_frsize


def _machine_threads() -> int:
    """How many threads the whole machine has: a build cannot have more."""
    return int(_read("/proc/loadavg").split()[3].split(b"/")[1])


def _machine_memory_used() -> int:
    """What of the machine's memory and swap is not there to be had: a build cannot use more."""
    size = {}
    for line in _read("/proc/meminfo").splitlines():
        name, _, value = line.partition(b":")
        if name in _MEMINFO:
            size[name] = int(value.split()[0]) * 1024
    return sum(size.get(name, 0) * sign for name, sign in _MEMINFO.items())


def _threads(processes: list[str]) -> int:
    count = 0
    for pid in processes:
        try:
            # Links of the task directory: ".", ".." and one a thread.
            count += max(1, os.stat(f"/proc/{pid}/task").st_nlink - 2)
        except OSError:
            continue
    return count


def _memory(processes: list[str], limit: int) -> int:
    """Bytes in use: of the processes, and of files in memory, whether they have a name or not.

    The quick sum counts pages shared by several processes several times; only if it passes ``limit`` are they shared
    out by the kernel's slower accounting.
    """
    stored = _temporary_files() + _unattached_segments() + _nameless_files(processes)
    if stored + sum(map(_resident, processes)) <= limit:
        return 0
    return stored + sum(map(_proportional, processes))


def _temporary_files() -> int:
    status = os.statvfs("/tmp")
    return (status.f_blocks - status.f_bfree) * status.f_frsize + (status.f_files - status.f_ffree) * _INODE


def _resident(pid: str) -> int:
    try:
        return int(_read(f"/proc/{pid}/statm").split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _proportional(pid: str) -> int:
    """Anonymous and shared memory, pages that n processes share counting one n-th."""
    total = 0
    try:
        for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith((b"Pss_Anon:", b"Pss_Shmem:")):
                total += int(line.split()[1]) * 1024
    except OSError:
        return 0
    return total


def _unattached_segments() -> int:
    """System V shared memory that no process has mapped; what is mapped counts as the processes'."""
    segments = [line.split() for line in _read("/proc/sysvipc/shm").splitlines()[1:]]
    return sum(
        int(rss) for *_, attached, _uid, _gid, _cuid, _cgid, _at, _dt, _ct, rss, _swap in segments if attached == b"0"
    )


def _nameless_files(processes: list[str]) -> int:
    """What ``memfd_create`` and the like hold: files that exist only as descriptors."""
    sizes = {}
    for pid in processes:
        try:
            with os.scandir(f"/proc/{pid}/fd") as descriptors:
                for each in descriptors:
                    if os.readlink(each.path).startswith("/memfd:"):
                        status = os.stat(each.path)
                        sizes[status.st_ino] = status.st_blocks * 512
        except OSError:
            continue
    return sum(sizes.values())


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 8192)
    finally:
        os.close(descriptor)


def _walk(top: str, largest: int) -> tuple[int, int, str]:
    """Bytes allocated below ``top`` and bytes that the files claim to have, with a little for each, and one of them
    that reached ``largest`` bytes.

    Directories can be nested deeper than a path can be long: beyond some depth paths start at a descriptor.
    """
    total, claimed, pending = 0, 0, [top]
    linked: set[int] = set()
    anchors: list[int] = []
    try:
        while pending:
            path = pending.pop()
            try:
                if len(path) > _MAX_PATH:
                    anchors.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC))
                    path = f"/proc/self/fd/{anchors[-1]}"
                with os.scandir(path) as entries:
                    for entry in entries:
                        status = entry.stat(follow_symlinks=False)
                        directory = entry.is_dir(follow_symlinks=False)
                        if status.st_nlink > 1 and not directory:
                            if status.st_ino in linked:
                                continue
                            linked.add(status.st_ino)
                        total += status.st_blocks * 512 + _INODE
                        claimed += max(status.st_size, status.st_blocks * 512) + _INODE
                        if directory:
                            pending.append(entry.path)
                        elif status.st_size >= largest:
                            return total, claimed, entry.path
            except OSError:
                # Gone, or closed to its owner: the build is running.
                continue
    finally:
        for anchor in anchors:
            os.close(anchor)
    return total, claimed, ""


def _size(count: int) -> str:
    if count >= 1 << 30:
        return f"{count / (1 << 30):.3g} GiB"
    return f"{count / _MIB:.3g} MiB" if count >= _MIB else f"{count} bytes"
