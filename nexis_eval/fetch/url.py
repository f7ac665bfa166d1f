"""Downloads of one file: several URLs and mirrors, resumed, retried, and verified while they stream.

Nothing is given its final name before its hash was right. A mirror that answers with something else is passed over, and
the error at the end says of every URL that was tried what was wrong with it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nexis_eval.fetch.client import FetchError, new_client, refuse_secrets, shown
from nexis_eval.fetch.transfer import AttemptError, Progress, Received, transfer
from nexis_eval.fetch.unpacked import archive_tree
from nexis_eval.graph.derivation import Fetch
from nexis_eval.mirrors import Mirrors
from nexis_store.digest import TreeDigest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

ROUNDS = 4
FIRST_DELAY_SECONDS = 0.5


@dataclass(slots=True)
class _Attempts:
    """What was tried, and what is worth trying again."""

    urls: list[str]
    failures: dict[str, str] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)

    def note(self, url: str, failure: AttemptError) -> None:
        """Remember why ``url`` did not deliver."""
        self.failures[url] = str(failure)
        if failure.missing:
            self.missing.add(url)
        if not failure.again:
            self.urls.remove(url)

    def report(self) -> str:
        """One line a URL."""
        return "\n".join(f"  {shown(url)}: {why}" for url, why in self.failures.items())


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a download must be to be accepted."""

    algorithm: str
    hash: str | None
    size: int | None
    tree: TreeDigest | None = None

    def check(self, received: Received, path: Path) -> None:
        """Raises ``AttemptError`` for anything else; a re-compressed archive with the same content is fine."""
        if self.hash is None or received.hash == self.hash:
            return
        if self.tree is not None and archive_tree(path) == self.tree:
            return
        page = " It is a web page." if received.content_type.startswith("text/html") else ""
        raise AttemptError(
            f"wrong hash: {self.algorithm}:{self.hash} was expected, {self.algorithm}:{received.hash} came "
            f"({received.size:,} bytes).{page}",
            again=received.resumed,
        )


@asynccontextmanager
async def _client(given: httpx.AsyncClient | None) -> AsyncIterator[httpx.AsyncClient]:
    if given is not None:
        yield given
        return
    async with new_client() as client:
        yield client


def _expanded(urls: Sequence[str], mirrors: Mirrors) -> Iterator[str]:
    for written in urls:
        yield from mirrors.expand(refuse_secrets(written))


async def _first_good(
    client: httpx.AsyncClient, attempts: _Attempts, wanted: _Wanted, path: Path, progress: Progress | None
) -> Received | None:
    """Try every URL, then those again that may do better, with growing pauses."""
    delay = FIRST_DELAY_SECONDS
    for round_number in range(ROUNDS):
        asked = 0.0
        for url in tuple(attempts.urls):
            # A file that one mirror began can be finished by another: the hash is of the whole. Without a hash, the
            # halves might be of two files.
            if wanted.hash is None and round_number == 0:
                path.unlink(missing_ok=True)
            try:
                received = await transfer(
                    client, url, path, algorithm=wanted.algorithm, size=wanted.size, progress=progress
                )
            except AttemptError as failure:
                attempts.note(url, failure)
                asked = max(asked, failure.delay_seconds)
                continue
            try:
                await asyncio.to_thread(wanted.check, received, path)
            except AttemptError as failure:
                attempts.note(url, failure)
                path.unlink(missing_ok=True)
                continue
            return received
        if not attempts.urls:
            break
        if round_number < ROUNDS - 1:
            await asyncio.sleep(max(asked, delay * (1 + random.random())))
            delay *= 2
    return None


async def fetch(
    source: Fetch,
    directory: Path,
    *,
    mirrors: Mirrors,
    progress: Progress | None = None,
    client: httpx.AsyncClient | None = None,
) -> Path:
    """Download ``source`` into ``directory`` under its file name; returns the path of the verified file.

    Raises ``FetchError`` naming each URL that was tried and why it did not do, ``SecretInUrlError``,
    ``UnknownMirrorError``. Without ``client`` a connection is made for this file alone.
    """
    target = directory / source.filename
    partial = directory.with_name(f"{directory.name}.partial")
    attempts = _Attempts(list(dict.fromkeys(_expanded(source.urls, mirrors))))
    wanted = _Wanted(source.algorithm, source.hash, source.size, source.tree)
    try:
        async with _client(client) as active:
            received = await _first_good(active, attempts, wanted, partial, progress)
        if received is not None:
            partial.replace(target)
            return target
    finally:
        partial.unlink(missing_ok=True)
    raise FetchError(
        f"cannot fetch {source.filename}; tried\n{attempts.report()}",
        hint="where upstream has moved or replaced it, name another URL in the configuration, or pin what is there "
        "now: 'nexis-eval lock --update PACKAGE'",
    )


async def download(
    urls: Sequence[str],
    path: Path,
    *,
    mirrors: Mirrors,
    client: httpx.AsyncClient,
    algorithm: str = "sha256",
    progress: Progress | None = None,
) -> tuple[str, int]:
    """Download something whose hash is to be found out, from the first of ``urls`` that has it.

    Returns its hash (hexadecimal) and its size in bytes. Raises ``FetchError``.
    """
    attempts = _Attempts(list(dict.fromkeys(_expanded(urls, mirrors))))
    received = await _first_good(client, attempts, _Wanted(algorithm, None, None), path, progress)
    if received is None:
        path.unlink(missing_ok=True)
        raise FetchError(
            f"cannot download {shown(urls[0])}; tried\n{attempts.report()}",
            hint="check the URL in a browser, and that there is a network",
            missing=not attempts.urls and attempts.missing == set(attempts.failures),
        )
    return received.hash, received.size
