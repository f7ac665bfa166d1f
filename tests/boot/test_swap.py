"""Swap areas are made when the machine starts, used by their priority, and given back when it ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.boot.console import Console
from tests.boot.machine import Machine

pytestmark = [pytest.mark.boot, pytest.mark.timeout(3600)]


def test_swap(images: Callable[[str, str], Path], tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(16 << 20))
    drive = ["-drive", f"if=virtio,format=raw,file={disk}"]
    with Console([str(images("x86_64", "swap") / "run-qemu.sh"), "--", *drive]) as console:
        machine = Machine(console)
        machine.log_in("root", "nexis")
        machine.eventually("cat /run/service/swap", "^up$")
        rows = [line.split() for line in machine.run("cat /proc/swaps").splitlines()[1:]]
        assert {row[0]: (row[1], row[2]) for row in rows} == {
            "/var/lib/swap\\040file": ("file", "8188"),
            "/dev/vdb": ("partition", "16380"),
        }
        assert {row[0]: row[4] for row in rows}["/var/lib/swap\\040file"] == "5"
        assert machine.run("stat -c '%a %s' '/var/lib/swap file'") == f"600 {8 << 20}"
        # Nothing is made anew where all is there.
        machine.run("swapoff -a")
        assert machine.run("cat /proc/swaps | wc -l").strip() == "1"
        before = machine.run("stat -c %y '/var/lib/swap file'")
        machine.run("/usr/libexec/nexis/swap && /usr/libexec/nexis/swap")
        assert machine.run("cat /proc/swaps | wc -l").strip() == "3"
        assert machine.run("stat -c %y '/var/lib/swap file'") == before
        # What holds something is left alone.
        machine.run("swapoff /dev/vdb; dd if=/dev/zero of=/dev/vdb bs=4096 count=1; echo precious >/dev/vdb")
        said = machine.run("/usr/libexec/nexis/swap 2>&1", check=False)
        assert "*** The swap area /dev/vdb is not used: it is no swap area" in said
        assert machine.run("head -c 8 /dev/vdb") == "precious"
        console.send("poweroff\n")
        assert console.ended(120) == 0
        assert "stays writable" not in console.transcript.decode(errors="replace")
