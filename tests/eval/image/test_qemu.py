"""QEMU's network is the one that ``[network]`` expects. Whether it works is tried in ``tests/boot/test_ssh.py``."""

from __future__ import annotations

import pytest

from nexis_eval.config.model import Network
from nexis_eval.image.qemu import UserNetwork, user_network

FIXED = {
    ("192.168.1.100/24", "192.168.1.1"): ",net=192.168.1.0/24,host=192.168.1.1,dns=192.168.1.2,dhcpstart=192.168.1.3",
    ("192.168.1.1/24", "192.168.1.254"): ",net=192.168.1.0/24,host=192.168.1.254,dns=192.168.1.2,dhcpstart=192.168.1.3",
    ("10.0.0.2/8", None): ",net=10.0.0.0/8,host=10.0.0.1,dns=10.0.0.3,dhcpstart=10.0.0.4",
    ("10.1.1.2/29", "10.1.1.3"): ",net=10.1.1.0/29,host=10.1.1.3,dns=10.1.1.1,dhcpstart=10.1.1.4",
}


@pytest.mark.parametrize(("address", "gateway"), FIXED)
def test_a_fixed_address(address: str, gateway: str | None) -> None:
    network = Network(dhcp=False, static_ip=address, gateway=gateway)
    assert user_network(network) == UserNetwork(FIXED[address, gateway], address.partition("/")[0])


@pytest.mark.parametrize("address", ["10.1.1.2/31", "10.1.1.2/30", "10.1.1.2/32", "fd00::2/64"])
def test_a_network_that_qemu_cannot_make(address: str) -> None:
    found = user_network(Network(dhcp=False, static_ip=address))
    assert found.options == ""
    assert address.partition("/")[0] in found.reason or "no room" in found.reason


@pytest.mark.parametrize("network", [None, Network(dhcp=True)])
def test_by_dhcp_qemu_decides(network: Network | None) -> None:
    assert user_network(network) == UserNetwork()
