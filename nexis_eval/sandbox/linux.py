"""The Linux system calls a sandbox is made of, through ctypes.

Imported by the spawner (``python -I -S``), which is forked for every build: this module imports nothing but what
CPython has in C, and ``ctypes``. Every function raises ``OSError`` with the name of the call as its ``filename``.
Numbers are from the kernel's ``include/uapi`` (calls since Linux 5.1 have the same number on every architecture).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct

CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR_IDMAP = 0x100000

ADDR_NO_RANDOMIZE = 0x0040000
UNAME26 = 0x0020000

BUILDER = 61000
"""The user and group that builds of the machine's root are: one that no account and no service manager hands out."""

SIGKILL = 9
SIGCHLD = 17
MAX_SIGNAL = 64

_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_SYS_FSOPEN = 430
_SYS_FSCONFIG = 431
_SYS_FSMOUNT = 432
_SYS_CLONE3 = 435
_SYS_MOUNT_SETATTR = 442
_SYS_PIVOT_ROOT = 155 if os.uname().machine == "x86_64" else 41

_AT_FDCWD = -100
_AT_NO_AUTOMOUNT = 0x800
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_FSOPEN_CLOEXEC = 1
_FSMOUNT_CLOEXEC = 1
_FSCONFIG_SET_STRING = 1
_FSCONFIG_SET_FD = 5
_FSCONFIG_CMD_CREATE = 6
_MS_RDONLY = 0x1
_MS_NOSUID = 0x2
_MS_NODEV = 0x4
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000
_MNT_DETACH = 2
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_signal = _libc.signal
_signal.restype = ctypes.c_void_p
_signal.argtypes = [ctypes.c_int, ctypes.c_void_p]


def _failed(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), what)


def _call(what: str, number: int, *arguments: object) -> int:
    result = int(_syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        raise _failed(what)
    return result


def _check(what: str, result: int) -> None:
    if result < 0:
        raise _failed(what)


def _int(value: int) -> ctypes.c_long:
    return ctypes.c_long(value)


def version() -> tuple[int, int]:
    """The kernel's: (5, 14) of ``5.14.0-rc3`` and of ``5.14-custom``."""
    numbers = []
    for part in os.uname().release.split(".")[:2]:
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        numbers.append(int(digits or 0))
    return numbers[0], numbers[-1]


def clone(flags: int) -> tuple[int, int]:
    """Fork into new namespaces. Returns (process id, pidfd) in the parent and (0, -1) in the child.

    Only for a process with one thread: the C library's own fork handlers do not run.
    """
    pidfd = ctypes.c_int(-1)
    clone_pidfd = 0x1000
    # struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls
    arguments = struct.pack("8Q", flags | clone_pidfd, ctypes.addressof(pidfd), 0, 0, SIGCHLD, 0, 0, 0)
    child = _call("clone3", _SYS_CLONE3, arguments, _int(len(arguments)))
    return (child, pidfd.value) if child else (0, -1)


def unshare(flags: int) -> None:
    """Move this process into new namespaces (its children, for PID and time namespaces)."""
    _check("unshare", _libc.unshare(ctypes.c_int(flags)))


def drop_groups() -> None:
    """Leave all supplementary groups, which only root can; others keep theirs (they show as ``nogroup`` inside)."""
    try:
        os.setgroups([])
    except PermissionError:
        return


def enter_namespace(descriptor: int, kind: int) -> None:
    """Move this process into an existing namespace of ``kind`` (``CLONE_NEW…``)."""
    _check("setns", _libc.setns(ctypes.c_int(descriptor), ctypes.c_int(kind)))


def map_user(inside_uid: int, inside_gid: int, outside_uid: int, outside_gid: int) -> None:
    """Give the user namespace of this process its one user and one group."""
    _map_users(os.getpid(), f"{inside_uid} {outside_uid} 1", f"{inside_gid} {outside_gid} 1")


def enter_user_namespace(*, with_builder: bool) -> None:
    """Move this process into a new user namespace, as its user 0, which is the caller.

    ``with_builder`` gives it ``BUILDER`` too, which takes power over the machine's users.
    """
    uid, gid = os.geteuid(), os.getegid()
    if not with_builder:
        unshare(CLONE_NEWUSER)
        map_user(0, 0, uid, gid)
        return
    parent = os.getpid()
    reading, writing = os.pipe2(os.O_CLOEXEC)
    # Only a process outside of the new namespace has that power.
    helper = os.fork()
    if helper == 0:
        status = 255
        try:
            os.close(writing)
            if os.read(reading, 1):
                _map_users(parent, f"0 {uid} 1\n{BUILDER} {BUILDER} 1\n", f"0 {gid} 1\n{BUILDER} {BUILDER} 1\n")
            status = 0
        except OSError as error:
            status = error.errno or status
        finally:
            os._exit(status)
    try:
        unshare(CLONE_NEWUSER)
        os.write(writing, b"x")
    finally:
        os.close(writing)
        os.close(reading)
        number = os.waitstatus_to_exitcode(os.waitpid(helper, 0)[1])
    if number:
        raise OSError(number, os.strerror(number), f"mapping user {BUILDER}")


def namespace_for_files() -> int:
    """A user namespace that no process is in, to mount files with: those of user 0 are ``BUILDER``'s then."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    ready, done = os.pipe2(os.O_CLOEXEC)
    helper = os.fork()
    if helper == 0:
        try:
            os.close(writing)
            unshare(CLONE_NEWUSER)
            os.write(done, b"x")
            os.read(reading, 1)
        finally:
            os._exit(0)
    try:
        os.close(done)
        os.read(ready, 1)
        _map_users(helper, f"0 {BUILDER} 1\n", f"0 {BUILDER} 1\n")
        return os.open(f"/proc/{helper}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        for each in (reading, writing, ready):
            os.close(each)
        os.waitpid(helper, 0)


def _map_users(process: int, users: str, groups: str) -> None:
    for name, text in (("setgroups", "deny"), ("gid_map", groups), ("uid_map", users)):
        write(f"/proc/{process}/{name}", text)


def become(user: int) -> None:
    """Be another user of this user namespace, without any power in it."""
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    # The change made both undone: see prctl(2).
    _check("prctl", _libc.prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(1), _int(0), _int(0), _int(0)))
    die_with_parent()


def write(path: str, text: str) -> None:
    """Write a file of ``/proc`` in one call."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def make_mounts_private() -> None:
    """Cut this mount namespace off from the one it was copied from."""
    _check("mount --make-rprivate /", _libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None))


