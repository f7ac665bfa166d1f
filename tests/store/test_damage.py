"""What is on the disk may have been damaged by anybody, at any place: it is told, never served, never made worse."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nexis_store.archive import write_cpio, write_tar
from nexis_store.cli.main import run
from nexis_store.errors import DamagedStoreError, StoreError
from nexis_store.publish import Artifact
from nexis_store.store import Store
from nexis_store.together import commit_together

TEXT = b"".join(b"%d\n" % number for number in range(2000))
LARGE = bytes(range(256)) * 8192


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a store, its path in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEXIS_STORE", str(tmp_path / "store"))
    return tmp_path


def add(store: Store, name: str, *, program: bool = False, together: bool = False) -> Artifact:
    """An artifact with a directory, files of each size and a symlink."""
    if together:
        directory = store.root.parent / "built"
        fill(directory)
        part = store.prepare_directory(directory, name)
        return commit_together(store, [part])[0]
    with store.writer(name) as writer:
        writer.file("usr/share/text", TEXT, executable=program)
        writer.file("usr/share/large", LARGE)
        writer.file("usr/tiny", b"tiny")
        writer.symlink("usr/link", "tiny")
        return writer.commit()


def fill(directory: Path) -> None:
    (directory / "usr/share").mkdir(parents=True)
    (directory / "usr/share/text").write_bytes(TEXT)
    (directory / "usr/share/large").write_bytes(LARGE)
    (directory / "usr/tiny").write_bytes(b"tiny")
    (directory / "usr/link").symlink_to("tiny")


def change(path: Path) -> None:
    """Another byte in the same inode, with the mode as before."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    with path.open("r+b") as file:
        byte = file.read(1)
        file.seek(0)
        file.write(bytes([byte[0] ^ 1]))
    path.chmod(mode)


def cut(path: Path) -> None:
    path.chmod(0o644)
    os.truncate(path, 1)
    path.chmod(0o444)


def to_symlink(path: Path) -> None:
    """The same content behind a symlink."""
    shutil.move(path, path.parent / "elsewhere" if path.is_dir() else path.parents[4] / "elsewhere")
    target = path.parent / "elsewhere"
    path.symlink_to(target if target.exists() else path.parents[4] / "elsewhere")


def to_fifo(path: Path) -> None:
    remove(path)
    os.mkfifo(path)


def to_file(path: Path) -> None:
    remove(path)
    path.write_bytes(b"a file")


def to_directory(path: Path) -> None:
    remove(path)
    path.mkdir()


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def put_surplus(path: Path) -> None:
    (path / "surplus").write_bytes(b"")


ANYWHERE = ("", "usr", "usr/share", "usr/share/text", "usr/share/large", "usr/tiny", "usr/link")
DAMAGE: list[tuple[str, Callable[[Path], None]]] = [
    *((path, remove) for path in ANYWHERE),
    *((path, to_fifo) for path in ANYWHERE),
    *((path, to_symlink) for path in ANYWHERE if path != "usr/link"),
    *((path, to_file) for path in ("", "usr", "usr/share", "usr/link")),
    *((path, to_directory) for path in ("usr/share/text", "usr/tiny", "usr/link")),
    *((path, put_surplus) for path in ("", "usr", "usr/share")),
    *((path, change) for path in ("usr/share/text", "usr/share/large", "usr/tiny")),
    *((path, cut) for path in ("usr/share/text", "usr/share/large", "usr/tiny")),
    ("usr/share/text", lambda path: path.chmod(0o4755)),
    ("usr", lambda path: path.chmod(0o777)),
]
NAMES = [f"{damage.__name__} {path or 'all'}" for path, damage in DAMAGE]


@pytest.mark.parametrize(("path", "damage"), DAMAGE, ids=NAMES)
@pytest.mark.parametrize("together", [False, True])
def test_what_is_damaged_is_stored_again(here: Path, path: str, damage: Callable[[Path], None], together: bool) -> None:
    with Store.open(here / "store") as store:
        artifact = add(store, "a")
        store.set_root("a", artifact.digest)
        damage(artifact.path / path)
        again = add(store, "another name", together=together)
        assert again.digest == artifact.digest and again.path == artifact.path
        assert list(store.verify(contents=True)) == []
        other = add(store, "other", program=True)
        assert other.digest != artifact.digest
        assert list(store.verify(contents=True)) == []


