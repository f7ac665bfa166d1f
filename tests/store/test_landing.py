from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

import pytest

from nexis_store.errors import StoreError
from nexis_store.hashing import hash_large
from nexis_store.repair import repair_problem
from nexis_store.store import Store
from nexis_store.tree import Attributes
from tests.store.test_store import add


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """What ``make install`` might leave."""
    out = tmp_path / "out"
    (out / "usr/bin").mkdir(parents=True)
    (out / "usr/bin/su").write_bytes(b"su")
    (out / "usr/bin/su").chmod(0o755)
    (out / "usr/share/info").mkdir(parents=True)
    (out / "usr/share/info/dir").write_text("every package writes this one")
    (out / "lib").mkdir()
    (out / "lib/libx.so.1").write_bytes(b"lib" * 1000)
    (out / "lib/libx.so").symlink_to("libx.so.1")
    (out / "lib/other").symlink_to("../etc/other")
    os.link(out / "lib/libx.so.1", out / "usr/libx-hard")
    return out


@pytest.mark.parametrize("move", [False, True])
def test_landing(store: Store, out: Path, move: bool) -> None:
    given = {"usr/bin/su": Attributes(mode=0o4755, group="wheel")}
    artifact = store.add_directory(out, "pkg", attributes=given, move=move)
    found = {each.path: each for each in store.manifest(artifact.digest).entries()}
    assert found["usr/bin/su"].mode == 0o4755
    assert found["usr/lib/libx.so"].target == "libx.so.1"
    assert found["usr/lib/other"].target == "../../etc/other"
    assert "usr/share/info/dir" not in found
    assert "lib" not in found
    assert (artifact.path / "usr/lib/libx.so.1").read_bytes() == b"lib" * 1000
    assert (artifact.path / "usr/bin/su").stat().st_mode & 0o7777 == 0o555


def test_moving_gives_the_same_artifact_and_hard_links_are_not_shared_with_the_outside(store: Store, out: Path) -> None:
    first = store.add_directory(out, "pkg")
    moved = store.add_directory(out, "pkg", move=True)
    assert first.digest == moved.digest
    (out / "usr/libx-hard").write_bytes(b"changed through another name")


def test_as_it_is(store: Store, out: Path) -> None:
    artifact = store.add_directory(out, "image", normalise=False)
    assert (artifact.path / "lib/libx.so.1").exists()
    assert (artifact.path / "usr/share/info/dir").exists()


def test_special_bits_must_be_declared(store: Store, out: Path) -> None:
    (out / "usr/bin/su").chmod(0o4755)
    with pytest.raises(StoreError, match="special permission bits 4755"):
        store.add_directory(out, "pkg")


@pytest.mark.parametrize("target", ["/build/x/y", "/out/usr/bin/su", "/in/source"])
def test_links_into_the_build_are_refused(store: Store, out: Path, target: str) -> None:
    (out / "usr/bin/x").symlink_to(target)
    with pytest.raises(StoreError, match="only during the build"):
        store.add_directory(out, "pkg")


def test_special_files_are_refused(store: Store, out: Path) -> None:
    os.mkfifo(out / "fifo")
    with pytest.raises(StoreError, match="fifo"):
        store.add_directory(out, "pkg")
    os.unlink(out / "fifo")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(out / "s"))
    with pytest.raises(StoreError, match="socket"):
        store.add_directory(out, "pkg")


def test_attributes_for_nothing_are_an_error(store: Store, out: Path) -> None:
    with pytest.raises(StoreError, match="usr/bin/sudo"):
        store.add_directory(out, "pkg", attributes={"usr/bin/sudo": Attributes(mode=0o4755)})


def test_two_files_merged_to_one_path_are_an_error(store: Store, out: Path) -> None:
    (out / "usr/lib").mkdir()
    (out / "usr/lib/libx.so.1").write_text("other")
    with pytest.raises(StoreError, match="written twice"):
        store.add_directory(out, "pkg")


