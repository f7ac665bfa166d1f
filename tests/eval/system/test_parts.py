"""The other sections: names, network, firewall, log rotation."""

from __future__ import annotations

import subprocess
from pathlib import Path

from nexis_eval.config.model import Locale, LocalPath, LogRotation, Network, Package
from nexis_eval.config.model import System as Settings
from nexis_eval.system.assemble import contributions, system_layers
from nexis_eval.system.boot import init, names, skeleton
from nexis_eval.system.contexts import contexts
from nexis_eval.system.contribution import Contribution
from nexis_eval.system.logging import log_rotation
from nexis_eval.system.network import network
from nexis_eval.system.templates import DIRECTORY
from tests.eval.system.systems import files_of, make_system, text_of


def _is_shell(text: str) -> None:
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)


def test_names() -> None:
    settings = Settings(hostname="lab", version="2.1", locale=Locale("de_DE.UTF-8", "de"))
    system = make_system(system=settings)
    part = names(system)
    assert text_of(part, "etc/hostname") == "lab\n"
    assert "127.0.1.1 lab\n" in text_of(part, "etc/hosts")
    assert 'VERSION_ID="2.1"\n' in text_of(part, "usr/lib/os-release")
    assert text_of(part, "etc/profile.d/locale.sh") == "export LANG=de_DE.UTF-8\n"
    assert text_of(part, "etc/vconsole.conf") == 'KEYMAP="de"\n'


def test_terminals() -> None:
    system = make_system("aarch64")
    assert "\n::respawn:/usr/libexec/nexis/terminal ttyAMA0\n" in text_of(init(system), "etc/inittab")


def test_merged_usr() -> None:
    system = make_system()
    entries = files_of(skeleton(system))
    assert {path: entries[path].target for path in ("bin", "sbin", "lib")} == {
        "bin": "usr/bin",
        "sbin": "usr/sbin",
        "lib": "usr/lib",
    }
    assert entries["tmp"].mode == 0o1777


def test_scripts_are_shell() -> None:
    for file in sorted(DIRECTORY.iterdir()):
        if file.suffix not in (".j2", ".xml"):
            subprocess.run(["bash", "-n", str(file)], check=True)


def test_network_by_dhcp() -> None:
    system = make_system(network=Network("eth0", dns=("9.9.9.9",)))
    part = network(system)
    assert "udhcpc" in text_of(part, "etc/dinit.d/network.sh")
    assert "echo nameserver 9.9.9.9\n" in text_of(part, "usr/libexec/nexis/dhcp")
    assert files_of(part)["etc/resolv.conf"].target == "../run/resolv.conf"
    for path in ("etc/dinit.d/network.sh", "usr/libexec/nexis/dhcp"):
        _is_shell(text_of(part, path))


def test_network_with_an_address() -> None:
    settings = Network(
        "lan0", dhcp=False, static_ip="192.168.1.9/24", gateway="192.168.1.1", dns=("8.8.8.8", "1.1.1.1")
    )
    system = make_system(network=settings)
    part = network(system)
    script = text_of(part, "etc/dinit.d/network.sh")
    assert "ip address replace 192.168.1.9/24 dev" in script
    assert "ip route replace default via 192.168.1.1 dev" in script
    assert "udhcpc" not in script
    assert text_of(part, "etc/resolv.conf") == "nameserver 8.8.8.8\nnameserver 1.1.1.1\n"
    _is_shell(script)


def test_no_network() -> None:
    assert network(make_system()) == Contribution()


def test_rotation_rules() -> None:
    rules = (LogRotation("/var/log/a.log", 100, 7, True, 1), LogRotation("/var/log/vim"))
    system = make_system(log_rotation={each.path: each for each in rules})
    text = text_of(log_rotation(system), "etc/nexis/log-rotation")
    assert text.splitlines()[1:] == ["104857600 7 1 1 /var/log/a.log", "0 5 0 0 /var/log/vim"]


def test_only_sections_that_are_there() -> None:
    view = make_system()
    assert [each.name for each in system_layers(view, contributions(view))] == [
        "system-skeleton",
        "system-names",
        "system-init",
        "system-users",
        "system-services",
        "system-runtime-dirs",
    ]


def test_context_files_are_carried_for_the_policy(tmp_path: Path) -> None:
    file = tmp_path / "vim.cil"
    file.write_text("(type vim_log_t)\n")
    vim = Package("vim", context_file=LocalPath("vim.cil", file))
    hidden = Package("hidden", context_file=LocalPath("vim.cil", file), install=False)
    system = make_system(packages={"vim": vim, "hidden": hidden, "plain": Package("plain")})
    assert set(files_of(contexts(system))) == {"usr/share/selinux/packages/vim.cil"}
    assert text_of(contexts(system), "usr/share/selinux/packages/vim.cil") == "(type vim_log_t)\n"
    assert contexts(make_system()) == Contribution()
