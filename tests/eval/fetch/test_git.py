"""Checking out from real git servers: over HTTP, git's own port, ssh's kind of pipe, and from this machine."""

from __future__ import annotations

import asyncio
import hashlib
import random
import shutil
import socket
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nexis_eval.fetch import git as git_module
from nexis_eval.fetch import git_transport, pace
from nexis_eval.fetch.client import FetchError, SecretInUrlError, new_client
from nexis_eval.fetch.git import (
    check_out,
    fetch_git,
    is_git_url,
    parse_modules,
    plain_url,
    references,
    submodule_url,
)
from nexis_eval.fetch.git_protocol import Reference, packet
from nexis_eval.graph.derivation import FetchGit
from nexis_eval.mirrors import Mirrors
from nexis_store.digest import TreeDigest
from nexis_store.errors import NexisError
from nexis_store.hashing import tree_of_path
from tests.eval.fetch.repositories import Repository
from tests.eval.fetch.servers import Site, git_backend, listening

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed: no servers to test with")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_module, "FIRST_DELAY_SECONDS", 0.01)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Site]:
    running = Site(git_backend(tmp_path / "srv"))
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "srv" / "vim.git")


def out(
    tmp_path: Path, url: str, commit: str, *, submodules: bool = False, sets: dict[str, tuple[str, ...]] | None = None
) -> Path:
    target = tmp_path / "out" / "tree"
    target.parent.mkdir(exist_ok=True)

    async def run() -> None:
        async with new_client() as client:
            await check_out((url,), commit, target, mirrors=Mirrors(sets or {}), client=client, submodules=submodules)

    asyncio.run(run())
    assert [each.name for each in target.parent.iterdir()] == ["tree"]
    return target


def error(tmp_path: Path, url: str, commit: str) -> str:
    with pytest.raises(FetchError) as caught:
        out(tmp_path, url, commit)
    assert caught.value.exit_code == 3
    return str(caught.value)


def content(repository: Repository) -> TreeDigest:
    """The digest of what git itself checks out."""
    shutil.rmtree(repository.path / ".git")
    return tree_of_path(repository.path).digest


def list_of(url: str, *prefixes: str) -> list[Reference]:
    async def run() -> list[Reference]:
        async with new_client() as client:
            return await references((url,), prefixes, mirrors=Mirrors({}), client=client)

    return asyncio.run(run())


