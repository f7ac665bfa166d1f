from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexis_store.errors import HostileArchiveError, StoreError
from nexis_store.landing import merge_usr, merged_target
from nexis_store.store import Store
from nexis_store.unpack import Limits, Rules, unpack


def member(name: str, data: bytes = b"", mode: int = 0o644, **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = mode
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def directory(name: str, mode: int = 0o755) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, mode=mode, type=tarfile.DIRTYPE)


def symlink(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.SYMTYPE, linkname=target)


def hardlink(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.LNKTYPE, linkname=target)


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def deb(data: bytes, name: bytes = b"data.tar.xz") -> bytes:
    out = b"!<arch>\n"
    for title, content in ((b"debian-binary", b"2.0\n"), (b"control.tar.xz", b"odd"), (name, data)):
        out += title.ljust(16) + b"0".ljust(12) + b"0".ljust(6) * 2 + b"100644  " + str(len(content)).encode().ljust(10)
        out += b"`\n" + content + b"\n" * (len(content) % 2)
    return out


SAMPLE = (
    directory("./"),
    directory("./pkg-1.0/"),
    member("./pkg-1.0/run", b"#!/bin/sh\n", 0o775, uname="mark", gname="users", uid=1000, gid=1000),
    member("./pkg-1.0/data", b"x" * 5000),
    symlink("./pkg-1.0/link", "data"),
    hardlink("./pkg-1.0/sub/hard", "./pkg-1.0/data"),
)


@pytest.mark.parametrize(
    "compress",
    [bytes, gzip.compress, lzma.compress, bz2.compress, zstandard.compress],
    ids=lambda each: each.__module__,
)
def test_tar_in_every_compression(store: Store, compress: Callable[[bytes], bytes]) -> None:
    artifact = store.add_archive(io.BytesIO(compress(tar(*SAMPLE))), "pkg", strip=1)
    found = {each.path: each for each in store.manifest(artifact.digest).entries()}
    assert list(found) == ["data", "link", "run", "sub", "sub/hard"]
    assert found["run"].executable and found["run"].attributes.owner == "root" and found["run"].mode == 0o755
    assert (artifact.path / "sub/hard").read_bytes() == b"x" * 5000
    assert found["link"].target == "data"


def test_a_deb_brings_owners_modes_and_the_merged_usr(store: Store) -> None:
    data = tar(
        directory("./"),
        directory("./bin/"),
        member("./bin/su", b"su", 0o4755, uname="root", gname="root"),
        directory("./lib/"),
        symlink("./lib/libz.so", "../usr/share/libz.so"),
        symlink("./lib64", "usr/lib64"),
        member("./etc/shadow", b"", 0o640, gname="shadow", uname="root", gid=42),
        member("./usr/bin/ping", b"", 0o755, pax_headers={"SCHILY.xattr.security.capability": "\x01\x02"}),
        directory("./tmp/", 0o1777),
    )
    artifact = store.add_archive(io.BytesIO(deb(lzma.compress(data))), "pkg", format="deb", exclude=["usr/share/doc"])
    found = {each.path: each for each in store.manifest(artifact.digest).entries()}
    assert found["usr/bin/su"].mode == 0o4755
    assert (artifact.path / "usr/bin/su").stat().st_mode & 0o7777 == 0o555
    assert found["etc/shadow"].attributes.group == "shadow" and found["etc/shadow"].mode == 0o640
    assert found["usr/bin/ping"].attributes.xattrs == (("security.capability", b"\x01\x02"),)
    assert found["tmp"].mode == 0o1777
    assert found["lib64"].target == "usr/lib64"
    assert found["usr/lib/libz.so"].target == "../share/libz.so"
    assert "bin" not in found


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_deb_compressions(store: Store, compress: Callable[[bytes], bytes]) -> None:
    data = deb(compress(tar(member("./usr/a", b"a"))), b"data.tar.other/")
    assert (store.add_archive(io.BytesIO(data), "pkg", format="deb").path / "usr/a").read_bytes() == b"a"


