"""What cannot be looked at is kept; what stands where it does not belong is removed or named, and never waited for."""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from nexis_store import fs, roots
from nexis_store.archive import write_tar
from nexis_store.cli.main import run
from nexis_store.errors import DamagedStoreError, StoreError
from nexis_store.maintenance import recover
from nexis_store.store import Store
from nexis_store.transfer import export
from tests.store.conftest import somebody
from tests.store.test_gc import collect
from tests.store.test_store import add


def lock_away(directory: Path) -> None:
    directory.chmod(0)


def unmount(directory: Path) -> None:
    directory.rename(f"{directory}.elsewhere")


def replace_by_file(directory: Path) -> None:
    unmount(directory)
    directory.write_bytes(b"")


def replace_by_circle(directory: Path) -> None:
    unmount(directory)
    directory.symlink_to(directory.name)


@pytest.mark.parametrize(
    ("hide", "reason"),
    [
        (lock_away, "Permission denied"),
        (unmount, "its directory cannot be reached"),
        (replace_by_file, "Not a directory"),
        (replace_by_circle, "Too many levels"),
    ],
)
def test_a_root_whose_link_cannot_be_read_keeps(place: Path, hide: Callable[[Path], None], reason: str) -> None:
    project = place / "disk/project"

    def check() -> None:
        project.mkdir(parents=True)
        with Store.open(place / "store", profile="desktop") as store:
            a = add(store, "a", {"a": b"x"})
            store.set_indirect_root(project / "result", a.digest)
        hide(project)
        with Store.open(place / "store") as store:
            assert list(store.roots().values()) == [a.digest]
            plan = store.plan_gc()
            assert plan.dead == ()
            [root] = plan.unreadable
            assert root.path == str(project / "result") and reason in root.reason
            assert store.execute_gc(plan).collected == 0
            store.remove_root(root.name)
            assert [each.name for each in store.plan_gc().dead] == ["a"]

    somebody(check)
    if hide is lock_away:
        project.chmod(0o755)


def test_a_root_ends_with_its_link(store: Store, tmp_path: Path) -> None:
    def keep(name: str) -> Path:
        link = tmp_path / name
        store.set_indirect_root(link, add(store, name, {name: b"x"}).digest)
        return link

    keep("removed").unlink()
    other = keep("pointed elsewhere")
    other.unlink()
    other.symlink_to("/etc/passwd")
    other = keep("replaced")
    other.unlink()
    other.write_text("a file")
    keep("left")
    assert collect(store) == {"removed", "pointed elsewhere", "replaced"}


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EACCES, errno.ELOOP, errno.ENOTDIR])
@pytest.mark.parametrize("where", ["link", "root"])
def test_an_error_of_the_system_ends_no_root(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, where: str
) -> None:
    a = add(store, "a", {"a": b"x"})
    store.set_indirect_root(tmp_path / "result", a.digest)
    store.session.close()
    read = os.readlink

    def failing(path: str) -> str:
        if (os.path.basename(path) == "result") == (where == "link"):
            raise OSError(code, os.strerror(code), path)
        return read(path)

    monkeypatch.setattr(os, "readlink", failing)
    plan = store.plan_gc()
    assert plan.dead == () and len(plan.unreadable) == 1
    monkeypatch.undo()
    assert store.plan_gc() == roots_read(plan)


def roots_read(plan: object) -> object:
    """The plan when all links can be read again."""
    import dataclasses

    return dataclasses.replace(plan, unreadable=())  # type: ignore[type-var]


