"""Run in a user namespace with a network of its own: what gets to a machine that has loaded its firewall's rules.

``python reach.py DIRECTORY [HIDDEN…]``: DIRECTORY has the system's files; HIDDEN are programs that the machine lacks.
Prints what reached it as JSON. Nothing of the machine that this runs on changes: its /etc, /run and /sys are hidden as
well, for root of a user namespace may still write where root of the machine may, and so unbind a real network device.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

MACHINE, OUTSIDE = {4: "10.9.0.1", 6: "fd09::1"}, {4: "10.9.0.2", 6: "fd09::2"}
LINK_LOCAL = "fe80::1"
TCP_PORTS = {"open": 22, "closed": 81}
UDP_PORTS = {"open": 53, "closed": 54, "dhcp": 68, "dhcpv6": 546}
CLONE_NEWNET = 0x40000000
UNBIND = Path("/sys/bus/virtio/drivers/virtio_net/unbind")
SECONDS = 2
"""What is dropped takes as long as this; what is answered comes from the same kernel at once."""


def run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=check, capture_output=True, text=True)


def hide(directory: Path, hidden: list[str]) -> None:
    """The machine's own /etc and /run, and no list of protocols or link of update-alternatives; one device in /sys."""
    for place in ("/etc", "/run", "/sys"):
        run("mount", "-t", "tmpfs", "tmpfs", place)
    device, driver = Path("/sys/devices/virtio0"), Path("/sys/bus/virtio/drivers/virtio_net")
    (device / "net/eth0").mkdir(parents=True)
    driver.mkdir(parents=True)
    (device / "driver").symlink_to(driver)
    (device / "net/eth0/device").symlink_to(device)
    Path("/sys/class/net").mkdir(parents=True)
    Path("/sys/class/net/eth0").symlink_to(device / "net/eth0")
    UNBIND.touch()
    shutil.copytree(directory / "etc", "/etc", dirs_exist_ok=True)
    for each in hidden:
        run("mount", "--bind", "/bin/false", each)
    Path("/run/console").touch()
    run("mount", "--bind", "/run/console", "/dev/console")


def family(version: int) -> socket.AddressFamily:
    return socket.AF_INET if version == 4 else socket.AF_INET6


def serve(ready: int, done: int, answer: int) -> None:
    """Be the machine: accept on every port, and say at the end which datagrams came."""
    run("ip", "link", "set", "lo", "up")
    came = set()

    def accept(server: socket.socket) -> None:
        while True:
            server.accept()

    def receive(server: socket.socket) -> None:
        while True:
            came.add(server.recv(100).decode())

    for version in (4, 6):
        for port in TCP_PORTS.values():
            server = socket.create_server(("", port), family=family(version))
            threading.Thread(target=accept, args=(server,), daemon=True).start()
        for port in UDP_PORTS.values():
            server = socket.socket(family(version), socket.SOCK_DGRAM)
            if version == 6:
                server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            server.bind(("", port))
            threading.Thread(target=receive, args=(server,), daemon=True).start()
    os.write(ready, b".")
    os.read(done, 1)
    os.write(answer, json.dumps(sorted(came)).encode())


def connect(child: int) -> None:
    """Join the networks of this process and of ``child``."""
    inside = ("nsenter", "-t", str(child), "-n")
    run("ip", "link", "add", "outside", "type", "veth", "peer", "name", "eth0", "netns", str(child))
    for prefix, name, addresses, local in (((), "outside", OUTSIDE, "fe80::2"), (inside, "eth0", MACHINE, LINK_LOCAL)):
        run(*prefix, "ip", "link", "set", name, "addrgenmode", "none")
        run(*prefix, "ip", "address", "add", f"{addresses[4]}/24", "dev", name)
        for address in (addresses[6], local):
            run(*prefix, "ip", "address", "add", f"{address}/64", "dev", name, "nodad")
        run(*prefix, "ip", "link", "set", name, "up")
    # Without rules everything gets through, as soon as both ends are up. Then both forget each other.
    for address in (MACHINE[4], MACHINE[6], f"{LINK_LOCAL}%outside"):
        while not accepts(address, TCP_PORTS["closed"]):
            time.sleep(0.1)
    run("ip", "neighbour", "flush", "dev", "outside")
    run(*inside, "ip", "neighbour", "flush", "dev", "eth0")


def accepts(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=SECONDS).close()
    except OSError:
        return False
    return True


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def answers_icmp(version: int, kind: int, answer: int) -> bool:
    """Whether an ICMP message of ``kind`` is answered."""
    with socket.socket(family(version), socket.SOCK_RAW, 1 if version == 4 else 58) as raw:
        body = struct.pack("!HH", 7, 1) + bytes(12)
        message = struct.pack("!BBH", kind, 0, 0) + body
        raw.sendto(struct.pack("!BBH", kind, 0, checksum(message)) + body, (MACHINE[version], 0))
        end = time.monotonic() + SECONDS
        while (left := end - time.monotonic()) > 0:
            raw.settimeout(left)
            try:
                reply = raw.recv(2048)
            except OSError:
                return False
            if reply[20 if version == 4 else 0] == answer:
                return True
    return False


def send(version: int, name: str, port: int, address: tuple[str | int, ...] = ()) -> None:
    with socket.socket(family(version), socket.SOCK_DGRAM) as sender:
        sender.sendto(name.encode(), address or (MACHINE[version], port))


def main() -> None:
    directory, hidden = Path(sys.argv[1]), sys.argv[2:]
    hide(directory, hidden)
    ready, done, answer = os.pipe(), os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        assert ctypes.CDLL(None).unshare(CLONE_NEWNET) == 0
        serve(ready[1], done[0], answer[1])
        os._exit(0)
    os.read(ready[0], 1)
    connect(child)
    loader = str(directory / "usr/libexec/nexis/firewall")
    loaded = run("nsenter", "-t", str(child), "-n", "sh", loader, check=False)

    probes: dict[str, Callable[[], bool]] = {"timestamp": lambda: answers_icmp(4, 13, 14)}
    for version in (4, 6):
        for name, port in UDP_PORTS.items():
            send(version, f"udp{version} {name}", port)
        for name, port in TCP_PORTS.items():
            probes[f"tcp{version} {name}"] = lambda version=version, port=port: accepts(MACHINE[version], port)
    send(6, "udp6 dhcpv6 link-local", 546, (LINK_LOCAL, 546, 0, socket.if_nametoindex("outside")))
    probes["ping4"] = lambda: answers_icmp(4, 8, 0)
    probes["ping6"] = lambda: answers_icmp(6, 128, 129)
    with ThreadPoolExecutor(len(probes)) as pool:
        results = {name: pool.submit(probe) for name, probe in probes.items()}
        reached = [name for name, result in results.items() if result.result()]
    os.write(done[1], b".")
    reached += json.loads(os.read(answer[0], 65536))
    warning = Path("/run/nexis/warnings/firewall")
    text = warning.read_text() if warning.exists() else loaded.stderr
    answers = {
        "reached": sorted(reached),
        "exit code": loaded.returncode,
        "warning": text,
        "unbound": UNBIND.read_text(),
    }
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
