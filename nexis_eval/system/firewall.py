"""``[system.firewall]``: the same policy for nftables, iptables or firewalld, and the service that loads it.

What arrives is dropped unless it answers something or is allowed; what leaves may leave.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nexis_eval.config.model import Firewall, Service
from nexis_eval.graph.derivation import Entry
from nexis_eval.system.contribution import Contribution, Need
from nexis_eval.system.templates import render, text
from nexis_eval.system.view import SystemView

LOADER = "usr/libexec/nexis/firewall"


@dataclass(frozen=True, slots=True)
class Backend:
    """One program that loads rules."""

    packages: tuple[str, ...]
    """Names of packages, any of which brings it."""
    required_modules: tuple[str, ...]
    """Kernel modules, or parts of the kernel, without which no rules load."""
    modules: tuple[str, ...] = ()
    """Those of one variant or another."""


BACKENDS = {
    "nftables": Backend(("nftables",), ("nf_tables", "nf_conntrack", "nft_ct")),
    "iptables": Backend(
        ("iptables",),
        ("nf_conntrack", "x_tables", "xt_conntrack", "xt_tcpudp"),
        ("nf_tables", "nft_compat", "nft_ct", "ip_tables", "iptable_filter", "ip6_tables", "ip6table_filter"),
    ),
    "firewalld": Backend(
        ("firewalld",),
        ("nf_tables", "nf_conntrack", "nft_ct", "nft_fib_inet", "nft_reject_inet", "nft_chain_nat"),
        ("nft_nat", "nft_masq", "nft_redir", "nft_log", "nft_limit", "nf_log_syslog"),
    ),
}


def _entries(settings: Firewall, dhcp: bool) -> Iterator[Entry]:
    yield Entry(LOADER, text=render("firewall.j2", backend=settings.backend), mode=0o755)
    if settings.backend == "nftables":
        rules = render("nftables.conf.j2", firewall=settings, dhcp=dhcp)
        yield Entry("etc/nftables.conf", text=rules, mode=0o640)
    elif settings.backend == "iptables":
        for version in (4, 6):
            rules = render("iptables.rules.j2", firewall=settings, dhcp=dhcp, six=version == 6)
            yield Entry(f"etc/iptables/rules.v{version}", text=rules, mode=0o640)
    else:
        zone = render("firewalld-zone.xml.j2", firewall=settings, dhcp=dhcp)
        yield Entry("etc/firewalld/zones/nexis.xml", text=zone, mode=0o640)
        yield Entry("etc/firewalld/firewalld.conf", text=text("firewalld.conf"), mode=0o640)
        yield Entry("etc/firewalld/policies/allow-host-ipv6.xml", text=text("firewalld-policy.xml"), mode=0o640)
        yield Entry("etc/protocols", text=text("protocols"))


def firewall(view: SystemView) -> Contribution:
    """The rules, and what loads them: a service, which needs a package and kernel modules.

    Stopping the service changes nothing: what takes rules away in between would leave the machine open while it
    restarts.
    """
    settings, network = view.config.system.firewall, view.config.network
    if settings is None or not settings.enabled:
        return Contribution()
    backend = BACKENDS[settings.backend]
    name = backend.packages[0]
    need = Need(
        backend.packages,
        "loads the rules of [system.firewall]",
        f'add [[packages]] name = "{name}" debian = ["{name}"], or set enabled = false in [system.firewall]',
        view.config.place(("system", "firewall", "backend")) or view.config.place(("system", "firewall")),
    )
    return Contribution(
        files=tuple(_entries(settings, dhcp=network is not None and network.dhcp)),
        services=(Service("firewall", type="scripted", command=f"/{LOADER}"),),
        required_modules=backend.required_modules,
        optional_modules=backend.modules,
        needs=(need,),
    )
