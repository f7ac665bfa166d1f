"""``[system.firewall]``: the same policy for nftables, iptables or firewalld, and the service that loads it.

What arrives is dropped unless it answers something or is allowed; what leaves may leave.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nexis_eval.config.model import Firewall, Service
from nexis_eval.graph.derivation import Entry
from nexis_eval.system.context import MissingPackageError, System
from nexis_eval.system.templates import render, text
from nexis_store.digest import DerivationId

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


def _enabled(system: System) -> Firewall | None:
    settings = system.config.system.firewall
    return settings if settings is not None and settings.enabled else None


def firewalled(system: System) -> bool:
    """Whether the system has a service ``firewall``: the one of ``[system.firewall]``, or the configuration's own."""
    return _enabled(system) is not None or "firewall" in system.config.services


def firewall_service(system: System) -> Service | None:
    """The service that loads the rules, where the configuration has none of that name.

    Stopping it changes nothing: what takes rules away in between would leave the machine open while it restarts.
    """
    settings = _enabled(system)
    if settings is None or "firewall" in system.config.services:
        return None
    return Service("firewall", type="scripted", command=f"/{LOADER}")


def firewall_modules(system: System) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Kernel modules that the rules need, and those that they use where the kernel has them."""
    settings = _enabled(system)
    if settings is None:
        return (), ()
    backend = BACKENDS[settings.backend]
    return backend.required_modules, backend.modules


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


def missing_loader(system: System) -> MissingPackageError | None:
    """The error that nothing could load the rules."""
    settings = _enabled(system)
    if settings is None:
        return None
    backend = BACKENDS[settings.backend]
    if system.installed(*backend.packages):
        return None
    return MissingPackageError(
        f"the firewall is to be loaded by {settings.backend}, but no package brings it",
        hint=f'add [[packages]] name = "{backend.packages[0]}" debian = ["{backend.packages[0]}"], '
        "or set enabled = false in [system.firewall]",
        place=system.config.place(("system", "firewall", "backend")) or system.config.place(("system", "firewall")),
    )


def firewall(system: System) -> DerivationId | None:
    """The rules as a part; raises ``MissingPackageError`` where nothing could load them."""
    settings = _enabled(system)
    if settings is None:
        return None
    missing = missing_loader(system)
    if missing is not None:
        raise missing
    network = system.config.network
    return system.files("system-firewall", _entries(settings, dhcp=network is not None and network.dhcp))
