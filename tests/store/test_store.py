from __future__ import annotations

import io
import os
import shutil
import stat
import threading
from pathlib import Path

import pytest

from nexis_store.contents import TINY
from nexis_store.digest import BuildKey, DerivationId, FileDigest, TreeDigest
from nexis_store.errors import ConflictError, NotInStoreError, StoreError
from nexis_store.maintenance import recover
from nexis_store.publish import Artifact
from nexis_store.realisation import Realisation
from nexis_store.store import Store, default_store_root
from nexis_store.tree import Attributes

ABSENT = TreeDigest(b"\xee" * 32)


def add(store: Store, name: str, files: dict[str, bytes], references: tuple[TreeDigest, ...] = ()) -> Artifact:
    with store.writer(name) as writer:
        for path, data in files.items():
            writer.file(path, data)
        return writer.commit(references)


def test_a_written_tree_can_be_read_and_is_plain_on_disk(store: Store) -> None:
    with store.writer("vim-9.0") as writer:
        writer.file("usr/bin/vim", b"program", executable=True, attributes=Attributes(mode=0o4755, group="games"))
        writer.file("etc/vimrc", io.BytesIO(b"set nocompatible"))
        writer.symlink("usr/bin/vi", "vim")
        writer.directory("var/empty", Attributes(mode=0o700))
        artifact = writer.commit()
    assert artifact.path.name == f"{artifact.digest}-vim-9.0"
    assert artifact.path.parent == store.root / str(artifact.digest)[:2] / str(artifact.digest)[2:4]
    status = (artifact.path / "usr/bin/vim").stat()
    assert stat.S_IMODE(status.st_mode) == 0o555
    assert status.st_mtime == 1
    assert stat.S_IMODE((artifact.path / "var/empty").stat().st_mode) == 0o755
    assert os.readlink(artifact.path / "usr/bin/vi") == "vim"
    entry = store.manifest(artifact.digest).get("usr/bin/vim")
    assert entry is not None and entry.mode == 0o4755 and entry.attributes.group == "games"
    assert [each.path for each in store.manifest(artifact.digest).entries()] == [
        "etc", "etc/vimrc", "usr", "usr/bin", "usr/bin/vi", "usr/bin/vim", "var", "var/empty",
    ]  # fmt: skip


def test_without_commit_nothing_is_left(store: Store) -> None:
    with pytest.raises(RuntimeError), store.writer("x") as writer:
        writer.file("a", b"a")
        raise RuntimeError
    assert list(store.artifacts()) == []
    assert os.listdir(store.layout.staging) == []


def test_equal_trees_are_one_artifact_whatever_their_names(store: Store) -> None:
    first = add(store, "one", {"a/b": b"x"})
    second = add(store, "two", {"a/b": b"x"})
    assert first.digest == second.digest and second.name == "one" and first.path == second.path


def test_equal_contents_share_an_inode_but_not_across_the_executable_bit(store: Store) -> None:
    same = b"same" * TINY
    one = add(store, "one", {"a": same, "b": same})
    with store.writer("two") as writer:
        writer.file("c", same)
        writer.file("d", same, executable=True)
        two = writer.commit()
    inodes = {(one.path / "a").stat().st_ino, (one.path / "b").stat().st_ino, (two.path / "c").stat().st_ino}
    assert len(inodes) == 1
    assert (two.path / "d").stat().st_ino not in inodes


def test_tiny_files_are_left_alone(store: Store) -> None:
    one = add(store, "one", {"a": b"t" * TINY, "b": b"t" * (TINY + 1)})
    two = add(store, "two", {"a": b"t" * TINY, "b": b"t" * (TINY + 1), "c": b""})
    assert (one.path / "a").stat().st_ino != (two.path / "a").stat().st_ino
    assert (one.path / "b").stat().st_ino == (two.path / "b").stat().st_ino
    assert sum(len(names) for _, _, names in os.walk(store.layout.links)) == 1


