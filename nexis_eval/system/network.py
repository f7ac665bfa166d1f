"""``[network]``: one interface, by DHCP or with a fixed address."""

from __future__ import annotations

from collections.abc import Iterator

from nexis_eval.config.model import Network
from nexis_eval.derivation import Entry
from nexis_eval.system.context import System
from nexis_store.digest import DerivationId

LOOPBACK = "#!/bin/sh\n# Brings up the network; run once by the system's start.\nip link set lo up\n"

UDHCPC_SCRIPT = """\
#!/bin/sh
# Applies what the DHCP server gave (called by udhcpc, which sets the variables).
case "$1" in
deconfig)
    ip addr flush dev "$interface"
    ip link set "$interface" up
    ;;
bound | renew)
    ip addr flush dev "$interface"
    ip addr add "$ip/${mask:-24}" dev "$interface"
    for address in $router; do
        ip route add default via "$address" dev "$interface" && break
    done
    {
        [ -n "$domain" ] && echo "search $domain"
        for address in $dns; do echo "nameserver $address"; done
    } >/run/resolv.conf
    ;;
esac
"""


def _script(network: Network) -> str:
    interface = network.interface
    lines = [LOOPBACK, f"[ -e /sys/class/net/{interface} ] || exit 0\n", f"ip link set {interface} up\n"]
    if network.dhcp:
        lines.append(f"udhcpc -i {interface} -b -t 5 -T 2 -S -p /run/udhcpc.{interface}.pid -s /usr/libexec/udhcpc\n")
        return "".join(lines)
    lines.append(f"ip addr add {network.static_ip} dev {interface}\n")
    if network.gateway:
        lines.append(f"ip route add default via {network.gateway} dev {interface}\n")
    return "".join(lines)


def _entries(network: Network | None) -> Iterator[Entry]:
    yield Entry("etc/init.d/network", text=LOOPBACK if network is None else _script(network), mode=0o755)
    yield Entry("usr/libexec/udhcpc", text=UDHCPC_SCRIPT, mode=0o755)
    if network is not None and network.dns:
        yield Entry("etc/resolv.conf", text="".join(f"nameserver {address}\n" for address in network.dns))
    else:
        yield Entry("etc/resolv.conf", target="../run/resolv.conf")


def network(system: System) -> DerivationId:
    """The network's configuration as a part."""
    return system.files("system-network", _entries(system.config.network))
