"""Services: dinit's files and runsv's scripts say the same."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from nexis_eval.config.model import Firewall, LogRotation, Network, Service
from nexis_eval.config.model import System as Settings
from nexis_eval.system.assemble import contributions
from nexis_eval.system.services import ServiceCommandError, all_services, predecessors
from nexis_eval.system.view import SystemView
from tests.eval.system.systems import assembled, files_of, make_system, packages, text_of

WEB = Service(
    "web",
    command='/usr/sbin/web --title "two words"',
    depends=("network", "db"),
    working_directory="/srv/web",
    log_file="/var/log/web.log",
    restart="true",
    user="www",
    env={"MODE": "it's fast"},
    stop_timeout=5,
)
DB = Service("db", type="bgprocess", command="/usr/sbin/db", pid_file="/run/db.pid", start_timeout=9)
ONCE = Service("once", type="scripted", command="/etc/once.sh", stop_command="/etc/undo.sh", start_timeout=20)
GROUP = Service("everything", type="internal", depends=("web", "once"))
ALL = {each.name: each for each in (WEB, DB, ONCE, GROUP)}


def _all(view: SystemView) -> dict[str, Service]:
    return all_services(view, contributions(view).everything)


def test_dinit_file() -> None:
    system = make_system(services=ALL)
    part = assembled(system, "services")
    assert text_of(part, "etc/dinit.d/web").splitlines()[1:] == [
        "type = process",
        'command = /usr/sbin/web --title "two words"',
        "working-dir = /srv/web",
        "logfile = /var/log/web.log",
        "run-as = www",
        "env-file = /etc/dinit.d/env/web",
        "stop-timeout = 5",
        "restart = yes",
        "depends-on: network",
        "depends-on: db",
    ]
    assert text_of(part, "etc/dinit.d/env/web") == "MODE=it's fast\n"
    assert "pid-file = /run/db.pid\n" in text_of(part, "etc/dinit.d/db")
    # dinit's own defaults are others: to restart always, and to run in the directory of the service files.
    once = text_of(part, "etc/dinit.d/once").splitlines()
    assert {"restart = no", "working-dir = /"} <= set(once)
    assert "waits-for: everything\n" in text_of(part, "etc/dinit.d/boot")


def test_every_script_is_shell(tmp_path: Path) -> None:
    system = make_system(services=ALL, network=Network())
    for path, entry in files_of(assembled(system, "services")).items():
        if entry.mode == 0o755 and entry.text is not None:
            file = tmp_path / "script"
            file.write_text(entry.text)
            done = subprocess.run(["sh", "-n", str(file)], capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{path}: {done.stderr}\n{entry.text}"


def test_everything_waits_for_the_firewall_but_what_it_needs() -> None:
    dbus = Service("dbus", command="/usr/bin/dbus-daemon")
    own = Service("firewall", type="scripted", command="/etc/mine.sh", depends=("dbus",))
    found = {each.name: each for each in (WEB, dbus, own)}
    assert {name: predecessors(found, name) for name in found} == {"web": ("firewall",), "dbus": (), "firewall": ()}
    system = make_system(services=found)
    assert "waits-for: firewall\n" in text_of(assembled(system, "services"), "etc/dinit.d/web")
    assert "waits-for" not in text_of(assembled(system, "services"), "etc/dinit.d/dbus")
    assert predecessors({"web": WEB}, "web") == ()


def test_the_network_needs_the_firewall() -> None:
    rules = Settings(firewall=Firewall())
    assert _all(make_system(system=rules, network=Network()))["network"].depends == ("firewall",)
    assert _all(make_system(network=Network()))["network"].depends == ()


def test_other_sections_bring_services() -> None:
    system = make_system(network=Network(), log_rotation={"/var/log/x": LogRotation("/var/log/x")})
    assert list(_all(system)) == ["network", "log-rotation"]
    own = Service("network", type="scripted", command="/etc/mine.sh")
    system = make_system(network=Network(), services={"network": own})
    assert _all(system)["network"] is own


def test_dinit_as_process_one() -> None:
    system = make_system(system=Settings(init="auto"), packages=packages("dinit"), services={"web": WEB})
    part = assembled(system, "services")
    entries = files_of(part)
    assert system.init == "dinit"
    assert not [path for path in entries if path.startswith(("usr/lib/nexis", "var/service"))]
    assert "depends-on: early\n" in text_of(part, "etc/dinit.d/web")
    assert "waits-for: terminal-ttyS0\n" in text_of(part, "etc/dinit.d/boot")


def test_open_quote() -> None:
    system = make_system(services={"bad": Service("bad", command='/bin/echo "oops')})
    with pytest.raises(ServiceCommandError, match="open quote"):
        assembled(system, "services")


@pytest.mark.peers
def test_dinit_itself_accepts_the_files(tmp_path: Path) -> None:
    checker = shutil.which("dinit-check") or shutil.which("dinitcheck")
    if checker is None:
        pytest.skip("dinit is not installed")
    every = {
        "process": Service(
            "process",
            command='/bin/sh -c "exec sleep 60"',
            depends=("scripted",),
            working_directory="/",
            log_file="/var/log/process.log",
            restart="on-failure",
            user="root",
            stop_timeout=3,
        ),
        "bgprocess": Service("bgprocess", type="bgprocess", command="/bin/true", pid_file="/run/x.pid", restart="true"),
        "scripted": Service(
            "scripted", type="scripted", command="/bin/true", stop_command="/bin/false", start_timeout=20
        ),
        "internal": Service("internal", type="internal", depends=("process", "bgprocess")),
        "triggered": Service("triggered", type="triggered", depends=("internal",)),
    }
    system = make_system(services=every)
    for path, entry in files_of(assembled(system, "services")).items():
        if path.startswith("etc/dinit.d/") and entry.text is not None:
            (tmp_path / path.removeprefix("etc/dinit.d/")).write_text(entry.text)
    done = subprocess.run([checker, "-d", str(tmp_path), "boot"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"Checking service: {name}" in done.stdout for name in every)
