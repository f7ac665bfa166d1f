"""Proxies and certificate authorities of the environment, with real proxies: HTTP, CONNECT and SOCKS5."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import hashlib
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexis_eval.fetch import url as url_module
from nexis_eval.fetch.client import FetchError, new_blocking_client, new_client
from nexis_eval.fetch.proxies import NetworkSettingError, environment_proxies
from nexis_eval.fetch.url import download, fetch
from nexis_eval.graph.derivation import Fetch
from nexis_eval.mirrors import Mirrors
from nexis_store.errors import NexisError
from tests.eval.fetch.servers import Site, listening

DATA = b"through a proxy\n" * 1000
FAR = "far.invalid"
"""A host that only the proxies know: it is the test's own server."""


def pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def join(connection: socket.socket, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as onward:
        back = threading.Thread(target=pump, args=(onward, connection))
        back.start()
        pump(connection, onward)
        back.join()


class Proxy:
    """Remembers who was asked for, and with which password."""

    def __init__(self, site: Site, password: tuple[str, str] | None = None) -> None:
        self.site, self.password = site, password
        self.asked: list[str] = []

    def http(self, connection: socket.socket) -> None:
        """``CONNECT`` (RFC 9110, 9.3.6), and requests with whole URLs."""
        head = b""
        while b"\r\n\r\n" not in head:
            part = connection.recv(1)
            if not part:
                return
            head += part
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        self.asked.append(target)
        if self.password is not None:
            wanted = b"Basic " + base64.b64encode(":".join(self.password).encode())
            if wanted not in head:
                connection.sendall(b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
        if method == "CONNECT":
            connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            join(connection, self.site.port)
        else:
            path = "/" + target.split("/", 3)[3]
            lines = [f"{method} {path} HTTP/1.1".encode(), *head.split(b"\r\n")[1:-2], b"Connection: close", b"", b""]
            with socket.create_connection(("127.0.0.1", self.site.port)) as onward:
                onward.sendall(b"\r\n".join(lines))
                pump(onward, connection)

    def socks(self, connection: socket.socket) -> None:
        """SOCKS 5 (RFC 1928), with a password where there is one (RFC 1929)."""
        stream = connection.makefile("rb")
        _, count = stream.read(2)
        methods = stream.read(count)
        method = 0 if self.password is None else 2
        if method not in methods:
            connection.sendall(b"\x05\xff")
            return
        connection.sendall(bytes((5, method)))
        if self.password is not None:
            _, length = stream.read(2)
            user = stream.read(length).decode()
            password = stream.read(stream.read(1)[0]).decode()
            good = (user, password) == self.password
            connection.sendall(bytes((1, not good)))
            if not good:
                return
        _, _, _, kind = stream.read(4)
        length = {1: 4, 4: 16}.get(kind) or stream.read(1)[0]
        host = stream.read(length)
        (port,) = struct.unpack(">H", stream.read(2))
        self.asked.append(f"{host.decode('latin-1')}:{port}")
        connection.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
        join(connection, self.site.port)


@pytest.fixture
def certificate(tmp_path: Path, site: Site) -> Path:
    """Makes ``site`` speak TLS under the names of the tests; the certificate is its own authority."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: no certificate")
    file, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    names = ["-subj", f"/CN={FAR}", "-addext", f"subjectAltName=DNS:{FAR},IP:127.0.0.1"]
    subprocess.run([*command, *names, "-keyout", key, "-out", file], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    site.server.socket = context.wrap_socket(site.server.socket, server_side=True, do_handshake_on_connect=False)
    return file


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(url_module, "ROUNDS", 1)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    yield
    with warnings.catch_warnings():
        # A refused handshake leaves httpcore's socket to the collector: no other test shall be told of it.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def running(site: Site) -> Iterator[Callable[..., tuple[Proxy, int]]]:
    """Starts proxies to ``site``."""
    site.page("/x", DATA)
    with contextlib.ExitStack() as stack:

        def start(kind: str, password: tuple[str, str] | None = None) -> tuple[Proxy, int]:
            proxy = Proxy(site, password)
            return proxy, stack.enter_context(listening(getattr(proxy, kind)))

        yield start


def get(tmp_path: Path, address: str) -> bytes:
    source = Fetch((address,), "sha256", hashlib.sha256(DATA).hexdigest(), "x")
    (tmp_path / "out").mkdir(exist_ok=True)
    return asyncio.run(fetch(source, tmp_path / "out", mirrors=Mirrors({}))).read_bytes()


Start = Callable[..., tuple[Proxy, int]]


@pytest.mark.parametrize("scheme", ["socks5h", "socks5", "http"])
@pytest.mark.parametrize("variable", ["ALL_PROXY", "all_proxy", "http_proxy", "HTTP_PROXY"])
def test_a_proxy_for_everything(
    tmp_path: Path, running: Start, monkeypatch: pytest.MonkeyPatch, scheme: str, variable: str
) -> None:
    proxy, port = running("http" if scheme == "http" else "socks")
    monkeypatch.setenv(variable, f"{scheme}://127.0.0.1:{port}")
    assert get(tmp_path, f"http://{FAR}:8080/x") == DATA
    assert proxy.asked == [f"http://{FAR}:8080/x" if scheme == "http" else f"{FAR}:8080"]


# httpcore leaves the connection to collection where a SOCKS proxy refuses.
leaves_connections = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@leaves_connections
@pytest.mark.parametrize("kind", ["http", "socks"])
@pytest.mark.parametrize("written", ["p#s/s?w@rd", "p%23s%2Fs%3Fw%40rd"])
def test_passwords_of_proxies_may_hold_anything(
    tmp_path: Path, running: Start, monkeypatch: pytest.MonkeyPatch, kind: str, written: str
) -> None:
    _, port = running(kind, ("me", "p#s/s?w@rd"))
    scheme = "socks5h" if kind == "socks" else "http"
    monkeypatch.setenv("http_proxy", f"{scheme}://me:{written}@127.0.0.1:{port}/")
    assert get(tmp_path, f"http://{FAR}/x") == DATA
    monkeypatch.setenv("http_proxy", f"{scheme}://me:wr0ng@127.0.0.1:{port}")
    (tmp_path / "out/x").unlink()
    with pytest.raises(FetchError) as caught:
        get(tmp_path, f"http://{FAR}/x")
    assert "http_proxy" in str(caught.value)
    assert "wr0ng" not in str(caught.value)
    gc.collect()


@leaves_connections
@pytest.mark.parametrize("kind", ["http", "socks"])
def test_encrypted_through_a_proxy(
    tmp_path: Path, running: Start, certificate: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    proxy, port = running(kind)
    monkeypatch.setenv("https_proxy", f"{'socks5h' if kind == 'socks' else 'http'}://127.0.0.1:{port}")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert get(tmp_path, f"https://{FAR}/x") == DATA
    assert proxy.asked == [f"{FAR}:443"]
    monkeypatch.delenv("SSL_CERT_FILE")
    (tmp_path / "out/x").unlink()
    with pytest.raises(FetchError, match="certificate is not trusted"):
        get(tmp_path, f"https://{FAR}/x")
    gc.collect()


@pytest.mark.parametrize(
    "exempt",
    [
        "localhost, [::1], 127.0.0.1",
        "localhost,[::1] 127.0.0.1",
        "127.0.0.0/8",
        "10.0.0.0/8,127.0.0.1/32",
        "*",
        "127.0.0.1:{port}",
        "example.org:80 127.0.0.1",
    ],
)
def test_what_is_reached_directly(
    tmp_path: Path, site: Site, running: Start, monkeypatch: pytest.MonkeyPatch, exempt: str
) -> None:
    proxy, port = running("http")
    monkeypatch.setenv("http_proxy", f"127.0.0.1:{port}")
    monkeypatch.setenv("no_proxy", exempt.format(port=site.port))
    assert get(tmp_path, f"{site.url}/x") == DATA
    assert proxy.asked == []


@pytest.mark.parametrize("exempt", ["localhost, [::1]", "10.0.0.0/8", "127.0.0.1:1", "invalid.example", "7.0.0.1"])
def test_what_is_not(tmp_path: Path, site: Site, running: Start, monkeypatch: pytest.MonkeyPatch, exempt: str) -> None:
    proxy, port = running("http")
    monkeypatch.setenv("http_proxy", f"127.0.0.1:{port}")
    monkeypatch.setenv("NO_PROXY", exempt)
    assert get(tmp_path, f"{site.url}/x") == DATA
    assert proxy.asked == [f"{site.url}/x"]


@pytest.mark.parametrize(
    ("text", "host", "direct"),
    [
        ("example.org", "example.org", True),
        ("example.org", "www.example.org", True),
        (".example.org", "www.example.org", True),
        ("*.example.org", "www.example.org", True),
        ("EXAMPLE.org", "example.org.", True),
        ("example.org", "notexample.org", False),
        ("2001:db8::/32", "2001:db8::7", True),
        ("[2001:db8::7]", "2001:db8::7", True),
        ("[2001:db8::7]:80", "2001:db8::7", True),
        ("[2001:db8::7]:81", "2001:db8::7", False),
        ("2001:db8::/32", "2001:db9::7", False),
        ("10.0.0.0/8", "10.example.org", False),
        ("10.1.2.3/8", "10.9.9.9", True),
        ("0.0.0.0/0", "::1", False),
        ("http://example.org/", "example.org", True),
    ],
)
def test_entries_of_no_proxy(text: str, host: str, direct: bool) -> None:
    proxies = environment_proxies({"http_proxy": "http://proxy:1", "no_proxy": f"x.invalid, {text}"})
    assert (proxies.proxy_for("http", host, None) is None) == direct


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("http_proxy", "http://h:port"),
        ("http_proxy", "http://me:s3cret@"),
        ("http_proxy", "http://me:s3cret@h:99999"),
        ("https_proxy", "ftp://h:1"),
        ("ALL_PROXY", "socks4://h:1"),
        ("all_proxy", "socks5h://"),
        ("http_proxy", "http://[::1:80"),
        ("http_proxy", "http://h:\u00b2"),
        ("no_proxy", "10.0.0.0/99"),
        ("no_proxy", "h:port"),
        ("NO_PROXY", "[::1"),
        ("SSL_CERT_FILE", "/none"),
        ("SSL_CERT_FILE", "/"),
        ("SSL_CERT_FILE", __file__),
        ("SSL_CERT_DIR", "/none"),
    ],
)
def test_a_variable_that_is_wrong_is_named(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    monkeypatch.setenv(variable, text)
    for begin in (new_client, new_blocking_client):
        with pytest.raises(NetworkSettingError) as caught:
            begin()
        assert caught.value.message.startswith(f"{variable}")
        assert caught.value.hint
        assert "s3cret" not in str(caught.value)


@given(st.text(alphabet="htps5:/@[]#%.0123456789*, -\u00e9", max_size=30), st.text(max_size=30))
def test_any_text_is_a_proxy_or_an_error_of_the_variable(proxy: str, exempt: str) -> None:
    try:
        found = environment_proxies({"http_proxy": proxy, "no_proxy": exempt})
    except NexisError as error:
        assert error.message.startswith(("http_proxy", "no_proxy"))
    else:
        found.proxy_for("http", "example.org", None)


def test_an_empty_variable_switches_off(tmp_path: Path) -> None:
    environ = {"http_proxy": "", "HTTP_PROXY": "http://h:1", "ALL_PROXY": "http://h:2"}
    assert environment_proxies(environ).proxy_for("http", "x", None) is None
    assert environment_proxies(environ).proxy_for("https", "x", None) is not None
    cgi = {"HTTP_PROXY": "http://h:1", "REQUEST_METHOD": "GET"}
    assert environment_proxies(cgi).proxy_for("http", "x", None) is None


@leaves_connections
def test_a_proxy_that_is_gone_or_speaks_nonsense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(lambda connection: None) as port:
        pass
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
    with pytest.raises(FetchError, match=f"through the proxy http://127.0.0.1:{port} of http_proxy"):
        get(tmp_path, f"http://{FAR}/x")
    for answer in (b"", b"\x05", b"HTTP/1.1 400 No\r\n\r\n", b"\x05\x00\x05\x00", b"\x04\x01", bytes(4096)):

        def speak(connection: socket.socket, answer: bytes = answer) -> None:
            connection.recv(100)
            connection.sendall(answer)

        with listening(speak) as port:
            monkeypatch.setenv("http_proxy", f"socks5h://127.0.0.1:{port}")
            with pytest.raises(FetchError, match="of http_proxy"):
                get(tmp_path, f"http://{FAR}/x")
    gc.collect()


# Redirects that leave encryption


@pytest.mark.parametrize("blocking", [False, True])
def test_a_redirect_to_an_unencrypted_address_is_refused(
    tmp_path: Path, site: Site, certificate: Path, monkeypatch: pytest.MonkeyPatch, blocking: bool
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    plain = Site()
    try:
        plain.page("/x?token=t0ken", DATA)
        for path, target in (("/one", "/two"), ("/two", f"{plain.url}/x?token=t0ken")):
            site.page(path, status=302, headers={"Location": target})
        address = f"https://127.0.0.1:{site.port}/one"
        if blocking:
            import httpx

            with new_blocking_client() as client, pytest.raises(httpx.UnsupportedProtocol, match="not encrypted"):
                client.get(address)
        else:

            async def pin() -> None:
                async with new_client() as client:
                    await download((address,), tmp_path / "pinned", mirrors=Mirrors({}), client=client)

            with pytest.raises(FetchError, match="which is not encrypted: name an address that stays") as caught:
                asyncio.run(pin())
            assert "t0ken" not in str(caught.value)
        assert plain.requests == []
        # Against a known hash it does not matter on which way a file comes.
        assert get(tmp_path, address) == DATA
    finally:
        plain.close()
