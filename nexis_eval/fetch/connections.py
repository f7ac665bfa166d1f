"""How requests travel: through the proxy that the environment names for them, trusted authorities, watched for pace.

One place through which every request of every client goes, redirects included. Imports httpx: import this on use.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Generic, TypeVar

import httpx

from nexis_eval.fetch import client
from nexis_eval.fetch.pace import Pace, slowness
from nexis_eval.fetch.proxies import MAX_PORT, NetworkSettingError, Proxies, Proxy

MAX_REDIRECT_BYTES = 1 << 20
"""What may come with an answer that only says where to go."""
VERIFIED = "nexis.verified"
"""The extension of requests whose answer is compared with a hash that is known: those may be redirected anywhere."""
UNPACED = "nexis.unpaced"
"""The extension of requests whose answer may take its time: whoever reads it watches the pace."""

Transport = TypeVar("Transport", httpx.AsyncHTTPTransport, httpx.HTTPTransport)


def trusted_authorities() -> ssl.SSLContext:
    """The authorities of ``$SSL_CERT_FILE`` and ``$SSL_CERT_DIR``, else Mozilla's; raises ``NetworkSettingError``."""
    file, directories = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    for each in (directories or "").split(os.pathsep):
        if each and not Path(each).is_dir():
            raise NetworkSettingError(f"SSL_CERT_DIR: there is no directory {each}", hint="correct it, or unset it")
    if not file and not directories:
        import certifi

        return ssl.create_default_context(cafile=certifi.where())
    try:
        return ssl.create_default_context(cafile=file or None, capath=directories or None)
    except ssl.SSLError as error:
        raise NetworkSettingError(
            f"SSL_CERT_FILE: {file} holds no certificates in PEM format ({error.reason or error})",
            hint="name a file of certificates, such as /etc/ssl/certs/ca-certificates.crt, or unset it",
        ) from None
    except OSError as error:
        raise NetworkSettingError(
            f"SSL_CERT_FILE: {file} cannot be read: {error.strerror}",
            hint="name a file of certificates, such as /etc/ssl/certs/ca-certificates.crt, or unset it",
        ) from None


class Routes(Generic[Transport]):
    """The connections to servers and proxies: one pool a proxy, made when the first request needs it."""

    def __init__(self, proxies: Proxies, make: Callable[[httpx.Proxy | None, ssl.SSLContext], Transport]) -> None:
        self._proxies = proxies
        self._make: Callable[[httpx.Proxy | None, ssl.SSLContext], Transport] = make
        self._context = trusted_authorities()
        self._pools: dict[Proxy | None, Transport] = {}

    def route(self, request: httpx.Request) -> tuple[Transport, Proxy | None]:
        """The pool for a request; raises ``httpx.UnsupportedProtocol`` where there can be no connection."""
        url = request.url
        if url.port is not None and not 0 < url.port <= MAX_PORT:
            raise httpx.UnsupportedProtocol(
                f"port {url.port} of {client.shown(str(url))} is not a port", request=request
            )
        proxy = self._proxies.proxy_for(url.scheme, url.host, url.port)
        if proxy not in self._pools:
            self._pools[proxy] = self._make(self._as_httpx(proxy), self._context)
        return self._pools[proxy], proxy

    def _as_httpx(self, proxy: Proxy | None) -> httpx.Proxy | None:
        if proxy is None:
            return None
        auth = (proxy.user, proxy.password) if proxy.user or proxy.password else None
        context = self._context if proxy.scheme == "https" else None
        return httpx.Proxy(proxy.url, auth=auth, ssl_context=context)

    @property
    def pools(self) -> list[Transport]:
        """All that were made."""
        return list(self._pools.values())


def _raise_with_proxy(error: Exception, proxy: Proxy | None) -> None:
    """Raise ``httpx.ProxyError`` that names the proxy and its variable, for what went wrong on the way there."""
    import socksio

    if proxy is None or "CERTIFICATE" in str(error):
        return
    # Libraries that read SOCKS do not tell apart what a proxy sends in its place.
    kinds = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, socksio.SOCKSError, AssertionError, ValueError)
    if isinstance(error, (*kinds, IndexError)):
        why = f": {error}" if str(error) else ""
        raise httpx.ProxyError(f"no connection through the proxy {proxy.url} of {proxy.variable}{why}") from None


