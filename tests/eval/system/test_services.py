"""Services: dinit's files, and scripts for runsv that a shell and, here, the real thing understand."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

import pytest

from nexis_eval.config.model import LogRotation, Network, Package, Service
from nexis_eval.config.model import System as SystemSettings
from nexis_eval.derivation import Entry
from nexis_eval.system.services import ServiceCommandError, services
from tests.eval.system.parts import configured, entries_of, system_of, text_of


def made(*wanted: Service, init: str = "busybox", **sections: object) -> Mapping[str, Entry]:
    settings = SystemSettings(init=init)
    packages = {"dinit": Package("dinit")} if init == "dinit" else {}
    named = {service.name: service for service in wanted}
    system = system_of(configured(system=settings, services=named, packages=packages, **sections))
    return entries_of(system, services(system))


SSHD = Service(
    "sshd",
    command='/usr/sbin/sshd -D -o "Banner /etc/a b"',
    depends=("network",),
    working_directory="/srv",
    log_file="/var/log/sshd.log",
    restart="true",
    user="ssh",
    env={"A": "x y"},
    start_timeout=9,
)


def test_a_process_in_dinits_words() -> None:
    entries = made(SSHD, Service("network", type="scripted", command="/bin/true"))
    lines = text_of(entries, "etc/dinit.d/sshd").splitlines()
    for line in (
        "type = process",
        'command = /usr/sbin/sshd -D -o "Banner /etc/a b"',
        "working-dir = /srv",
        "logfile = /var/log/sshd.log",
        "run-as = ssh",
        "start-timeout = 9",
        "restart = yes",
        "depends-on: network",
    ):
        assert line in lines
    assert text_of(entries, "etc/dinit.d/env/sshd") == "A=x y\n"
    boot = text_of(entries, "etc/dinit.d/boot")
    assert "waits-for: sshd" in boot
    assert "waits-for: network" in boot


def test_a_process_for_runsv() -> None:
    run = text_of(made(SSHD, Service("network", type="scripted", command="/bin/true")), "etc/sv/sshd/run")
    assert "for each in network;" in run
    assert "exec chpst -u ssh /usr/sbin/sshd -D -o 'Banner /etc/a b'" in run
    assert "cd /srv || exit 1" in run
    assert "export A='x y'" in run
    assert "exec >>/var/log/sshd.log 2>&1" in run


@pytest.mark.parametrize("kind", ["process", "bgprocess", "scripted", "internal"])
@pytest.mark.parametrize("restart", ["true", "false", "on-failure"])
def test_every_script_is_one_for_a_posix_shell(kind: str, restart: str) -> None:
    service = Service(
        "x", type=kind, command="/bin/x 'a", pid_file="/run/x.pid", stop_command="/bin/y", restart=restart
    )
    for entry in made(service).values():
        if entry.text and entry.text.startswith("#!/bin/sh"):
            subprocess.run(["sh", "-n"], input=entry.text, text=True, check=True)
            assert entry.mode == 0o755


def test_a_command_with_an_open_quote_is_an_error() -> None:
    with pytest.raises(ServiceCommandError, match="open quote"):
        made(Service("x", command='/bin/x "a'))


def test_sections_bring_their_services_unless_the_configuration_has_its_own() -> None:
    sections = {"network": Network(), "log_rotation": (LogRotation("/var/log/x"),)}
    entries = made(**sections)
    assert "etc/sv/network/run" in entries
    assert "etc/sv/log-rotation/run" in entries
    own = made(Service("network", type="scripted", command="/bin/mine"), **sections)
    assert "/bin/mine" in text_of(own, "etc/sv/network/run")


def test_dinit_needs_no_scripts_for_runsv() -> None:
    entries = made(SSHD, Service("network", type="scripted", command="/bin/true"), init="dinit")
    assert not any(path.startswith("etc/sv") for path in entries)
    assert "depends-on: early" in text_of(entries, "etc/dinit.d/sshd")
