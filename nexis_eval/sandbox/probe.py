"""Tries every kernel feature that a sandbox needs, and prints the first that fails: ``errno step``.

Run as a program of its own (see ``check``): the namespaces it enters would be in the way of anything else.
"""

from __future__ import annotations

import os

from nexis_eval.sandbox import linux
from nexis_eval.sandbox.networks import NetworkPool
from nexis_eval.sandbox.root import SCRATCH, overlay_tree
from nexis_eval.sandbox.spawner import NAMESPACES, prepare


def main() -> None:
    """Print the step that failed and its errno, or nothing."""
    step, number, builder = prepare()
    if not step:
        step, number = _in_child(builder)
    if step:
        print(number, step)  # noqa: T201


def _in_child(builder: int) -> tuple[str, int]:
    reading, writing = os.pipe()
    try:
        NetworkPool().take()
        pid, _ = linux.clone(NAMESPACES)
    except OSError as error:
        return str(error.filename), error.errno or 0
    if pid == 0:
        status = 1
        try:
            _try_features(builder)
            status = 0
        except OSError as error:
            os.write(writing, f"{error.errno} {error.filename}".encode())
        finally:
            os._exit(status)
    os.close(writing)
    os.waitpid(pid, 0)
    told = os.read(reading, 4096).decode()
    if not told:
        return "", 0
    number, _, step = told.partition(" ")
    return step, int(number)


def _try_features(builder: int) -> None:
    overlay_tree(["/usr", "/etc"])
    linux.file_system("proc", (("hidepid", "ptraceable"),))
    linux.file_system("devpts", (("ptmxmode", "0666"),))
    linux.pivot_to(linux.file_system("tmpfs"), SCRATCH)
    # The build's own user namespace, below the one that owns the mounts.
    if builder:
        linux.become(builder)
    linux.unshare(linux.CLONE_NEWUSER)
