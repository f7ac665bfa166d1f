"""Downloads of one file: several URLs and mirrors, resumed, retried, and verified while they stream.

Nothing is given its final name before its hash was right. A mirror that answers with something else is passed over, and
the error at the end says of every URL that was tried what was wrong with it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nexis_eval.fetch.client import FetchError, client_or_new, refuse_secrets, shown
from nexis_eval.fetch.partials import move, partial_of
from nexis_eval.fetch.transfer import MAX_BYTES, AttemptError, Partial, Progress, Received, transfer
from nexis_eval.fetch.unpacked import archive_tree
from nexis_eval.graph.derivation import Fetch
from nexis_eval.mirrors import Mirrors
from nexis_store.digest import TreeDigest

if TYPE_CHECKING:
    import httpx

ROUNDS = 4
FIRST_DELAY_SECONDS = 0.5
LEAST_PROGRESS_BYTES = 1 << 14
"""A connection that brought so much and broke off does not count as a failure: the next one goes on."""
LEAST_SLOW_PROGRESS_BYTES = 1 << 18
"""The same for one that was given up because nothing came any more."""


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
    limit: int = MAX_BYTES
    others: list[str] = field(default_factory=list)
    """The hashes of what came instead."""

    def check(self, received: Received, path: Path) -> None:
        """Raises ``AttemptError`` for anything else; a re-compressed archive with the same content is fine."""
        if self.hash is None or received.hash == self.hash:
            return
        if self.tree is not None and archive_tree(path) == self.tree:
            return
        self.others.append(f"{self.algorithm}:{received.hash}")
        page = " It is a web page." if received.content_type.startswith("text/html") else ""
        raise AttemptError(
            f"wrong hash: {self.algorithm}:{self.hash} was expected, {self.algorithm}:{received.hash} came "
            f"({received.size:,} bytes).{page}",
            again=received.resumed,
        )


def _expanded(urls: Sequence[str], mirrors: Mirrors) -> Iterator[str]:
    for written in urls:
        yield from mirrors.expand(refuse_secrets(written))


async def _while_it_comes(
    client: httpx.AsyncClient, url: str, partial: Partial, wanted: _Wanted, progress: Progress | None
) -> Received:
    """Bring ``url``, going on as long as each connection brings more; raises ``AttemptError`` of one that did not."""
    most = partial.size
    while True:
        try:
            return await transfer(
                client,
                url,
                partial,
                algorithm=wanted.algorithm,
                verified=wanted.hash is not None,
                size=wanted.size,
                limit=wanted.limit,
                progress=progress,
            )
        except AttemptError as failure:
            least = LEAST_SLOW_PROGRESS_BYTES if failure.slow else LEAST_PROGRESS_BYTES
            if not failure.again or partial.size < most + least:
                raise
            most = partial.size


async def _checked(
    client: httpx.AsyncClient, url: str, partial: Partial, wanted: _Wanted, progress: Progress | None
) -> Received:
    """Bring ``url`` and verify it; raises ``AttemptError``. What was begun elsewhere may be what was wrong with it."""
    while True:
        begun = partial.size > 0
        received = await _while_it_comes(client, url, partial, wanted, progress)
        try:
            await asyncio.to_thread(wanted.check, received, partial.path)
            return received
        except AttemptError:
            partial.clear()
            if not (begun and received.resumed):
                raise


async def _first_good(
    client: httpx.AsyncClient, attempts: _Attempts, wanted: _Wanted, path: Path, progress: Progress | None
) -> Received | None:
    """Try every URL, then those again that may do better, with growing pauses."""
    delay = FIRST_DELAY_SECONDS
    partial = Partial(path)
    for round_number in range(ROUNDS):
        asked = 0.0
        for url in tuple(attempts.urls):
            # A file that one mirror began can be finished by another: the hash is of the whole.
            try:
                return await _checked(client, url, partial, wanted, progress)
            except AttemptError as failure:
                attempts.note(url, failure)
                asked = max(asked, failure.delay_seconds)
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

    What came of a file that could not be finished is kept for the next run. Raises ``FetchError`` naming each URL that
    was tried and why it did not do, ``SecretInUrlError``, ``UnknownMirrorError``. Without ``client`` a connection is
    made for this file alone.
    """
    target = directory / source.filename
    attempts = _Attempts(list(dict.fromkeys(_expanded(source.urls, mirrors))))
    wanted = _Wanted(source.algorithm, source.hash, source.size, source.tree)
    with partial_of(source, directory.with_name(f"{directory.name}.partial")) as partial:
        async with client_or_new(client) as active:
            received = await _first_good(active, attempts, wanted, partial, progress)
        if received is not None:
            await asyncio.to_thread(move, partial, target)
            return target
    raise FetchError(
        f"cannot fetch {source.filename}; tried\n{attempts.report()}",
        hint="where upstream has moved or replaced it, name another URL in the configuration, or pin what is there "
        "now: 'nexis-eval lock --update PACKAGE'",
        others=tuple(dict.fromkeys(wanted.others)),
    )


async def download(
    urls: Sequence[str],
    path: Path,
    *,
    mirrors: Mirrors,
    client: httpx.AsyncClient,
    algorithm: str = "sha256",
    limit: int = MAX_BYTES,
    progress: Progress | None = None,
) -> Received:
    """Download something whose hash is to be found out, from the first of ``urls`` that has it.

    At most ``limit`` bytes may come. Returns its hash, its size and how it came. Raises ``FetchError``.
    """
    attempts = _Attempts(list(dict.fromkeys(_expanded(urls, mirrors))))
    path.unlink(missing_ok=True)
    received = await _first_good(client, attempts, _Wanted(algorithm, None, None, limit=limit), path, progress)
    if received is None:
        path.unlink(missing_ok=True)
        raise FetchError(
            f"cannot download {shown(urls[0])}; tried\n{attempts.report()}",
            hint="check the URL in a browser, and that there is a network",
            missing=not attempts.urls and attempts.missing == set(attempts.failures),
        )
    return received