def test_a_damaged_description_is_written_again(here: Path) -> None:
    with Store.open(here / "store") as store:
        base = add(store, "base", program=True)
        with store.writer("a") as writer:
            writer.file("a", b"a")
            artifact = writer.commit([base.digest])
        sidecar = Path(store.layout.sidecar(artifact.digest))
        right = sidecar.read_bytes()
        for damage in (change, cut, Path.unlink):
            damage(sidecar)
            assert list(store.verify()) != []
            with store.writer("b") as writer:
                writer.file("a", b"a")
                assert writer.commit().references == (base.digest,)
            assert sidecar.read_bytes() == right and list(store.verify(contents=True)) == []


@pytest.mark.parametrize("damage", [change, cut, to_fifo, to_directory, to_symlink])
@pytest.mark.parametrize("name", ["text", "large"])
def test_a_damaged_file_is_never_shared(here: Path, name: str, damage: Callable[[Path], None]) -> None:
    """The damaged inode has a name in the artifact and one in ``.links``."""
    with Store.open(here / "store") as store:
        first = add(store, "first")
        file = first.path / "usr/share" / name
        digest = store.manifest(first.digest).get(f"usr/share/{name}")
        assert digest is not None and digest.digest is not None
        pool = Path(store.layout.link(digest.digest, False))
        assert pool.samefile(file)
        damage(pool if damage in (to_fifo, to_directory, to_symlink) else file)
        with store.writer("second") as writer:
            writer.file("text", TEXT if name == "text" else LARGE)
            second = writer.commit()
        assert (second.path / "text").read_bytes() == (TEXT if name == "text" else LARGE)
        if damage is not to_directory:
            assert pool.is_file() and not pool.is_symlink() and pool.samefile(second.path / "text")
        with store.writer("third") as writer:
            writer.file("x/text", TEXT if name == "text" else LARGE)
            third = writer.commit()
        assert [each for each in store.verify(contents=True) if each.digest in (second.digest, third.digest)] == []


def test_what_was_only_touched_is_shared_all_the_same(here: Path) -> None:
    with Store.open(here / "store") as store:
        first = add(store, "first")
        file = first.path / "usr/share/text"
        os.utime(file)
        with store.writer("second") as writer:
            writer.file("text", TEXT)
            second = writer.commit()
        assert (second.path / "text").samefile(file) and file.stat().st_mtime_ns == 1_000_000_000


def test_a_damaged_file_is_not_merged_into_a_union(here: Path) -> None:
    with Store.open(here / "store") as store:
        artifact = add(store, "a")
        store.union("before", [("a", artifact.digest)], exclude=["usr/tiny"])
        change(artifact.path / "usr/share/text")
        with pytest.raises(DamagedStoreError, match="usr/share/text is damaged"):
            store.union("after", [("a", artifact.digest)])


@pytest.mark.parametrize("damage", [change, cut, to_symlink, to_fifo, remove])
def test_a_damaged_file_does_not_come_into_an_image(here: Path, damage: Callable[[Path], None]) -> None:
    with Store.open(here / "store") as store:
        artifact = add(store, "a")
        damage(artifact.path / "usr/share/large")
        for write in (write_tar, write_cpio):
            with pytest.raises(StoreError, match="large"):
                write(store.manifest(artifact.digest), artifact.path, io.BytesIO())


def test_a_root_is_not_given_to_an_artifact_that_is_gone(here: Path) -> None:
    with Store.open(here / "store") as store:
        artifact = add(store, "a")
        shutil.rmtree(artifact.path)
    for line in ("roots --set x a", "generations p --add a"):
        with pytest.raises(DamagedStoreError, match="is missing"):
            run(line.split())


def test_removing_never_follows_a_symlink(here: Path) -> None:
    """A directory of an artifact was replaced by a symlink to something that is not the store's."""
    fill(here / "mine")
    for path in ("usr", "usr/share", ""):
        with Store.open(here / "store") as store:
            artifact = add(store, "a")
            remove(artifact.path / path)
            (artifact.path / path).symlink_to(here / "mine" / path)
        assert run(["gc"]) == 0
        with Store.open(here / "store") as store:
            assert list(store.artifacts()) == []
        assert (here / "mine/usr/share/text").read_bytes() == TEXT and (here / "mine/usr/link").is_symlink()
