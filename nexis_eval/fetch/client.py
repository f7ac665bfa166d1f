"""The HTTP client of a run: one pool of connections, with the proxies, authorities and passwords of the user's.

Proxies come from ``http_proxy`` and its siblings, certificate authorities from ``SSL_CERT_FILE``, passwords from
``~/.netrc`` (or ``$NETRC``). None of them ever appears in a message, a lock or a recipe.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit, urlunsplit

from nexis_eval.fetch.headers import said
from nexis_eval.fetch.pace import least_rate
from nexis_eval.fetch.proxies import environment_proxies
from nexis_store.errors import NexisError, Place
from nexis_store.homes import home

if TYPE_CHECKING:
    import httpx

CONNECT_TIMEOUT_SECONDS = 20.0
READ_TIMEOUT_SECONDS = 60.0
ANSWER_TIMEOUT_SECONDS = 120.0
"""From the beginning of a request, its connection included, to the end of the answer's head."""
MAX_CONNECTIONS = 16
_HEADERS = {"User-Agent": "nexis-eval", "Accept-Encoding": "identity"}


class FetchError(NexisError):
    """A source could not be had from any of its URLs.

    The message lists each URL that was tried, mirrors included, and what was wrong with it. A server that no longer has
    a file, or has another one under the same name, needs another URL in the configuration, or a new pin:
    ``nexis-eval lock --update PACKAGE``.
    """

    code = "F0001"
    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        place: Place | None = None,
        missing: bool = False,
        others: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, hint=hint, place=place)
        self.missing = missing
        """Whether every server was well and said that there is no such file."""
        self.others = others
        """The hashes of what came, where that was something else (``algorithm:hexadecimal``)."""


class NetrcError(NexisError):
    """The file with the passwords for servers (``~/.netrc`` or ``$NETRC``) cannot be read.

    Each entry is ``machine HOST login NAME password WORD``. Correct the line that the message names, and let nobody
    else read the file (mode 0600).
    """

    code = "F0004"
    exit_code = 3


class SecretInUrlError(NexisError):
    """A URL of the configuration holds a password.

    Configurations and locks are committed and recipes are kept in the store, so nothing secret may be in them.
    Passwords and tokens belong into ``~/.netrc``: ``machine HOST login USER password TOKEN``.
    """

    code = "F0005"
    exit_code = 2


class MalformedUrlError(NexisError):
    """A URL cannot be read: its host or its port is not one.

    The URL stands in the configuration, in the lock, or in what a server sent. An IPv6 address stands in brackets
    (``https://[::1]/``), and a port is a number up to 65535.
    """

    code = "F0009"
    exit_code = 3


def split_url(url: str) -> SplitResult:
    """The parts of ``url``, whose port can be read; raises ``MalformedUrlError``."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise MalformedUrlError(f"'{_short(url)}' is not a URL: {error}", hint="correct its host and port") from None
    return parts


def _short(url: str) -> str:
    """The beginning of a URL that cannot be read, without what may be a password in it."""
    scheme, separator, rest = url.partition("://")
    return said(f"{scheme}{separator}{rest.rpartition('@')[2]}")


def shown(url: str) -> str:
    """``url`` without user, password, query and control characters: what may appear in messages and logs."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return _short(url).partition("?")[0]
    host = parts.netloc.rpartition("@")[2]
    plain = urlunsplit((parts.scheme, host, parts.path, "…" if parts.query else "", parts.fragment))
    return said(plain)


def refuse_secrets(url: str) -> str:
    """``url`` itself; raises ``SecretInUrlError`` if it holds a password. A mere user name (``git+ssh``) is none."""
    parts = split_url(url)
    user, colon, _ = parts.netloc.rpartition("@")[0].partition(":")
    if colon or (user and parts.scheme in ("http", "https", "git+http", "git+https")):
        raise SecretInUrlError(
            f"the URL {shown(url)} is written with a password in it",
            hint=f"take it out, and put it into ~/.netrc: machine {parts.hostname} login … password …",
        )
    return url


def _netrc() -> httpx.Auth | None:
    """The passwords of ``$NETRC`` or ``~/.netrc``, where there is such a file."""
    import netrc

    import httpx

    if given := os.environ.get("NETRC"):
        path = Path(given)
    elif own := home():
        path = own / ".netrc"
    else:
        return None
    try:
        return httpx.NetRCAuth(str(path)) if path.is_file() else None
    except netrc.NetrcParseError as error:
        raise NetrcError(f"{path}:{error.lineno}: {error.msg}", hint="see the manual page netrc(5)") from None
    except UnicodeDecodeError:
        raise NetrcError(f"{path} is not UTF-8", hint="see the manual page netrc(5)") from None
    except OSError as error:
        raise NetrcError(f"{path}: {error.strerror}", hint="make it readable for yourself: chmod 600") from None


def new_client() -> httpx.AsyncClient:
    """A client that honours the environment's proxies and certificate authorities, and netrc.

    Raises ``NetrcError`` and ``NetworkSettingError``.
    """
    import httpx

    from nexis_eval.fetch.connections import AsyncRoutes, refuse_downgrade

    async def see(response: httpx.Response) -> None:
        refuse_downgrade(response)

    return httpx.AsyncClient(
        transport=AsyncRoutes(environment_proxies(os.environ), least_rate()),
        trust_env=False,
        follow_redirects=True,
        auth=_netrc(),
        timeout=httpx.Timeout(READ_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS, pool=None),
        headers=_HEADERS,
        event_hooks={"response": [see]},
    )


def new_blocking_client() -> httpx.Client:
    """The same for a few requests one after the other."""
    import httpx

    from nexis_eval.fetch.connections import BlockingRoutes, refuse_downgrade

    return httpx.Client(
        transport=BlockingRoutes(environment_proxies(os.environ)),
        trust_env=False,
        follow_redirects=True,
        auth=_netrc(),
        timeout=httpx.Timeout(READ_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS, pool=None),
        headers=_HEADERS,
        event_hooks={"response": [refuse_downgrade]},
    )


@asynccontextmanager
async def client_or_new(client: httpx.AsyncClient | None) -> AsyncIterator[httpx.AsyncClient]:
    """``client``, which stays open, or a new one that is closed at the end."""
    if client is not None:
        yield client
        return
    async with new_client() as own:
        yield own
