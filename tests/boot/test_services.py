"""Services under busybox: what waits for what, what is told of failures, and what ends with what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.boot.console import Console
from tests.boot.machine import Machine

pytestmark = [pytest.mark.boot, pytest.mark.timeout(3600)]

EXPECTED = {
    "after-slow": "up",
    "background": "up",
    "broken": "failed: exit code 1",
    "ends": "stopped",
    "hangs": "failed: not done within its start_timeout of 3 s",
    "heartbeat": "up",
    "log-rotation": "up",
    "needs-broken": "failed: it needs broken, which failed",
    "needs-that": "failed: it needs needs-broken, which failed",
    "network": "up",
    "once": "up",
    "slow": "up",
    "sshd": "up",
    "writer": "up",
}


def state(machine: Machine, service: str) -> str:
    return machine.run(f"cat /run/service/{service} 2>/dev/null", check=False)


def processes(machine: Machine, command: str) -> list[str]:
    """The numbers of the processes that run ``command``."""
    return machine.run(f"pgrep -xf '{command}'", check=False).split()


def test_services(images: Callable[[str, str], Path]) -> None:
    with Console([str(images("x86_64", "services") / "run-qemu.sh")]) as console:
        machine = Machine(console)
        machine.log_in("root", "nexis")
        for name, expected in EXPECTED.items():
            machine.eventually(f"cat /run/service/{name}", f"^{expected}$")
        said = console.transcript.decode(errors="replace")
        assert "broken: failed: exit code 1\n" in said
        assert "needs-that: failed: it needs needs-broken, which failed\n" in said
        # What was cut off is gone with its children.
        assert processes(machine, "sleep 10000[56]") == []
        assert machine.run("ls /var/service").split() == sorted(EXPECTED)
        assert processes(machine, "sleep 100008") == []

        # What failed is not run again by itself; who starts it starts what it needs.
        before = machine.run("stat -c %y /run/service/needs-broken")
        machine.run("sleep 3")
        assert machine.run("stat -c %y /run/service/needs-broken") == before
        machine.run("touch /run/mended")
        assert machine.run("sv -w 60 start needs-that").startswith("ok: run: needs-that")
        assert [state(machine, name) for name in ("broken", "needs-broken", "needs-that")] == ["up", "up", "up"]

        # restart = "false": not after an end of its own, but where somebody asks for it.
        (first,) = processes(machine, "/bin/sleep 100004")
        assert machine.run("sv -w 60 restart once").startswith("ok: run: once")
        (second,) = processes(machine, "/bin/sleep 100004")
        assert second != first
        machine.run(f"kill {second}")
        machine.eventually("cat /run/service/once", "^failed: signal 15$")
        assert processes(machine, "/bin/sleep 100004") == []

        # restart = "true" and "on-failure".
        (first,) = processes(machine, "/bin/sleep 100002")
        machine.run(f"kill {first}")
        machine.eventually("pgrep -xf '/bin/sleep 100002'", rf"^(?!{first}$)\d+$")
        machine.run("sv -w 60 stop background")
        assert processes(machine, "sleep 100007") == []
        assert state(machine, "background") == ""

        # A log that its user may replace: by a link to what only root may read and write.
        machine.eventually("cat /home/ada/writer.log", "^written$")
        assert machine.run("stat -c %U /home/ada/writer.log") == "ada"
        overdue = "sleep 1; for each in /var/lib/nexis/log-rotation/*; do echo 0 x >$each; done; "
        rotate = "/usr/libexec/nexis/rotate-logs 2>&1; "
        machine.run(f"{rotate}{overdue}{rotate}", check=False)
        found = machine.run("stat -c '%U %s' /home/ada/writer.log /home/ada/writer.log.1")
        assert found.splitlines() == ["ada 0", "ada 8"]
        before = machine.run("md5sum /etc/shadow")
        machine.run("cd /home/ada; rm writer.log*; ln -s /etc/shadow writer.log; chown -h ada writer.log")
        said = machine.run(f"{overdue}{rotate}", check=False)
        assert "not write to it: it is not rotated" in said
        machine.run("sv -w 60 restart writer; sleep 1")
        assert machine.run("md5sum /etc/shadow") == before
        assert machine.run("ls /home/ada") == "writer.log"

        # Stopping in the middle of a start leaves nothing behind.
        machine.run("sv stop slow; sv up slow; sleep 1; sv -w 60 stop slow")
        assert processes(machine, "/bin/sleep 4") == []
        console.send("poweroff\n")
        assert console.ended(120) == 0
