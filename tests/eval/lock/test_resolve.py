"""Pinning what configurations leave open, with real servers: files, release APIs, repositories, directory listings."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import lzma
import shutil
import socket
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from blake3 import blake3

from nexis_eval.config.errors import ConfigErrors
from nexis_eval.config.load import load
from nexis_eval.config.model import Config, Package
from nexis_eval.fetch.client import FetchError, SecretInUrlError
from nexis_eval.lock import upstream
from nexis_eval.lock.fits import debian_request, source_fits
from nexis_eval.lock.model import Lock, LockedSource, LockError, format_lock, parse_lock
from nexis_eval.lock.resolve import Resolution, resolve
from nexis_eval.lock.upstream import forge_of
from nexis_eval.mirrors import Mirrors
from nexis_eval.platforms import AARCH64, RISCV64, X86_64
from nexis_store.errors import NexisError, Place
from tests.eval.fetch.repositories import Repository
from tests.eval.fetch.servers import Site, git_backend, raw_server
from tests.store.packed import deb, zipped

with_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed: no repositories to test with")


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Site]:
    """A web forge: pages, and the repositories below ``srv``."""
    running = Site(git_backend(tmp_path / "srv"))
    try:
        yield running
    finally:
        running.close()


def config(*packages: Package, arch: str = "x86_64") -> Config:
    file = Path("system.toml")
    return Config(
        file=file,
        files=(file,),
        arch=arch,
        packages={each.name: each for each in packages},
        place=lambda path: Place("system.toml", 7, 1) if path[-1] in ("source", "prebuilt") else None,
    )


def pin(*configs: Config, old: Lock | None = None, update: tuple[str, ...] = ()) -> Resolution:
    result = asyncio.run(resolve(configs, old or Lock(), update=update, mirrors=Mirrors({})))
    assert parse_lock(format_lock(result.lock)) == result.lock
    return result


def pinned(*packages: Package, old: Lock | None = None, update: tuple[str, ...] = ()) -> Lock:
    result = pin(config(*packages), old=old, update=update)
    assert result.errors == ()
    return result.lock


def failure(*packages: Package) -> NexisError:
    (error,) = pin(config(*packages)).errors
    return error


def source_of(lock: Lock, name: str, field: str = "source", arch: str = "x86_64") -> LockedSource:
    found = lock.sources.get((name, field, arch)) or lock.sources.get((name, field, ""))
    assert found is not None
    return found


def tarball(text: str = "hello") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo("x/hello")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# Files


def test_a_file_is_pinned_by_hash_size_and_content(site: Site) -> None:
    data = gzip.compress(tarball())
    package = Package("zlib", "1.3", (f"{site.url}/{{name}}-{{version}}.tar.gz",))
    page = site.page("/zlib-1.3.tar.gz", data)
    found = source_of(pinned(package), "zlib")
    assert (found.urls, found.hash, found.size, found.arch) == ((page,), sha256(data), len(data), "")
    site.page("/zlib-1.3.tar.gz", lzma.compress(tarball()))
    assert source_of(pinned(package), "zlib").tree == found.tree


def test_only_what_is_missing_is_asked_for(site: Site) -> None:
    package = Package("a", "1", (site.page("/a", b"a"),))
    lock = pinned(package)
    other = Package("b", "1", (site.page("/b", b"b"),))
    site.requests.clear()
    after = pinned(package, other, old=lock)
    assert [each.path for each in site.requests] == ["/b"]
    assert after.sources["a", "source", ""] == lock.sources["a", "source", ""]
    assert pinned(other, old=after).sources.keys() == {("b", "source", "")}


def test_a_declared_hash_needs_no_lock(site: Site) -> None:
    package = Package("a", "1", (f"{site.url}/a",), hash=f"sha256:{'0' * 64}")
    assert pinned(package) == Lock()
    assert site.requests == []


@pytest.mark.parametrize("field", ["source", "prebuilt"])
def test_a_hash_of_another_file_is_told_with_what_is_there_now(site: Site, tmp_path: Path, field: str) -> None:
    key = {"source": "hash", "prebuilt": "prebuilt_hash"}[field]
    new = sha256(b"new")
    (tmp_path / "system.toml").write_text(
        f'[[packages]]\nname = "a"\nversion = "2"\n{field} = "{site.url}/a-{{version}}"\n{key} = "sha256:{"0" * 64}"\n'
    )
    site.page("/a-2", b"new")
    system = load(tmp_path / "system.toml")
    assert pin(system).errors == ()
    result = asyncio.run(resolve([system], Lock(), update=["a"], verified=["a"], mirrors=Mirrors({})))
    (error,) = result.errors
    assert error.place == Place(str(tmp_path / "system.toml"), 5, len(key) + 4)
    told = f"'{key}' of 'a' is of another file: the one at {site.url}/a-2 has sha256:{new} now"
    assert error.message.startswith(told)
    assert f'write {key} = "sha256:{new}"' in (error.hint or "")


def test_a_placeholder_pins_nothing(site: Site) -> None:
    package = Package("a", "1", (site.page("/a", b"a"),), hash="sha256:abc123...")
    assert source_of(pinned(package), "a").hash == sha256(b"a")


def test_another_version_or_url_is_pinned_anew(site: Site) -> None:
    package = Package("a", "1", (f"{site.url}/a-{{version}}",))
    site.page("/a-1", b"one")
    site.page("/a-2", b"two")
    lock = pinned(package)
    newer = replace(package, version="2")
    assert not source_fits(newer, "source", X86_64, source_of(lock, "a"))
    assert source_of(pinned(newer, old=lock), "a").hash == sha256(b"two")
    moved = replace(package, source=(site.page("/elsewhere", b"three"),))
    assert source_of(pinned(moved, old=lock), "a").hash == sha256(b"three")


def test_updating_one_package_leaves_the_others(site: Site) -> None:
    first = Package("a", "1", (site.page("/a", b"a"),))
    second = Package("b", "1", (site.page("/b", b"b"),))
    lock = pinned(first, second)
    site.page("/a", b"A")
    site.page("/b", b"B")
    after = pinned(first, second, old=lock, update=("a",))
    assert source_of(after, "a").hash == sha256(b"A")
    assert source_of(after, "b") == source_of(lock, "b")


def test_one_that_fails_does_not_keep_the_others(site: Site) -> None:
    good = Package("good", "1", (site.page("/good", b"good"),))
    bad = Package("bad", "1", (f"{site.url}/bad",))
    result = pin(config(good, bad))
    assert source_of(result.lock, "good").hash == sha256(b"good")
    (error,) = result.errors
    assert isinstance(error, FetchError)
    assert error.place == Place("system.toml", 7, 1)
    assert "404 Not Found" in error.message


def test_the_second_url_serves_where_the_first_does_not(site: Site) -> None:
    urls = (f"{site.url}/gone", site.page("/there", b"there"))
    found = source_of(pinned(Package("a", "1", urls)), "a")
    assert (found.urls, found.hash) == (urls, sha256(b"there"))


def test_nothing_secret_gets_into_a_lock(site: Site) -> None:
    error = failure(Package("a", "1", ("https://me:s3cret@example.org/a",)))
    assert isinstance(error, SecretInUrlError)
    assert "s3cret" not in str(error)


# Architectures


def test_each_architecture_has_its_own_file_under_the_name_that_the_project_uses(site: Site) -> None:
    url = f"{site.url}/tool-{{arch}}.tar.gz"
    package = Package("tool", "1", prebuilt=(url,))
    site.page("/tool-amd64.tar.gz", tarball("intel"))
    site.page("/tool-aarch64.tar.gz", tarball("arm"))
    lock = pin(config(package), config(package, arch="aarch64")).lock
    assert source_of(lock, "tool", "prebuilt").urls == (f"{site.url}/tool-amd64.tar.gz",)
    assert source_of(lock, "tool", "prebuilt", "aarch64").hash == sha256(tarball("arm"))
    assert source_fits(package, "prebuilt", X86_64, source_of(lock, "tool", "prebuilt"))
    assert not source_fits(package, "prebuilt", RISCV64, source_of(lock, "tool", "prebuilt"))


def test_a_prebuilt_archive_that_there_is_none_of(site: Site) -> None:
    source = site.page("/tool.tar.gz", tarball())
    package = Package("tool", "1", (source,), prebuilt=(f"{site.url}/tool-{{arch}}",), fallback_to_source=True)
    lock = pin(config(package, arch="riscv64")).lock
    absence = lock.sources.get(("tool", "prebuilt", "riscv64"))
    assert absence is not None
    assert source_fits(package, "prebuilt", RISCV64, absence)
    site.requests.clear()
    pin(config(package, arch="riscv64"), old=lock)
    assert site.requests == []
    strict = replace(package, fallback_to_source=False)
    (error,) = pin(config(strict, arch="riscv64")).errors
    assert "404" in error.message


def test_a_server_in_trouble_is_not_an_absent_file(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    source = site.page("/tool.tar.gz", tarball())
    prebuilt = site.page("/tool-bin", failures=[500] * 9)
    (error,) = pin(config(Package("tool", "1", (source,), prebuilt=(prebuilt,), fallback_to_source=True))).errors
    assert "500" in error.message


# Hashes


def test_what_is_downloaded_must_be_what_is_declared(site: Site) -> None:
    declared = f"sha512:{hashlib.sha512(tarball('right')).hexdigest()}"
    listing = site.page("/d/", b'<a href="a-1.tar.gz">a</a>')
    assert listing
    site.page("/d/a-1.tar.gz", tarball("right"))
    package = Package("a", "latest", (f"{site.url}/d/a-{{version}}.tar.gz",), hash=declared)
    found = source_of(pinned(package), "a")
    assert f"{found.algorithm}:{found.hash}" == declared
    site.page("/d/a-1.tar.gz", tarball("wrong"))
    error = failure(package)
    assert isinstance(error, LockError)
    assert declared in error.message
    assert hashlib.sha512(tarball("wrong")).hexdigest() in error.message


# What is not what it seems

TAR = tarball()
ZIP = zipped(("a", b"text" * 100))


def unannounced(data: bytes) -> Callable[[socket.socket], None]:
    """Answers as a server that does not say how long the file is."""
    return lambda connection: connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + data)


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("x.tar.gz", b"\n<!DOCTYPE html><html>Log in", "is a web page of"),
        ("x.bin", b"<?xml version='1.0'?>\n<!-- a -->\n<html>", "is a web page of"),
        ("x.tar.gz", b"rate limit exceeded\n", "is not the archive that its name says"),
        ("X.TGZ", b"", "is not the archive that its name says"),
        ("x.deb", b"rate limit exceeded\n", "is not the archive that its name says"),
        ("v1", gzip.compress(TAR, mtime=0)[:-9], "cannot be unpacked: its gzip compression ends in the middle"),
        ("x.crate", lzma.compress(TAR)[:99], "cannot be unpacked: its xz compression ends in the middle"),
        (
            "x.gz",
            gzip.compress(b"alone" * 99, mtime=0)[:-4],
            "cannot be unpacked: its gzip compression ends in the middle",
        ),
        ("x.tar", TAR[:700], "cannot be unpacked: it ends in the middle of "),
        ("x", zipped(("a", b"x" * 99))[:-9], "cannot be unpacked: File is not a zip file"),
        ("x.zip", ZIP.replace(b"\x14\0\0\0\x08", b"\x14\0\x01\0\x08"), "cannot be unpacked: 'a' is encrypted"),
        ("x.zip", zipped(("ä", b"")).replace("ä".encode(), b"\xff\xff"), "marked as UTF-8 and is not"),
        ("x.deb", deb(TAR)[:-9], "cannot be unpacked: it ends in the middle"),
    ],
)
def test_what_is_no_archive_is_not_pinned(site: Site, name: str, data: bytes, why: str, announced: bool) -> None:
    if announced:
        error = failure(Package("a", "1", (site.page(f"/{name}", data),)))
    else:
        with raw_server(unannounced(data)) as server:
            error = failure(Package("a", "1", (f"{server}/{name}",)))
    assert isinstance(error, LockError)
    assert why in error.message
    assert error.place == Place("system.toml", 7, 1)


@pytest.mark.parametrize("method", [9, 6], ids=["Deflate64", "implode"])
def test_an_archive_that_only_others_can_read_is_pinned_by_its_hash_and_the_rest_too(site: Site, method: int) -> None:
    told: list[str] = []
    odd = site.page("/x.zip", ZIP.replace(b"\x14\0\0\0\x08", bytes((0x14, 0, 0, 0, method))))
    packages = (Package("a", "1", (odd,)), Package("b", "1", (site.page("/b.tar", tarball()),)))
    done = asyncio.run(resolve([config(*packages)], Lock(), mirrors=Mirrors({}), tell=told.append))
    assert done.errors == () and len(done.lock.sources) == 2
    assert [line for line in told if line.startswith("notice: ") and "without the tree digest" in line]


def test_a_file_whose_end_nobody_announced_is_not_pinned_silently() -> None:
    told: list[str] = []
    for data, warned in ((b"#!/bin/sh\n", 1), (gzip.compress(tarball()), 0)):
        told.clear()
        with raw_server(unannounced(data)) as server:
            package = Package("a", "1", (f"{server}/x",))
            asyncio.run(resolve([config(package)], Lock(), mirrors=Mirrors({}), tell=told.append))
        assert len([line for line in told if line.startswith("warning: ") and "where the file ends" in line]) == warned


def test_answers_of_forges_are_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "MAX_LISTING_BYTES", 1000)
    release_page(site, "/api/v1/repos/o/p/releases/latest", {"tag_name": "v1", "body": "x" * 2000})
    release_page(site, "/api/v3/repos/o/p/releases/latest", {"tag_name": "v1\x1b[2J"})
    text = failure(Package("p", "latest", (f"{site.url}/o/p/releases/download/{{tag}}/p",))).message
    assert "the answer is larger than 1,000 bytes" in text
    assert "no release" in text
    site.page("/", b"x" * 2000)
    assert "larger than the 1,000 bytes" in failure(Package("p", "latest", (f"{site.url}/p-{{version}}",))).message


# Hashes of the configuration and of the lock


def algorithms(data: bytes) -> dict[str, str]:
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "sha512": hashlib.sha512(data).hexdigest(),
        "blake3": blake3(data).hexdigest(),
    }


@pytest.mark.parametrize("declared", ["sha256", "sha512", "blake3"])
def test_a_hash_of_any_algorithm_is_compared_without_a_download(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, declared: str
) -> None:
    monkeypatch.chdir(tmp_path)
    table = f'[[packages]]\nname = "a"\nversion = "1"\nsource = "{site.page("/a.tar", tarball())}"\n'
    Path("system.toml").write_text(table)
    lock = pin(load(Path("system.toml"))).lock
    Path("nexis.lock").write_text(format_lock(lock))
    asked = len(site.requests)
    Path("system.toml").write_text(f'{table}hash = "{declared}:{algorithms(tarball())[declared]}"\n')
    assert pin(load(Path("system.toml")), old=lock).lock == lock
    wrong = f"{declared}:{algorithms(b'other')[declared]}"
    Path("system.toml").write_text(f'{table}hash = "{wrong}"\n')
    (error,) = pin(load(Path("system.toml")), old=lock).errors
    assert isinstance(error, ConfigErrors)
    (conflict,) = error.errors
    assert conflict.code == "C0518"
    assert str(conflict.place) == "system.toml:5:8"
    text = Path("nexis.lock").read_text().splitlines()
    (note,) = conflict.notes
    assert note.place.file == "nexis.lock"
    assert algorithms(tarball())[declared] in text[note.place.line - 1][note.place.column - 1 :]
    assert wrong[:19] in conflict.message
    assert f"{declared}:{algorithms(tarball())[declared][:12]}" in conflict.message
    assert len(site.requests) == asked


def test_a_lock_without_the_algorithm_is_completed_and_compared(site: Site) -> None:
    url = site.page("/a.tar", tarball())
    old = pinned(Package("a", "1", (url,)))
    known = old.sources["a", "source", ""]
    assert known.algorithm == "sha256"
    without = Lock({("a", "source", ""): replace(known, others=())})
    declared = algorithms(tarball())["sha512"]
    assert pinned(Package("a", "1", (url,), hash=f"sha512:{declared}"), old=without) == old
    (error,) = pin(config(Package("a", "1", (url,), hash=f"sha512:{'0' * 128}")), old=without).errors
    assert f"sha512:{declared}" in error.message
    assert f"the configuration says sha512:{'0' * 128}" in error.message
    # What is there now is what is declared, and not what was pinned.
    site.page("/a.tar", tarball("other"))
    declared = algorithms(tarball("other"))["sha512"]
    (error,) = pin(config(Package("a", "1", (url,), hash=f"sha512:{declared}")), old=without).errors
    assert f"nexis.lock has sha256:{known.hash}" in error.message
    assert error.hint is not None
    assert "nexis-eval lock --update a" in error.hint


# The latest version


def release_page(site: Site, path: str, answer: object, **settings: object) -> None:
    site.page(path, json.dumps(answer).encode(), headers={"Content-Type": "application/json"}, **settings)


@pytest.mark.parametrize("api", ["/api/v1", "/api/v3"])
def test_latest_through_the_release_api_of_forgejo_and_github(site: Site, api: str) -> None:
    release_page(site, f"{api}/repos/vim/vim/releases/latest", {"tag_name": "v9.1.0042"})
    data = gzip.compress(tarball())
    site.page("/vim/vim/releases/download/v9.1.0042/vim-v9.1.0042-linux-x86_64.tar.gz", data)
    url = f"{site.url}/vim/vim/releases/download/{{tag}}/vim-{{tag}}-linux-{{arch}}.tar.gz"
    found = source_of(pinned(Package("vim", "latest", prebuilt=(url,))), "vim", "prebuilt")
    assert (found.version, found.tag, found.hash) == ("9.1.0042", "v9.1.0042", sha256(data))


def test_latest_through_the_release_api_of_gitlab(site: Site) -> None:
    answer = [{"tag_name": "2.0", "upcoming_release": True}, {"tag_name": "1.9"}, {"tag_name": "1.8"}]
    release_page(site, "/api/v4/projects/group%2Fsub%2Fproject/releases", answer)
    site.page("/group/sub/project/-/archive/1.9/project-1.9.tar.gz", tarball())
    url = f"{site.url}/group/sub/project/-/archive/{{tag}}/project-{{tag}}.tar.gz"
    assert source_of(pinned(Package("p", "latest", (url,))), "p").version == "1.9"


@with_git
def test_latest_through_tags_where_there_are_no_releases(tmp_path: Path, forge: Site) -> None:
    repository = Repository(tmp_path / "srv" / "o" / "p.git")
    shutil.move(repository.path / ".git", tmp_path / "bare")
    shutil.rmtree(repository.path)
    shutil.move(tmp_path / "bare", repository.path)
    work = Repository(tmp_path / "work")
    work.commit({"a": "a"})
    for tag in ("v1.2", "v1.10", "v2.0-rc1"):
        work.git("tag", tag)
    work.git("push", "-q", str(repository.path), "--tags")
    forge.page("/o/p/archive/v1.10.tar.gz", tarball())
    found = source_of(pinned(Package("p", "latest", (f"{forge.url}/o/p/archive/{{tag}}.tar.gz",))), "p")
    assert (found.version, found.tag) == ("1.10", "v1.10")


def test_latest_through_directory_listings(site: Site) -> None:
    site.page("/pub/", b'<a href="../">up</a> <a href="v1.9/">x</a> <A HREF=\'v1.10/\'>y</A> <a href="old/">z</a>')
    site.page("/pub/v1.10/", b'<a href="p-1.10.1.tar.xz">a</a><a href="/pub/v1.10/p-1.10.12.tar.xz?x=1">b</a>')
    site.page("/pub/v1.10/p-1.10.12.tar.xz", tarball())
    url = f"{site.url}/pub/v{{version_minor}}/p-{{version}}.tar.xz"
    found = source_of(pinned(Package("p", "latest", (url,))), "p")
    assert (found.version, found.urls) == ("1.10.12", (f"{site.url}/pub/v1.10/p-1.10.12.tar.xz",))


def test_latest_stays_until_it_is_updated(site: Site) -> None:
    site.page("/", b'<a href="p-1.tar">')
    site.page("/p-1.tar", tarball("1"))
    site.page("/p-2.tar", tarball("2"))
    package = Package("p", "latest", (f"{site.url}/p-{{version}}.tar",))
    lock = pinned(package)
    site.page("/", b'<a href="p-1.tar"><a href="p-2.tar">')
    assert pinned(package, old=lock) == lock
    assert source_of(pinned(package, old=lock, update=("p",)), "p").version == "2"


def test_source_and_prebuilt_are_of_one_version(site: Site) -> None:
    release_page(site, "/api/v1/repos/o/p/releases/latest", {"tag_name": "v1"})
    site.page("/o/p/releases/download/v1/p-x86_64", b"bin")
    site.page("/src/p-1.tar", tarball())
    package = Package(
        "p",
        "latest",
        (f"{site.url}/src/p-{{version}}.tar",),
        prebuilt=(f"{site.url}/o/p/releases/download/{{tag}}/p-{{arch}}",),
    )
    lock = pinned(package)
    release_page(site, "/api/v1/repos/o/p/releases/latest", {"tag_name": "v2"})
    site.page("/o/p/releases/download/v1/p-aarch64", b"arm")
    lock = pin(config(package), config(package, arch="aarch64"), old=lock).lock
    assert {each.version for each in lock.sources.values()} == {"1"}
    assert len(lock.sources) == 3


def test_why_the_latest_version_cannot_be_found(site: Site) -> None:
    limit = {"X-RateLimit-Remaining": "0"}
    site.page("/api/v1/repos/o/p/releases/latest", b"", status=403, headers=limit)
    site.page("/api/v3/repos/o/p/releases/latest", b"<html>")
    url = f"{site.url}/o/p/releases/download/{{tag}}/p"
    error = failure(Package("p", "latest", prebuilt=(url,)))
    assert error.place == Place("system.toml", 7, 1)
    lines = error.message.splitlines()
    assert lines[0] == "cannot find out what the latest version of 'p' is; tried"
    assert "403 Forbidden: too many questions; a token for 127.0.0.1 in ~/.netrc raises the limit" in lines[1]
    assert lines[2].endswith("/api/v3/repos/o/p/releases/latest: no release")
    assert "404 Not Found" in error.message
    assert 'in place of "latest"' in (error.hint or "")
    assert "no field for the version" in failure(Package("p", "latest", (f"{site.url}/p.tar",))).message


def test_which_urls_belong_to_a_forge() -> None:
    forge = forge_of("https://github.com/vim/vim/releases/download/{tag}/vim-{tag}-linux-{arch}.tar.gz")
    assert forge is not None
    assert forge.apis == ("https://api.github.com/repos/vim/vim/releases/latest",)
    assert forge.repository == "https://github.com/vim/vim.git"
    assert forge_of("https://example.org/pub/p-{version}.tar.gz") is None
    assert forge_of("https://github.com/{name}/x/archive/{tag}.tar.gz") is None
    assert forge_of("mirror://debian/a/b/archive/x") is None


# Repositories


@with_git
def test_repositories_are_pinned_to_a_commit(tmp_path: Path, forge: Site) -> None:
    repository = Repository(tmp_path / "srv" / "vim.git")
    commits = {}
    for version in ("9.0", "9.1"):
        commits[version] = repository.commit({"version": version})
        repository.git("tag", "-a", "-m", version, f"v{version}")
    commits["main"] = repository.commit({"version": "next"})
    url = f"{forge.url}/vim.git/.git"
    seen = {}
    for version, fragment in (("latest", ""), ("9.0", ""), ("", ""), ("9.1", "#main"), ("9.1", f"#{commits['9.0']}")):
        package = Package("vim", version, (f"git+{url}{fragment}",))
        lock = pinned(package)
        found = source_of(lock, "vim")
        assert found.tree is not None
        assert source_fits(package, "source", AARCH64, found)
        assert pinned(package, old=lock) == lock
        seen[version, fragment[:5]] = (found.commit, found.tag)
    assert seen == {
        ("latest", ""): (commits["9.1"], "v9.1"),
        ("9.0", ""): (commits["9.0"], "v9.0"),
        ("", ""): (commits["main"], ""),
        ("9.1", "#main"): (commits["main"], ""),
        ("9.1", f"#{commits['9.0'][:4]}"): (commits["9.0"], ""),
    }
    error = failure(Package("vim", "9.2", (url,)))
    assert f"{url} has no tag for version '9.2'" in error.message
    assert "v9.1" in (error.hint or "")
    assert "no tag or branch 'mian'" in failure(Package("vim", "9.1", (f"{url}#mian",))).message


@with_git
def test_a_shortened_commit_is_told_as_one(tmp_path: Path, forge: Site) -> None:
    repository = Repository(tmp_path / "srv" / "vim.git")
    older = repository.commit({"version": "1"})
    newest = repository.commit({"version": "2"})
    url = f"{forge.url}/vim.git/.git"
    error = failure(Package("vim", "", (f"{url}#{newest[:7].upper()}",)))
    assert error.message == f"'{newest[:7].upper()}' is not a tag or a branch of {url}, and as a commit it is shortened"
    assert error.hint == f"write the whole name of the commit: #{newest}"
    error = failure(Package("vim", "", (f"{url}#{older[:7]}",)))
    assert error.hint == f"write the whole name of the commit after '#': 'git rev-parse {older[:7]}' prints it"
    assert source_of(pinned(Package("vim", "", (f"{url}#{older.upper()}",))), "vim").commit == older


@with_git
def test_the_specified_vim(tmp_path: Path, forge: Site) -> None:
    """Prebuilt by release, source by repository: one version; no archive for riscv64."""
    repository = Repository(tmp_path / "srv" / "vim" / "vim.git")
    commit = repository.commit({"Makefile": "all:\n"})
    repository.git("tag", "v9.1.1")
    release_page(forge, "/api/v1/repos/vim/vim/releases/latest", {"tag_name": "v9.1.1"})
    for arch in ("x86_64", "aarch64"):
        forge.page(f"/vim/vim/releases/download/v9.1.1/vim-v9.1.1-linux-{arch}.tar.gz", tarball(arch))
    package = Package(
        "vim",
        "latest",
        (f"git+{forge.url}/vim/vim.git/.git",),
        prebuilt=(f"{forge.url}/vim/vim/releases/download/{{tag}}/vim-{{tag}}-linux-{{arch}}.tar.gz",),
        fallback_to_source=True,
    )
    result = pin(*(config(package, arch=arch) for arch in ("x86_64", "aarch64", "riscv64")))
    assert result.errors == ()
    assert source_of(result.lock, "vim").commit == commit
    assert source_of(result.lock, "vim", "prebuilt").hash == sha256(tarball("x86_64"))
    assert source_of(result.lock, "vim", "prebuilt", "aarch64").hash == sha256(tarball("aarch64"))
    assert result.lock.sources["vim", "prebuilt", "riscv64"].absent


@with_git
def test_submodules_are_noted(tmp_path: Path, forge: Site) -> None:
    inner = Repository(tmp_path / "srv" / "inner.git")
    inner.commit({"in": "in"})
    outer = Repository(tmp_path / "srv" / "outer.git")
    outer.commit({"a": "a"})
    outer.git("submodule", "--quiet", "add", f"{forge.url}/inner.git/.git", "sub")
    outer.commit({})
    assert source_of(pinned(Package("p", "", (f"git+{forge.url}/outer.git/.git",))), "p").submodules


# Debian


def test_what_is_asked_of_debian_is_remembered() -> None:
    package = Package("linux", debian=("linux-image-{debarch}",), debian_suite="trixie", debian_closure=False)
    assert debian_request(package, AARCH64) == "trixie only linux-image-arm64"
