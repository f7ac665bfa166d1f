"""examples/minimal, booted on every architecture in every way: it comes up and is what its configuration says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.boot.console import Console
from tests.boot.machine import LOGIN_SECONDS, Machine
from tests.boot.outside import Key, free_port

pytestmark = [pytest.mark.boot, pytest.mark.timeout(3600)]

PASSWORD = "nexis"
KERNELS = {"x86_64": r"6\.1\..*-amd64", "aarch64": r"6\.1\..*-arm64", "riscv64": r"6\.12\..*-riscv64"}

WAYS = [
    pytest.param("x86_64", ("--iso",), id="x86_64-bios"),
    pytest.param("x86_64", ("--uefi",), id="x86_64-uefi"),
    pytest.param("aarch64", ("--uefi",), id="aarch64-uefi"),
    pytest.param("riscv64", ("--uefi",), id="riscv64-uefi"),
    pytest.param("x86_64", (), id="x86_64-direct"),
    pytest.param("aarch64", (), id="aarch64-direct"),
    pytest.param("riscv64", (), id="riscv64-direct"),
]

Images = Callable[[str], Path]


def check_configured(machine: Machine, arch: str) -> None:
    """Everything that examples/minimal/system.toml asks for, as root sees it in the running system."""
    assert re.fullmatch(KERNELS[arch], machine.run("uname -r"))
    assert machine.run("uname -m") == arch
    assert machine.run("hostname") == "minimal"
    assert machine.run("date +%Z") == "UTC"
    assert "C.UTF-8" in machine.run("cat /etc/locale.conf")
    motd = machine.run("cat /etc/motd")
    assert "Welcome to NexisOS." in motd
    assert machine.run("stat -c '%U:%G %a' /etc/motd") == "root:root 644"
    assert machine.run("stat -c '%U:%G %a' /etc/shadow") == "root:shadow 640"
    assert machine.run("id -u ada") == "1000"
    assert machine.run("stat -c '%U %a' /home/ada/.ssh/authorized_keys") == "ada 600"
    assert "ada@example.org" in machine.run("cat /home/ada/.ssh/authorized_keys")
    assert machine.run("stat -c '%a' /usr/bin/busybox") == "4755"
    assert "-nexis" in machine.run("busybox | head -n 1")
    assert "httpd" in machine.run("cat /usr/share/busybox/applets")


def check_services(machine: Machine) -> None:
    """The heartbeat runs, is supervised, logs, and its log is rotated."""
    machine.eventually("sv status /var/service/heartbeat", r"^run: ")
    machine.eventually("cat /var/log/heartbeat.log", r"alive")
    before = machine.run("sv status /var/service/heartbeat | sed 's/.*pid \\([0-9]*\\).*/\\1/'")
    machine.run(f"kill -9 {before}")
    machine.eventually("sv status /var/service/heartbeat", rf"^run: .*\(pid (?!{before}\))\d+\)")

    machine.run("dd if=/dev/zero of=/var/log/heartbeat.log bs=1024 count=1100 2>/dev/null")
    machine.run("/usr/libexec/nexis/rotate-logs")
    assert machine.run("ls /var/log/heartbeat.log*").split() == [
        "/var/log/heartbeat.log",
        "/var/log/heartbeat.log.1.gz",
    ]
    assert machine.run("gzip -dc /var/log/heartbeat.log.1.gz | wc -c") == str(1100 * 1024)


@pytest.mark.parametrize(("arch", "options"), WAYS)
def test_boots_as_configured(images: Images, tmp_path: Path, arch: str, options: tuple[str, ...]) -> None:
    port, key = free_port(), Key(tmp_path)
    with Console([str(images(arch) / "run-qemu.sh"), *options, "--ssh", str(port)]) as console:
        console.wait_for(r"NEXIS-HEARTBEAT started", LOGIN_SECONDS, consume=False)
        machine = Machine(console)
        machine.log_in("root", PASSWORD)
        check_configured(machine, arch)
        check_services(machine)
        root = machine.run("awk '$2 == \"/\" { type = $3 } END { print type }' /proc/mounts")
        assert root == ("overlay" if options else "ext4")
        address = machine.eventually("ip -4 addr show eth0", r"inet 10\.0\.2\.")
        assert "10.0.2." in address
        machine.run(f"echo '{key.public}' >>/home/ada/.ssh/authorized_keys")
        done = key.ssh(port, "ada", "id -un; uname -m")
        assert done.stdout == f"ada\n{arch}\n", done.stderr
        machine.log_out()
        machine.log_in("ada", PASSWORD, booting=False)
        assert machine.run("id -un") == "ada"
        assert machine.run("cat /etc/shadow", check=False).endswith("Permission denied")
        machine.log_out()
        machine.log_in("root", PASSWORD, booting=False)
        console.send("poweroff\n")
        assert console.ended(120) == 0


def test_wrong_password(images: Images) -> None:
    with Console([str(images("x86_64") / "run-qemu.sh")]) as console:
        console.wait_for(r"login: ", LOGIN_SECONDS)
        console.send("root\n")
        console.wait_for(r"assword: ", 60)
        console.send("nexus\n")
        console.wait_for(r"incorrect", 60)
        Machine(console).log_in("root", PASSWORD, booting=False)
