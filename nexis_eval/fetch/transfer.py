"""One attempt to bring what one URL has to a file, going on where an earlier attempt broke off."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from nexis_eval.fetch.client import split_url
from nexis_eval.fetch.hashes import Hasher, new_hasher
from nexis_eval.fetch.headers import said, whole_number

if TYPE_CHECKING:
    import httpx

CHUNK_BYTES = 1 << 18
RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
MAX_RETRY_AFTER_SECONDS = 30.0
MAX_BYTES = 1 << 36
"""What a server may send at most when nobody said how large the file is: 64 GiB."""

Progress = Callable[[int, int | None], None]


class AttemptError(Exception):
    """One URL did not deliver. ``again`` when it may do better later, after ``delay_seconds`` if it said so.

    ``missing`` when the server is well and says that there is no such file; ``slow`` when it was given up waiting.
    """

    def __init__(
        self, why: str, *, again: bool = False, delay_seconds: float = 0.0, missing: bool = False, slow: bool = False
    ) -> None:
        super().__init__(why)
        self.again = again
        self.missing = missing
        self.slow = slow
        self.delay_seconds = delay_seconds


@dataclass(frozen=True, slots=True)
class Received:
    """A complete file: its digest (hexadecimal), its size in bytes, and whether it was put together of two answers.

    ``announced`` says whether the server told where the file ends, so that one that was cut short would be noticed.
    """

    hash: str
    size: int
    resumed: bool = False
    content_type: str = ""
    announced: bool = True


@dataclass(slots=True)
class Partial:
    """A file that is being received. ``validator`` is how the server of ``url`` calls this state of it."""

    path: Path
    url: str = ""
    validator: str = ""

    @property
    def size(self) -> int:
        """How much came so far, in bytes."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def clear(self) -> None:
        """Begin anew. The file itself stays: it may be locked."""
        self.validator = ""
        if self.path.exists():
            os.truncate(self.path, 0)


async def transfer(
    client: httpx.AsyncClient,
    url: str,
    partial: Partial,
    *,
    algorithm: str,
    verified: bool = False,
    size: int | None = None,
    limit: int = MAX_BYTES,
    progress: Progress | None = None,
) -> Received:
    """Bring ``url`` to ``partial``, appending to what is there if the server can send the rest of it.

    ``size`` is the exact number of bytes where it is known, else at most ``limit`` may come. With ``verified`` a hash
    is known, by which files from different servers are one. Raises ``AttemptError``; what was received by then stays.
    """
    scheme = split_url(url).scheme
    if scheme == "file":
        return await asyncio.to_thread(_copy, url, partial.path, algorithm)
    if scheme not in ("http", "https"):
        raise AttemptError(f"'{scheme}' is not a scheme of files (http, https, file and mirror are)")
    import httpx

    try:
        return await _stream(client, url, partial, algorithm, verified, size, limit, progress)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise attempt_error(error) from None
    except OSError as error:
        raise AttemptError(f"{partial.path.name} cannot be written: {error.strerror or error}") from None


def attempt_error(error: httpx.HTTPError | httpx.InvalidURL) -> AttemptError:
    """What went wrong with a request, as a person would say it, and whether it may go better later."""
    import httpx

    text = said(str(error))
    if isinstance(error, httpx.TimeoutException):
        return AttemptError(f"timed out: {text}" if text else "timed out", again=True, slow=True)
    if isinstance(error, httpx.InvalidURL):
        return AttemptError(f"not a URL: {text}")
    if isinstance(error, httpx.TooManyRedirects):
        return AttemptError("redirects without end")
    if isinstance(error, httpx.UnsupportedProtocol):
        return AttemptError(text)
    if isinstance(error, httpx.ConnectError):
        return AttemptError(_why_not_connected(text), again=True)
    if isinstance(error, httpx.NetworkError) or "peer closed connection" in text:
        return AttemptError(f"the connection broke off: {text}".removesuffix(": "), again=True)
    if isinstance(error, httpx.ProxyError):
        return AttemptError(text, again=True)
    return AttemptError(f"{type(error).__name__}: {text}".rstrip(": "), again=True)


def _why_not_connected(text: str) -> str:
    if "Name or service not known" in text or "name resolution" in text or "No address associated" in text:
        return "the host name is not known (is there a network?)"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "the server's certificate is not trusted (SSL_CERT_FILE names the authorities)"
    if "All connection attempts failed" in text:
        return "no connection (is there a network?)"
    return f"no connection: {text}"


def _retry_after(response: httpx.Response) -> float:
    """What the server asks to wait (RFC 9110, 10.2.3), in seconds, within reason: a number or a date."""
    text = response.headers.get("Retry-After", "").strip()
    seconds: float | None = whole_number(text)
    if seconds is None:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError, IndexError):
            return 0.0
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def _resumes_at(response: httpx.Response) -> int | None:
    """Where the part that the server sends begins (RFC 9110, 14.4); ``None`` if it sends the whole."""
    if response.status_code != 206:
        return None
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""), re.ASCII)
    begins = whole_number(match[1]) if match else None
    return -1 if begins is None else begins


