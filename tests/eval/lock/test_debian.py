"""Debian's archive: versions, relations, closures, and an index whose signature is checked with the real gpgv."""

from __future__ import annotations

import asyncio
import hashlib
import lzma
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from nexis_eval.config.model import Config, Package
from nexis_eval.fetch.client import FetchError, new_client
from nexis_eval.lock import debian
from nexis_eval.lock.debian import (
    DebianIndexError,
    Index,
    check_release,
    compare_versions,
    load_index,
    parse_index,
    parse_release,
)
from nexis_eval.lock.model import Lock, format_lock, parse_lock
from nexis_eval.lock.resolve import Resolution, resolve
from nexis_eval.mirrors import Mirrors
from tests.eval.fetch.servers import Site

PACKAGES = """\
Package: shell
Version: 1.0-1
Architecture: amd64
Filename: pool/main/s/shell/shell_1.0-1_amd64.deb
SHA256: {hash}
Size: 10
Pre-Depends: libc (>= 2.3)
Depends: awk, missing | present [amd64], data:any

Package: libc
Version: 2:2.36-9+deb12u1
Architecture: amd64
Filename: pool/main/l/libc/libc_2.36-9+deb12u1_amd64.deb
SHA256: {hash}
Size: 20
Depends: shell
Description: a line
 and : another
 .

Package: mawk
Version: 1.3
Architecture: amd64
Filename: pool/m/mawk.deb
SHA256: {hash}
Size: 1
Provides: awk (= 1)

Package: gawk
Version: 5
Architecture: amd64
Filename: pool/g/gawk.deb
SHA256: {hash}
Size: 1
Provides: awk

Package: present
Version: 1
Architecture: all
Filename: pool/p/present.deb
SHA256: {hash}
Size: 1

Package: data
Version: 1
Architecture: all
Filename: pool/d/data.deb
SHA256: {hash}
Size: 1

Package: data
Version: 1~rc1
Architecture: all
Filename: pool/d/data-rc.deb
SHA256: {hash}
Size: 1

Package: broken
Version: 1
Architecture: all
Filename: pool/b/broken.deb
SHA256: {hash}
Size: 1
Depends: nowhere | neither
""".format(hash="ab" * 32)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.0~rc1", "1.0"),
        ("1.0", "1.0-1"),
        ("1.0-1", "1.0-1+b1"),
        ("1.9", "1.10"),
        ("9", "1:0"),
        ("2.36-9+deb12u9", "2.36-9+deb12u14"),
        ("1.0a", "1.0+"),
        ("1.0~~", "1.0~"),
        ("1.0~", "1.0"),
        ("6.1.9-1", "6.1.176-1"),
        ("0", "00001"),
    ],
)
def test_versions_are_ordered_as_dpkg_orders_them(older: str, newer: str) -> None:
    assert compare_versions(older, newer) < 0
    assert compare_versions(newer, older) > 0
    assert compare_versions(newer, newer) == 0


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="dpkg is not installed to compare with")
def test_dpkg_agrees() -> None:
    versions = ["1.0", "1.0-1", "1:0.1", "1.0~rc1-1", "1.0+dfsg-1", "1.0a", "1.0.0", "2.36-9+deb12u14", "20220109.1"]
    for left in versions:
        for right in versions:
            says = subprocess.run(["dpkg", "--compare-versions", left, "lt", right], check=False).returncode == 0
            assert (compare_versions(left, right) < 0) == says, (left, right)


@pytest.fixture
def index() -> Index:
    return Index("bookworm", "amd64", parse_index(PACKAGES))


def names(index: Index, *wanted: str, without: tuple[str, ...] = ()) -> list[str]:
    return [each.name for each in index.closure(wanted, without)]


def test_a_closure_follows_dependencies_alternatives_and_what_is_provided(index: Index) -> None:
    assert names(index, "shell") == ["data", "gawk", "libc", "present", "shell"]


