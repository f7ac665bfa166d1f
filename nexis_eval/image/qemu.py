"""``run-qemu.sh``: boots what was built, from wherever it lies, on a machine that has QEMU."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from nexis_eval.config.model import Network
from nexis_eval.graph.derivation import Entry
from nexis_eval.image.iso import iso_name, kernel_parameters
from nexis_eval.image.secrets import MARK
from nexis_eval.system.context import System
from nexis_eval.system.templates import render
from nexis_eval.system.users import has_password
from nexis_store.digest import DerivationId

PACKAGES = {"x86_64": "qemu-system-x86", "aarch64": "qemu-system-arm", "riscv64": "qemu-system-misc"}
"""The Debian package of each emulator."""

MEMORY_MB = 512


@dataclass(frozen=True, slots=True)
class UserNetwork:
    """The network that QEMU makes for the machine."""

    options: str = ""
    """What to add to ``-netdev user``."""
    address: str = ""
    """The machine's address, where connections from outside are led to; empty is the first that QEMU gives by DHCP."""
    reason: str = ""
    """Why nobody can reach the machine, if so."""


def user_network(network: Network | None) -> UserNetwork:
    """Make QEMU's network what ``[network]`` expects: for a fixed address its network, with the gateway as QEMU's host.

    See ``-netdev user`` in qemu(1). QEMU itself answers for three addresses: its host, DNS, and the first of DHCP.
    """
    import ipaddress

    if network is None or network.dhcp or network.static_ip is None:
        return UserNetwork()
    interface = ipaddress.ip_interface(network.static_ip)
    if interface.version == 6:
        return UserNetwork(reason=f"QEMU's user network does not forward to IPv6 addresses, and {interface} is one")
    inside = interface.network
    taken = (str(interface.ip), network.gateway)
    hosts = map(str, inside.hosts() if inside.prefixlen < 31 else ())
    # The first ones will do: a network can have millions.
    free = list(itertools.islice((each for each in hosts if each not in taken), 3))
    host = network.gateway or (free.pop(0) if free else "")
    if len(free) < 2:
        return UserNetwork(reason=f"the network {inside} has no room for QEMU's own three addresses")
    return UserNetwork(f",net={inside},host={host},dns={free[0]},dhcpstart={free[1]}", str(interface.ip))


def run_script(system: System) -> DerivationId:
    """Output: ``run-qemu.sh``."""
    arch = system.platform.arch
    network = user_network(system.config.network)
    script = render(
        "run-qemu.sh.j2",
        arch=arch,
        iso=iso_name(system),
        memory=MEMORY_MB,
        parameters=kernel_parameters(system),
        qemu=f"qemu-system-{arch}",
        package=PACKAGES[arch],
        network=network,
        mark=MARK.strip() if any(map(has_password, system.config.users.values())) else "",
    )
    return system.files("run-qemu", (Entry("run-qemu.sh", text=script, mode=0o755),))
