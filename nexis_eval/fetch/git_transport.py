"""Conversations with git servers: over HTTP, over git's own port, over ssh, and with a repository on this machine.

Formats: gitprotocol-http(5), gitprotocol-pack(5). The git program is only needed for repositories on this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote

from nexis_eval.fetch.client import split_url
from nexis_eval.fetch.git_protocol import (
    FLUSH,
    Capabilities,
    ProtocolError,
    packet,
    packet_length,
    parse_capabilities,
    text_of,
)
from nexis_eval.fetch.headers import said
from nexis_eval.fetch.transfer import RETRIED_STATUS, AttemptError, attempt_error

if TYPE_CHECKING:
    import httpx

CONNECT_TIMEOUT_SECONDS = 20.0
SILENCE_TIMEOUT_SECONDS = 120.0
END_SECONDS = 2.0
"""That a program has to end by itself."""
GIT_PORT = 9418
MAX_LISTING_BYTES = 512 << 20
LINE_COST_BYTES = 64
"""Of memory, beside the text."""
MAX_COMPLAINT_BYTES = 1 << 16
SCHEMES = ("http", "https", "git", "ssh", "file")


class _Source(Protocol):
    async def exactly(self, size: int) -> bytes: ...


class Packets:
    """Reads packet lines from a source of bytes."""

    def __init__(self, source: _Source) -> None:
        self._source = source

    async def next(self) -> bytes | None:
        """The next line; ``None`` for a flush, a delimiter or the end of the answer. Raises ``ProtocolError``."""
        length = packet_length(await self._source.exactly(4))
        if length < 0:
            return None
        return await self._source.exactly(length)

    async def lines(self) -> list[str]:
        """All lines up to the next flush or delimiter, as text."""
        found, size = [], 0
        while (line := await self.next()) is not None:
            found.append(text_of(line))
            size += len(line) + LINE_COST_BYTES
            if size > MAX_LISTING_BYTES:
                raise ProtocolError("the server lists more than any repository has")
        return found

    async def section(self, name: str) -> None:
        """Skip to where the section ``name`` of an answer begins."""
        while (line := await self.next()) is None or text_of(line) != name:
            pass

    async def sideband(self) -> AsyncIterator[bytes]:
        """The data of a multiplexed answer, without progress messages; raises ``ProtocolError`` for an error."""
        while (line := await self.next()) is not None:
            if line[:1] == b"\1":
                yield line[1:]
            elif line[:1] != b"\2":
                raise ProtocolError(f"the server says: {said(line[1:].decode(errors='replace'))}")


class Server(Protocol):
    """One conversation: what the server can do, then one command after another."""

    async def greeting(self) -> Capabilities:
        """What the server can do; comes first."""
        ...

    def ask(self, command: bytes) -> contextlib.AbstractAsyncContextManager[Packets]:
        """Send a command; the answer is read inside the block."""
        ...


class _Body:
    """The bytes of an HTTP answer."""

    def __init__(self, response: httpx.Response) -> None:
        self._chunks = response.aiter_bytes()
        self._buffer = b""

    async def exactly(self, size: int) -> bytes:
        parts = [self._buffer]
        have = len(self._buffer)
        while have < size:
            try:
                chunk = await anext(self._chunks)
            except StopAsyncIteration:
                raise AttemptError("the answer broke off", again=True) from None
            parts.append(chunk)
            have += len(chunk)
        data = b"".join(parts) if len(parts) > 1 else parts[0]
        self._buffer = data[size:]
        return data[:size]


class HttpServer:
    """A server of git's smart HTTP protocol."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self._url = url.rstrip("/")
        self._client = client

    @contextlib.asynccontextmanager
    async def _request(self, method: str, url: str, **settings: object) -> AsyncIterator[httpx.Response]:
        import httpx

        from nexis_eval.fetch.connections import UNPACED

        try:
            # A server may think for minutes before it sends a pack; how fast that then comes is seen where it is read.
            settings["extensions"] = {UNPACED: True}
            async with self._client.stream(method, url, **settings) as response:  # type: ignore[arg-type]
                if response.status_code != 200:
                    reason = f"{response.status_code} {said(response.reason_phrase)}".strip()
                    if response.status_code in (401, 403, 404):
                        reason += " (no such repository, or a password in ~/.netrc is needed)"
                    raise AttemptError(reason, again=response.status_code in RETRIED_STATUS)
                yield response
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise attempt_error(error) from None

    async def greeting(self) -> Capabilities:
        """Ask for the capabilities; a redirect moves the whole conversation."""
        address = f"{self._url}/info/refs?service=git-upload-pack"
        async with self._request("GET", address, headers={"Git-Protocol": "version=2"}) as response:
            if not response.headers.get("Content-Type", "").startswith("application/x-git-upload-pack-advertisement"):
                raise AttemptError("there is no git repository that can be fetched from (smart HTTP)")
            final = str(response.url)
            if "/info/refs" in final:
                self._url = final.partition("/info/refs")[0]
            packets = Packets(_Body(response))
            lines = await packets.lines()
            if lines and lines[0].startswith("# service="):
                lines = await packets.lines()
            return parse_capabilities(lines)

    @contextlib.asynccontextmanager
    async def ask(self, command: bytes) -> AsyncIterator[Packets]:
        """Post a command."""
        headers = {"Git-Protocol": "version=2", "Content-Type": "application/x-git-upload-pack-request"}
        address = f"{self._url}/git-upload-pack"
        async with self._request("POST", address, headers=headers, content=command) as response:
            yield Packets(_Body(response))


