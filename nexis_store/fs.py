"""Every system call of the store that changes a file or must be durable, in one place.

Having them here gives the crash tests one seam (``intercept``): they kill the process, or make the call fail, at each
of them in turn. Nothing else in the store writes, links, renames or removes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Callable

EPOCH = (1_000_000_000, 1_000_000_000)
"""What every file of the store has as access and modification time: one second after the epoch, in nanoseconds."""

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_FICLONE = 0x40049409
_CANNOT_CLONE = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM, errno.EBADF)
_MOST = 1 << 30
_FS_IOC_FIEMAP = 0xC020660B
_FIEMAP = struct.Struct("=QQIIII")
_EXTENT = struct.Struct("=QQQ16xI12x")
_EXTENTS = 64
_EXTENT_LAST = 0x1
_EXTENT_SHARED = 0x2000

intercept: Callable[[str, str], None] | None = None
"""Called with the name and the path of each call before it is made. Only tests set it."""


def _step(call: str, path: str) -> None:
    if intercept is not None:
        intercept(call, path)


def make_directory(path: str, *, exist_ok: bool = False) -> None:
    """Create one directory with mode 0755 whatever the umask."""
    if intercept is not None:
        intercept("mkdir", path)
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        if not exist_ok:
            raise


def make_directories(path: str) -> None:
    """Create a directory and those above it that are missing."""
    try:
        make_directory(path, exist_ok=True)
    except FileNotFoundError:
        make_directories(os.path.dirname(path))
        make_directory(path, exist_ok=True)


def create(path: str, mode: int = 0o600) -> int:
    """Create a file that must not be there yet; returns a descriptor to write to."""
    if intercept is not None:
        intercept("create", path)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)


def write(fd: int, data: bytes | memoryview, path: str = "") -> None:
    """Write all of ``data``."""
    if intercept is not None:
        intercept("write", path)
    done = os.write(fd, data)
    while done < len(data):
        data = memoryview(data)[done:]
        done = os.write(fd, data)


def write_file(path: str, data: bytes | memoryview, mode: int, *, exact: bool = False) -> None:
    """Create a finished file: content, mode, time stamp. Not yet durable.

    ``exact`` promises that the umask takes nothing away from ``mode``, which saves a system call.
    """
    fd = create(path, mode)
    try:
        if data:
            write(fd, data, path)
        if not exact:
            finish(fd, mode, path)
        else:
            if intercept is not None:
                intercept("attributes", path)
            os.utime(fd, ns=EPOCH)
    finally:
        os.close(fd)


def open_regular(path: str, flags: int = os.O_RDONLY, *, follow: bool = False) -> int:
    """Open a file that must be a regular one; raises ``OSError`` for anything else that stands there, without waiting.

    A fifo would let whoever opens it wait for ever, a symlink (unless ``follow``) lead elsewhere.
    """
    try:
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW), 0o644)
    except OSError as error:
        # ELOOP: a symlink; ENXIO: a socket, or a fifo that is opened for writing; EISDIR: a directory, likewise.
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR) and not follow:
            raise not_regular(path) from None
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise not_regular(path)
    return fd


def is_directory(path: str) -> bool:
    """Whether there is a directory, and not a symlink to one."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def not_regular(path: str) -> OSError:
    """The error of a path that must name a regular file, and does not."""
    return OSError(errno.EINVAL, "it is not a regular file", path)


