"""The end: an ext4 root is clean after ``poweroff`` and ``reboot``, and what was written is there the next time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.boot.console import Console
from tests.boot.images import writable
from tests.boot.machine import Machine

pytestmark = [pytest.mark.boot, pytest.mark.timeout(3600)]


def features(image: Path) -> dict[str, str]:
    """What ``dumpe2fs -h`` says about an image."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    done = subprocess.run(
        ["dumpe2fs", "-h", str(image)], capture_output=True, text=True, check=True, env={**os.environ, "PATH": path}
    )
    return {key: value.strip() for key, _, value in (line.partition(":") for line in done.stdout.splitlines())}


@pytest.mark.parametrize("end", ["poweroff", "reboot"])
def test_the_root_is_clean_afterwards(images: Callable[[str], Path], tmp_path: Path, end: str) -> None:
    directory = writable(images("x86_64"), tmp_path)
    image = directory / "rootfs.ext2"
    with Console([str(directory / "run-qemu.sh"), "--persistent"]) as console:
        machine = Machine(console)
        machine.log_in("root", "nexis")
        machine.run(
            "echo kept >/root/file; mkdir -p /mnt/a; mount -t tmpfs t /mnt/a; mount -t tmpfs t '/mnt/a/b c'",
            check=False,
        )
        # Somebody who does not mind being asked to end, and holds a file open.
        machine.run("sh -c 'trap \"\" TERM HUP; exec >>/root/open; while :; do echo x; sleep 1; done' &")
        assert "needs_recovery" in features(image)["Filesystem features"]
        console.send(f"{end}\n")
        assert console.ended(120) == 0
        assert "stays writable" not in console.transcript.decode(errors="replace")
    found = features(image)
    assert found["Filesystem state"] == "clean"
    assert "needs_recovery" not in found["Filesystem features"]
    with Console([str(directory / "run-qemu.sh"), "--persistent"]) as console:
        machine = Machine(console)
        machine.log_in("root", "nexis")
        assert "recovery" not in machine.run("dmesg | grep EXT4")
        assert machine.run("cat /root/file") == "kept"
