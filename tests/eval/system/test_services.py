"""Services: dinit's files and runsv's scripts say the same."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from nexis_eval.config.model import LogRotation, Network, Service
from nexis_eval.config.model import System as Settings
from nexis_eval.system.services import ServiceCommandError, all_services, services
from tests.eval.system.systems import files_of, make_system, packages, text_of

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


def test_dinit_file() -> None:
    system = make_system(services=ALL)
    part = services(system)
    assert text_of(system, part, "etc/dinit.d/web").splitlines()[1:] == [
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
    assert text_of(system, part, "etc/dinit.d/env/web") == "MODE=it's fast\n"
    assert "pid-file = /run/db.pid\n" in text_of(system, part, "etc/dinit.d/db")
    assert "restart" not in text_of(system, part, "etc/dinit.d/once")
    assert "waits-for: everything\n" in text_of(system, part, "etc/dinit.d/boot")


def test_run_script_of_a_process() -> None:
    system = make_system(services=ALL)
    script = text_of(system, services(system), "etc/sv/web/run")
    assert "for each in network db; do" in script
    assert "exec >>/var/log/web.log 2>&1\n" in script
    assert "export MODE='it'\"'\"'s fast'\n" in script
    assert "cd /srv/web || exit 1\n" in script
    assert script.endswith("exec chpst -u www /usr/sbin/web --title 'two words'\n")


def test_every_script_is_shell(tmp_path: Path) -> None:
    system = make_system(services=ALL, network=Network())
    for path, entry in files_of(system, services(system)).items():
        if entry.mode == 0o755 and entry.text is not None:
            file = tmp_path / "script"
            file.write_text(entry.text)
            done = subprocess.run(["sh", "-n", str(file)], capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{path}: {done.stderr}\n{entry.text}"


@pytest.mark.parametrize(
    ("restart", "code", "expected"),
    [("false", 0, "down"), ("false", 111, ""), ("on-failure", 0, "down"), ("on-failure", 3, ""), ("true", 0, "")],
)
def test_finish_decides_about_restarting(tmp_path: Path, restart: str, code: int, expected: str) -> None:
    service = Service("one", command="/bin/one", restart=restart)
    system = make_system(services={"one": service})
    (tmp_path / "sv").write_text('#!/bin/sh\necho "$3"\n')
    (tmp_path / "sv").chmod(0o755)
    script = tmp_path / "finish"
    script.write_text(text_of(system, services(system), "etc/sv/one/finish"))
    done = subprocess.run(
        ["sh", str(script), str(code)],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )
    assert done.stdout.strip() == expected


def test_other_sections_bring_services() -> None:
    system = make_system(network=Network(), log_rotation=(LogRotation("/var/log/x"),))
    assert list(all_services(system)) == ["network", "log-rotation"]
    own = Service("network", type="scripted", command="/etc/mine.sh")
    system = make_system(network=Network(), services={"network": own})
    assert all_services(system)["network"] is own


def test_dinit_as_process_one() -> None:
    system = make_system(system=Settings(init="auto"), packages=packages("dinit"), services={"web": WEB})
    part = services(system)
    entries = files_of(system, part)
    assert system.init == "dinit"
    assert "etc/sv" not in entries
    assert "depends-on: early\n" in text_of(system, part, "etc/dinit.d/web")
    assert "waits-for: terminal-ttyS0\n" in text_of(system, part, "etc/dinit.d/boot")


def test_open_quote() -> None:
    system = make_system(services={"bad": Service("bad", command='/bin/echo "oops')})
    with pytest.raises(ServiceCommandError, match="open quote"):
        services(system)


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
    for path, entry in files_of(system, services(system)).items():
        if path.startswith("etc/dinit.d/") and entry.text is not None:
            (tmp_path / path.removeprefix("etc/dinit.d/")).write_text(entry.text)
    done = subprocess.run([checker, "-d", str(tmp_path), "boot"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"Checking service: {name}" in done.stdout for name in every)
