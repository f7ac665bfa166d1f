"""Services that others are meant to reach, and whose ports the firewall closes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from nexis_eval.config.model import Sections, Service
from nexis_store.errors import Place

SERVERS = {
    "apache2": (80,),
    "dropbear": (22,),
    "ftpd": (21,),
    "httpd": (80,),
    "lighttpd": (80,),
    "nginx": (80,),
    "smbd": (445,),
    "sshd": (22,),
    "telnetd": (23,),
    "vsftpd": (21,),
}
"""The TCP ports at which programs listen by themselves."""
PORT_OPTION = frozenset(("dropbear", "httpd", "sshd", "telnetd"))
"""Those that take ``-p PORT`` or ``-p ADDRESS:PORT``."""


@dataclass(frozen=True, slots=True)
class ClosedPort:
    """A port of a service that the firewall closes."""

    service: str
    port: int
    place: Place | None
    """Of the service's command."""
    firewall: Place | None

    @property
    def message(self) -> str:
        """What is to be told, with the cure."""
        return (
            f"the firewall ({self.firewall}) closes port {self.port}, where service '{self.service}' listens: "
            f"allow_tcp = [{self.port}] in [system.firewall] opens it"
        )


def closed_ports(config: Sections) -> Iterator[ClosedPort]:
    """The ports of known servers that are not among those that the firewall opens."""
    firewall = config.system.firewall
    if firewall is None or not firewall.enabled:
        return
    at = config.place(("system", "firewall", "allow_tcp")) or config.place(("system", "firewall"))
    for name, service in config.services.items():
        for port in listening(service):
            if port not in firewall.allow_tcp:
                yield ClosedPort(name, port, config.place(("dinit_services", name, "command")), at)


def listening(service: Service) -> tuple[int, ...]:
    """The TCP ports at which a service listens for others, as far as its command tells."""
    try:
        words = shlex.split(service.command)
    except ValueError:
        return ()
    program = next((each for each in words if each.rpartition("/")[2] != "busybox"), "").rpartition("/")[2]
    ports = SERVERS.get(program, ())
    if program not in PORT_OPTION or not ports:
        return ports
    given = []
    for index, word in enumerate(words):
        if word.startswith("-p"):
            given.append(word[2:] or next(iter(words[index + 1 : index + 2]), ""))
    if not given:
        return ports
    found = []
    for each in given:
        address, _, port = each.rpartition(":")
        if port.isdecimal() and not address.startswith(("127.", "localhost", "[::1]")):
            found.append(int(port))
    return tuple(found)
