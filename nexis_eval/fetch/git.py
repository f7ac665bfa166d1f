"""Git repositories: listing references, and checking out one commit without its history.

The protocol is spoken here, so neither git nor the user's settings for it (line endings, hooks, filters) play a part:
the files are what the repository holds, byte for byte. Each object's name is computed from what was received.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urljoin, urlsplit

from nexis_eval.fetch.client import FetchError, MalformedUrlError, client_or_new, refuse_secrets, shown, split_url
from nexis_eval.fetch.git_pack import Pack, PackError
from nexis_eval.fetch.git_protocol import ProtocolError, Reference, fetch_commit, list_references, parse_reference
from nexis_eval.fetch.git_transport import Packets, connect
from nexis_eval.fetch.git_tree import Allowance, Objects, write_tree
from nexis_eval.fetch.headers import said
from nexis_eval.fetch.pace import Pace, least_rate, slowness
from nexis_eval.fetch.transfer import MAX_BYTES, AttemptError, Progress
from nexis_eval.graph.derivation import FetchGit
from nexis_eval.mirrors import Mirrors
from nexis_store.hashing import tree_of_path

if TYPE_CHECKING:
    import httpx

ROUNDS = 3
FIRST_DELAY_SECONDS = 0.5
MAX_SUBMODULE_DEPTH = 8
MAX_MODULES_BYTES = 1 << 20
"""Of a ``.gitmodules`` file."""
PATIENCE_SECONDS = 600.0
"""Until a server begins to send the pack: it may have to look for what is in it."""

Result = TypeVar("Result")

_MODULES_HINT = "its '.gitmodules' says so: use another commit, or a source without submodules, such as an archive"


def plain_url(url: str) -> str:
    """``url`` without the ``git+`` that marks it as a repository, and without a fragment."""
    return url.removeprefix("git+").partition("#")[0]


def is_git_url(url: str) -> bool:
    """Whether a URL of the configuration names a repository: ``git+…``, ``git:…``, or a path that ends in ``.git``."""
    parts = urlsplit(url)
    return parts.scheme.startswith("git") or (
        parts.path.endswith(".git") and parts.scheme in ("http", "https", "mirror")
    )


async def _from_any(
    urls: Sequence[str], mirrors: Mirrors, what: str, attempt: Callable[[str], Awaitable[Result]]
) -> Result:
    """Run ``attempt`` with each URL, mirrors included, until one succeeds; raises ``FetchError`` with all and why."""
    failures: dict[str, str] = {}
    plain = (refuse_secrets(plain_url(each)) for each in urls)
    pending = list(dict.fromkeys(mirror for each in plain for mirror in mirrors.expand(each)))
    delay = FIRST_DELAY_SECONDS
    for round_number in range(ROUNDS):
        again = []
        for each in pending:
            try:
                return await attempt(each)
            except AttemptError as failure:
                failures[each] = str(failure)
                if failure.again:
                    again.append(each)
            except (ProtocolError, PackError) as failure:
                failures[each] = str(failure)
            except TimeoutError:
                failures[each] = f"the server took more than {PATIENCE_SECONDS:.0f} seconds"
            except OSError as failure:
                failures[each] = f"its files cannot be written: {failure.strerror or failure}"
        if not again:
            break
        pending = again
        if round_number < ROUNDS - 1:
            await asyncio.sleep(delay)
            delay *= 2
    tried = "\n".join(f"  {shown(each)}: {why}" for each, why in failures.items())
    raise FetchError(
        f"cannot {what}; tried\n{tried}",
        hint="where the repository has moved or dropped the commit, correct 'source', then run "
        "'nexis-eval lock --update PACKAGE'",
    )


async def references(
    urls: Sequence[str], prefixes: Sequence[str], *, mirrors: Mirrors, client: httpx.AsyncClient
) -> list[Reference]:
    """The references whose names begin with one of ``prefixes``, of the first of ``urls`` that answers.

    The URLs are of one repository. Raises ``FetchError``.
    """

    async def attempt(each: str) -> list[Reference]:
        async with asyncio.timeout(PATIENCE_SECONDS), connect(each, client) as server:
            capabilities = await server.greeting()
            async with server.ask(list_references(capabilities, prefixes)) as packets:
                found = [parse_reference(line) for line in await packets.lines() if not line.startswith("unborn ")]
        # Servers may send more than was asked for, and names that no terminal and no lock should see.
        return [each for each in found if each.name.startswith(tuple(prefixes)) and each.name.isprintable()]

    return await _from_any(urls, mirrors, f"list what is in {shown(plain_url(urls[0]))}", attempt)


def parse_modules(text: str) -> dict[str, str]:
    """Path → URL from a ``.gitmodules`` file (gitmodules(5))."""
    found: list[dict[str, str]] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("["):
            found.append({})
        elif "=" in stripped and found and not stripped.startswith(("#", ";")):
            key, _, value = stripped.partition("=")
            found[-1][key.strip().lower()] = value.strip().strip('"')
    return {each["path"]: each["url"] for each in found if "path" in each and "url" in each}


def submodule_url(base: str, url: str) -> str:
    """The URL of a submodule, which may be relative to that of the repository or of ssh's short form."""
    if url.startswith(("./", "../")):
        scheme, _, rest = base.partition("://")
        if scheme == "file":
            return f"file://{os.path.normpath(f'{rest}/{url}')}"
        joined = urljoin(f"//{rest.rstrip('/')}/", url)
        return f"{scheme}:{joined}"
    if "://" not in url and ":" in url:
        host, _, path = url.partition(":")
        return f"ssh://{host}/{path.lstrip('/')}"
    return url


