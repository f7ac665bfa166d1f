"""Composes what a build sees of the file system. Runs as the first process of a fresh mount namespace.

First everything that the host provides is collected as mounts that hang nowhere; then the new root takes the place of
the old one, which is dropped; then the mounts are attached. So the paths inside are resolved inside: a symbolic link
in an artifact cannot make us mount over anything else.
"""

from __future__ import annotations

import os

from nexis_eval.sandbox import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nexis_eval.sandbox.wire import WireSpec

READ_ONLY = linux.MOUNT_ATTR_RDONLY | linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV
WRITABLE = linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV
SCRATCH = "/dev"
"""A directory that every host has, to mount on for a moment in our own mount namespace."""

DEVICES = ("full", "null", "random", "tty", "urandom", "zero")
DEVICE_LINKS = (
    ("fd", "/proc/self/fd"),
    ("ptmx", "pts/ptmx"),
    ("stderr", "/proc/self/fd/2"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
)
# A build run by root has the host's user 0, without capabilities; many files below these are guarded by nothing else.
PROC_READ_ONLY = ("bus", "fs", "irq", "sys", "sysrq-trigger")
PROC_HIDDEN = ("kcore", "keys", "timer_list")


def enter(spec: WireSpec) -> None:
    """Build the root that ``spec`` asks for and move into it; afterwards nothing of the host's tree is reachable."""
    linux.make_mounts_private()
    overlays = [(at, overlay_tree(layers)) for at, layers in spec["overlays"]]
    binds = [(at, _bind(source, READ_ONLY)) for at, source in spec["binds"]]
    build, out = _bind(spec["build"], WRITABLE), _bind(spec["out"], WRITABLE)
    proc = linux.file_system("proc", (("hidepid", "ptraceable"),), WRITABLE | linux.MOUNT_ATTR_NOEXEC)
    devices = [(name, _bind(f"/dev/{name}", linux.MOUNT_ATTR_RDONLY | linux.MOUNT_ATTR_NOSUID)) for name in DEVICES]

    linux.pivot_to(overlays[0][1], SCRATCH)
    for at, tree in overlays[1:]:
        linux.attach(tree, at)
    linux.attach(proc, "/proc")
    _make_dev(devices)
    _protect_proc()
    linux.attach(linux.file_system("tmpfs", (("mode", "1777"),), WRITABLE), "/tmp")
    _make_in(binds)
    linux.attach(build, "/build")
    linux.attach(out, "/out")


def overlay_tree(layers: list[str]) -> int:
    """The directories ``layers`` merged read-only, the first one topmost, as a mount that hangs nowhere."""
    descriptors = [os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for layer in layers]
    try:
        if len(descriptors) == 1:
            tree = linux.clone_descriptor(descriptors[0])
            linux.set_mount_attributes(tree, READ_ONLY)
            return tree
        try:
            return linux.overlay(descriptors, READ_ONLY)
        except OSError:
            return linux.overlay_by_mount(descriptors, SCRATCH)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _bind(source: str, attributes: int) -> int:
    tree = linux.clone_tree(source)
    linux.set_mount_attributes(tree, attributes)
    return tree


def _make_dev(devices: list[tuple[str, int]]) -> None:
    dev = linux.file_system("tmpfs", (("mode", "0755"),), linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NOEXEC)
    linux.attach(dev, "/dev")
    for name, device in devices:
        _touch(f"/dev/{name}")
        linux.attach(device, f"/dev/{name}")
    for name, target in DEVICE_LINKS:
        os.symlink(target, f"/dev/{name}")
    os.mkdir("/dev/pts")
    os.mkdir("/dev/shm")
    terminals = linux.file_system(
        "devpts", (("mode", "0620"), ("ptmxmode", "0666")), linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NOEXEC
    )
    linux.attach(terminals, "/dev/pts")
    # The devices' own mounts stay usable: a read-only mount guards their permissions, not what is written to them.
    _seal(dev)
    linux.attach(linux.file_system("tmpfs", (("mode", "1777"),), WRITABLE), "/dev/shm")


def _protect_proc() -> None:
    for name in PROC_READ_ONLY:
        try:
            tree = linux.clone_tree(f"/proc/{name}")
        except FileNotFoundError:
            continue
        linux.set_mount_attributes(tree, READ_ONLY | linux.MOUNT_ATTR_NOEXEC)
        linux.attach(tree, f"/proc/{name}")
    for name in PROC_HIDDEN:
        if os.path.exists(f"/proc/{name}"):
            linux.attach(linux.clone_tree("/dev/null"), f"/proc/{name}")


def _make_in(binds: list[tuple[str, int]]) -> None:
    inputs = linux.file_system("tmpfs", (("mode", "0755"),), WRITABLE)
    linux.attach(inputs, "/in")
    for at, tree in binds:
        _make_mount_point(at, is_directory=_is_directory(tree))
        linux.attach(tree, at)
    _seal(inputs)


def _seal(mount: int) -> None:
    """Make this one mount read-only; those below it are not touched."""
    linux.set_mount_attributes(mount, linux.MOUNT_ATTR_RDONLY, recursive=False)


def _make_mount_point(path: str, *, is_directory: bool) -> None:
    parent = os.path.dirname(path)
    os.makedirs(path if is_directory else parent, exist_ok=True)
    if not is_directory and not os.path.lexists(path):
        _touch(path)


def _is_directory(descriptor: int) -> bool:
    return os.fstat(descriptor).st_mode & 0o170000 == 0o040000


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