def test_a_root_that_nothing_remembers_stops_the_collection(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "disk").mkdir()
    with Store.open(tmp_path / "store", profile="desktop") as store:
        a = add(store, "a", {"a": b"x"})
        store.set_indirect_root(tmp_path / "disk/result", a.digest)
        [name] = store.roots()
        layout = store.layout
    (tmp_path / "disk").rename(tmp_path / "unmounted")
    assert [each.name for each in recover(layout).unreadable] == [name]
    with Store.open(tmp_path / "store") as store:
        with pytest.raises(StoreError, match="does not say what it keeps") as caught:
            store.plan_gc()
        assert f"roots --remove {name}" in str(caught.value)
        assert store.has(a.digest)
    (tmp_path / "unmounted").rename(tmp_path / "disk")
    with Store.open(tmp_path / "store") as store:
        assert store.plan_gc().dead == ()
        assert store.roots() == {name: a.digest}
    (tmp_path / "disk").rename(tmp_path / "unmounted")
    assert run(["gc", "--store", str(tmp_path / "store")]) == 0
    captured = capsys.readouterr()
    assert "disk/result: its directory cannot be reached" in captured.err and "removed 0 artifacts" in captured.out


def test_no_generation_ends_while_none_is_known_to_be_current(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        store.add_generation("desktop", add(store, name, {name: b"x"}).digest)
    store.switch_generation("desktop", 1)
    read = os.readlink

    def failing(path: str) -> str:
        if os.path.basename(path) == "current":
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return read(path)

    monkeypatch.setattr(os, "readlink", failing)
    for attempt in (lambda: store.plan_gc(keep_generations=1), lambda: store.remove_generations("desktop", [1])):
        with pytest.raises(StoreError, match=r"desktop/current cannot be read"):
            attempt()
    monkeypatch.undo()
    current = Path(store.layout.generations) / "desktop/current"
    current.unlink()
    current.symlink_to("/elsewhere/3")
    with pytest.raises(StoreError, match="not a generation"):
        store.plan_gc(older_than_ns=0)
    store.switch_generation("desktop", 2)
    assert set(store.plan_gc(keep_generations=1).roots) == {"generations/desktop/1"}


def test_whose_list_of_what_is_used_cannot_be_read_may_live(place: Path) -> None:
    def check() -> None:
        with Store.open(place / "store", profile="desktop") as store:
            add(store, "a", {"a": b"x"})
            store.session.close()
            secret = Path(store.layout.temporary_roots) / "123-abc"
            secret.write_bytes(b"")
            secret.chmod(0)
            with pytest.raises(StoreError, match="which says what a process uses, cannot be read"):
                store.plan_gc()

    somebody(check)


def make(kind: str, path: Path, outside: Path) -> None:
    if kind == "directory":
        (path / "below").mkdir(parents=True)
        (path / "below/file").write_text("junk")
        (path / "below").chmod(0o500)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "symlink":
        path.symlink_to(outside)
    elif kind == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)
    else:
        path.write_text("junk")


