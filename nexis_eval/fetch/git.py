"""Git repositories: listing references, and checking out one commit without its history.

The protocol is spoken here, so neither git nor the user's settings for it (line endings, hooks, filters) play a part:
the files are what the repository holds, byte for byte. Each object's name is computed from what was received.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urljoin, urlsplit

from nexis_eval.fetch.client import FetchError, client_or_new, refuse_secrets, shown
from nexis_eval.fetch.git_pack import Pack, PackError, write_once
from nexis_eval.fetch.git_protocol import ProtocolError, Reference, fetch_commit, list_references, parse_reference
from nexis_eval.fetch.git_transport import connect
from nexis_eval.fetch.transfer import AttemptError, Progress
from nexis_eval.graph.derivation import FetchGit
from nexis_eval.mirrors import Mirrors
from nexis_store.hashing import tree_of_path

if TYPE_CHECKING:
    import httpx

ROUNDS = 3
FIRST_DELAY_SECONDS = 0.5
MAX_SUBMODULE_DEPTH = 8
FILE, EXECUTABLE, SYMLINK, DIRECTORY, SUBMODULE = 0o100000, 0o100755, 0o120000, 0o40000, 0o160000

Result = TypeVar("Result")


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
        async with connect(each, client) as server:
            capabilities = await server.greeting()
            async with server.ask(list_references(capabilities, prefixes)) as packets:
                found = [parse_reference(line) for line in await packets.lines() if not line.startswith("unborn ")]
        # Servers may send more than was asked for.
        return [each for each in found if each.name.startswith(tuple(prefixes))]

    return await _from_any(urls, mirrors, f"list what is in {shown(plain_url(urls[0]))}", attempt)


@dataclass(slots=True)
class _Objects:
    """What a pack held: small objects in memory, the contents of files in a directory under their names."""

    directory: Path
    trees: dict[str, bytes] = field(default_factory=dict)
    commits: dict[str, bytes] = field(default_factory=dict)
    placed: dict[str, Path] = field(default_factory=dict)

    def take(self, name: str, kind: bytes, content: bytes) -> None:
        """Keep one object."""
        if kind == b"blob":
            write_once(self.directory, name, content)
        elif kind == b"tree":
            self.trees[name] = content
        elif kind == b"commit":
            self.commits[name] = content

    def file(self, name: str) -> Path:
        """Where the content of a file is; raises ``PackError`` if it is missing."""
        path = self.placed.get(name, self.directory / name)
        if not path.exists():
            raise PackError(f"the server left out object {name}")
        return path

    def place(self, name: str, target: Path) -> None:
        """Put the content of a file where it belongs."""
        source = self.file(name)
        if name in self.placed:
            shutil.copyfile(source, target)
        else:
            source.rename(target)
            self.placed[name] = target


def _entries(content: bytes, raw: int) -> list[tuple[int, bytes, str]]:
    """Mode, name and object of each entry of a tree (gitformat: ``MODE NAME\\0OBJECT``)."""
    found, position, seen = [], 0, set()
    while position < len(content):
        end = content.find(b"\0", position)
        mode, space, name = content[position:end].partition(b" ")
        position = end + 1 + raw
        if end < 0 or not space or position > len(content):
            raise PackError("a tree is damaged")
        if name in (b"", b".", b"..") or b"/" in name or name.lower() == b".git":
            raise PackError(
                f"a tree has an entry called {name.decode(errors='replace')!r}, which no repository may have"
            )
        if name in seen:
            raise PackError(f"a tree has two entries called {name.decode(errors='replace')!r}")
        seen.add(name)
        found.append((int(mode, 8), name, content[end + 1 : position].hex()))
    return found


def _write_tree(objects: _Objects, commit: str, target: Path) -> dict[str, str]:
    """Write out the files of a commit; returns path → commit of its submodules. Raises ``PackError``."""
    if commit not in objects.commits:
        raise PackError(f"the server did not send commit {commit}")
    head, _, _ = objects.commits[commit].partition(b"\n")
    pending = [(head.removeprefix(b"tree ").decode(), target)]
    submodules: dict[str, str] = {}
    while pending:
        tree, directory = pending.pop()
        if tree not in objects.trees:
            raise PackError(f"the server left out tree {tree}")
        directory.mkdir()
        for mode, raw_name, name in _entries(objects.trees[tree], len(commit) // 2):
            path = directory / os.fsdecode(raw_name)
            if mode == DIRECTORY:
                pending.append((name, path))
            elif mode == SUBMODULE:
                path.mkdir()
                submodules[str(path.relative_to(target))] = name
            elif mode == SYMLINK:
                link = objects.file(name).read_bytes()
                if not link or b"\0" in link:
                    raise PackError(f"{path.relative_to(target)} is a link to nowhere")
                path.symlink_to(os.fsdecode(link))
            elif mode & 0o170000 == FILE:
                objects.place(name, path)
                path.chmod(0o755 if mode & 0o111 else 0o644)
            else:
                raise PackError(f"{path.relative_to(target)} has the unknown mode {mode:o}")
    return submodules


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


async def _receive(url: str, commit: str, work: Path, client: httpx.AsyncClient, progress: Progress | None) -> _Objects:
    """Download a commit and everything it holds."""
    shutil.rmtree(work, ignore_errors=True)
    objects = _Objects(work / "objects")
    objects.directory.mkdir(parents=True)
    pack = work / "pack"
    async with connect(url, client) as server:
        capabilities = await server.greeting()
        if len(commit) != {"sha1": 40, "sha256": 64}.get(capabilities.object_format):
            raise PackError(f"{commit} is no name of a commit in a {capabilities.object_format} repository")
        async with server.ask(fetch_commit(capabilities, commit)) as packets:
            await packets.section("packfile")
            done = 0
            with pack.open("wb") as out:
                async for data in packets.sideband():
                    out.write(data)
                    done += len(data)
                    if progress is not None:
                        progress(done, None)

    def unpack() -> None:
        with Pack(pack, capabilities.object_format) as opened:
            opened.read(objects.take)
        pack.unlink()

    await asyncio.to_thread(unpack)
    return objects


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
) -> bool:
    """Write the files of ``commit`` to ``directory``, which is made; returns whether submodules took part.

    ``urls`` are of one repository and tried in order; submodules with a relative URL are looked for beside each.
    ``work`` is a directory to work in, on the same file system; by default one beside ``directory``. Raises
    ``FetchError``.
    """
    work = work or directory.with_name(f"{directory.name}.objects")
    bases = [plain_url(each) for each in urls]
    label = shown(bases[0])

    async def attempt(each: str) -> dict[str, str]:
        objects = await _receive(each, commit, work, client, progress)
        await asyncio.to_thread(shutil.rmtree, directory, True)
        return await asyncio.to_thread(_write_tree, objects, commit, directory)

    try:
        links = await _from_any(urls, mirrors, f"fetch {commit} of {label}", attempt)
    finally:
        await asyncio.to_thread(shutil.rmtree, work, True)
    modules = directory / ".gitmodules"
    if not submodules or not links or not modules.is_file() or modules.is_symlink():
        return False
    if depth >= MAX_SUBMODULE_DEPTH:
        raise FetchError(f"{label} has submodules within submodules, {depth} deep", hint="unlikely to end")
    named = parse_modules(modules.read_text(encoding="utf-8", errors="replace"))
    for path, wanted in sorted(links.items()):
        if path not in named:
            continue
        sources = [submodule_url(base, named[path]) for base in bases]
        for base, source in zip(bases, sources, strict=True):
            if urlsplit(source).scheme == "file" and urlsplit(base).scheme != "file":
                raise FetchError(f"the submodule '{path}' of {shown(base)} names a file of this machine: {source}")
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
