"""File systems in files, mounted where nothing else sees them. Root only."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
CLONE_NEWNS = 0x00020000


class Disk:
    """One file system. Make it with ``make_disk``."""

    def __init__(self, kind: str, image: Path, place: Path) -> None:
        self.image = image
        self.place = place
        with open(image, "wb") as file:
            file.truncate(1 << 29)
        subprocess.run([f"mkfs.{kind}", "-q", str(image)], check=True)
        place.mkdir()
        self.mount()

    def mount(self) -> None:
        subprocess.run(["mount", "-o", "loop", str(self.image), str(self.place)], check=True, capture_output=True)

    def unmount(self) -> None:
        subprocess.run(["umount", str(self.place)], check=True)

    def cut_power(self) -> None:
        """Drop everything that no sync has forced out, as losing power does."""
        fd = os.open(self.place, os.O_RDONLY)
        fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        os.close(fd)


def make_disk(kind: str, directory: Path) -> Disk:
    """A mounted file system below ``directory``; skips the test, with the reason, where that cannot be had."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    if shutil.which(f"mkfs.{kind}") is None:
        pytest.skip(f"mkfs.{kind} is not installed")
    # In a namespace of our own no sandbox that starts meanwhile takes a copy of the mount, which would keep it in use.
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        pytest.skip("no mount namespace of our own here")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    try:
        return Disk(kind, directory / "image", directory / "disk")
    except subprocess.CalledProcessError:
        pytest.skip("no loop device can be mounted here")