def read_whole(path: str) -> bytes:
    """All bytes of a regular file, with a third of the cost of a file object."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise not_regular(path)
        size = status.st_size
        parts = []
        while data := os.read(fd, size + 1):
            parts.append(data)
            if len(data) <= size:
                size -= len(data)
                if size == 0:
                    break
    finally:
        os.close(fd)
    return b"".join(parts)


def read_small(path: str, size: int) -> bytes | None:
    """The bytes of a file that is thought to have ``size`` of them; ``None`` if it has another size after all."""
    fd = open_regular(path)
    try:
        data = os.read(fd, size + 1)
    finally:
        os.close(fd)
    return data if len(data) == size else None


def finish(fd: int, mode: int, path: str) -> None:
    """Give an open file the mode and the time stamp that files of the store have."""
    if intercept is not None:
        intercept("attributes", path)
    os.fchmod(fd, mode)
    os.utime(fd, ns=EPOCH)


def finish_path(path: str, mode: int) -> None:
    """The same for a path, which must be no symlink."""
    if intercept is not None:
        intercept("attributes", path)
    os.chmod(path, mode)
    os.utime(path, ns=EPOCH, follow_symlinks=False)


def stamp(path: str) -> None:
    """Set the time stamp of a directory or a symlink itself."""
    if intercept is not None:
        intercept("stamp", path)
    os.utime(path, ns=EPOCH, follow_symlinks=False)


_LIVE_ATTRIBUTES = ("user.", "trusted.", "system.posix_acl_", "security.capability")


def live_attributes(path: str | int) -> list[str]:
    """The names of extended attributes and ACLs that somebody gave a file or directory.

    Labels of a security module and properties of a file system, which every file gets by itself, are not among them.
    """
    try:
        names = os.listxattr(path) if isinstance(path, int) else os.listxattr(path, follow_symlinks=False)
    except OSError:
        return []
    return [name for name in names if name.startswith(_LIVE_ATTRIBUTES)]


def remove_attributes(path: str) -> None:
    """Take away the extended attributes and ACLs that somebody gave a file or directory."""
    for name in live_attributes(path):
        _step("attributes", path)
        os.removexattr(path, name, follow_symlinks=False)


def symlink(target: str, path: str) -> None:
    """Create a symlink."""
    _step("symlink", path)
    os.symlink(target, path)


def link(source: str, path: str) -> None:
    """Give a file another name."""
    if intercept is not None:
        intercept("link", path)
    os.link(source, path, follow_symlinks=False)


def rename(source: str, path: str) -> None:
    """Move; what is at ``path`` is replaced in one step."""
    _step("rename", path)
    os.rename(source, path)


def exchange(one: str, other: str) -> None:
    """Let two paths change places in one step: at every moment each of them is there.

    A file system that cannot do it does it in three steps; in between there is nothing at ``other``.
    """
    import ctypes

    _step("rename", other)
    try:
        swap = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        swap = None
    if swap is not None:
        if swap(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
            return
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise OSError(code, os.strerror(code), other)
    spare = f"{one}.spare"
    os.rename(other, spare)
    os.rename(one, other)
    os.rename(spare, one)


def unlink(path: str) -> None:
    """Remove a file or symlink."""
    if intercept is not None:
        intercept("unlink", path)
    os.unlink(path)


def remove_directory(path: str) -> None:
    """Remove an empty directory."""
    if intercept is not None:
        intercept("rmdir", path)
    os.rmdir(path)


def truncate(fd: int, length: int, path: str = "") -> None:
    """Cut an open file."""
    _step("truncate", path)
    os.ftruncate(fd, length)


def copy(source_fd: int, target_fd: int, path: str = "") -> None:
    """Give a new file the bytes of another: by sharing blocks (reflink: XFS, btrfs), else copied inside the kernel."""
    _step("clone", path)
    try:
        fcntl.ioctl(target_fd, _FICLONE, source_fd)
        return
    except OSError as error:
        if error.errno not in _CANNOT_CLONE:
            raise
    _step("write", path)
    while os.sendfile(target_fd, source_fd, None, _MOST):
        pass


def shared_bytes(path: str) -> int:
    """How many bytes of a file's disk space other files share with it (reflinks); 0 where that cannot be told.

    ``FS_IOC_FIEMAP`` lists extents: <linux/fiemap.h>.
    """
    shared = start = 0
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        while True:
            request = bytearray(_FIEMAP.pack(start, (1 << 64) - 1 - start, 0, 0, _EXTENTS, 0))
            request += bytes(_EXTENT.size * _EXTENTS)
            fcntl.ioctl(fd, _FS_IOC_FIEMAP, request)
            count = _FIEMAP.unpack_from(request)[3]
            last = count == 0
            for index in range(count):
                logical, _, length, flags = _EXTENT.unpack_from(request, _FIEMAP.size + index * _EXTENT.size)
                start = logical + length
                shared += length if flags & _EXTENT_SHARED else 0
                last = last or bool(flags & _EXTENT_LAST)
            if last:
                return shared
    except OSError:
        return 0
    finally:
        os.close(fd)


def sync_data(fd: int, path: str = "") -> None:
    """Wait until the bytes of a file, and its length, are on the disk."""
    _step("fdatasync", path)
    os.fdatasync(fd)


def sync_path(path: str) -> None:
    """Wait until a file or directory is on the disk."""
    _step("fsync", path)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file_system(path: str) -> None:
    """Wait until everything written so far to the file system of ``path`` is on the disk.

    One such call is much cheaper than an fsync for each of thousands of files.
    """
    import ctypes

    _step("syncfs", path)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(fd) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)
    finally:
        os.close(fd)


def write_atomically(path: str, data: bytes, *, mode: int = 0o644, durable: bool = True) -> None:
    """Replace a small file in one step: readers see the old or the new content, and so does a power cut."""
    temporary = f"{path}.{os.getpid()}.{os.urandom(4).hex()}.new"
    fd = create(temporary, mode)
    try:
        try:
            write(fd, data, temporary)
            if durable:
                sync_data(fd, temporary)
        finally:
            os.close(fd)
        rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if durable:
        sync_path(os.path.dirname(path))


def remove_tree(path: str) -> None:
    """Remove a directory tree or file that may have odd modes, however deep; what is already gone is no error.

    Of a symlink only the link goes.
    """
    if os.path.islink(path):
        with contextlib.suppress(FileNotFoundError):
            unlink(path)
        return
    pending = [path]
    directories: list[str] = []
    while pending:
        directory = pending.pop()
        try:
            entries = _listing(directory)
        except NotADirectoryError:
            unlink(directory)
            continue
        except FileNotFoundError:
            continue
        directories.append(directory)
        if entries and not os.access(directory, os.W_OK | os.X_OK):
            os.chmod(directory, 0o700)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
            else:
                with contextlib.suppress(FileNotFoundError):
                    unlink(entry.path)
    for directory in reversed(directories):
        with contextlib.suppress(FileNotFoundError):
            remove_directory(directory)


def _listing(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as found:
            return list(found)
    except PermissionError:
        os.chmod(directory, 0o700)
        with os.scandir(directory) as found:
            return list(found)
