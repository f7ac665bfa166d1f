"""``[network]``: one interface, by DHCP (busybox's ``udhcpc``) or with a fixed address, and the name servers."""

from __future__ import annotations

from collections.abc import Iterator

from nexis_eval.config.model import Network, Service
from nexis_eval.graph.derivation import Entry
from nexis_eval.system.contribution import Contribution
from nexis_eval.system.templates import render
from nexis_eval.system.view import SystemView

SCRIPT = "/etc/dinit.d/network.sh"


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


def network(view: SystemView) -> Contribution:
    """The configuration of the network, and the service that brings it up, after the firewall if there is one."""
    settings = view.config.network
    if settings is None:
        return Contribution()
    service = Service("network", type="scripted", command=SCRIPT, depends=("firewall",))
    return Contribution(files=tuple(_entries(settings)), services=(service,))
