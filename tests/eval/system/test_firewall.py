"""The rules of every backend, loaded for real in a network of their own, with what tries to get in (``reach.py``)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nexis_eval.config.model import Firewall, Network, Package
from nexis_eval.config.model import System as Settings
from nexis_eval.system.contribution import Contribution
from nexis_eval.system.firewall import firewall
from tests.eval.system.systems import files_of, make_system, packages

NFT, LEGACY = "/usr/sbin/xtables-nft-multi", "/usr/sbin/xtables-legacy-multi"
LOADERS = {
    "nftables": ("nftables", ()),
    "iptables-nft": ("iptables", (LEGACY,)),
    "iptables-legacy": ("iptables", (NFT,)),
}
SETTINGS = {
    "everything": (
        Firewall(allow_tcp=(22, 80), allow_udp=(53,)),
        True,
        {
            *("tcp4 open", "tcp6 open", "udp4 open", "udp6 open", "ping4", "ping6"),
            *("udp4 dhcp", "udp6 dhcpv6 link-local"),
        },
    ),
    "no ping, no DHCP, no UDP": (Firewall(allow_tcp=(22,), allow_ping=False), False, {"tcp4 open", "tcp6 open"}),
}


def reach(directory: Path, backend: str, settings: Firewall, dhcp: bool, *hidden: str, broken: bool = False) -> Any:
    """What ``reach.py`` prints for a system with these settings."""
    if shutil.which("nft") is None and shutil.which("nft", path="/usr/sbin") is None:
        pytest.skip("nftables and iptables are not installed: make setup")
    settings = Firewall(backend, True, settings.allow_tcp, settings.allow_udp, settings.allow_ping)
    network = Network("eth0", dhcp=dhcp, static_ip=None if dhcp else "10.9.0.1/24")
    system = make_system(system=Settings(firewall=settings), packages=packages(backend), network=network)
    for path, entry in files_of(firewall(system)).items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("no rules\n" if broken and path.startswith("etc/") else entry.text or "")
    script = Path(__file__).with_name("reach.py")
    # Its mounts are its own, and its networks end with it.
    command = ["unshare", "--user", "--map-root-user", "--net", "--mount", sys.executable, str(script), str(directory)]
    done = subprocess.run([*command, *hidden], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("settings", SETTINGS)
def test_every_backend_lets_the_same_in(tmp_path: Path, loader: str, settings: str) -> None:
    backend, hidden = LOADERS[loader]
    rules, dhcp, expected = SETTINGS[settings]
    found = reach(tmp_path, backend, rules, dhcp, *hidden)
    assert found["exit code"] == 0, found["warning"]
    assert set(found["reached"]) == expected


@pytest.mark.parametrize("loader", LOADERS)
def test_rules_that_do_not_load_let_nothing_in(tmp_path: Path, loader: str) -> None:
    backend, hidden = LOADERS[loader]
    found = reach(tmp_path, backend, Firewall(allow_tcp=(22,)), True, *hidden, broken=True)
    assert found["exit code"] == 1
    assert found["reached"] == []
    assert "*** The firewall's rules do not load: all that arrives is dropped" in found["warning"]


def test_without_a_program_it_says_so(tmp_path: Path) -> None:
    found = reach(tmp_path, "iptables", Firewall(), True, NFT, LEGACY)
    assert found["exit code"] == 1
    assert "the network devices are switched off" in found["warning"]
    assert found["unbound"] == "virtio0\n"


@pytest.mark.parametrize("backend", ["nftables", "iptables", "firewalld"])
def test_modules(backend: str) -> None:
    assert "nf_conntrack" in firewall(make_system(system=Settings(firewall=Firewall(backend)))).required_modules


def test_without_its_package() -> None:
    system = make_system(system=Settings(firewall=Firewall("nftables")))
    (need,) = firewall(system).needs
    assert not need.met(system) and need.packages == ("nftables",)
    assert 'debian = ["nftables"]' in need.hint
    (system,) = (make_system(packages={"x": Package("x", debian=(each,))}) for each in ("nftables:amd64=1.0",))
    assert need.met(system)


def test_switched_off() -> None:
    system = make_system(system=Settings(firewall=Firewall(enabled=False)))
    assert firewall(system) == Contribution()