def _whole_size(response: httpx.Response, done: int) -> int | None:
    """How many bytes the file has, of which ``done`` are here. A part says how large the whole is, or nobody knows."""
    if response.status_code == 206:
        return whole_number(response.headers.get("Content-Range", "").rpartition("/")[2].strip())
    length = whole_number(response.headers.get("Content-Length", ""))
    return None if length is None else length + done


def _validator(response: httpx.Response) -> str:
    """How a server calls the state of a file (RFC 9110, 8.8), strongly enough to put halves together by."""
    tag = str(response.headers.get("ETag", ""))
    return tag if tag and not tag.startswith("W/") else str(response.headers.get("Last-Modified", ""))


def _resume(partial: Partial, url: str, verified: bool, size: int | None) -> dict[str, str]:
    """The headers that ask for what is missing. Without a known hash two halves must be of one server's one file."""
    if not verified and partial.url != url:
        partial.clear()
    partial.url = url
    start = partial.size
    if not start or (size is not None and start >= size):
        return {}
    headers = {"Range": f"bytes={start}-"}
    if not verified and partial.validator:
        headers["If-Range"] = partial.validator
    return headers


def _refused(response: httpx.Response) -> AttemptError:
    reason = f"{response.status_code} {said(response.reason_phrase)}".strip()
    if response.status_code in (401, 403):
        reason += " (passwords are read from ~/.netrc)"
    if response.status_code == 407:
        reason += " (the proxy needs a password: http_proxy=http://USER:PASSWORD@HOST:PORT)"
    return AttemptError(
        reason,
        again=response.status_code in RETRIED_STATUS,
        delay_seconds=_retry_after(response),
        missing=response.status_code in (404, 410),
    )


async def _stream(
    client: httpx.AsyncClient,
    url: str,
    partial: Partial,
    algorithm: str,
    verified: bool,
    size: int | None,
    limit: int,
    progress: Progress | None,
) -> Received:
    from nexis_eval.fetch.connections import VERIFIED

    headers = _resume(partial, url, verified, size)
    start = partial.size if headers else 0
    async with client.stream("GET", url, headers=headers, extensions={VERIFIED: verified}) as response:
        if response.status_code == 416:
            partial.clear()
            raise AttemptError("the server has less than was received before", again=True)
        if response.status_code not in (200, 206):
            raise _refused(response)
        begins = _resumes_at(response)
        if begins is not None and begins != start:
            partial.clear()
            raise AttemptError("the server sent another part than was asked for", again=True)
        done = begins or 0
        total = _whole_size(response, done)
        if size is not None and total is not None and total != size:
            partial.clear()
            raise AttemptError(f"the file has {total:,} bytes there, {size:,} were expected")
        if not done:
            partial.validator = _validator(response)
        hasher = new_hasher(algorithm)
        if done:
            await asyncio.to_thread(_hash_file, partial.path, hasher)
        await _receive(response, partial.path, hasher, done, total, size, limit, progress)
        return Received(
            hasher.hexdigest(),
            partial.size,
            done > 0,
            response.headers.get("Content-Type", ""),
            total is not None
            or (begins is None and "chunked" in response.headers.get("Transfer-Encoding", "").lower()),
        )


async def _receive(
    response: httpx.Response,
    path: Path,
    hasher: Hasher,
    done: int,
    total: int | None,
    size: int | None,
    limit: int,
    progress: Progress | None,
) -> None:
    """Write and hash the body; ``done`` bytes are there and hashed already."""
    most = limit if size is None else size
    with path.open("ab" if done else "wb") as out:
        async for chunk in response.aiter_raw():
            done += len(chunk)
            if done > most:
                raise AttemptError(f"larger than the {most:,} bytes that are allowed")
            out.write(chunk)
            hasher.update(chunk)
            if progress is not None:
                progress(done, total if total is not None else size)
    wanted = total if total is not None else size
    if wanted is not None and done < wanted:
        raise AttemptError(f"broke off after {done:,} of {wanted:,} bytes", again=True)


def _hash_file(path: Path, hasher: Hasher) -> int:
    done = 0
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            hasher.update(chunk)
            done += len(chunk)
    return done


def _copy(url: str, path: Path, algorithm: str) -> Received:
    """A ``file:`` URL."""
    hasher = new_hasher(algorithm)
    try:
        shutil.copyfile(unquote(split_url(url).path), path)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise AttemptError(error.strerror or str(error), missing=missing) from None
    except ValueError as error:
        raise AttemptError(f"not the name of a file: {error}") from None
    size = _hash_file(path, hasher)
    return Received(hasher.hexdigest(), size)