def test_streams_larger_than_memory_chunks_are_hashed_right(store: Store, tmp_path: Path) -> None:
    data = os.urandom(9_000_001)
    (tmp_path / "big").write_bytes(data)
    with store.writer("big") as writer:
        assert writer.file("big", tmp_path / "big") == FileDigest.of(data)
        writer.file("again", io.BytesIO(data))
        artifact = writer.commit()
    assert (artifact.path / "big").stat().st_ino == (artifact.path / "again").stat().st_ino
    assert (artifact.path / "again").read_bytes() == data


@pytest.mark.parametrize("path", ["", "/etc/passwd", "a/../b", "./a", "a//b", "a/", "a\0b", "x" * 256])
def test_bad_paths_are_refused(store: Store, path: str) -> None:
    with pytest.raises(StoreError), store.writer("x") as writer:
        writer.file(path, b"")


def test_a_path_is_written_once_and_never_through_a_symlink(store: Store) -> None:
    with pytest.raises(ConflictError), store.writer("x") as writer:
        writer.file("a", b"1")
        writer.file("a", b"2")
    with pytest.raises(ConflictError), store.writer("x") as writer:
        writer.symlink("a", "/etc")
        writer.file("a/passwd", b"")


def test_existing_content_is_linked(store: Store) -> None:
    one = add(store, "one", {"usr/lib/a": b"content"})
    with store.writer("two") as writer:
        writer.existing("opt/a", one.digest, "usr/lib/a")
        writer.existing("opt/tool", one.digest, "usr/lib/a", attributes=Attributes(mode=0o755))
        two = writer.commit([one.digest])
    assert (two.path / "opt/a").stat().st_ino == (one.path / "usr/lib/a").stat().st_ino
    assert stat.S_IMODE((two.path / "opt/tool").stat().st_mode) == 0o555
    with pytest.raises(NotInStoreError), store.writer("three") as writer:
        writer.existing("x", one.digest, "no/such")


def test_references_must_be_present_and_accumulate(store: Store) -> None:
    one, two = add(store, "one", {"1": b""}), add(store, "two", {"2": b""})
    with pytest.raises(NotInStoreError):
        add(store, "three", {"3": b""}, (ABSENT,))
    three = add(store, "three", {"3": b""}, (one.digest,))
    again = add(store, "three", {"3": b""}, (two.digest,))
    assert set(again.references) == {one.digest, two.digest}
    assert store.referrers(one.digest) == (three.digest,)
    assert store.closure([three.digest]) == [three.digest, *sorted((one.digest, two.digest))]


@pytest.mark.parametrize("profile", ["desktop", "server"])
def test_references_can_be_added_to_what_is_there(tmp_path: Path, profile: str) -> None:
    with Store.open(tmp_path / "store", profile=profile) as store:
        one, two, three = (add(store, name, {name: b""}) for name in ("one", "two", "three"))
        store.add_references(one.digest, [two.digest])
        store.set_root("keep", one.digest)
        assert set(store.add_references(one.digest, [three.digest, one.digest, two.digest])) == {
            two.digest, three.digest,
        }  # fmt: skip
        length = os.path.getsize(store.layout.database + "/journal/0000000001.log")
        assert store.add_references(one.digest, [three.digest]) == store.references(one.digest)
        assert os.path.getsize(store.layout.database + "/journal/0000000001.log") == length
        assert store.referrers(three.digest) == (one.digest,)
        for digest, wanted in ((ABSENT, one.digest), (one.digest, ABSENT)):
            with pytest.raises(NotInStoreError):
                store.add_references(digest, [wanted])
        assert os.listdir(store.layout.staging) == []
    with Store.open(tmp_path / "store") as store:
        assert store.execute_gc(store.plan_gc()).collected == 0
        assert list(store.verify(contents=True)) == []
        shutil.rmtree(f"{store.layout.database}/journal")
    assert recover(store.layout).artifacts == 3
    with Store.open(tmp_path / "store") as store:
        assert set(store.references(one.digest)) == {two.digest, three.digest}