class WatchedBody(httpx.AsyncByteStream):
    """The body of an answer, as long as it comes fast enough."""

    def __init__(
        self, body: httpx.AsyncByteStream, least_rate: int, limit: int | None, close: Callable[[], None]
    ) -> None:
        self._body = body
        self._least_rate = least_rate
        self._limit = limit
        self._close: Callable[[], None] | None = close

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pace, size, began = Pace(self._least_rate), 0, time.monotonic()
        async for chunk in self._body:
            size += len(chunk)
            if pace.too_slow(len(chunk), time.monotonic() - began):
                raise httpx.ReadTimeout(slowness(self._least_rate))
            if self._limit is not None and size > self._limit:
                raise httpx.RemoteProtocolError("the answer that redirects is endless")
            yield chunk
            began = time.monotonic()

    async def aclose(self) -> None:
        """End it, and let another request begin."""
        try:
            await self._body.aclose()
        finally:
            if self._close is not None:
                self._close()
                self._close = None


class AsyncRoutes(httpx.AsyncBaseTransport):
    """For the clients of an event loop. Waiting for a free connection does not count as the server's slowness."""

    def __init__(self, proxies: Proxies, least_rate: int) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=client.MAX_CONNECTIONS)
        self._routes = Routes(
            proxies,
            lambda proxy, context: httpx.AsyncHTTPTransport(verify=context, limits=limits, proxy=proxy),
        )
        self._least_rate = least_rate
        self._slots = asyncio.Semaphore(client.MAX_CONNECTIONS)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read the head of the answer."""
        transport, proxy = self._routes.route(request)
        await self._slots.acquire()
        try:
            try:
                async with asyncio.timeout(client.ANSWER_TIMEOUT_SECONDS):
                    response = await transport.handle_async_request(request)
            except TimeoutError:
                raise httpx.ReadTimeout("the answer did not begin in time", request=request) from None
            except Exception as error:
                _raise_with_proxy(error, proxy)
                raise
            assert isinstance(response.stream, httpx.AsyncByteStream)
            limit = MAX_REDIRECT_BYTES if response.has_redirect_location else None
            least_rate = 0 if request.extensions.get(UNPACED) else self._least_rate
            body = WatchedBody(response.stream, least_rate, limit, self._slots.release)
        except BaseException:
            self._slots.release()
            raise
        return httpx.Response(
            response.status_code, headers=response.headers, stream=body, extensions=response.extensions
        )

    async def aclose(self) -> None:
        """End all connections."""
        for each in self._routes.pools:
            await each.aclose()


class BlockingRoutes(httpx.BaseTransport):
    """The same for a few requests one after the other."""

    def __init__(self, proxies: Proxies) -> None:
        self._routes = Routes(proxies, lambda proxy, context: httpx.HTTPTransport(verify=context, proxy=proxy))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read the head of the answer."""
        transport, proxy = self._routes.route(request)
        try:
            return transport.handle_request(request)
        except Exception as error:
            _raise_with_proxy(error, proxy)
            raise

    def close(self) -> None:
        """End all connections."""
        for each in self._routes.pools:
            each.close()


def refuse_downgrade(response: httpx.Response) -> None:
    """Raise ``httpx.UnsupportedProtocol`` for a redirect that leaves encryption, unless a hash is known.

    On an unencrypted way anybody can put another file in place, and its hash would be pinned.
    """
    if not response.has_redirect_location or response.url.scheme != "https":
        return
    if response.request.extensions.get(VERIFIED):
        return
    try:
        target = response.url.join(response.headers["Location"])
    except (httpx.InvalidURL, ValueError):
        return
    if target.scheme == "http":
        raise httpx.UnsupportedProtocol(
            f"it redirects to {client.shown(str(target))}, which is not encrypted: name an address that stays "
            "encrypted, or that one if you trust the network",
            request=response.request,
        )