@pytest.mark.parametrize("kind", ["directory", "fifo", "symlink", "socket", "file"])
@pytest.mark.parametrize("name", ["junk", ".hidden", "1-a.0", "x.tree"])
@pytest.mark.parametrize("directory", [".roots.tmp", ".staging", ".trash"])
def test_junk_in_private_directories_does_no_harm(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, directory: str, name: str, kind: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    add(store, "a", {"a": b"x"})
    store.session.close()
    monkeypatch.chdir(store.root)
    Path(directory).mkdir(exist_ok=True)
    make(kind, Path(directory) / name, outside)
    assert collect(store) == {"a"}
    assert os.listdir(directory) == []
    assert (outside / "precious").read_text() == "precious"


@pytest.mark.parametrize("kind", ["fifo", "symlink", "socket", "directory"])
def test_nobody_waits_for_what_stands_in_place_of_a_file(store: Store, tmp_path: Path, kind: str) -> None:
    a = add(store, "a", {"file": b"x" * 5000})
    file = a.path / "file"
    good = file.read_bytes()
    file.unlink()
    # As an unfinished write would have it: a fifo without anybody at its other end.
    make(kind, file, tmp_path)
    for attempt in (
        lambda: export(store, [a.digest], io.BytesIO()),
        lambda: run(["cat", "a", "file", "--store", str(store.root)]),
    ):
        with pytest.raises(DamagedStoreError, match="file is damaged"):
            attempt()
    with pytest.raises((StoreError, OSError), match="not a regular file"):
        write_tar(store.manifest(a.digest), a.path, io.BytesIO())
    assert [each.path for each in store.verify(contents=True)][:1] == ["file"]
    if kind == "directory":
        shutil.rmtree(file)
    else:
        file.unlink()
    file.write_bytes(good)
    file.chmod(0o444)


def test_a_fifo_in_place_of_a_description(store: Store) -> None:
    a = add(store, "a", {"file": b"x"})
    description = Path(store.layout.sidecar(a.digest))
    good = description.read_bytes()
    description.unlink()
    os.mkfifo(description)
    with pytest.raises((StoreError, OSError), match="not a regular file"):
        store.manifest(a.digest)
    description.unlink()
    description.write_bytes(good)


def test_a_lock_that_is_no_file_is_named(store: Store) -> None:
    from nexis_store.digest import BuildKey

    key = BuildKey.of(b"k")
    os.makedirs(store.layout.build_lock(key))
    with pytest.raises(StoreError, match="not a regular file"), store.lock_build(key):
        pass
    os.rmdir(store.layout.build_lock(key))


def test_paths_that_are_too_long_are_refused_in_words(store: Store, tmp_path: Path) -> None:
    top = tmp_path / "deep"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(400):
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    for move in (False, True):
        with pytest.raises(StoreError, match="longer than 3000 bytes") as caught:
            store.add_directory(top, "deep", move=move)
        assert len(str(caught.value)) < 500
    with store.writer("short") as writer:
        writer.file("/".join(["ü" * 100] * 14), b"x")
        writer.commit()
    shutil.rmtree(top)


def test_reading_roots_names_the_directory_that_cannot_be_listed(place: Path) -> None:
    def check() -> None:
        with Store.open(place / "store", profile="desktop") as store:
            store.set_root("work/a", add(store, "a", {"a": b"x"}).digest)
            store.session.close()
            os.chmod(f"{store.layout.roots}/work", 0)
            with pytest.raises(StoreError, match=r"\.roots/work/ cannot be read"):
                store.plan_gc()
            with pytest.raises(StoreError):
                roots.on_disk(store.layout)
            os.chmod(f"{store.layout.roots}/work", 0o755)

    somebody(check)


@pytest.mark.parametrize("command", ["ls", "gc", "verify", "recover"])
@pytest.mark.parametrize("name", ["format.json", "lock", "journal/0000000001.log", "history.log", "data.mdb", "boot"])
@pytest.mark.parametrize("kind", ["fifo", "socket", "directory"])
def test_nobody_waits_for_what_stands_in_the_database(tmp_path: Path, kind: str, name: str, command: str) -> None:
    with Store.open(tmp_path / "store", profile="desktop") as store:
        store.set_root("a", add(store, "a", {"a": b"x"}).digest)
        database = Path(store.layout.database)
    fs.remove_tree(str(database / name))
    make(kind, database / name, tmp_path)
    try:
        assert run([command, "--store", str(tmp_path / "store")]) in (0, 4)
    except StoreError as error:
        assert error.hint
    except OSError as error:
        # Told by the command line as the place and the reason.
        assert error.filename is not None


def test_a_store_without_its_directory_of_roots_is_not_collected(store: Store) -> None:
    kept = add(store, "kept", {"a": b"1"})
    store.set_root("keep", kept.digest)
    os.rename(store.layout.roots, f"{store.root}/elsewhere")
    with pytest.raises(DamagedStoreError, match="directory of roots") as caught:
        collect(store)
    assert "put it back" in (caught.value.hint or "")
    os.rename(f"{store.root}/elsewhere", store.layout.roots)
    collect(store)
    assert store.has(kept.digest)