def test_what_is_there_already_is_preferred(index: Index) -> None:
    assert names(index, "mawk", "shell") == ["data", "libc", "mawk", "present", "shell"]


def test_what_another_set_holds_is_left_out(index: Index) -> None:
    assert names(index, "shell", without=("libc", "gawk")) == ["data", "present", "shell"]


def test_the_newest_version_unless_another_is_named(index: Index) -> None:
    assert index.package("data").version == "1"
    assert index.package("data=1~rc1").filename == "pool/d/data-rc.deb"


def test_what_is_not_there(index: Index) -> None:
    with pytest.raises(DebianIndexError, match="has no package 'shel' for amd64") as caught:
        index.package("shel")
    assert "shell" in (caught.value.hint or "")
    with pytest.raises(DebianIndexError) as caught:
        index.package("data=7")
    assert "it has data in: 1, 1~rc1" in (caught.value.hint or "")
    with pytest.raises(DebianIndexError, match="broken needs nowhere or neither"):
        index.closure(["broken"])


def test_the_lock_names_a_mirror_set_and_no_host(index: Index) -> None:
    assert index.package("libc").lock().urls == ("mirror://debian/pool/main/l/libc/libc_2.36-9+deb12u1_amd64.deb",)


# A whole archive


def release_head(
    codename: str = "bookworm", suite: str = "stable", age_days: float = 1, valid_days: float | None = None
) -> str:
    """How a release begins; ``valid_days`` from now on."""
    now = datetime.now(UTC)
    head = f"Suite: {suite}\nCodename: {codename}\nDate: {format_datetime(now - timedelta(days=age_days))}\n"
    if valid_days is not None:
        head += f"Valid-Until: {format_datetime(now + timedelta(days=valid_days))}\n"
    return head


class Archive:
    """A Debian archive on the loopback interface, signed by a key of its own."""

    def __init__(self, site: Site, directory: Path) -> None:
        self.site = site
        self.home = directory / "gnupg"
        self.home.mkdir(mode=0o700)
        self.keyring = directory / "keyring.gpg"
        self.gpg("--quick-generate-key", "--passphrase", "", "Archive <archive@example.org>", "default", "sign", "0")
        self.keyring.write_bytes(self.gpg("--export"))
        self.cache = directory / "cache"

    def gpg(self, *arguments: str, data: bytes = b"") -> bytes:
        command = ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--homedir", str(self.home), *arguments]
        return subprocess.run(command, input=data, capture_output=True, check=True).stdout

    def publish(
        self, packages: str, *, served: str | None = None, by: Archive | None = None, head: str | None = None
    ) -> None:
        """Sign an index; ``served`` is what the server then has in its place, ``by`` who signs it."""
        head = release_head() if head is None else head
        data = lzma.compress(packages.encode())
        digest = hashlib.sha256(data).hexdigest()
        release = f"{head}MD5Sum:\n 00 1 main/x\nSHA256:\n {digest} {len(data)} main/binary-amd64/Packages.xz\n"
        signed = (by or self).gpg("--passphrase", "", "--clearsign", data=release.encode())
        self.site.page("/debian/dists/bookworm/InRelease", signed)
        body = data if served is None else lzma.compress(served.encode())
        self.site.page(f"/debian/dists/bookworm/main/binary-amd64/by-hash/SHA256/{digest}", body)

    def index(self, arch: str = "amd64", **settings: object) -> Index:
        async def run() -> Index:
            async with new_client() as client:
                mirrors = Mirrors({"debian": (f"{self.site.url}/debian",)})
                return await load_index(
                    "bookworm",
                    arch,
                    self.cache,
                    mirrors=mirrors,
                    client=client,
                    **settings,  # type: ignore[arg-type]
                )

        return asyncio.run(run())

    def close(self) -> None:
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=False)


