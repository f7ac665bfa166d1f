"""Services whose ports the firewall closes are told by ``check``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nexis_eval.cli.main import run
from nexis_eval.config.model import Service
from nexis_eval.system.exposed import listening

SPEC = Path(__file__).parents[1] / "config/spec"


@pytest.mark.parametrize(
    ("command", "ports"),
    [
        ("/usr/sbin/sshd", (22,)),
        ("/usr/sbin/sshd -D -p 2222", (2222,)),
        ("/usr/sbin/dropbear -F -p2200 -p 10.0.0.1:2201", (2200, 2201)),
        ("/usr/sbin/dropbear -F -p 127.0.0.1:2200", ()),
        ("/usr/bin/busybox httpd -f -h /srv", (80,)),
        ("busybox telnetd -p 24", (24,)),
        ("/usr/sbin/nginx -p /srv", (80,)),
        ("/usr/bin/backup", ()),
        ("/usr/sbin/sshd -p", ()),
        ("", ()),
        ('/usr/sbin/sshd "', ()),
    ],
)
def test_where_a_service_listens(command: str, ports: tuple[int, ...]) -> None:
    assert listening(Service("x", command=command)) == ports


def test_the_samples_firewall_closes_the_samples_sshd(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(SPEC)
    assert run(["check"]) == 0
    line = next(each for each in capsys.readouterr().out.splitlines() if "warning" in each)
    lines = (SPEC / "system.toml").read_text().splitlines()
    firewall, sshd = lines.index("[system.firewall]") + 1, lines.index('command = "/usr/sbin/sshd"') + 1
    assert line.startswith(f"system.toml:{sshd}:11: warning: the firewall (system.toml:{firewall}:")
    assert line.endswith("closes port 22, where service 'sshd' listens: allow_tcp = [22] in [system.firewall] opens it")
    assert run(["check", "--format", "json"]) == 0
    (closed,) = json.loads(capsys.readouterr().out)["closed_ports"]
    assert (closed["service"], closed["port"], closed["place"]["line"]) == ("sshd", 22, sshd)


@pytest.mark.parametrize("settings", ["allow_tcp = [22]", "enabled = false"])
def test_nothing_is_told_of_what_is_open(
    settings: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("system.toml").write_text(
        f'[system.firewall]\n{settings}\n[dinit_services.sshd]\ncommand = "/usr/sbin/sshd"\n'
    )
    assert run(["check"]) == 0
    assert "warning" not in capsys.readouterr().out
