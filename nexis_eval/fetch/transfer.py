"""One attempt to bring what one URL has to a file, going on where an earlier attempt broke off."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from nexis_eval.fetch.hashes import Hasher, new_hasher

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

    ``missing`` when the server is well and says that there is no such file.
    """

    def __init__(self, why: str, *, again: bool = False, delay_seconds: float = 0.0, missing: bool = False) -> None:
        super().__init__(why)
        self.again = again
        self.missing = missing
        self.delay_seconds = delay_seconds


@dataclass(frozen=True, slots=True)
class Received:
    """A complete file: its digest (hexadecimal), its size in bytes, and whether it was put together of two answers."""

    hash: str
    size: int
    resumed: bool = False
    content_type: str = ""


async def transfer(
    client: httpx.AsyncClient,
    url: str,
    path: Path,
    *,
    algorithm: str,
    size: int | None = None,
    progress: Progress | None = None,
) -> Received:
    """Bring ``url`` to ``path``, appending to what is there if the server can send the rest of it.

    ``size`` is the exact number of bytes where it is known. Raises ``AttemptError``; what was received by then stays.
    """
    scheme = urlsplit(url).scheme
    if scheme == "file":
        return await asyncio.to_thread(_copy, url, path, algorithm)
    if scheme not in ("http", "https"):
        raise AttemptError(f"'{scheme}' is not a scheme of files (http, https, file and mirror are)")
    import httpx

    try:
        return await _stream(client, url, path, algorithm, size, progress)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise attempt_error(error) from None
    except OSError as error:
        raise AttemptError(f"{path.name} cannot be written: {error.strerror or error}") from None


def attempt_error(error: httpx.HTTPError | httpx.InvalidURL) -> AttemptError:
    """What went wrong with a request, as a person would say it, and whether it may go better later."""
    import httpx

    if isinstance(error, httpx.TimeoutException):
        return AttemptError("timed out", again=True)
    if isinstance(error, httpx.InvalidURL):
        return AttemptError(f"not a URL: {error}")
    if isinstance(error, httpx.TooManyRedirects):
        return AttemptError("redirects without end")
    if isinstance(error, httpx.ConnectError):
        return AttemptError(_why_not_connected(str(error)), again=True)
    return AttemptError(f"{type(error).__name__}: {error}".rstrip(": "), again=True)


def _why_not_connected(text: str) -> str:
    if "Name or service not known" in text or "name resolution" in text or "No address associated" in text:
        return "the host name is not known (is there a network?)"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "the server's certificate is not trusted (SSL_CERT_FILE names the authorities)"
    if "All connection attempts failed" in text:
        return "no connection (is there a network?)"
    return f"no connection: {text}"


def _retry_after(response: httpx.Response) -> float:
    """What the server asks to wait (RFC 9110, 10.2.3), in seconds, within reason; dates are not understood."""
    text = response.headers.get("Retry-After", "")
    return min(float(text), MAX_RETRY_AFTER_SECONDS) if text.isdigit() else 0.0


def _resumes_at(response: httpx.Response) -> int | None:
    """Where the part that the server sends begins (RFC 9110, 14.4); ``None`` if it sends the whole."""
    if response.status_code != 206:
        return None
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else -1


async def _stream(
    client: httpx.AsyncClient, url: str, path: Path, algorithm: str, size: int | None, progress: Progress | None
) -> Received:
    start = path.stat().st_size if path.exists() else 0
    if size is not None and start >= size:
        start = 0
    headers = {"Range": f"bytes={start}-"} if start else {}
    async with client.stream("GET", url, headers=headers) as response:
        if response.status_code == 416:
            path.unlink(missing_ok=True)
            raise AttemptError("the server has less than was received before", again=True)
        if response.status_code not in (200, 206):
            reason = f"{response.status_code} {response.reason_phrase}".strip()
            if response.status_code in (401, 403):
                reason += " (passwords are read from ~/.netrc)"
            raise AttemptError(
                reason,
                again=response.status_code in RETRIED_STATUS,
                delay_seconds=_retry_after(response),
                missing=response.status_code in (404, 410),
            )
        begins = _resumes_at(response)
        if begins is not None and begins != start:
            path.unlink(missing_ok=True)
            raise AttemptError("the server sent another part than was asked for", again=True)
        done = begins or 0
        length = response.headers.get("Content-Length", "")
        total = int(length) + done if length.isdigit() else None
        if size is not None and total is not None and total != size:
            path.unlink(missing_ok=True)
            raise AttemptError(f"the file has {total:,} bytes there, {size:,} were expected")
        hasher = new_hasher(algorithm)
        if done:
            await asyncio.to_thread(_hash_file, path, hasher)
        await _receive(response, path, hasher, done, total, size, progress)
        return Received(hasher.hexdigest(), path.stat().st_size, done > 0, response.headers.get("Content-Type", ""))


async def _receive(
    response: httpx.Response,
    path: Path,
    hasher: Hasher,
    done: int,
    total: int | None,
    size: int | None,
    progress: Progress | None,
) -> None:
    """Write and hash the body; ``done`` bytes are there and hashed already."""
    limit = MAX_BYTES if size is None else size
    with path.open("ab" if done else "wb") as out:
        async for chunk in response.aiter_raw():
            done += len(chunk)
            if done > limit:
                raise AttemptError(f"larger than the {limit:,} bytes that are allowed")
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
        shutil.copyfile(unquote(urlsplit(url).path), path)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise AttemptError(error.strerror or str(error), missing=missing) from None
    size = _hash_file(path, hasher)
    return Received(hasher.hexdigest(), size)