def fill(repository: Repository) -> str:
    """Many commits with similar files, so that packs hold deltas; returns the last commit."""
    chance = random.Random(2)
    lines = [f"line {number} {chance.random()}\n" for number in range(4000)]
    repository.commit({"empty": b"", "noise": chance.randbytes(300_000), "dir/deep/er/x": "x"})
    (repository.path / "run.sh").write_text("#!/bin/sh\n")
    (repository.path / "run.sh").chmod(0o755)
    (repository.path / "link").symlink_to("dir/deep")
    (repository.path / "dangling").symlink_to("/no/where")
    (repository.path / "caf\N{LATIN SMALL LETTER E WITH ACUTE}").write_text("name")
    for number in range(12):
        lines[number * 100] = "changed\n"
        repository.commit({f"text{number}": "".join(lines), "same": "same", "copy/same": "same"})
    repository.git("gc", "-q", "--aggressive")
    return repository.git("rev-parse", "HEAD")


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_a_commit_over_http(tmp_path: Path, server: Site, object_format: str) -> None:
    repository = Repository(tmp_path / "srv" / "vim.git", f"--object-format={object_format}")
    commit = fill(repository)
    tree = out(tmp_path, f"git+{server.url}/vim.git/.git", commit)
    assert (tree / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (tree / "same").stat().st_mode & 0o777 == 0o644
    assert tree_of_path(tree).digest == content(repository)


def test_the_history_is_not_fetched(tmp_path: Path, server: Site, repository: Repository) -> None:
    repository.commit({"big": random.Random(3).randbytes(2_000_000)})
    (repository.path / "big").unlink()
    commit = repository.commit({"small": "small"})
    out(tmp_path, f"{server.url}/vim.git/.git", commit)
    assert sum(server.sent) < 10_000


def test_an_older_commit_than_any_branch(tmp_path: Path, server: Site, repository: Repository) -> None:
    first = repository.commit({"a": "1"})
    repository.commit({"a": "2"})
    assert (out(tmp_path, f"{server.url}/vim.git/.git", first) / "a").read_text() == "1"


def test_listing_tags_and_branches(tmp_path: Path, server: Site, repository: Repository) -> None:
    first = repository.commit({"a": "1"})
    repository.git("tag", "v1")
    second = repository.commit({"a": "2"})
    repository.git("tag", "-a", "-m", "two", "v2")
    url = f"{server.url}/vim.git/.git"
    assert {each.name: each.commit for each in list_of(url, "refs/tags/")} == {
        "refs/tags/v1": first,
        "refs/tags/v2": second,
    }
    assert [each.oid for each in list_of(url, "HEAD", "refs/heads/")] == [second, second]
    assert list_of(url, "refs/heads/nothing") == []


def test_an_empty_repository(tmp_path: Path, server: Site, repository: Repository) -> None:
    assert list_of(f"{server.url}/vim.git/.git", "HEAD", "refs/tags/") == []


def test_from_this_machine(tmp_path: Path, repository: Repository) -> None:
    commit = fill(repository)
    tree = out(tmp_path, f"git+file://{repository.path}/.git", commit)
    assert tree_of_path(tree).digest == content(repository)


def test_over_the_port_of_git(tmp_path: Path, repository: Repository) -> None:
    commit = fill(repository)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    base = f"--base-path={tmp_path / 'srv'}"
    daemon = subprocess.Popen(
        ["git", "daemon", "--export-all", base, "--listen=127.0.0.1", f"--port={port}"],
        env={
            "PATH": "/usr/bin:/bin",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
        },
    )
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        tree = out(tmp_path, f"git://127.0.0.1:{port}/vim.git/.git", commit)
        assert tree_of_path(tree).digest == content(repository)
    finally:
        daemon.terminate()
        daemon.wait()


def test_over_ssh(tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """``ssh`` is a script that runs what it is told on this machine, as a server would."""
    commit = repository.commit({"a": "1"})
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    log = tmp_path / "ssh.log"
    program.write_text(f'#!/bin/sh\necho "$@" > {log}\nfor last; do :; done\nexec sh -c "$last"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    url = f"git+ssh://git@example.org:2222{repository.path}/.git"
    assert (out(tmp_path, url, commit) / "a").read_text() == "1"
    assert "-p 2222 -- git@example.org git-upload-pack" in log.read_text()


def test_submodules(tmp_path: Path, server: Site, repository: Repository) -> None:
    inner = Repository(tmp_path / "srv" / "inner.git")
    innermost = Repository(tmp_path / "srv" / "innermost.git")
    innermost.commit({"deep": "deep"})
    inner.commit({"in": "in"})
    inner.git("submodule", "--quiet", "add", f"{server.url}/innermost.git/.git", "below")
    inner.commit({})
    repository.commit({"libs/x.git/kept": "kept", "libs/x.objects/kept": "kept"})
    repository.git("remote", "add", "origin", f"{server.url}/vim.git/.git")
    repository.git("submodule", "--quiet", "add", "../../inner.git/.git", "libs/x")
    commit = repository.commit({})
    url = f"{server.url}/vim.git/.git"
    tree = out(tmp_path, url, commit, submodules=True)
    assert (tree / "libs/x/in").read_text() == "in"
    assert (tree / "libs/x/below/deep").read_text() == "deep"
    assert (tree / "libs/x.git/kept").read_text() == "kept"
    assert (tree / "libs/x.objects/kept").read_text() == "kept"
    shutil.rmtree(tree)
    tree = out(tmp_path, url, commit)
    assert list((tree / "libs/x").iterdir()) == []


def test_submodules_may_not_name_files_of_this_machine(tmp_path: Path, server: Site, repository: Repository) -> None:
    inner = Repository(tmp_path / "inner")
    inner.commit({"in": "in"})
    repository.commit({"a": "a"})
    repository.git("submodule", "--quiet", "add", f"file://{inner.path}", "x")
    commit = repository.commit({})
    with pytest.raises(FetchError, match="names a file of this machine"):
        out(tmp_path, f"{server.url}/vim.git/.git", commit, submodules=True)


def test_the_pinned_tree_must_come(tmp_path: Path, server: Site, repository: Repository) -> None:
    commit = repository.commit({"a": "a"})
    url = f"git+{server.url}/vim.git/.git"
    wrong = FetchGit((url,), commit, TreeDigest.of(b"other"))
    (tmp_path / "out").mkdir()
    with pytest.raises(FetchError, match="holds other files than were pinned"):
        asyncio.run(fetch_git(wrong, tmp_path / "out", mirrors=Mirrors({})))
    (tmp_path / "good").mkdir()
    good = FetchGit((url,), commit, content(repository))
    repository.git("init", "-q")
    with pytest.raises(FetchError, match="not our ref"):
        asyncio.run(fetch_git(good, tmp_path / "good", mirrors=Mirrors({})))


def test_it_is_fetched_as_pinned(tmp_path: Path, server: Site, repository: Repository) -> None:
    commit = repository.commit({"a": "a", "b/c": "c"})
    copy = tmp_path / "copy"
    shutil.copytree(repository.path, copy, ignore=shutil.ignore_patterns(".git"))
    source = FetchGit(("mirror://forge/vim.git/.git",), commit, tree_of_path(copy).digest)
    (tmp_path / "out").mkdir()
    sets = {"forge": (f"{server.url}/nowhere", server.url)}
    assert asyncio.run(fetch_git(source, tmp_path / "out", mirrors=Mirrors(sets))) == tmp_path / "out" / "tree"


def test_the_second_url_serves_where_the_first_does_not(tmp_path: Path, server: Site, repository: Repository) -> None:
    inner = Repository(tmp_path / "srv" / "inner.git")
    inner.commit({"in": "in"})
    repository.commit({"a": "a"})
    repository.git("remote", "add", "origin", f"{server.url}/vim.git/.git")
    repository.git("submodule", "--quiet", "add", "../../inner.git/.git", "x")
    commit = repository.commit({})
    gone, good = f"git+{server.url}/gone/vim.git/.git", f"git+{server.url}/vim.git/.git#{commit}"
    reference = out(tmp_path, good, commit, submodules=True)
    (tmp_path / "two").mkdir()
    source = FetchGit((gone, good), commit, tree_of_path(reference).digest, submodules=True)
    tree = asyncio.run(fetch_git(source, tmp_path / "two", mirrors=Mirrors({})))
    assert (tree / "x/in").read_text() == "in", "a relative submodule is found beside the URL that answers"

    async def listed() -> list[Reference]:
        async with new_client() as client:
            return await references((gone, good), ("refs/heads/",), mirrors=Mirrors({}), client=client)

    assert [each.commit for each in asyncio.run(listed())] == [commit]
    (tmp_path / "none").mkdir()
    nowhere = FetchGit((gone, f"{gone}2"), commit, source.tree)
    with pytest.raises(FetchError) as caught:
        asyncio.run(fetch_git(nowhere, tmp_path / "none", mirrors=Mirrors({})))
    tried = [line.split(": ")[0].strip() for line in caught.value.message.splitlines()[1:]]
    assert tried == [plain_url(gone), plain_url(f"{gone}2")]


def test_errors_say_what_was_tried(tmp_path: Path, server: Site, repository: Repository) -> None:
    repository.commit({"a": "a"})
    commit = "1" * 40
    url = f"{server.url}/vim.git/.git"
    assert error(tmp_path, url, commit).splitlines() == [
        f"cannot fetch {commit} of {url}; tried",
        f"  {url}: the server says: upload-pack: not our ref {commit}",
        "hint: where the repository has moved or dropped the commit, correct 'source', then run "
        "'nexis-eval lock --update PACKAGE'",
    ]
    text = error(tmp_path, f"{server.url}/none.git", commit)
    assert "404 Not Found (no such repository, or a password in ~/.netrc is needed)" in text
    assert "is not the name of a commit in a sha1 repository" in error(tmp_path, url, "2" * 64)
    server.page("/page.git/info/refs?service=git-upload-pack", b"<html>")
    assert "there is no git repository" in error(tmp_path, f"{server.url}/page.git", commit)
    assert "'svn' is not a scheme of git repositories" in error(tmp_path, "git+svn://host/x", commit)


def test_busy_servers_are_asked_again(tmp_path: Path, server: Site, repository: Repository) -> None:
    commit = repository.commit({"a": "a"})
    address = "/vim.git/.git/info/refs?service=git-upload-pack"
    page = server.page(address, failures=[503])
    assert page
    page_object = server.pages[address]

    class Vanishing(list[int]):
        def pop(self, _index: int = -1) -> int:  # type: ignore[override]
            del server.pages[address]
            return 503

    page_object.failures = Vanishing([503])
    assert (out(tmp_path, f"{server.url}/vim.git/.git", commit) / "a").exists()


def test_old_servers_are_told_apart(tmp_path: Path, server: Site) -> None:
    kind = {"Content-Type": "application/x-git-upload-pack-advertisement"}
    line = b"1" * 40 + b" HEAD\0multi_ack\n"
    data = b"001e# service=git-upload-pack\n0000" + b"%04x" % (len(line) + 4) + line + b"0000"
    server.page("/old.git/info/refs?service=git-upload-pack", data, headers=kind)
    assert "speaks only an old version" in error(tmp_path, f"{server.url}/old.git", "1" * 40)


@pytest.mark.parametrize("name", [b"..", b".git", b".GIT", b"a/b"])
def test_hostile_names_are_refused(tmp_path: Path, server: Site, repository: Repository, name: bytes) -> None:
    """Such trees cannot be made with git's own commands, but a server may send them."""
    repository.commit({"a": "a"})

    def write(kind: str, data: bytes) -> str:
        path = tmp_path / "object"
        path.write_bytes(data)
        return repository.git("hash-object", "--literally", "-t", kind, "-w", str(path))

    blob = bytes.fromhex(repository.git("rev-parse", "HEAD:a"))
    tree = write("tree", b"100644 " + name + b"\0" + blob)
    who = "x <x@x> 0 +0000"
    commit = write("commit", f"tree {tree}\nauthor {who}\ncommitter {who}\n\nx".encode())
    assert "which no repository may have" in error(tmp_path, f"{server.url}/vim.git/.git", commit)


def loose(repository: Repository, kind: str, data: bytes) -> str:
    """Write an object as git would store it, whatever is in it."""
    whole = f"{kind} {len(data)}\0".encode() + data
    name = hashlib.sha1(whole).hexdigest()
    path = repository.path / ".git/objects" / name[:2] / name[2:]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(zlib.compress(whole, 1))
    return name


def commit_of(repository: Repository, tree: str) -> str:
    who = "x <x@x> 0 +0000"
    commit = loose(repository, "commit", f"tree {tree}\nauthor {who}\ncommitter {who}\n\nx".encode())
    (repository.path / ".git/refs/heads/hostile").write_text(f"{commit}\n")
    return commit


def tree_of(repository: Repository, *entries: tuple[str, bytes, str]) -> str:
    data = b"".join(b"%s %s\0" % (mode.encode(), name) + bytes.fromhex(oid) for mode, name, oid in entries)
    return loose(repository, "tree", data)


def nested(repository: Repository, blob: str, name: bytes, depth: int) -> str:
    tree = tree_of(repository, ("100644", b"f", blob))
    for _ in range(depth):
        tree = tree_of(repository, ("40000", name, tree))
    return tree


def bomb(repository: Repository, blob: str) -> str:
    tree = tree_of(repository, ("100644", b"f", blob))
    for _ in range(10):
        tree = tree_of(repository, *(("40000", b"%d" % number, tree) for number in range(10)))
    return tree


def repeated(repository: Repository, _: str) -> str:
    large = loose(repository, "blob", bytes(10_000_000))
    return tree_of(repository, *(("100644", b"%04d" % number, large) for number in range(1000)))


HOSTILE: dict[str, tuple[Callable[[Repository, str], str], str]] = {
    "deep": (
        lambda repository, blob: nested(repository, blob, b"d", 1500),
        "its directories are more than 256 deep",
    ),
    "long path": (
        lambda repository, blob: nested(repository, blob, b"d" * 250, 20),
        "it has a path of 5,022 bytes, 3,000 are possible",
    ),
    "bomb": (bomb, "it has more than 2,000,000 files and directories"),
    "repeated": (repeated, "it repeats its files to more than 4,294,967,296 bytes"),
    "long name": (
        lambda repository, blob: tree_of(repository, ("100644", b"n" * 300, blob)),
        "a tree has a name of 300 bytes, 255 are possible",
    ),
    "long link": (
        lambda repository, blob: tree_of(repository, ("120000", b"l", loose(repository, "blob", b"x" * 6000))),
        "l is a link to a name of 6,000 bytes, 4,095 are possible",
    ),
    "kind": (
        lambda repository, blob: tree_of(repository, ("100644", b"a", blob), ("170000", b"\x1b[2J", blob)),
        "",
    ),
    "mode": (lambda repository, blob: tree_of(repository, ("1z0644", b"a", blob)), ""),
    "no tree": (lambda repository, blob: "f" * 40, ""),
    "submodules": (
        lambda repository, blob: tree_of(repository, *(("160000", b"%04d" % each, "1" * 40) for each in range(1001))),
        "it has more than 1,000 submodules",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_trees_are_refused_in_words(tmp_path: Path, server: Site, repository: Repository, case: str) -> None:
    """Those for which no reason stands here the server refuses itself."""
    build, why = HOSTILE[case]
    repository.commit({"a": "a"})
    commit = commit_of(repository, build(repository, repository.git("rev-parse", "HEAD:a")))
    text = error(tmp_path, f"{server.url}/vim.git/.git", commit)
    assert why in text
    assert "\x1b" not in text
    # What is too much is found out before it is written.
    assert sum(1 for _ in tmp_path.glob("out/**/*")) < 10


ADDRESSES = [
    ("http://[::1/x", "has a URL that is not one"),
    ("http://h:99999/x", "has a URL that is not one"),
    ("http://h:port/x", "has a URL that is not one"),
    ("file:///etc", "names a file of this machine"),
    ("FILE:///etc", "names a file of this machine"),
    ("git+file:///etc", "names a file of this machine"),
    ("ext::sh -c id", ""),
    ("ssh://-oProxyCommand=id/x", "that is not a host name"),
    ("\x1b]52;c;x", ""),
    ("../../\x1b[2J", ""),
]


@pytest.mark.parametrize(("address", "why"), ADDRESSES)
def test_hostile_addresses_of_submodules(
    tmp_path: Path, server: Site, repository: Repository, address: str, why: str
) -> None:
    modules = loose(repository, "blob", f'[submodule "x"]\n\tpath = x\n\turl = {address}\n'.encode())
    tree = tree_of(repository, ("100644", b".gitmodules", modules), ("160000", b"x", "1" * 40))
    commit = commit_of(repository, tree)
    with pytest.raises(NexisError) as caught:
        out(tmp_path, f"{server.url}/vim.git/.git", commit, submodules=True)
    assert why in str(caught.value)
    assert caught.value.exit_code == 3
    assert str(caught.value).replace("\n", "").isprintable()


def test_a_huge_list_of_submodules_is_not_read(tmp_path: Path, server: Site, repository: Repository) -> None:
    modules = loose(repository, "blob", b"#" * (1 << 20) + b"\n")
    tree = tree_of(repository, ("100644", b".gitmodules", modules), ("160000", b"x", "1" * 40))
    with pytest.raises(FetchError, match="has more than 1,048,576 bytes"):
        out(tmp_path, f"{server.url}/vim.git/.git", commit_of(repository, tree), submodules=True)


def test_a_working_copy_of_this_machine(tmp_path: Path, repository: Repository) -> None:
    commit = repository.commit({"a": "1"})
    assert (out(tmp_path, f"git+file://{repository.path}", commit) / "a").read_text() == "1"


def test_what_git_says_of_a_repository_is_told_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], repository: Repository
) -> None:
    (tmp_path / "empty").mkdir()
    text = error(tmp_path, f"git+file://{tmp_path}/empty", "1" * 40)
    assert text.count("does not appear to be a git repository") == 1
    assert capfd.readouterr().err == ""


def test_a_busy_event_loop_ends_programs_all_the_same(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """git has ended long ago when its end is waited for, and the loop had no time to hear of it."""
    commit = repository.commit({"a": "1"})
    monkeypatch.setattr(git_transport, "END_SECONDS", 0.0)

    async def run(target: Path) -> None:
        async def busy() -> None:
            while True:
                time.sleep(0.005)
                await asyncio.sleep(0)

        other = asyncio.create_task(busy())
        async with new_client() as client:
            await check_out((f"file://{repository.path}",), commit, target, mirrors=Mirrors({}), client=client)
        other.cancel()

    for number in range(3):
        asyncio.run(run(tmp_path / str(number)))


GREETING = b"".join(map(packet, ("version 2\n", "fetch=shallow\n", "ls-refs\n"))) + b"0000"


def endless(piece: bytes) -> Callable[[socket.socket], None]:
    """A git server that sends a pack piece by piece."""

    def speak(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(GREETING + packet("packfile\n"))
        while True:
            connection.sendall(piece)
            time.sleep(0.02)

    return speak


def test_a_server_that_never_sends_a_pack_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_module, "PATIENCE_SECONDS", 0.5)
    with listening(endless(b"0005\2")) as port:
        assert "the server took more than" in error(tmp_path, f"git://127.0.0.1:{port}/x", "1" * 40)


def test_a_pack_that_comes_too_slowly_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "WINDOW_SECONDS", 0.3)
    monkeypatch.setattr(git_module, "ROUNDS", 1)
    with listening(endless(b"0006\1P")) as port:
        assert "less than 1,000 bytes a second" in error(tmp_path, f"git://127.0.0.1:{port}/x", "1" * 40)


def test_what_a_git_server_says_is_made_harmless(tmp_path: Path) -> None:
    def speak(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(packet(b"ERR \x1b]52;c;" + b"x" * 5000))

    with listening(speak) as port:
        text = error(tmp_path, f"git://127.0.0.1:{port}/x", "1" * 40)
    assert "\x1b" not in text
    assert len(text) < 1000


def test_names_that_no_terminal_should_see_are_not_listed(tmp_path: Path, server: Site, repository: Repository) -> None:
    commit = repository.commit({"a": "1"})
    packed = repository.path / ".git/packed-refs"
    packed.write_bytes(b"%s refs/tags/v1\n%s refs/tags/\xff\xfe\n" % (commit.encode(), commit.encode()))
    names = [each.name for each in list_of(f"{server.url}/vim.git/.git", "refs/tags/")]
    assert names == ["refs/tags/v1", "refs/tags/\ufffd\ufffd"]


def test_passwords_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SecretInUrlError):
        out(tmp_path, "git+https://me:s3cret@example.org/x.git", "1" * 40)


def test_passwords_come_from_netrc(tmp_path: Path, server: Site, repository: Repository) -> None:
    commit = repository.commit({"a": "a"})
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".netrc").write_text("machine 127.0.0.1 login me password s3cret\n")
    out(tmp_path, f"{server.url}/vim.git/.git", commit)
    assert all(each.headers["Authorization"].startswith("Basic ") for each in server.requests)


def test_what_is_a_repository() -> None:
    yes = ["git+https://x/y", "git://x/y", "git+ssh://git@x/y", "git+file:///x", "https://x/y.git", "mirror://m/y.git"]
    assert [each for each in yes if not is_git_url(each)] == []
    assert not is_git_url("https://x/y.tar.gz")
    assert not is_git_url("file:///x/y.git")
    assert plain_url("git+https://x/y#main") == "https://x/y"


def test_urls_of_submodules() -> None:
    assert submodule_url("https://h/a/b.git", "../c.git") == "https://h/a/c.git"
    assert submodule_url("https://h/a/b.git", "./c.git") == "https://h/a/b.git/c.git"
    assert submodule_url("https://h:8/a/b.git", "../../d/c.git") == "https://h:8/d/c.git"
    assert submodule_url("file:///a/b", "../c") == "file:///a/c"
    assert submodule_url("https://h/a", "git@h:x/y.git") == "ssh://git@h/x/y.git"
    assert submodule_url("https://h/a", "https://o/x") == "https://o/x"
    assert parse_modules('# c\n[submodule "a"]\n\tpath = a\n\turl = "../a"\n[submodule "b"]\npath=b\n') == {"a": "../a"}