def test_realisations_are_found_by_key_and_by_recipe(store: Store) -> None:
    artifact = add(store, "one", {"1": b""})
    key, recipe = BuildKey.of(b"key"), DerivationId.of(b"recipe")
    made = Realisation(
        key, recipe, "one-1.0", {"out": artifact.digest}, duration_ns=5, note="why", extra={"phase": "build"}
    )
    store.record(made)
    assert store.realisation(key) == made
    assert store.realised(recipe) == made
    assert store.duration("one-1.0") == 5
    assert store.info(artifact.digest).realisations == (key,)
    assert store.realisation(BuildKey.of(b"other")) is None
    with pytest.raises(NotInStoreError):
        store.record(Realisation(key, recipe, "x", {"out": ABSENT}))


def test_logs(store: Store) -> None:
    key = BuildKey.of(b"key")
    assert store.log(key) is None
    store.put_log(key, b"line\n" * 1000)
    assert store.log(key) == b"line\n" * 1000


def test_one_build_at_a_time(store: Store) -> None:
    key = BuildKey.of(b"key")
    inside = threading.Event()
    order: list[str] = []

    def other() -> None:
        inside.wait()
        with store.lock_build(key):
            order.append("second")

    thread = threading.Thread(target=other)
    thread.start()
    with store.lock_build(key):
        inside.set()
        thread.join(0.1)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert os.listdir(store.layout.build_locks) == []


def test_a_store_can_be_moved(tmp_path: Path) -> None:
    with Store.open(tmp_path / "here") as store:
        artifact = add(store, "one", {"1": b"x"})
        store.set_root("keep", artifact.digest)
    (tmp_path / "here").rename(tmp_path / "there")
    with Store.open(tmp_path / "there", create=False) as store:
        assert (store.path(artifact.digest) / "1").read_bytes() == b"x"
        assert store.roots() == {"keep": artifact.digest}
        assert (tmp_path / "there/.roots/keep/1").read_bytes() == b"x"
        assert list(store.verify(contents=True)) == []


def test_opening_what_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(NotInStoreError, match="there is no store"):
        Store.open(tmp_path / "none", create=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="the new store"):
        Store.open(tmp_path / "file/store")


@pytest.mark.parametrize("profile", ["desktop", "server"])
def test_a_creation_that_was_cut_short_is_begun_again(tmp_path: Path, profile: str) -> None:
    for place in (".db/journal", ".db/rocks"):
        (tmp_path / place).mkdir(parents=True)
    for place in (".db/journal/0000000001.log", ".db/data.mdb", ".db/rocks/CURRENT"):
        (tmp_path / place).write_bytes(bytes(4096))
    with Store.open(tmp_path, profile=profile) as store:
        artifact = add(store, "one", {"1": b""})
        store.set_root("keep", artifact.digest)
    (tmp_path / ".db/format.json").unlink()
    with pytest.raises(StoreError, match=r"format\.json is gone"):
        Store.open(tmp_path, profile=profile)
    recover(store.layout)
    with Store.open(tmp_path, create=False) as store:
        assert store.roots() == {"keep": artifact.digest}


def test_two_stores_of_one_process_may_share_a_root(store: Store) -> None:
    with Store.open(store.root) as other:
        artifact = add(other, "one", {"1": b""})
    assert store.has(artifact.digest)


def test_find(store: Store) -> None:
    one = add(store, "one", {"1": b""})
    store.set_root("the/root", one.digest)
    for text in (str(one.digest), str(one.digest)[:8], "one", "the/root", str(one.path), f"{one.path}/"):
        assert store.find(text) == one.digest
    with pytest.raises(NotInStoreError):
        store.find("two")
    add(store, "one", {"2": b""})
    with pytest.raises(NotInStoreError, match="2 artifacts are called one"):
        store.find("one")


def test_default_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("NEXIS_STORE", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert default_store_root() == Path("/home/me/.local/share/nexis/store")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_store_root() == Path("/data/nexis/store")
    monkeypatch.setenv("NEXIS_STORE", "/s")
    assert default_store_root() == Path("/s")


def test_a_store_opened_before_a_fork_is_refused_in_the_child(store: Store) -> None:
    artifact = add(store, "one", {"1": b""})
    child = os.fork()
    if child == 0:
        try:
            store.set_root("from the child", artifact.digest)
        except StoreError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert store.roots() == {}
