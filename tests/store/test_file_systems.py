"""What differs between file systems: reflinks on XFS, hard links everywhere, the backend that ``auto`` takes."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nexis_store import fs
from nexis_store.maintenance import backend_of
from nexis_store.metadata.choose import file_system_type
from nexis_store.records import SMALL
from nexis_store.store import Store
from nexis_store.tree import Attributes
from tests.crash.disk import Disk, make_disk
from tests.store.test_store import add

LARGE = os.urandom(4 * SMALL)


@pytest.fixture(params=["ext4", "xfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    disk = make_disk(request.param, tmp_path)
    yield disk
    disk.unmount()


def used(disk: Disk) -> int:
    os.sync()
    status = os.statvfs(disk.place)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def test_sharing_blocks(disk: Disk) -> None:
    kind = file_system_type(str(disk.place))
    with Store.open(disk.place / "store") as store:
        assert backend_of(store.layout) == {"ext4": "lmdb", "xfs": "rocksdb"}[kind]
        (disk.place / "source").write_bytes(LARGE)
        before = used(disk)
        with store.writer("large") as writer:
            writer.file("large", disk.place / "source")
            writer.file("program", io.BytesIO(LARGE), executable=True)
            large = writer.commit()
        with store.writer("other mode") as writer:
            writer.existing("large", large.digest, "large", attributes=Attributes(mode=0o755))
            other = writer.commit()
        grown = used(disk) - before
        inodes = {os.stat(path).st_ino for path in (large.path / "large", large.path / "program", other.path / "large")}
        assert len(inodes) >= 2
        if kind == "xfs":
            # Source, plain file and the copy made executable share blocks; only what came as a stream does not.
            assert grown < 1.6 * len(LARGE)
            extents = subprocess.run(
                ["filefrag", "-v", large.path / "large"], capture_output=True, text=True, check=True
            )
            assert "shared" in extents.stdout
        for path in (large.path / "large", large.path / "program", other.path / "large"):
            assert path.read_bytes() == LARGE
        assert list(store.verify(contents=True)) == []
        store.session.close()
        result = store.execute_gc(store.plan_gc())
        assert result.collected == 2
        # On XFS the source keeps the blocks that it shares with what was collected.
        copies = 1 if kind == "xfs" else 3
        assert abs(result.freed_bytes - copies * len(LARGE)) < 0.1 * len(LARGE)
        assert (disk.place / "source").read_bytes() == LARGE


def test_more_names_than_an_inode_may_have(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first = add(store, "first", {"a": b"content" * 1000})
    full = (first.path / "a").stat().st_ino
    link = os.link

    def limited(source: str, path: str, **options: bool) -> None:
        if os.stat(source).st_ino == full:
            raise OSError(errno.EMLINK, "Too many links", source)
        link(source, path, **options)

    monkeypatch.setattr(os, "link", limited)
    second = add(store, "second", {"b": b"content" * 1000})
    third = add(store, "third", {"c": b"content" * 1000})
    union = store.union("union", [("first", first.digest), ("second", second.digest)])
    assert (second.path / "b").stat().st_ino == (third.path / "c").stat().st_ino != full
    assert (union.path / "a").stat().st_ino not in (full, (second.path / "b").stat().st_ino)
    monkeypatch.undo()


@pytest.mark.crash
def test_sixty_five_thousand_names(tmp_path: Path) -> None:
    """The real limit of ext4."""
    disk = make_disk("ext4", tmp_path)
    with Store.open(disk.place / "store") as store:
        with store.writer("many") as writer:
            for number in range(65_100):
                writer.file(f"{number // 1000}/{number}", LARGE)
            artifact = writer.commit()
        inodes = {os.stat(artifact.path / f"{number // 1000}/{number}").st_ino for number in range(65_100)}
        assert len(inodes) == 2
        assert list(store.verify(contents=True)) == []
    disk.unmount()


def test_an_old_umask_does_not_matter(store: Store) -> None:
    before = os.umask(0o077)
    try:
        with store.writer("x") as writer:
            writer.file("usr/bin/x", b"x", executable=True)
            artifact = writer.commit()
    finally:
        os.umask(before)
    assert (artifact.path / "usr/bin/x").stat().st_mode & 0o777 == 0o555
    assert (artifact.path / "usr/bin").stat().st_mode & 0o777 == 0o755
    assert artifact.path.stat().st_mode & 0o777 == 0o755


def test_copying_where_blocks_cannot_be_shared(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(LARGE)
    with open(tmp_path / "source", "rb") as source:
        fd = fs.create(str(tmp_path / "target"))
        fs.copy(source.fileno(), fd)
        os.close(fd)
    assert (tmp_path / "target").read_bytes() == LARGE


FILL = """
import sys; from pathlib import Path; from nexis_store.store import Store
def keep(name):
    with store.writer(name) as writer:
        writer.file("file", name.encode())
        store.set_root(f"r/{name}", writer.commit().digest)
with Store.open(Path(sys.argv[1]), profile=sys.argv[2]) as store:
    for number in range(20):
        keep(f"a{number}")
    store.database.checkpoint()
    keep("last")
"""

READ = """
import io, os, sys
from pathlib import Path
from nexis_store.store import Store
from nexis_store.transfer import export
assert not os.access(sys.argv[1] + "/.db", os.W_OK)
with Store.open(Path(sys.argv[1]), readonly=True) as store:
    assert len(list(store.artifacts())) == len(store.roots()) == 21
    assert list(store.verify(contents=True)) == []
    assert export(store, [store.find("last")], io.BytesIO()) == 1
"""


def python(script: str, *arguments: str | Path, before: tuple[str, ...] = ()) -> None:
    """Run a script in a process of its own, since RocksDB does not survive a fork."""
    command = [*before, sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("profile", ["desktop", "server"])
def test_a_store_that_may_only_be_read_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: str
) -> None:
    store, scratch = tmp_path / "store", tmp_path / "scratch"
    python(FILL, store, profile)
    for directory, _, files in os.walk(store / ".db", topdown=False):
        for name in files:
            os.chmod(f"{directory}/{name}", 0o444)
        os.chmod(directory, 0o555)
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    # Root without privileges is bound by permissions like anybody else.
    before = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
    python(READ, store, before=before)
    assert list(scratch.iterdir()) == []
    for directory, _, _ in os.walk(store / ".db"):
        os.chmod(directory, 0o755)


@pytest.mark.parametrize("profile", ["desktop", "server"])
def test_a_store_on_media_that_cannot_be_written_can_be_read(tmp_path: Path, profile: str) -> None:
    store = tmp_path / "store"
    python(FILL, store, profile)
    command = (
        'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" || exit 99\n'
        'touch "$1/.db/x" 2>/dev/null && exit 99\n'
        'exec "$2" -m nexis_store.cli.main ls --store "$1"'
    )
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command, "sh", store, sys.executable],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    if done.returncode in (1, 99) and not done.stdout:
        pytest.skip(f"no mounts of our own here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 21
