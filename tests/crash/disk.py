"""File systems in files, mounted where nothing else sees them. Root only."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

CLONE_NEWNS = 0x00020000


def private_mounts() -> None:
    """Let this process mount what no other sees, so that no sandbox that starts meanwhile keeps it in use.

    Skips the test, with the reason, where that is not allowed.
    """
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        pytest.skip("no mount namespace of our own here")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


def mount(image: Path, place: Path) -> None:
    """Mount the file system in a file."""
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True, capture_output=True)


def unmount(place: Path) -> None:
    """The end of it."""
    subprocess.run(["umount", str(place)], check=True)


class Disk:
    """One file system. Make it with ``make_disk``."""

    def __init__(self, kind: str, image: Path, place: Path) -> None:
        self.place = place
        with open(image, "wb") as file:
            file.truncate(1 << 29)
        subprocess.run([f"mkfs.{kind}", "-q", str(image)], check=True)
        place.mkdir()
        mount(image, place)

    def unmount(self) -> None:
        """The end of it."""
        unmount(self.place)


def make_disk(kind: str, directory: Path) -> Disk:
    """A mounted file system below ``directory``; skips the test, with the reason, where that cannot be had."""
    if shutil.which(f"mkfs.{kind}") is None:
        pytest.skip(f"mkfs.{kind} is not installed")
    private_mounts()
    try:
        return Disk(kind, directory / "image", directory / "disk")
    except subprocess.CalledProcessError:
        pytest.skip("no loop device can be mounted here")
