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
NOTHING_SPECIAL = linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NOEXEC
TEMPLATE = SCRATCH = "/sys"
"""A directory of the host to mount on in our own mount namespace; nothing below it is ever needed there."""

MAX_LAYERS = 480
"""An overlay has at most 500 layers, and can be a layer of another one: fs/overlayfs (``OVL_MAX_STACK``)."""

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


def prepare() -> None:
    """Once in the spawner: its own mount namespace, with the ``/dev`` that all sandboxes get copies of at ``TEMPLATE``.

    The copies share the file system, which is read-only once it is made.
    """
    linux.unshare(linux.CLONE_NEWNS)
    linux.make_mounts_private()
    devices = [(name, _bind(f"/dev/{name}", linux.MOUNT_ATTR_RDONLY | linux.MOUNT_ATTR_NOSUID)) for name in DEVICES]
    dev = linux.file_system("tmpfs", (("mode", "0755"),), linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NOEXEC)
    linux.attach(dev, TEMPLATE)
    for name, device in devices:
        _touch(f"{TEMPLATE}/{name}")
        linux.attach(device, f"{TEMPLATE}/{name}")
    for name, target in DEVICE_LINKS:
        os.symlink(target, f"{TEMPLATE}/{name}")
    os.mkdir(f"{TEMPLATE}/pts")
    os.mkdir(f"{TEMPLATE}/shm")
    # The devices' own mounts are read-only too, which guards the nodes' permissions, not what is written to them.
    linux.set_mount_attributes(dev, linux.MOUNT_ATTR_RDONLY, recursive=False)


def enter(spec: WireSpec) -> None:
    """Build the root that ``spec`` asks for and move into it; afterwards nothing of the host's tree is reachable."""
    overlays = [(at, overlay_tree(layers)) for at, layers in spec["overlays"]]
    binds = [(at, _bind(source, READ_ONLY)) for at, source in spec["binds"]]
    build, out = _bind(spec["build"], WRITABLE), _bind(spec["out"], WRITABLE)
    proc = linux.file_system("proc", (("hidepid", "ptraceable"),), WRITABLE | linux.MOUNT_ATTR_NOEXEC)
    dev = linux.clone_tree(TEMPLATE)

    linux.pivot_to(overlays[0][1], SCRATCH)
    for at, tree in overlays[1:]:
        linux.attach(tree, at)
    linux.attach(proc, "/proc")
    temporary, shared, inputs = _scratch_directories()
    linux.attach(dev, "/dev")
    _protect_proc()
    linux.attach(linux.file_system("devpts", (("mode", "0620"), ("ptmxmode", "0666")), NOTHING_SPECIAL), "/dev/pts")
    linux.attach(shared, "/dev/shm")
    linux.attach(temporary, "/tmp")
    linux.attach(inputs, "/in")
    for at, tree in binds:
        _make_mount_point(at, is_directory=_is_directory(tree))
        linux.attach(tree, at)
    linux.set_mount_attributes(inputs, linux.MOUNT_ATTR_RDONLY, recursive=False)
    linux.attach(build, "/build")
    linux.attach(out, "/out")


def _scratch_directories() -> list[int]:
    """Trees for ``/tmp``, ``/dev/shm`` and ``/in`` out of one new tmpfs, which costs as much as all their mounts.

    It stays mounted at ``/dev``, below what is mounted there next: taking it away would wait for every processor.
    """
    linux.attach(linux.file_system("tmpfs", (("mode", "0755"),), WRITABLE), "/dev")
    trees = []
    for name, mode in (("tmp", 0o1777), ("shm", 0o1777), ("in", 0o755)):
        os.mkdir(f"/dev/{name}")
        os.chmod(f"/dev/{name}", mode)
        trees.append(linux.clone_tree(f"/dev/{name}"))
    return trees


def overlay_tree(layers: list[str]) -> int:
    """The directories ``layers`` merged read-only, the first one topmost, as a mount that hangs nowhere."""
    if len(layers) <= MAX_LAYERS:
        return _overlay_of(layers)
    groups = [layers[at : at + MAX_LAYERS] for at in range(0, len(layers), MAX_LAYERS)]
    merged = []
    try:
        for group in groups:
            # Only what is mounted in this namespace can be a layer, before Linux 6.15.
            tree = _overlay_of(group)
            linux.attach(tree, SCRATCH)
            merged.append(tree)
        return _merge(merged)
    finally:
        for tree in merged:
            os.close(tree)
            linux.detach(SCRATCH)


def _overlay_of(layers: list[str]) -> int:
    descriptors = [os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for layer in layers]
    try:
        if len(descriptors) == 1:
            tree = linux.clone_descriptor(descriptors[0])
            linux.set_mount_attributes(tree, READ_ONLY)
            return tree
        return _merge(descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _merge(layers: list[int]) -> int:
    try:
        return linux.overlay(layers, READ_ONLY)
    except OSError:
        return linux.overlay_by_mount(layers, SCRATCH)


def _bind(source: str, attributes: int) -> int:
    tree = linux.clone_tree(source)
    linux.set_mount_attributes(tree, attributes)
    return tree


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


def _make_mount_point(path: str, *, is_directory: bool) -> None:
    parent = os.path.dirname(path)
    os.makedirs(path if is_directory else parent, exist_ok=True)
    if not is_directory and not os.path.lexists(path):
        _touch(path)


def _is_directory(descriptor: int) -> bool:
    return os.fstat(descriptor).st_mode & 0o170000 == 0o040000


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