def file_system(kind: str, options: tuple[tuple[str, str], ...] = (), attributes: int = 0) -> int:
    """A new file system, not attached anywhere; returns the descriptor of its root."""
    context = _call(f"fsopen {kind}", _SYS_FSOPEN, kind.encode(), _int(_FSOPEN_CLOEXEC))
    try:
        for key, value in options:
            what = f"fsconfig {kind} {key}={value}"
            _call(
                what,
                _SYS_FSCONFIG,
                _int(context),
                _int(_FSCONFIG_SET_STRING),
                key.encode(),
                ctypes.c_char_p(value.encode()),
                _int(0),
            )
        return _create(kind, context, attributes)
    finally:
        os.close(context)


def _create(kind: str, context: int, attributes: int) -> int:
    _call(f"fsconfig {kind} create", _SYS_FSCONFIG, _int(context), _int(_FSCONFIG_CMD_CREATE), None, None, _int(0))
    return _call(f"fsmount {kind}", _SYS_FSMOUNT, _int(context), _int(_FSMOUNT_CLOEXEC), _int(attributes))


def overlay(layers: list[int], attributes: int) -> int:
    """A read-only overlay of directories given by descriptor, the first one topmost; returns its root's descriptor.

    By descriptor there is no limit on the length of paths, but it needs Linux 6.13.
    """
    context = _call("fsopen overlay", _SYS_FSOPEN, b"overlay", _int(_FSOPEN_CLOEXEC))
    try:
        for layer in layers:
            _call(
                "fsconfig overlay lowerdir+",
                _SYS_FSCONFIG,
                _int(context),
                _int(_FSCONFIG_SET_FD),
                b"lowerdir+",
                None,
                _int(layer),
            )
        return _create("overlay", context, attributes)
    finally:
        os.close(context)


def overlay_by_mount(layers: list[int], scratch: str) -> int:
    """The same for older kernels (from 5.12), by ``mount(2)`` on the directory ``scratch``.

    Its options are cut at one page. The names are descriptor numbers relative to ``/proc/self/fd``, four bytes a
    layer, so that hundreds fit where paths would overflow after some forty.
    """
    before = os.open(".", os.O_PATH | os.O_CLOEXEC)
    os.chdir("/proc/self/fd")
    try:
        options = "lowerdir=" + ":".join(map(str, layers))
        flags = ctypes.c_ulong(_MS_RDONLY | _MS_NOSUID | _MS_NODEV)
        _check(
            "mount overlay",
            _libc.mount(b"overlay", os.fsencode(scratch), b"overlay", flags, ctypes.c_char_p(options.encode())),
        )
    finally:
        os.fchdir(before)
        os.close(before)
    tree = clone_tree(scratch)
    detach(scratch)
    return tree


