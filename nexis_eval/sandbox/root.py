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
# Not all files below these are guarded by their permissions.
PROC_READ_ONLY = ("bus", "fs", "irq", "sys", "sysrq-trigger")
WITH_USERS = ("btrfs", "ext2", "ext3", "ext4", "f2fs", "tmpfs", "xfs")
"""File systems that can be mounted with other owners than they have."""
PROC_HIDDEN = ("kcore", "keys", "timer_list")


def prepare(builder: int) -> None:
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
    _hand_over(TEMPLATE, (*(name for name, _ in DEVICE_LINKS), "pts", "shm"), builder)
    # The devices' own mounts are read-only too, which guards the nodes' permissions, not what is written to them.
    linux.set_mount_attributes(dev, linux.MOUNT_ATTR_RDONLY, recursive=False)


def give_files_away() -> bool:
    """If we are root, move into a mount namespace in which root's files belong to ``BUILDER``; on disk none change.

    Returns whether that worked. It takes power over the machine's mounts, Linux 5.19 (overlays of such mounts), and
    file systems that can do it: overlayfs, as in containers, and network file systems cannot.
    """
    if os.geteuid() != 0 or linux.version() < (5, 19):
        return False
    try:
        linux.unshare(linux.CLONE_NEWNS)
        linux.make_mounts_private()
        users = linux.namespace_for_files()
        (_, root), *others = _clones(users)
        linux.pivot_to(root, SCRATCH)
    except OSError:
        return False
    for place, tree in others:
        try:
            linux.attach(tree, place)
        except OSError:
            # What cannot be reached where it was is not there for builds either.
            continue
    for descriptor in (users, root, *(tree for _, tree in others)):
        os.close(descriptor)
    return True


def _clones(users: int) -> list[tuple[str, int]]:
    """Every mount that can be seen, the root first, with other owners where its file system can do that."""
    clones = []
    for place, kind in _mounts():
        try:
            tree = linux.clone_tree(place, recursive=False)
        except OSError:
            # Another mount hides it.
            if place == "/":
                raise
            continue
        clones.append((place, tree))
        try:
            if kind in WITH_USERS:
                linux.set_mount_attributes(tree, linux.MOUNT_ATTR_IDMAP, recursive=False, users=users)
        except OSError:
            # Its owners stay (tmpfs before Linux 6.3): builds below it are as if no other user could be had.
            continue
    return clones


def _mounts() -> list[tuple[str, str]]:
    """Where file systems are mounted, the root first, and of which kinds they are."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        found = {}
        for line in file:
            before, _, after = line.partition(" - ")
            place = before.split(" ")[4]
            for code in ("\\040", "\\011", "\\012", "\\134"):
                place = place.replace(code, chr(int(code[1:], 8)))
            found[place] = after.split(" ")[0]
    return [(place, found[place]) for place in sorted(found, key=len) if found[place] != "autofs"]


def enter(spec: WireSpec, builder: int) -> None:
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
    temporary, shared, inputs = _scratch_directories(spec["limits"]["tmpfs_bytes"], builder)
    linux.attach(dev, "/dev")
    _protect_proc(is_root=builder == 0 and os.stat("/proc/version").st_uid == 0)
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


def _hand_over(directory: str, names: tuple[str, ...], builder: int) -> None:
    """What the sandbox makes belongs to the user that the build is, as everything does that it is shown."""
    if builder:
        for path in (directory, *(f"{directory}/{name}" for name in names)):
            os.chown(path, builder, builder, follow_symlinks=False)


def _scratch_directories(size: int, builder: int) -> list[int]:
    """Trees for ``/tmp``, ``/dev/shm`` and ``/in`` out of one new tmpfs, which costs as much as all their mounts.

    It stays mounted at ``/dev``, below what is mounted there next: taking it away would wait for every processor.
    """
    linux.attach(linux.file_system("tmpfs", (("mode", "0755"), ("size", str(size))), WRITABLE), "/dev")
    trees = []
    for name, mode in (("tmp", 0o1777), ("shm", 0o1777), ("in", 0o755)):
        os.mkdir(f"/dev/{name}")
        os.chmod(f"/dev/{name}", mode)
        _hand_over(f"/dev/{name}", (), builder)
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


def _protect_proc(*, is_root: bool) -> None:
    """What is the machine's and not this sandbox's is read-only; from its root everything is protected."""
    read_only, hidden = list(PROC_READ_ONLY), list(PROC_HIDDEN)
    if is_root:
        with os.scandir("/proc") as entries:
            for entry in entries:
                if entry.name in read_only or entry.name in hidden or entry.name.isdigit() or entry.is_symlink():
                    continue
                (read_only if entry.stat().st_mode & 0o044 else hidden).append(entry.name)
    for name in read_only:
        try:
            tree = linux.clone_tree(f"/proc/{name}")
        except FileNotFoundError:
            continue
        linux.set_mount_attributes(tree, READ_ONLY | linux.MOUNT_ATTR_NOEXEC)
        linux.attach(tree, f"/proc/{name}")
    for name in hidden:
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
