from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from nexis_store.archive import write_cpio, write_tar
from nexis_store.errors import StoreError
from nexis_store.publish import Artifact
from nexis_store.store import Store
from nexis_store.tree import Attributes


@pytest.fixture
def system(store: Store) -> Artifact:
    with store.writer("system") as writer:
        writer.file("etc/passwd", b"root:x:0:0::/root:/bin/sh\nann:x:1001:100::/home/ann:/bin/sh\n")
        writer.file("etc/group", b"root:x:0:\nusers:x:100:\nshadow:x:42:\n")
        writer.file("etc/shadow", b"secret", attributes=Attributes(mode=0o640, group="shadow"))
        writer.file("usr/bin/su", b"su" * 1000, attributes=Attributes(mode=0o4755))
        writer.file("usr/bin/\udcff", b"odd name")
        writer.file(
            "usr/bin/ping",
            b"",
            attributes=Attributes(mode=0o755, xattrs=(("security.capability", b"\x01\x00\x00\x02\xff\xfe"),)),
        )
        writer.symlink("bin", "usr/bin")
        writer.directory("home/ann", Attributes(mode=0o700, owner="ann", group="users"))
        writer.directory("tmp", Attributes(mode=0o1777))
        writer.file("d" * 120 + "/" + "e" * 120, b"long")
        writer.file("numeric", b"", attributes=Attributes(owner="1234", group="4321"))
        return writer.commit()


def tar_of(store: Store, artifact: Artifact, **options: int) -> bytes:
    out = io.BytesIO()
    write_tar(store.manifest(artifact.digest), artifact.path, out, **options)
    return out.getvalue()


def cpio_of(store: Store, artifact: Artifact) -> bytes:
    out = io.BytesIO()
    write_cpio(store.manifest(artifact.digest), artifact.path, out)
    return out.getvalue()


def test_tar_carries_what_the_store_keeps_in_manifests(store: Store, system: Artifact) -> None:
    raw = tar_of(store, system, mtime=77)
    assert len(raw) % 10240 == 0
    with tarfile.open(fileobj=io.BytesIO(raw), errors="surrogateescape") as archive:
        found = {member.name: member for member in archive}
        assert found["usr/bin/su"].mode == 0o4755
        assert (found["etc/shadow"].uid, found["etc/shadow"].gid, found["etc/shadow"].mode) == (0, 42, 0o640)
        assert (found["home/ann"].uid, found["home/ann"].gid) == (1001, 100)
        assert (found["numeric"].uid, found["numeric"].gid) == (1234, 4321)
        assert found["tmp"].mode == 0o1777 and found["bin"].linkname == "usr/bin"
        value = found["usr/bin/ping"].pax_headers["SCHILY.xattr.security.capability"]
        assert value.encode("utf-8", "surrogateescape") == b"\x01\x00\x00\x02\xff\xfe"
        assert {member.mtime for member in archive} == {77}
        data = archive.extractfile("usr/bin/su")
        assert data is not None and data.read() == b"su" * 1000


def test_a_tar_read_again_is_the_same_tree(store: Store, system: Artifact) -> None:
    stream = io.BytesIO(tar_of(store, system))
    assert store.add_archive(stream, "again", usrmerge=False, keep_attributes=True).digest == system.digest


def test_streams_are_deterministic(store: Store, system: Artifact) -> None:
    assert tar_of(store, system) == tar_of(store, system)
    assert cpio_of(store, system) == cpio_of(store, system)


def test_cpio(store: Store, system: Artifact, tmp_path: Path) -> None:
    raw = cpio_of(store, system)
    assert len(raw) % 512 == 0
    entries = {}
    position = 0
    while True:
        assert raw[position : position + 6] == b"070701"
        fields = [int(raw[position + 6 + 8 * index : position + 14 + 8 * index], 16) for index in range(13)]
        start = position + 110
        name = raw[start : start + fields[11] - 1]
        data = start + fields[11] + -(start + fields[11]) % 4
        if name == b"TRAILER!!!":
            break
        entries[name] = (fields, raw[data : data + fields[6]])
        position = data + fields[6] + -(data + fields[6]) % 4
    assert entries[b"usr/bin/su"][0][1] == 0o104755 and entries[b"usr/bin/su"][1] == b"su" * 1000
    assert entries[b"etc/shadow"][0][2:4] == [0, 42]
    assert entries[b"bin"][0][1] & 0o170000 == 0o120000 and entries[b"bin"][1] == b"usr/bin"
    assert entries[b"tmp"][0][1] == 0o41777
    assert b"usr/bin/\xff" in entries
    if shutil.which("bsdtar"):
        (tmp_path / "it").write_bytes(raw)
        subprocess.run(["bsdtar", "-tf", tmp_path / "it"], check=True, capture_output=True)


@pytest.mark.parametrize("write", [write_tar, write_cpio])
def test_unknown_owners_are_an_error(store: Store, write: object) -> None:
    with store.writer("x") as writer:
        writer.file("a", b"", attributes=Attributes(owner="nobody-knows"))
        artifact = writer.commit()
    with pytest.raises(StoreError, match="'nobody-knows', whom etc/passwd"):
        write(store.manifest(artifact.digest), artifact.path, io.BytesIO())  # type: ignore[operator]


def test_a_file_that_does_not_have_its_size_is_an_error(store: Store, tmp_path: Path) -> None:
    with store.writer("x") as writer:
        writer.file("a", b"twelve bytes")
        artifact = writer.commit()
    (tmp_path / "a").write_bytes(b"twelve bytes and more")
    with pytest.raises(StoreError, match="is damaged"):
        write_tar(store.manifest(artifact.digest), tmp_path, io.BytesIO())
