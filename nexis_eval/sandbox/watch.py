"""Watches what a build uses, from the sandbox's first process, and says which limit was passed.

The kernel's own limits (``setrlimit``) are set too, a little wider: they stop what grows faster than we look, but they
fail some call deep in the build without saying why, and for a build run by root some do not count. Looking costs a few
reads a process; walking the disk costs more, so its pauses grow with it.
"""

from __future__ import annotations

import os
import resource
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nexis_eval.sandbox.wire import WireLimits

INTERVAL_MS = 50
_DISK_PAUSE_SECONDS = 1.0
_DISK_SHARE = 20
"""The walk over the disk takes at most one part in this many of the time."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MIB = 1 << 20
_MAX_PATH = 2048
_INODE = 1024
"""What a file costs beside its content, however little that is: on disk, and as much in memory on a tmpfs."""


class Watch:
    """Looks at one sandbox from inside, where ``/proc`` shows its processes and nothing else."""

    def __init__(self, limits: WireLimits, log: int) -> None:
        self._limits = limits
        self._log = log
        self._next_walk = 0.0

    @property
    def needed(self) -> bool:
        """Whether there is any limit to look after."""
        return any(self._limits.values())

    def look(self) -> str:
        """The limit that is passed now, in words for people; empty if none."""
        limits = self._limits
        if limits["processes"] or limits["memory_bytes"]:
            processes = [name for name in os.listdir("/proc") if name.isdigit() and name != "1"]
            if limits["processes"] and _threads(processes) > limits["processes"]:
                return f"it had more than {limits['processes']} processes"
            if limits["memory_bytes"] and _memory(processes, limits["memory_bytes"]) > limits["memory_bytes"]:
                return f"it used more than {_size(limits['memory_bytes'])} of memory"
        if (limits["output_bytes"] or limits["disk_bytes"]) and time.monotonic() >= self._next_walk:
            started = time.monotonic()
            reason = self._look_at_disk()
            now = time.monotonic()
            self._next_walk = now + max(_DISK_PAUSE_SECONDS, (now - started) * _DISK_SHARE)
            return reason
        return ""

    def look_at_the_end(self, code: int) -> str:
        """``look`` when the build has ended, with exit code ``code``: at what remains to be seen then."""
        memory = self._limits["memory_bytes"]
        # One that takes memory as fast as it can meets the brake between two looks, and fails by that.
        if code and memory and resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 > memory:
            return f"it used more than {_size(memory)} of memory"
        return self._look_at_disk()

    def _look_at_disk(self) -> str:
        limits = self._limits
        largest = limits["output_bytes"]
        if not largest and not limits["disk_bytes"]:
            return ""
        log = os.fstat(self._log).st_size
        if largest and log >= largest:
            return f"it wrote a file of {_size(largest)} or more: its log"
        output, too_large = _walk("/out", largest)
        total = output + log
        if not too_large:
            build, too_large = _walk("/build", largest)
            total += build
        if too_large:
            return f"it wrote a file of {_size(largest)} or more: {too_large}"
        if largest and output > largest:
            return f"it wrote more than {_size(largest)} to /out"
        if limits["disk_bytes"] and total > limits["disk_bytes"]:
            return f"it wrote more than {_size(limits['disk_bytes'])} to disk"
        return ""


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
    status = os.statvfs("/tmp")
    stored = (status.f_blocks - status.f_bfree) * status.f_frsize + (status.f_files - status.f_ffree) * _INODE
    stored += _unattached_segments() + _nameless_files(processes)
    if stored + sum(map(_resident, processes)) <= limit:
        return 0
    return stored + sum(map(_proportional, processes))


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


def _walk(top: str, largest: int) -> tuple[int, str]:
    """Bytes allocated below ``top``, with a little for each file, and a file that reached ``largest`` bytes.

    Directories can be nested deeper than a path can be long: beyond some depth paths start at a descriptor.
    """
    total, pending = 0, [top]
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
                        total += status.st_blocks * 512 + _INODE
                        if entry.is_dir(follow_symlinks=False):
                            pending.append(entry.path)
                        elif largest and status.st_size >= largest:
                            return total, entry.path
            except OSError:
                # Gone, or closed to its owner: the build is running.
                continue
    finally:
        for anchor in anchors:
            os.close(anchor)
    return total, ""


def _size(count: int) -> str:
    if count >= 1 << 30:
        return f"{count / (1 << 30):.3g} GiB"
    return f"{count / _MIB:.3g} MiB" if count >= _MIB else f"{count} bytes"
