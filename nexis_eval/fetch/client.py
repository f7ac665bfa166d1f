"""The HTTP client of a run: one pool of connections, with the proxies, authorities and passwords of the user's.

Proxies come from ``http_proxy`` and its siblings, certificate authorities from ``SSL_CERT_FILE``, passwords from
``~/.netrc`` (or ``$NETRC``). None of them ever appears in a message, a lock or a recipe.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from nexis_store.errors import NexisError, Place

if TYPE_CHECKING:
    import httpx

CONNECT_TIMEOUT_SECONDS = 20.0
READ_TIMEOUT_SECONDS = 60.0
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
        self, message: str, *, hint: str | None = None, place: Place | None = None, missing: bool = False
    ) -> None:
        super().__init__(message, hint=hint, place=place)
        self.missing = missing
        """Whether every server was well and said that there is no such file."""


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


def shown(url: str) -> str:
    """``url`` without user, password and query: what may appear in messages and logs."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "…" if parts.query else "", parts.fragment))


def refuse_secrets(url: str) -> str:
    """``url`` itself; raises ``SecretInUrlError`` if it holds a password. A mere user name (``git+ssh``) is none."""
    parts = urlsplit(url)
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

    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    try:
        return httpx.NetRCAuth(str(path)) if path.is_file() else None
    except netrc.NetrcParseError as error:
        raise NetrcError(f"{path}:{error.lineno}: {error.msg}", hint="see the manual page netrc(5)") from None
    except OSError as error:
        raise NetrcError(f"{path}: {error.strerror}", hint="make it readable for yourself: chmod 600") from None


def new_client() -> httpx.AsyncClient:
    """A client that honours the environment's proxies and certificate authorities, and netrc; raises ``NetrcError``."""
    import httpx

    return httpx.AsyncClient(
        follow_redirects=True,
        auth=_netrc(),
        timeout=httpx.Timeout(READ_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS, pool=None),
        limits=httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS),
        headers=_HEADERS,
    )


def new_blocking_client() -> httpx.Client:
    """The same for a few requests one after the other; raises ``NetrcError``."""
    import httpx

    timeout = httpx.Timeout(READ_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS, pool=None)
    return httpx.Client(follow_redirects=True, auth=_netrc(), timeout=timeout, headers=_HEADERS)
