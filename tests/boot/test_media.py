"""Which medium is booted where several have the same paths, and what happens where none is found."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.boot.console import Console
from tests.boot.machine import LOGIN_SECONDS, Machine

pytestmark = [pytest.mark.boot, pytest.mark.timeout(3600)]

Images = Callable[[str, str], Path]


def media(option: str, images: Path, kinds: dict[str, str], files: dict[str, Path]) -> list[str]:
    """The command of ``run-qemu.sh`` with two media in place of its own: the firmware is told to take the first."""
    done = subprocess.run([str(images / "run-qemu.sh"), option, "--print"], capture_output=True, text=True, check=True)
    words = done.stdout.split()
    own = next(index for index, word in enumerate(words) if word.endswith(".iso"))
    del words[own - 1 : own + 1]
    devices = {"disk": "virtio-blk-pci", "cd": "ide-cd"}
    for index, (name, kind) in enumerate(kinds.items()):
        words += ["-drive", f"if=none,id={name},format=raw,readonly=on,file={files[name]}"]
        words += ["-device", f"{devices[kind]},drive={name},bootindex={index}"]
    return words


@pytest.mark.parametrize(
    ("option", "kinds"),
    [
        # GRUB looks at disks first, the initramfs at sr0 before vda.
        pytest.param("--iso", {"own": "cd", "other": "disk"}, id="bios-cd"),
        pytest.param("--uefi", {"own": "disk", "other": "cd"}, id="uefi-disk"),
        pytest.param("--iso", {"own": "disk", "other": "cd"}, id="bios-disk", marks=pytest.mark.thorough),
        pytest.param("--uefi", {"own": "cd", "other": "disk"}, id="uefi-cd", marks=pytest.mark.thorough),
    ],
)
def test_the_medium_that_was_started(images: Images, option: str, kinds: dict[str, str]) -> None:
    directories = {"own": images("x86_64", "minimal"), "other": images("x86_64", "services")}
    files = {name: directory / "nexisos-x86_64.iso" for name, directory in directories.items()}
    with Console(media(option, directories["own"], kinds, files)) as console:
        machine = Machine(console)
        machine.log_in("root", "nexis")
        assert set(machine.run("ls /sys/class/block").split()) >= {"sr0", "vda"}
        assert "writer" not in machine.run("ls /var/service")


@pytest.mark.parametrize(
    ("parameters", "seconds"),
    [pytest.param("panic=3", 3, id="panic"), pytest.param("nexis.trial", 10, id="trial")],
)
def test_a_machine_that_finds_nothing_starts_again(images: Images, parameters: str, seconds: int) -> None:
    script = images("x86_64", "minimal") / "run-qemu.sh"
    more = ["-append", f"console=ttyS0 quiet root=/dev/none rootdelay=1 {parameters}"]
    with Console([str(script), "--", *more]) as console:
        console.wait_for(r"initramfs: /dev/none cannot be mounted", LOGIN_SECONDS)
        console.wait_for(rf"initramfs: the machine starts again in {seconds} s", 120)
        # QEMU ends instead, by -no-reboot.
        assert console.ended(120) == 0