def test_zip(store: Store) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("top/file", "text")
        program = zipfile.ZipInfo("top/program")
        program.external_attr = 0o100755 << 16
        archive.writestr(program, "x")
        link = zipfile.ZipInfo("top/link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "file")
        archive.writestr("top/empty/", "")
    artifact = store.add_archive(io.BytesIO(out.getvalue()), "zipped", format="zip", strip=1, prefix="opt/it")
    found = {each.path: each for each in store.manifest(artifact.digest).entries()}
    assert found["opt/it/program"].executable
    assert found["opt/it/link"].target == "file"
    assert found["opt/it/empty"].kind == "d"
    assert (artifact.path / "opt/it/file").read_text() == "text"


HOSTILE = {
    "parent": [member("a/../../etc/passwd")],
    "symlink out": [symlink("a", "../outside")],
    "symlink out after strip": [symlink("a/b/c", "../../../outside")],
    "through a symlink": [symlink("a", "b"), member("a/c")],
    "through an absolute symlink": [symlink("a", "/etc"), member("a/passwd", b"root::0:0")],
    "hard link out": [hardlink("a", "/etc/passwd")],
    "hard link to the parent": [hardlink("a", "../../etc/passwd")],
    "hard link forward": [hardlink("a", "b"), member("b")],
    "hard link to a directory": [directory("d"), hardlink("a", "d")],
    "hard link to itself": [hardlink("a", "a")],
    "device": [member("null", type=tarfile.CHRTYPE)],
    "block device": [member("disk", type=tarfile.BLKTYPE)],
    "fifo": [member("fifo", type=tarfile.FIFOTYPE)],
    "directory over a file": [member("a"), directory("a")],
    "file over a directory": [directory("a"), member("a")],
    "below a file": [member("a"), member("a/b")],
    "long name": [member("x" * 256)],
    "deep name": [member("d/" * 2100 + "f")],
    "empty symlink": [symlink("a", "")],
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_archives_are_refused_and_leave_nothing(
    store: Store, members: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    with pytest.raises(HostileArchiveError):
        store.add_archive(io.BytesIO(tar(member("good", b"good"), *members)), "evil")
    assert list(store.artifacts()) == []
    assert os.listdir(store.layout.staging) == []


@pytest.mark.parametrize("limits", [Limits(entries=10), Limits(bytes=1000)])
def test_bombs(store: Store, limits: Limits) -> None:
    data = tar(*(member(f"f{number}", b"\0" * 100) for number in range(20)))
    with (
        pytest.raises(
            HostileArchiveError, match=r"the archive has more than 10 entries|unpacks to more than 1,000 bytes"
        ),
        store.writer("bomb") as writer,
    ):
        unpack(writer, io.BytesIO(data), "tar", Rules(limits=limits))


def test_a_lying_zip_is_refused(store: Store) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"\0" * 100_000)
    raw = out.getvalue().replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    with pytest.raises(StoreError):
        store.add_archive(io.BytesIO(raw), "lie", format="zip")


@pytest.mark.parametrize(
    ("format", "data"),
    [
        ("tar", b"nothing of the sort" * 100),
        ("tar", gzip.compress(tar(*SAMPLE))[:-50]),
        ("tar", b"\x1f\x8b" + b"x" * 100),
        ("tar", lzma.compress(tar(*SAMPLE))[:-50]),
        ("tar", zstandard.compress(os.urandom(100_000))[:50_000]),
        ("tar", b"\x28\xb5\x2f\xfd" + b"\xff" * 100),
        ("tar", b"BZh9" + b"x" * 100),
        ("tar", tar(*SAMPLE)[:3000]),
        ("tar", b""),
        ("deb", b"!<arch>\n"),
        ("deb", b"no"),
        ("deb", b"!<arch>\n" + b"x" * 60),
        ("zip", b"PK"),
    ],
)
def test_damaged_archives(store: Store, format: str, data: bytes) -> None:
    with pytest.raises(StoreError):
        store.add_archive(io.BytesIO(data), "damaged", format=format)  # type: ignore[arg-type]
    assert list(store.artifacts()) == []


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_damage_is_an_error_or_harmless(store: Store, data: st.DataObject) -> None:
    raw = bytearray(deb(tar(*SAMPLE), b"data.tar") if data.draw(st.booleans()) else tar(*SAMPLE))
    format = "deb" if raw.startswith(b"!<arch>") else "tar"
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(StoreError):
        store.add_archive(io.BytesIO(bytes(raw)), "fuzzed", format=format)  # type: ignore[arg-type]
    assert os.listdir(store.layout.staging) == []


def test_a_later_member_replaces_an_earlier_one(store: Store) -> None:
    artifact = store.add_archive(io.BytesIO(tar(member("a", b"1"), member("b", b"1"), member("a", b"2"))), "twice")
    assert (artifact.path / "a").read_bytes() == b"2"


def test_merging_usr() -> None:
    assert merge_usr("bin/sh") == "usr/bin/sh"
    assert merge_usr("libexec/x") == "libexec/x"
    assert merged_target("lib/a", "b") == "b"
    assert merged_target("lib/a", "../etc/b") == "../../etc/b"
    assert merged_target("lib/x/a", "../../usr/lib/b") == "../b"
    assert merged_target("lib/a", "/lib/b") == "/lib/b"
    assert merged_target("usr/lib/a", "../../lib/b") == "../../lib/b"