def test_unreadable_files_of_a_build_land_too(store: Store, out: Path) -> None:
    (out / "usr/bin/secret").write_text("x")
    (out / "usr/bin/secret").chmod(0o111)
    artifact = store.add_directory(out, "pkg", move=True)
    assert (artifact.path / "usr/bin/secret").stat().st_mode & 0o777 == 0o555


def access_list(user: int) -> bytes:
    """A POSIX ACL as the system stores it: version 2, then tag, permissions and number of each entry."""
    entries = [(0x01, 6, -1), (0x02, 6, user), (0x04, 4, -1), (0x10, 6, -1), (0x20, 4, -1)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)


ATTRIBUTES = {
    "user.origin": b"here",
    "system.posix_acl_access": access_list(1234),
    "security.capability": struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0),
}


def give(path: Path, name: str) -> None:
    try:
        os.setxattr(path, name, ATTRIBUTES[name])
    except OSError as error:
        pytest.skip(f"no {name} here: {error}")


@pytest.mark.parametrize("size", [5, 5000, 3 << 20])
@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes_are_never_live(tmp_path: Path, name: str, size: int) -> None:
    out = tmp_path / "out"
    (out / "usr/bin").mkdir(parents=True)
    (out / "usr/bin/tool").write_bytes(os.urandom(size))
    (out / "usr/bin/tool").chmod(0o755)
    for path in (out / "usr/bin/tool", out / "usr/bin"):
        if name != "security.capability" or path.is_file():
            give(path, name)
    with Store.open(tmp_path / "store") as store:
        landed = store.add_directory(out, "tool", move=True)
        tool = landed.path / "usr/bin/tool"
        assert name not in os.listxattr(tool) and name not in os.listxattr(tool.parent)
        assert list(store.verify(contents=True)) == []
        # Somebody who may write to the store gives it one.
        give(tool, name)
        if name != "security.capability":
            give(tool.parent, name)
        problems = list(store.verify(contents=True))
        assert {each.path for each in problems if each.kind == "attributes"} >= {"usr/bin/tool"}
        assert any(name in each.message for each in problems)
        for problem in problems:
            assert repair_problem(store.layout, store.database, problem, None)
        assert list(store.verify(contents=True)) == []


def test_a_default_acl_of_the_store_does_not_pass_on(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        os.mkdir(store.layout.staging)
        try:
            os.setxattr(store.layout.staging, "system.posix_acl_default", access_list(1234))
        except OSError as error:
            pytest.skip(f"no ACLs here: {error}")
        landed = add(store, "a", {"usr/file": b"x" * 5000})
        assert os.listxattr(landed.path / "usr/file") == os.listxattr(landed.path / "usr") == []
        assert list(store.verify(contents=True)) == []


def huge(path: Path, room: int) -> None:
    """A file of holes that claims to be larger than the disk has room for."""
    with open(path, "wb") as file:
        try:
            file.truncate(room * 2)
        except OSError as error:
            pytest.skip(f"no file so large here: {error}")


@pytest.mark.parametrize("move", [False, True])
def test_holes_larger_than_the_disk_are_refused_at_once(store: Store, tmp_path: Path, move: bool) -> None:
    status = os.statvfs(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    huge(out / "x", status.f_blocks * status.f_frsize)
    with pytest.raises(StoreError, match=r"x would have .* bytes, and the disk has"):
        store.add_directory(out, "huge", move=move)
    with pytest.raises(StoreError, match="x would have"), store.writer("huge") as writer:
        writer.file("x", out / "x")
    assert list(store.artifacts()) == []


def test_adding_can_be_stopped(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with open(out / "x", "wb") as file:
        file.truncate(1 << 28)
    store.stopped.set()
    with pytest.raises(StoreError, match="was stopped"):
        store.add_directory(out, "x", move=True)
    with pytest.raises(StoreError, match="was stopped"):
        hash_large(str(out / "x"), store.stopped)
    store.stopped.clear()
    assert store.add_directory(out, "x", move=True).size_bytes == 1 << 28
