"""``[network]``: one interface, by DHCP (busybox's ``udhcpc``) or with a fixed address, and the name servers."""

from __future__ import annotations

from collections.abc import Iterator

from nexis_eval.config.model import Network, Service
from nexis_eval.graph.derivation import Entry
from nexis_eval.system.context import System
from nexis_eval.system.firewall import firewalled
from nexis_eval.system.templates import render
from nexis_store.digest import DerivationId

SCRIPT = "/etc/dinit.d/network.sh"


def network_service(system: System) -> Service | None:
    """The service that brings the network up, where the configuration has none of that name."""
    if system.config.network is None or "network" in system.config.services:
        return None
    rules = ("firewall",) if firewalled(system) else ()
    return Service("network", type="scripted", command=SCRIPT, depends=rules)


def _entries(network: Network) -> Iterator[Entry]:
    script = render(
        "network.sh.j2",
        interface=network.interface,
        dhcp=network.dhcp,
        static_ip=network.static_ip,
        gateway=network.gateway,
    )
    yield Entry(SCRIPT.lstrip("/"), text=script, mode=0o755)
    if network.dhcp:
        yield Entry("usr/libexec/nexis/dhcp", text=render("dhcp.j2", dns=network.dns), mode=0o755)
        yield Entry("etc/resolv.conf", target="../run/resolv.conf")
    else:
        yield Entry("etc/resolv.conf", text="".join(f"nameserver {address}\n" for address in network.dns))


def network(system: System) -> DerivationId | None:
    """The network's configuration as a part, if there is any."""
    settings = system.config.network
    return system.files("system-network", _entries(settings)) if settings else None