def clone_tree(path: str, *, recursive: bool = True) -> int:
    """A copy of what is mounted at ``path``, and below it, not attached anywhere (a bind mount to be)."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_NO_AUTOMOUNT | (_AT_RECURSIVE if recursive else 0)
    return _call(f"open_tree {path}", _SYS_OPEN_TREE, _int(_AT_FDCWD), os.fsencode(path), _int(flags))


def clone_descriptor(descriptor: int) -> int:
    """``clone_tree`` of an open file or directory."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_RECURSIVE | _AT_EMPTY_PATH
    return _call("open_tree", _SYS_OPEN_TREE, _int(descriptor), b"", _int(flags))


def set_mount_attributes(descriptor: int, attributes: int, *, recursive: bool = True, users: int = 0) -> None:
    """Add ``MOUNT_ATTR_…`` to the mount that ``descriptor`` is the root of, and to all mounts below it.

    ``users`` is the user namespace that ``MOUNT_ATTR_IDMAP`` takes.
    """
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    # struct mount_attr: attr_set, attr_clr, propagation, userns_fd
    value = struct.pack("4Q", attributes, 0, 0, users)
    _call(
        "mount_setattr",
        _SYS_MOUNT_SETATTR,
        _int(descriptor),
        b"",
        _int(flags),
        value,
        _int(len(value)),
    )


def attach(tree: int, path: str) -> None:
    """Mount a detached tree at ``path``."""
    _call(
        f"move_mount {path}",
        _SYS_MOVE_MOUNT,
        _int(tree),
        b"",
        _int(_AT_FDCWD),
        os.fsencode(path),
        _int(_MOVE_MOUNT_F_EMPTY_PATH),
    )


def detach(path: str) -> None:
    """Unmount lazily."""
    _check(f"umount {path}", _libc.umount2(os.fsencode(path), ctypes.c_int(_MNT_DETACH)))


def pivot_to(root: int, scratch: str) -> None:
    """Make the detached tree ``root`` the root of this mount namespace and drop the old one."""
    attach(root, scratch)
    os.fchdir(root)
    _call("pivot_root", _SYS_PIVOT_ROOT, b".", b".")
    # The old root now lies on top of the new one at ".": see pivot_root(2).
    detach(".")
    os.chdir("/")


def set_host_name(name: str) -> None:
    """Host name, and no domain name, of this UTS namespace."""
    text = name.encode()
    _check("sethostname", _libc.sethostname(text, ctypes.c_size_t(len(text))))
    _check("setdomainname", _libc.setdomainname(b"", ctypes.c_size_t(0)))


def loopback_up() -> None:
    """Bring up ``lo`` in this network namespace."""
    import _socket

    channel = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC, 0)
    try:
        request = bytearray(struct.pack("16sh22x", b"lo", 0))
        fcntl.ioctl(channel.fileno(), _SIOCGIFFLAGS, request)
        (flags,) = struct.unpack_from("h", request, 16)
        struct.pack_into("h", request, 16, flags | _IFF_UP)
        fcntl.ioctl(channel.fileno(), _SIOCSIFFLAGS, request)
    finally:
        channel.close()


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends."""
    _check("prctl", _libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(SIGKILL), _int(0), _int(0), _int(0)))


def no_new_privileges() -> None:
    """Nothing this process starts can gain privileges by set-user-id or file capabilities."""
    _check("prctl", _libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), _int(0), _int(0), _int(0)))


def forbid_tracing() -> None:
    """Nobody without power over the machine can trace this process or read its memory, whoever it belongs to."""
    _check("prctl", _libc.prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0), _int(0), _int(0), _int(0)))


def install_seccomp(program: bytes) -> None:
    """Filter the system calls of this process and its children by a BPF program (an array of ``sock_filter``)."""
    # struct sock_fprog: length in instructions of 8 bytes, pointer. A ctypes array would be a new type each time.
    argument = struct.pack("HP", len(program) // 8, ctypes.cast(ctypes.c_char_p(program), ctypes.c_void_p).value)
    _check("seccomp", _libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), argument, _int(0), _int(0)))


def set_personality(flags: int) -> None:
    """Execution domain flags: ``ADDR_NO_RANDOMIZE``, ``UNAME26``."""
    _check("personality", _libc.personality(ctypes.c_ulong(flags)))


def default_signals(*signals: int) -> None:
    """Stop ignoring or handling signals: what is ignored stays ignored after ``execve``."""
    for number in signals:
        _signal(number, None)
