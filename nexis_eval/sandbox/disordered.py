"""A spawner behind disorderfs, a FUSE file system that lists directories in another order.

Started like the spawner itself (``python -I -S``). In a user and a mount namespace of its own it shows a directory
through disorderfs in a second place, and is the spawner then; so sandboxes that take their directories from the second
place notice, statically linked programs included. What runs in them and what lies in the first place stay the same.
"""

from __future__ import annotations

import errno
import os
import time

from nexis_eval.sandbox import linux, spawner

# Sandboxes are in other user namespaces, which makes them others to FUSE. Nothing is cached: the kernel knows files by
# their paths here, and would not see what a hard link's other name did.
OPTIONS = "allow_other,default_permissions,use_ino,attr_timeout=0,entry_timeout=0,negative_timeout=0"
WAIT_SECONDS = 10.0


def main(descriptor: str, program: str, source: str, place: str, *order: str) -> None:
    """Show ``source`` at ``place`` through ``program``, disorderfs, with its options ``order``; then serve."""
    before = os.stat(place).st_dev
    failed = 0
    try:
        linux.enter_user_namespace(with_builder=False)
        linux.unshare(linux.CLONE_NEWNS)
        linux.make_mounts_private()
        failed = _start([program, "-f", "-q", "--pad-blocks=0", *order, "-o", OPTIONS, source, place], place, before)
    except OSError as error:
        failed = error.errno or errno.EIO
    spawner.main(descriptor, failed=("mounting disorderfs", failed) if failed else None)


def _start(command: list[str], place: str, before: int) -> int:
    """Start disorderfs and wait until it serves; returns an errno, 0 if it does."""
    child = os.fork()
    if child == 0:
        try:
            linux.die_with_parent()
            quiet = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(quiet, stream)
            os.execv(command[0], command)
        finally:
            os._exit(127)
    deadline = time.monotonic() + WAIT_SECONDS
    while os.stat(place).st_dev == before:
        if os.waitpid(child, os.WNOHANG)[0] or time.monotonic() > deadline:
            return errno.ENODEV
        time.sleep(0.005)
    return 0
