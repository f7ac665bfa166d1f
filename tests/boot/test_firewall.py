"""``[system.firewall]`` with each backend, tried from outside: what is open answers, what is closed does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.boot.console import Console
from tests.boot.images import edited
from tests.boot.machine import Machine
from tests.boot.outside import answers, free_port, is_silent

pytestmark = [pytest.mark.boot, pytest.mark.timeout(3600)]

OPEN, CLOSED = 2300, 8080

Images = Callable[[str, str], Path]


class Ports:
    """The ports of this machine that lead to those of the system."""

    def __init__(self) -> None:
        self.open, self.closed = free_port(), free_port()

    def options(self) -> list[str]:
        return ["--forward", f"{self.open}:{OPEN}", "--forward", f"{self.closed}:{CLOSED}"]

    def serve(self, machine: Machine) -> None:
        """Let both ports be served, and see from inside that they are."""
        for port in (OPEN, CLOSED):
            machine.run(f"httpd -p {port} -h /etc")
            assert "NexisOS" in machine.run(f"wget -q -O - http://127.0.0.1:{port}/os-release")

    def hold(self) -> None:
        """What is open answers, what is closed does not."""
        assert answers(self.open)
        assert is_silent(self.closed)


# What else there is of a backend: the program that Debian's package has beside the usual one.
NFT, LEGACY = "/usr/sbin/xtables-nft-multi", "/usr/sbin/xtables-legacy-multi"


@pytest.mark.parametrize(
    ("system", "lacking"),
    [
        pytest.param("nftables", (), id="nftables"),
        pytest.param("iptables", (LEGACY,), id="iptables-nft"),
        pytest.param("iptables", (NFT,), id="iptables-legacy", marks=pytest.mark.thorough),
        pytest.param("firewalld", (), id="firewalld", marks=pytest.mark.thorough),
    ],
)
def test_what_is_open_answers(images: Images, tmp_path: Path, system: str, lacking: tuple[str, ...]) -> None:
    ports = Ports()
    directory = edited(images("x86_64", system), tmp_path, dict.fromkeys(lacking))
    with Console([str(directory / "run-qemu.sh"), "--memory", "1024", *ports.options()]) as console:
        machine = Machine(console)
        machine.log_in("root", "nexis")
        # firewalld takes half a minute where nothing else runs.
        machine.eventually("cat /run/service/network", r"^up$", tries=600)
        ports.serve(machine)
        ports.hold()
        machine.run("ping -c 1 -W 10 10.0.2.2")
        # A restart keeps the rules, and what runs with restart = "false" is restarted at all.
        assert machine.run("sv -w 900 restart firewall", seconds=900).startswith("ok: run: firewall")
        ports.hold()
        machine.run("sv -w 60 stop firewall")
        ports.hold()


def test_rules_that_do_not_load_leave_nothing_open(images: Images, tmp_path: Path) -> None:
    ports = Ports()
    directory = edited(images("x86_64", "nftables"), tmp_path, {"/etc/nftables.conf": "flush ruleset\nno rules\n"})
    with Console([str(directory / "run-qemu.sh"), *ports.options()]) as console:
        machine = Machine(console, sound=False)
        machine.log_in("root", "nexis")
        said = console.transcript.decode(errors="replace")
        assert "*** The firewall's rules do not load: all that arrives is dropped" in said
        assert "syntax error" in said
        assert machine.run("cat /run/service/firewall") == "failed: exit code 1"
        assert machine.run("cat /run/service/network") == "failed: it needs firewall, which failed"
        # Somebody brings the network up all the same.
        machine.run("/etc/dinit.d/network.sh")
        machine.eventually("ip -4 addr show eth0", r"inet 10\.0\.2\.")
        for port in (OPEN, CLOSED):
            machine.run(f"httpd -p {port} -h /etc")
        assert is_silent(ports.open)
        assert is_silent(ports.closed)
        # Rules that load open what they should.
        machine.run("printf 'flush ruleset\\n' >/etc/nftables.conf; sv -w 60 start firewall; cat /run/service/firewall")
        assert answers(ports.closed)
        assert machine.run("ls /run/nexis/warnings") == ""


def test_without_any_rules_there_is_no_network(images: Images, tmp_path: Path) -> None:
    directory = edited(images("x86_64", "nftables"), tmp_path, {"/usr/sbin/nft": None})
    with Console([str(directory / "run-qemu.sh")]) as console:
        machine = Machine(console, sound=False)
        machine.log_in("root", "nexis")
        assert "the network devices are switched off" in console.transcript.decode(errors="replace")
        assert machine.run("ls /sys/class/net") == "lo"
        machine.run("printf '#!/bin/sh\\n' >/usr/sbin/nft; chmod +x /usr/sbin/nft; sv -w 60 start firewall")
        machine.run("sv -w 60 start network")
        machine.eventually("ip -4 addr show eth0", r"inet 10\.0\.2\.")