@pytest.fixture
def archive(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    if shutil.which("gpg") is None or shutil.which("gpgv") is None:
        pytest.skip("gpg and gpgv are not installed: no signed archive to test with")
    made = Archive(site, tmp_path)
    monkeypatch.setattr(debian, "KEYRINGS", (made.keyring,))
    monkeypatch.setattr(debian.verify_release, "__defaults__", ((made.keyring,),))
    try:
        yield made
    finally:
        made.close()


def test_a_signed_index(archive: Archive) -> None:
    archive.publish(PACKAGES)
    assert archive.index().package("shell").sha256 == "ab" * 32
    archive.site.requests.clear()
    archive.index()
    assert [each.path for each in archive.site.requests] == ["/debian/dists/bookworm/InRelease"]


def test_a_damaged_copy_in_the_cache_is_fetched_again(archive: Archive) -> None:
    archive.publish(PACKAGES)
    archive.index()
    (kept,) = archive.cache.glob("*.xz")
    kept.write_bytes(b"damaged")
    assert archive.index().package("shell")


def test_an_index_that_is_not_the_signed_one(archive: Archive) -> None:
    archive.publish(PACKAGES, served=PACKAGES.replace("ab" * 32, "cd" * 32))
    with pytest.raises(FetchError, match="another hash than its signed release says"):
        archive.index()
    assert list(archive.cache.glob("*.xz")) == []


def test_a_signature_by_somebody_else(archive: Archive, site: Site, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Archive(site, tmp_path / "other")
    try:
        archive.publish(PACKAGES, by=other)
        with pytest.raises(DebianIndexError, match="signature of Debian's package index is not good"):
            archive.index()
    finally:
        other.close()


def test_text_around_the_signed_part_is_not_read(archive: Archive) -> None:
    archive.publish(PACKAGES)
    page = archive.site.pages["/debian/dists/bookworm/InRelease"]
    page.data = page.data.replace(b"MD5Sum:", b"SHA256:\n 00 1 main/binary-amd64/Packages.xz\nMD5Sum:")
    with pytest.raises(DebianIndexError, match="is not good"):
        archive.index()


def test_an_architecture_that_the_suite_does_not_have(archive: Archive) -> None:
    archive.publish(PACKAGES)
    with pytest.raises(DebianIndexError, match="has no packages for riscv64"):
        archive.index("riscv64")


def test_without_a_keyring_there_is_no_trust(archive: Archive, tmp_path: Path) -> None:
    archive.publish(PACKAGES)
    archive.keyring.unlink()
    with pytest.raises(DebianIndexError) as caught:
        archive.index()
    assert "debian-archive-keyring" in (caught.value.hint or "")


HASHES = "MD5Sum:\n 00 1 a\nSHA256:\n aa 7 main/a\n bb 8 main/b\nSHA512:\n cc 9 main/a\n"


def test_what_a_release_says() -> None:
    release = parse_release(f"Suite: stable\nCodename: x\nDate: Sat, 09 Nov 2024 10:06:43 UTC\n{HASHES}")
    assert release.hashes == {"main/a": ("aa", 7), "main/b": ("bb", 8)}
    assert release.names == ("stable", "x")
    assert release.written_date == "2024-11-09T10:06:43Z"
    assert release.valid_until is None


REFUSED = [
    (release_head("trixie", "testing"), "", "what the mirror has as Debian bookworm is signed as 'testing or trixie'"),
    (release_head("", ""), "", "is signed as"),
    (release_head(age_days=9, valid_days=-1), "", "the package index of Debian bookworm was valid until"),
    (release_head(age_days=-3), "", "is of the future"),
    (release_head(age_days=9), "2999-01-01T00:00:00Z", "which is older than the one that nexis.lock was made with"),
]


@pytest.mark.parametrize(("head", "locked", "why"), REFUSED, ids=["suite", "nothing", "expired", "future", "older"])
def test_a_release_of_another_suite_or_time(head: str, locked: str, why: str) -> None:
    with pytest.raises(DebianIndexError) as caught:
        check_release(parse_release(head + HASHES), "bookworm", locked_date=locked)
    assert why in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("suite", ["stable", "bookworm"])
def test_a_release_as_it_should_be(suite: str) -> None:
    release = parse_release(release_head(valid_days=1) + HASHES)
    check_release(release, suite, locked_date=release.written_date)


def test_signed_releases_of_another_suite_or_of_the_past_are_refused(archive: Archive) -> None:
    """Debian's own signature is on all of them."""
    archive.publish(PACKAGES, head=release_head("trixie", "testing"))
    with pytest.raises(DebianIndexError, match="is signed as 'testing or trixie'"):
        archive.index()
    with pytest.raises(DebianIndexError, match="is signed as 'testing or trixie'"):
        archive.index(any_date=True)
    archive.publish(PACKAGES)
    newest = archive.index().date
    for head in (release_head(age_days=100), release_head(age_days=1, valid_days=-0.5)):
        archive.publish(PACKAGES, head=head)
        with pytest.raises(DebianIndexError) as caught:
            archive.index(locked_date=newest)
        assert "nexis-eval lock --older-index" in (caught.value.hint or "")
        assert archive.index(locked_date=newest, any_date=True).package("shell")


@pytest.mark.parametrize(
    ("head", "packages"),
    [
        ("", PACKAGES),
        ("Suite: stable\nCodename: bookworm\nDate: yesterday\n", PACKAGES),
        (release_head() + "SHA256:\n one two\n", PACKAGES),
        (None, PACKAGES.replace("Size: 10", "Size: ten")),
        (None, PACKAGES.replace("Version: 1.0-1\n", "")),
        (None, PACKAGES.replace("Version: 1~rc1", "Version: x:1")),
    ],
    ids=["empty", "date", "hashes", "size", "no version", "epoch"],
)
def test_a_signed_index_that_cannot_be_read(archive: Archive, head: str | None, packages: str) -> None:
    archive.publish(packages, head=head)
    with pytest.raises(DebianIndexError, match="is signed, but cannot be read"):
        archive.index()


def test_two_architectures_of_one_suite_are_read_at_once(archive: Archive) -> None:
    archive.publish(PACKAGES)

    async def run() -> None:
        async with new_client() as client:
            mirrors = Mirrors({"debian": (f"{archive.site.url}/debian",)})
            await asyncio.gather(
                *(load_index("bookworm", "amd64", archive.cache, mirrors=mirrors, client=client) for _ in range(8))
            )

    asyncio.run(run())
    assert [each.suffix for each in archive.cache.iterdir()] == [".xz"]


def test_the_lock_remembers_the_date_and_takes_no_older_index(archive: Archive) -> None:
    def pin(lock: Lock, *wanted: str, older_index: bool = False) -> Resolution:
        packages = {name: Package(name, debian=(name,), debian_suite="bookworm") for name in wanted}
        file = Path("system.toml")
        configured = Config(file=file, files=(file,), arch="x86_64", packages=packages, place=lambda _: None)
        mirrors = Mirrors({"debian": (f"{archive.site.url}/debian",)})
        return asyncio.run(resolve([configured], lock, mirrors=mirrors, older_index=older_index))

    archive.publish(PACKAGES)
    first = pin(Lock(), "present")
    assert first.errors == ()
    assert set(first.lock.releases) == {"bookworm"}
    assert parse_lock(format_lock(first.lock)) == first.lock
    archive.publish(PACKAGES, head=release_head(age_days=100))
    assert pin(first.lock, "present") == first, "what is pinned needs no index"
    (error,) = pin(first.lock, "present", "data").errors
    assert "older than the one that nexis.lock was made with" in error.message
    older = pin(first.lock, "present", "data", older_index=True)
    assert older.errors == ()
    assert older.lock.releases["bookworm"] < first.lock.releases["bookworm"]
    # A lock of before, without dates, takes any.
    assert pin(replace(first.lock, releases={}), "present", "data").errors == ()
