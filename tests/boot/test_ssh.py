"""SSH from outside: a key logs in, and the machine keeps its own key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.boot.console import Console
from tests.boot.images import writable
from tests.boot.machine import Machine
from tests.boot.outside import Key, answers, free_port

pytestmark = [pytest.mark.boot, pytest.mark.timeout(3600)]

Images = Callable[[str, str], Path]


def admit(machine: Machine, key: Key, user: str, home: str) -> None:
    """Put ``key`` among those with which ``user`` may log in."""
    machine.run(
        f"mkdir -p -m 0700 {home}/.ssh; echo '{key.public}' >>{home}/.ssh/authorized_keys; "
        f"chown -R {user}:$(id -gn {user}) {home}/.ssh"
    )


@pytest.mark.parametrize(
    ("system", "users"),
    [
        pytest.param("minimal", {"root": "/root", "ada": "/home/ada"}, id="dropbear"),
        pytest.param("openssh", {"root": "/root", "ada": "/home/ada", "key": "/home/key"}, id="openssh"),
    ],
)
def test_a_key_logs_in(images: Images, tmp_path: Path, system: str, users: dict[str, str]) -> None:
    directory = writable(images("x86_64", system), tmp_path)
    key = Key(tmp_path)
    for start in (1, 2):
        port = free_port()
        with Console([str(directory / "run-qemu.sh"), "--persistent", "--ssh", str(port)]) as console:
            machine = Machine(console)
            machine.log_in("root", "nexis")
            if start == 1:
                for user, home in users.items():
                    admit(machine, key, user, home)
            assert answers(port, b"SSH-2.0-test\r\n")
            for user in users:
                done = key.ssh(port, user, "id -un; hostname")
                assert (done.returncode, done.stdout) == (0, f"{user}\n{system}\n"), done.stderr
            # Who has no key of that machine's does not get in: a password is never asked for.
            done = Key(tmp_path / "stranger").ssh(port, "root", "true")
            assert done.returncode == 255
            assert "Permission denied (publickey)" in done.stderr
            console.send("poweroff\n")
            assert console.ended(120) == 0


def test_a_fixed_address_can_be_reached(images: Images, tmp_path: Path) -> None:
    port, key = free_port(), Key(tmp_path)
    with Console([str(images("x86_64", "static") / "run-qemu.sh"), "--ssh", str(port)]) as console:
        machine = Machine(console)
        machine.log_in("root", "nexis")
        admit(machine, key, "root", "/root")
        machine.eventually("ip -4 addr show eth0", r"inet 192\.168\.7\.100/24")
        machine.run("ping -c 1 -W 10 192.168.7.1")
        assert answers(port, b"SSH-2.0-test\r\n")
        done = key.ssh(port, "root", "ip route show default")
        assert done.stdout.startswith("default via 192.168.7.1 dev eth0"), done.stderr
