"""Downloads of one file: several URLs, resumed, retried, and verified while they stream.

Nothing is given its final name before its hash was right. A mirror that answers with something else is passed over, and
the error at the end says of every URL that was tried what was wrong with it.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

from nexis_eval.derivation import Fetch
from nexis_eval.mirrors import Mirrors
from nexis_store.errors import NexisError

if TYPE_CHECKING:
    import httpx

ATTEMPTS = 4
FIRST_DELAY_SECONDS = 0.5
CONNECT_TIMEOUT_SECONDS = 20.0
READ_TIMEOUT_SECONDS = 60.0
CHUNK_BYTES = 1 << 18
RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})

Progress = Callable[[int, int | None], None]


class FetchError(NexisError):
    """A source could not be had from any of its URLs."""

    code = "F0001"
    exit_code = 3


class Hasher(Protocol):
    """What ``hashlib`` and ``blake3`` have in common."""

    def update(self, data: bytes, /) -> object:
        """Take in more data."""
        ...

    def hexdigest(self) -> str:
        """The digest so far, hexadecimal."""
        ...


class _AttemptError(Exception):
    """One URL did not deliver; ``again`` when the same URL may do better later."""

    def __init__(self, why: str, *, again: bool = False) -> None:
        super().__init__(why)
        self.again = again


def new_hasher(algorithm: str) -> Hasher:
    """A hasher for sha256, sha512 or blake3; raises ``FetchError`` for any other name."""
    if algorithm == "blake3":
        from blake3 import blake3

        return blake3()
    if algorithm in ("sha256", "sha512"):
        return hashlib.new(algorithm)
    raise FetchError(f"unknown hash algorithm '{algorithm}'", hint="use sha256, sha512 or blake3")


def shown(url: str) -> str:
    """``url`` without user, password and query: what may appear in messages and logs."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "…" if parts.query else "", ""))


def new_client() -> httpx.AsyncClient:
    """A client that honours the environment's proxies, certificate authorities and netrc."""
    import httpx

    return httpx.AsyncClient(
        follow_redirects=True,
        timeout=httpx.Timeout(READ_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS),
        limits=httpx.Limits(max_connections=16),
        headers={"User-Agent": "nexis-eval", "Accept-Encoding": "identity"},
    )


async def fetch(
    source: Fetch,
    directory: Path,
    *,
    mirrors: Mirrors,
    progress: Progress | None = None,
    client: httpx.AsyncClient | None = None,
) -> Path:
    """Download ``source`` into ``directory`` under its file name; returns the path of the verified file.

    Raises ``FetchError`` naming each URL that was tried and why it did not do.
    """
    target = directory / source.filename
    partial = directory.with_name(f"{directory.name}.partial")
    own = client is None
    active = client or new_client()
    failures: list[str] = []
    try:
        for url in (each for written in source.urls for each in mirrors.expand(written)):
            try:
                found, size = await _transfer(active, url, source.algorithm, source.size, partial, progress)
                if found != source.hash:
                    raise _AttemptError(
                        f"wrong hash: expected {source.algorithm}:{source.hash}, "
                        f"got {source.algorithm}:{found} ({size} bytes)"
                    )
            except _AttemptError as failure:
                failures.append(f"{shown(url)}: {failure}")
                continue
            partial.replace(target)
            return target
    finally:
        partial.unlink(missing_ok=True)
        if own:
            await active.aclose()
    tried = "\n".join(f"  {each}" for each in failures)
    raise FetchError(
        f"cannot fetch {source.filename}; tried\n{tried}",
        hint="if upstream moved or replaced it, name another URL in 'source' or run 'nexis-eval lock --update PACKAGE'",
    )


