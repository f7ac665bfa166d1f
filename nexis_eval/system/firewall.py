"""``[system.firewall]``: the same policy for nftables, iptables or firewalld, and the service that loads it.

What arrives is dropped unless it answers something or is allowed; what leaves may leave.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nexis_eval.config.model import Firewall, Service
from nexis_eval.graph.derivation import Entry
from nexis_eval.system.context import MissingPackageError, System
from nexis_eval.system.templates import render
from nexis_store.digest import DerivationId


@dataclass(frozen=True, slots=True)
class Backend:
    """One program that loads rules."""

    packages: tuple[str, ...]
    """Names of packages, any of which brings it."""
    service: Service
    modules: tuple[str, ...]
    """Kernel modules that its rules need."""


BACKENDS = {
    "nftables": Backend(
        ("nftables",),
        Service(
            "firewall",
            type="scripted",
            command="/usr/sbin/nft -f /etc/nftables.conf",
            stop_command="/usr/sbin/nft flush ruleset",
        ),
        ("nf_tables", "nft_ct", "nf_conntrack"),
    ),
    "iptables": Backend(
        ("iptables",),
        Service("firewall", type="scripted", command="/usr/libexec/nexis/load-iptables"),
        ("ip_tables", "iptable_filter", "ip6_tables", "ip6table_filter", "xt_conntrack", "nf_tables", "nft_compat"),
    ),
    "firewalld": Backend(
        ("firewalld",),
        Service("firewall", type="process", command="/usr/sbin/firewalld --nofork --nopid", restart="true"),
        ("nf_tables", "nft_ct", "nft_fib_inet", "nft_reject_inet", "nf_conntrack"),
    ),
}
LOAD_IPTABLES = """\
#!/bin/sh
# Loads the rules for IPv4 and IPv6.
iptables-restore </etc/iptables/rules.v4 && ip6tables-restore </etc/iptables/rules.v6
"""


def _enabled(system: System) -> Firewall | None:
    settings = system.config.system.firewall
    return settings if settings is not None and settings.enabled else None


def firewall_service(system: System) -> Service | None:
    """The service that loads the rules, where the configuration has none of that name."""
    settings = _enabled(system)
    if settings is None or "firewall" in system.config.services:
        return None
    return BACKENDS[settings.backend].service


def firewall_modules(system: System) -> tuple[str, ...]:
    """Kernel modules that the rules need."""
    settings = _enabled(system)
    return BACKENDS[settings.backend].modules if settings else ()


def _entries(settings: Firewall, dhcp: bool) -> Iterator[Entry]:
    if settings.backend == "nftables":
        text = render("nftables.conf.j2", firewall=settings, dhcp=dhcp)
        yield Entry("etc/nftables.conf", text=text, mode=0o640)
    elif settings.backend == "iptables":
        for version in (4, 6):
            text = render("iptables.rules.j2", firewall=settings, dhcp=dhcp, six=version == 6)
            yield Entry(f"etc/iptables/rules.v{version}", text=text, mode=0o640)
        yield Entry("usr/libexec/nexis/load-iptables", text=LOAD_IPTABLES, mode=0o755)
    else:
        text = render("firewalld-zone.xml.j2", firewall=settings, dhcp=dhcp)
        yield Entry("etc/firewalld/zones/nexis.xml", text=text, mode=0o640)
        yield Entry("etc/firewalld/firewalld.conf", text="DefaultZone=nexis\nFirewallBackend=nftables\n", mode=0o640)


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