async def _receive(url: str, commit: str, work: Path, client: httpx.AsyncClient, progress: Progress | None) -> Objects:
    """Download a commit and everything it holds."""
    shutil.rmtree(work, ignore_errors=True)
    objects = Objects(work / "objects", commit)
    objects.directory.mkdir(parents=True)
    pack = work / "pack"
    async with asyncio.timeout(PATIENCE_SECONDS) as patience, connect(url, client) as server:
        capabilities = await server.greeting()
        if len(commit) != {"sha1": 40, "sha256": 64}.get(capabilities.object_format):
            raise PackError(
                f"'{commit}' is not the name of a commit in a {said(capabilities.object_format)} repository"
            )
        async with server.ask(fetch_commit(capabilities, commit)) as packets:
            await packets.section("packfile")
            await _receive_pack(packets, pack, progress, began=lambda: patience.reschedule(None))

    def unpack() -> None:
        with Pack(pack, capabilities.object_format, work) as opened:
            opened.read(objects.take)
        pack.unlink()

    await asyncio.to_thread(unpack)
    return objects


async def _receive_pack(packets: Packets, pack: Path, progress: Progress | None, *, began: Callable[[], None]) -> None:
    least = least_rate()
    pace, done, waiting_since = Pace(least), 0, 0.0
    with pack.open("wb") as out:
        async for data in packets.sideband():
            now = time.monotonic()
            if done and pace.too_slow(len(data), now - waiting_since):
                raise AttemptError(slowness(least), again=True)
            if data and not done:
                began()
            out.write(data)
            done += len(data)
            if done > MAX_BYTES:
                raise PackError(f"the pack is larger than {MAX_BYTES:,} bytes")
            if progress is not None:
                progress(done, None)
            waiting_since = time.monotonic()


async def check_out(
    urls: Sequence[str],
    commit: str,
    directory: Path,
    *,
    mirrors: Mirrors,
    client: httpx.AsyncClient,
    submodules: bool = False,
    progress: Progress | None = None,
    work: Path | None = None,
    depth: int = 0,
    allowance: Allowance | None = None,
) -> bool:
    """Write the files of ``commit`` to ``directory``, which is made; returns whether submodules took part.

    ``urls`` are of one repository and tried in order; submodules with a relative URL are looked for beside each.
    ``work`` is a directory to work in, on the same file system; by default one beside ``directory``. ``allowance`` is
    what the repository may have, its submodules included. Raises ``FetchError``.
    """
    allowed = allowance or Allowance()
    work = work or directory.with_name(f"{directory.name}.objects")
    bases = [plain_url(each) for each in urls]
    label = shown(bases[0])

    async def attempt(each: str) -> dict[str, str]:
        objects = await _receive(each, commit, work, client, progress)
        await asyncio.to_thread(shutil.rmtree, directory, True)
        left = replace(allowed)
        submodules = await asyncio.to_thread(write_tree, objects, directory, left)
        allowed.entries, allowed.copied_bytes, allowed.submodules = left.entries, left.copied_bytes, left.submodules
        return submodules

    try:
        links = await _from_any(urls, mirrors, f"fetch {commit} of {label}", attempt)
    finally:
        await asyncio.to_thread(shutil.rmtree, work, True)
    modules = directory / ".gitmodules"
    if not submodules or not links or not modules.is_file() or modules.is_symlink():
        return False
    if depth >= MAX_SUBMODULE_DEPTH:
        raise FetchError(f"{label} has submodules within submodules, {depth} deep", hint=_MODULES_HINT)
    if modules.stat().st_size > MAX_MODULES_BYTES:
        raise FetchError(f"'.gitmodules' of {label} has more than {MAX_MODULES_BYTES:,} bytes", hint="correct 'source'")
    named = parse_modules(modules.read_text(encoding="utf-8", errors="replace"))
    for path, wanted in sorted(links.items()):
        if path not in named:
            continue
        try:
            sources = [plain_url(submodule_url(base, named[path])) for base in bases]
            schemes = [split_url(each).scheme for each in sources]
        except (MalformedUrlError, ValueError):
            raise FetchError(
                f"the submodule '{said(path)}' of {label} has a URL that is not one: {said(shown(named[path]))}",
                hint=_MODULES_HINT,
            ) from None
        for base, scheme in zip(bases, schemes, strict=True):
            if scheme == "file" and urlsplit(base).scheme != "file":
                raise FetchError(
                    f"the submodule '{said(path)}' of {shown(base)} names a file of this machine: {said(named[path])}",
                    hint=_MODULES_HINT,
                )
        (directory / path).rmdir()
        await check_out(
            sources,
            wanted,
            directory / path,
            mirrors=mirrors,
            client=client,
            submodules=True,
            work=work,
            depth=depth + 1,
            allowance=allowed,
        )
    return True


async def fetch_git(
    source: FetchGit,
    directory: Path,
    *,
    mirrors: Mirrors,
    client: httpx.AsyncClient | None = None,
    progress: Progress | None = None,
) -> Path:
    """Check out ``source`` below ``directory``; returns the tree's path, whose digest is the one that was pinned.

    Raises ``FetchError``.
    """
    target = directory / "tree"
    async with client_or_new(client) as active:
        await check_out(
            source.urls,
            source.commit,
            target,
            mirrors=mirrors,
            client=active,
            submodules=source.submodules,
            progress=progress,
        )
    found = (await asyncio.to_thread(tree_of_path, target)).digest
    if found != source.tree:
        raise FetchError(
            f"commit {source.commit} of {shown(plain_url(source.urls[0]))} holds other files than were pinned: "
            f"tree {source.tree} was expected, {found} came",
            hint="a submodule may have moved: run 'nexis-eval lock --update PACKAGE' and look at the difference",
        )
    return target