async def download(
    url: str,
    path: Path,
    *,
    mirrors: Mirrors,
    client: httpx.AsyncClient,
    algorithm: str = "sha256",
    progress: Progress | None = None,
) -> tuple[str, int]:
    """Download something whose hash is to be found out; returns its hash (hexadecimal) and its size in bytes.

    Raises ``FetchError``.
    """
    failures: list[str] = []
    for each in mirrors.expand(url):
        try:
            return await _transfer(client, each, algorithm, None, path, progress)
        except _AttemptError as failure:
            failures.append(f"{shown(each)}: {failure}")
    tried = "\n".join(f"  {each}" for each in failures)
    raise FetchError(f"cannot download {shown(url)}; tried\n{tried}", hint="check the URL, and that there is a network")


async def _transfer(
    client: httpx.AsyncClient, url: str, algorithm: str, size: int | None, path: Path, progress: Progress | None
) -> tuple[str, int]:
    """Bring what ``url`` has to ``path``; returns hash and size. Raises ``_AttemptError``."""
    scheme = urlsplit(url).scheme
    if scheme == "file":
        return await asyncio.to_thread(_copy, url, algorithm, path)
    if scheme not in ("http", "https"):
        raise _AttemptError(f"the scheme '{scheme}' is not supported (http, https, file and mirror are)")
    path.unlink(missing_ok=True)
    delay = FIRST_DELAY_SECONDS
    for attempt in range(ATTEMPTS):
        try:
            return await _stream(client, url, algorithm, size, path, progress)
        except _AttemptError as failure:
            if not failure.again or attempt == ATTEMPTS - 1:
                raise
        await asyncio.sleep(delay * (1 + random.random()))
        delay *= 2
    raise AssertionError("the last attempt returns or raises")


async def _stream(
    client: httpx.AsyncClient, url: str, algorithm: str, size: int | None, path: Path, progress: Progress | None
) -> tuple[str, int]:
    """One request; goes on where an earlier one broke off if the server can."""
    import httpx

    start = path.stat().st_size if path.exists() else 0
    headers = {"Range": f"bytes={start}-"} if start else {}
    hasher = new_hasher(algorithm)
    done = 0
    try:
        async with client.stream("GET", url, headers=headers) as response:
            if response.status_code == 416:
                path.unlink(missing_ok=True)
                raise _AttemptError("the server has less than was received before", again=True)
            if response.status_code not in (200, 206):
                reason = f"{response.status_code} {response.reason_phrase}".strip()
                raise _AttemptError(reason, again=response.status_code in RETRIED_STATUS)
            resumed = response.status_code == 206 and start > 0
            length = response.headers.get("Content-Length")
            total = int(length) + (start if resumed else 0) if length and length.isdigit() else size
            with path.open("ab" if resumed else "wb") as out:
                if resumed:
                    done = _hash_file(path, hasher)
                async for chunk in response.aiter_bytes(CHUNK_BYTES):
                    out.write(chunk)
                    hasher.update(chunk)
                    done += len(chunk)
                    if size is not None and done > size:
                        raise _AttemptError(f"larger than the {size} bytes that were expected")
                    if progress is not None:
                        progress(done, total)
            if total is not None and length and done < total:
                raise _AttemptError(f"broke off after {done} of {total} bytes", again=True)
    except httpx.TimeoutException:
        raise _AttemptError("timed out", again=True) from None
    except httpx.InvalidURL as error:
        raise _AttemptError(f"not a URL: {error}") from None
    except httpx.HTTPError as error:
        raise _AttemptError(f"{type(error).__name__}: {error}".rstrip(": "), again=True) from None
    return hasher.hexdigest(), done


def _hash_file(path: Path, hasher: Hasher) -> int:
    done = 0
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            hasher.update(chunk)
            done += len(chunk)
    return done


def _copy(url: str, algorithm: str, path: Path) -> tuple[str, int]:
    """A ``file:`` URL."""
    hasher = new_hasher(algorithm)
    try:
        shutil.copyfile(unquote(urlsplit(url).path), path)
    except OSError as error:
        raise _AttemptError(error.strerror or str(error)) from None
    size = _hash_file(path, hasher)
    return hasher.hexdigest(), size
