"""Real servers on the loopback interface, which misbehave as they are told."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class Page:
    """What a path answers, and how badly."""

    data: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    failures: list[int] = field(default_factory=list)
    """Status codes of the first answers."""
    cut_at: list[int] = field(default_factory=list)
    """The first answers break off after so many bytes."""
    ranges: bool = True
    chunked: bool = False
    pause_seconds: float = 0.0
    """Between pieces of 64 KiB."""
    password: tuple[str, str] | None = None


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        # Who has seen enough leaves in the middle; anything else is a mistake of the test.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class Site:
    """An HTTP server with ``pages``; ``requests`` lists what was asked."""

    def __init__(self, fallback: Callable[[Handler], bool] | None = None) -> None:
        self.pages: dict[str, Page] = {}
        self.requests: list[Request] = []
        self.sent: list[int] = []
        """Sizes of the answers that a fallback gave, in bytes."""
        self.fallback = fallback
        site = self

        class Bound(Handler):
            pass

        Bound.site = site
        self.server = Server(("127.0.0.1", 0), Bound)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    @property
    def port(self) -> int:
        return self.server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def page(self, path: str, data: bytes = b"", **settings: object) -> str:
        self.pages[path] = Page(data, **settings)  # type: ignore[arg-type]
        return f"{self.url}{path}"

    def asked(self, path: str) -> list[Request]:
        return [each for each in self.requests if each.path == path]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Handler(BaseHTTPRequestHandler):
    site: Site
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.site.requests.append(Request(self.command, self.path, dict(self.headers.items())))
        page = self.site.pages.get(self.path)
        if page is None:
            if self.site.fallback is None or not self.site.fallback(self):
                self._plain(404, b"not here\n", {"Content-Type": "text/html"})
            return
        if page.password is not None:
            wanted = base64.b64encode(":".join(page.password).encode()).decode()
            if self.headers.get("Authorization") != f"Basic {wanted}":
                self._plain(401, b"who are you?\n", {"WWW-Authenticate": "Basic"})
                return
        if page.failures:
            self._plain(page.failures.pop(0), b"later\n", page.headers)
            return
        self._page(page)

    def _plain(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _page(self, page: Page) -> None:
        start = 0
        asked = self.headers.get("Range", "")
        same = self.headers.get("If-Range") in (None, page.headers.get("ETag"))
        if page.ranges and same and asked.startswith("bytes="):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(page.data):
                self._plain(416, b"", {})
                return
        body = page.data[start:]
        self.send_response(206 if start else page.status)
        for name, value in page.headers.items():
            self.send_header(name, value)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(page.data) - 1}/{len(page.data)}")
        cut = page.cut_at.pop(0) if page.cut_at else None
        if page.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        if cut is not None:
            self.close_connection = True
            body = body[:cut]
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            for position in range(0, len(body), 1 << 16):
                piece = body[position : position + (1 << 16)]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if page.chunked else piece)
                if page.pause_seconds:
                    time.sleep(page.pause_seconds)
            if page.chunked and cut is None:
                self.wfile.write(b"0\r\n\r\n")


@contextlib.contextmanager
def site() -> Iterator[Site]:
    server = Site()
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that lets ``answer`` speak on each connection; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    open_now: set[socket.socket] = set()
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        # Who has seen enough leaves in the middle.
        with connection, contextlib.suppress(OSError):
            answer(connection)
        open_now.discard(connection)

    def accept() -> None:
        while not ended.is_set():
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                open_now.add(connection)
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for each in tuple(open_now):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def raw_server(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """An HTTP server whose answers are ``answer``'s, byte for byte; gives its URL."""

    def serve(connection: socket.socket) -> None:
        asked = b""
        while b"\r\n\r\n" not in asked:
            part = connection.recv(65536)
            if not part:
                return
            asked += part
        answer(connection)
        connection.shutdown(socket.SHUT_WR)

    with listening(serve) as port:
        yield f"http://127.0.0.1:{port}"


def git_backend(root: Path) -> Callable[[Handler], bool]:
    """Serves the repositories below ``root`` as git's own HTTP backend does (CGI, RFC 3875)."""

    def answer(handler: Handler) -> bool:
        parts = urlsplit(handler.path)
        length = int(handler.headers.get("Content-Length") or 0)
        if handler.headers.get("Transfer-Encoding") == "chunked":
            return False
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "PATH_INFO": unquote(parts.path),
            "QUERY_STRING": parts.query,
            "REQUEST_METHOD": handler.command,
            "CONTENT_TYPE": handler.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(length),
            "REMOTE_ADDR": "127.0.0.1",
            "GIT_PROTOCOL": handler.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": handler.headers.get("Content-Encoding", ""),
        }
        # A refused request ends with an error code, after the refusal was written.
        done = subprocess.run(
            ["git", "http-backend"], input=handler.rfile.read(length), env=environment, capture_output=True, check=False
        )
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        status = 200
        headers = {}
        for line in head.decode().splitlines():
            name, _, value = line.partition(": ")
            if name == "Status":
                status = int(value.split()[0])
            else:
                headers[name] = value
        handler.site.sent.append(len(body))
        handler._plain(status, body, headers)
        return True

    return answer
