"""Proxies as the environment names them (``http_proxy``, ``https_proxy``, ``all_proxy``, ``no_proxy``). Pure.

Every program reads these variables a little differently. Here a user name and a password may hold any character up to
the last ``@``; ``no_proxy`` is separated by commas or blanks and may hold hosts, domains, addresses, ``[::1]`` and
networks (``10.0.0.0/8``), each perhaps with a port, as curl and Go have it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import unquote

from nexis_store.errors import NexisError

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
DEFAULT_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
MAX_PORT = 65535
_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/?#\[\]@]+)(?::(?P<port>[0-9]{1,5}))?/?", re.ASCII).fullmatch
_ENTRY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+)(?::(?P<port>[0-9]{1,5}))?", re.ASCII).fullmatch


class NetworkSettingError(NexisError):
    """An environment variable that says how to reach the network has a value that cannot be used.

    The message names the variable. Proxies are ``http://USER:PASSWORD@HOST:PORT`` (or ``https``, ``socks5``,
    ``socks5h``); ``no_proxy`` lists what is reached without one; ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name the
    certificate authorities; ``NEXIS_LEAST_RATE`` is a number of bytes a second. Correct it or unset it.
    """

    code = "F0008"
    exit_code = 3


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, and the variable that names it."""

    variable: str
    scheme: str
    host: str
    port: int
    user: str = ""
    password: str = ""

    @property
    def url(self) -> str:
        """Its address, without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Exemption:
    """One entry of ``no_proxy``: a network or a domain, of one port or of any."""

    domain: str = ""
    network: Network | None = None
    port: int | None = None

    def covers(self, host: str, port: int) -> bool:
        """Whether a host is reached without a proxy because of this entry."""
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            try:
                address = ipaddress.ip_address(host)
            except ValueError:
                return False
            return address.version == self.network.version and address in self.network
        return self.domain == "*" or host == self.domain or host.endswith(f".{self.domain}")


@dataclass(frozen=True, slots=True)
class Proxies:
    """Which proxy serves which scheme, and what needs none."""

    by_scheme: Mapping[str, Proxy]
    exemptions: tuple[Exemption, ...] = ()

    def proxy_for(self, scheme: str, host: str, port: int | None) -> Proxy | None:
        """The proxy through which a host is reached; ``None`` for a direct connection."""
        proxy = self.by_scheme.get(scheme)
        if proxy is None:
            return None
        name, number = host.strip("[]").rstrip(".").lower(), port or DEFAULT_PORTS.get(scheme, 0)
        return None if any(each.covers(name, number) for each in self.exemptions) else proxy


def parse_proxy(variable: str, text: str) -> Proxy:
    """The proxy that a variable names; raises ``NetworkSettingError``."""
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        scheme, rest = "http", text.strip()
    scheme = scheme.lower()
    if scheme not in PROXY_SCHEMES:
        raise NetworkSettingError(
            f"{variable}: '{scheme}' is not a kind of proxy that is supported ({', '.join(PROXY_SCHEMES)} are)",
            hint=f"correct {variable}, or unset it",
        )
    login, _, address = rest.rpartition("@")
    match = _ADDRESS(address)
    port = int(match["port"]) if match and match["port"] else DEFAULT_PORTS[scheme]
    if match is None or not 0 < port <= MAX_PORT:
        # The password may be wrong in itself and stand where the address should be: nothing of the value is shown.
        raise NetworkSettingError(
            f"{variable} does not end with the address of a proxy, HOST:PORT, with a port from 1 to {MAX_PORT}",
            hint=f"correct it ({variable}={scheme}://HOST:3128), or unset it",
        )
    user, _, password = login.partition(":")
    return Proxy(variable, scheme, match["host"].strip("[]"), port, unquote(user), unquote(password))


def parse_exemptions(variable: str, text: str) -> tuple[Exemption, ...]:
    """The entries of ``no_proxy``; raises ``NetworkSettingError``."""
    return tuple(_exemption(variable, word) for word in re.split(r"[\s,]+", text) if word)


def _exemption(variable: str, word: str) -> Exemption:
    try:
        # A network, or an address (IPv6 with or without brackets), which is a network of one.
        return Exemption(
            network=ipaddress.ip_network(word[1:-1] if word[0] == "[" and word[-1] == "]" else word, strict=False)
        )
    except ValueError:
        pass
    match = _ENTRY(word.rpartition("://")[2].rstrip("/"))
    port = int(match["port"]) if match and match["port"] else None
    if match is None or (port is not None and not 0 < port <= MAX_PORT):
        raise NetworkSettingError(
            f"{variable}: '{word}' is not a host, a domain, an address or a network such as 10.0.0.0/8",
            hint=f"correct {variable}: its entries are separated by commas",
        )
    host = match["host"].lower()
    try:
        return Exemption(network=ipaddress.ip_network(host.strip("[]")), port=port)
    except ValueError:
        pass
    return Exemption(domain=host.removeprefix("*.").strip(".") or "*", port=port)


def environment_proxies(environ: Mapping[str, str]) -> Proxies:
    """What the environment says; raises ``NetworkSettingError``. Names in lower case win; an empty one says: none.

    ``HTTP_PROXY`` does not count where a web server runs this as a CGI program: there a client could set it
    (https://httpoxy.org).
    """

    def value(name: str) -> tuple[str, str]:
        if name in environ:
            return name, environ[name].strip()
        upper = name.upper()
        if upper == "HTTP_PROXY" and "REQUEST_METHOD" in environ:
            return upper, ""
        return upper, environ.get(upper, "").strip()

    by_scheme = {}
    for scheme in ("http", "https"):
        variable, text = value(f"{scheme}_proxy")
        if not text and variable not in environ:
            variable, text = value("all_proxy")
        if text:
            by_scheme[scheme] = parse_proxy(variable, text)
    return Proxies(by_scheme, parse_exemptions(*value("no_proxy")))