class _Stream:
    """The bytes of a connection."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def exactly(self, size: int) -> bytes:
        try:
            return await asyncio.wait_for(self._reader.readexactly(size), SILENCE_TIMEOUT_SECONDS)
        except asyncio.IncompleteReadError:
            raise AttemptError("the connection broke off", again=True) from None
        except TimeoutError:
            raise AttemptError("timed out", again=True) from None


class StreamServer:
    """A server at the other end of a connection or a pipe."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._packets = Packets(_Stream(reader))
        self._writer = writer

    async def greeting(self) -> Capabilities:
        """Read what the server announces by itself."""
        return parse_capabilities(await self._packets.lines())

    @contextlib.asynccontextmanager
    async def ask(self, command: bytes) -> AsyncIterator[Packets]:
        """Send a command."""
        self._writer.write(command)
        await self._writer.drain()
        yield self._packets


@contextlib.asynccontextmanager
async def _over_tcp(host: str, port: int, path: str) -> AsyncIterator[Server]:
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), CONNECT_TIMEOUT_SECONDS)
    except (OSError, TimeoutError) as error:
        raise AttemptError(f"no connection: {error or 'timed out'}", again=True) from None
    try:
        writer.write(packet(f"git-upload-pack {path}\0host={host}:{port}\0\0version=2\0"))
        await writer.drain()
        yield StreamServer(reader, writer)
    except ConnectionError as error:
        raise AttemptError(f"the connection broke off: {error}", again=True) from None
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _complaint(stream: asyncio.StreamReader) -> bytes:
    """What a program says on its standard error, up to a bound; the rest is read and forgotten."""
    kept = b""
    while part := await stream.read(MAX_COMPLAINT_BYTES):
        kept += part[: MAX_COMPLAINT_BYTES - len(kept)]
    return kept


@contextlib.asynccontextmanager
async def _over_pipe(command: list[str], needed: str) -> AsyncIterator[Server]:
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "GIT_PROTOCOL": "version=2"},
        )
    except FileNotFoundError:
        raise AttemptError(f"'{command[0]}' is not installed, which {needed} needs") from None
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    listening = asyncio.create_task(_complaint(process.stderr))
    try:
        yield StreamServer(process.stdout, process.stdin)
        with contextlib.suppress(ConnectionError):
            process.stdin.write(FLUSH)
            await process.stdin.drain()
    except (ConnectionError, AttemptError) as error:
        process.stdin.close()
        await _ended(process)
        # What the program says is why the connection broke off. It would say the same again.
        complaint = said((await listening).decode(errors="replace"))
        raise AttemptError(complaint or str(error) or "the connection broke off") from None
    finally:
        process.stdin.close()
        await _ended(process)
        await listening


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Wait for a program whose input was closed, and kill it if it does not end."""
    try:
        await asyncio.wait_for(process.wait(), END_SECONDS)
    except TimeoutError:
        # It may have ended since: an event loop that is busy hears of it late.
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def connect(url: str, client: httpx.AsyncClient) -> AsyncIterator[Server]:
    """Begin a conversation about the repository at ``url``; raises ``AttemptError``."""
    parts = split_url(url)
    path = unquote(parts.path)
    if parts.scheme in ("http", "https"):
        yield HttpServer(url, client)
    elif parts.scheme == "git":
        async with _over_tcp(parts.hostname or "", parts.port or GIT_PORT, path) as server:
            yield server
    elif parts.scheme == "ssh":
        if (parts.hostname or "-").startswith("-") or (parts.username or "").startswith("-"):
            raise AttemptError("that is not a host name")
        where = f"{parts.username}@{parts.hostname}" if parts.username else str(parts.hostname)
        port = ["-p", str(parts.port)] if parts.port else []
        options = ["-o", "BatchMode=yes", "-o", "SendEnv=GIT_PROTOCOL"]
        remote = f"git-upload-pack {shlex.quote(path)}"
        async with _over_pipe(["ssh", *options, *port, "--", where, remote], "a git+ssh URL") as server:
            yield server
    elif parts.scheme == "file":
        async with _over_pipe(["git-upload-pack", path], "a repository on this machine") as server:
            yield server
    else:
        raise AttemptError(f"'{parts.scheme}' is not a scheme of git repositories ({', '.join(SCHEMES)} are)")
