"""What is on the disk may have been damaged by anybody, at any place: it is told, never served, never made worse."""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nexis_store import fs
from nexis_store.archive import write_cpio, write_tar
from nexis_store.cli.main import run
from nexis_store.digest import BuildKey, DerivationId, TreeDigest
from nexis_store.errors import DamagedStoreError, NexisError, StoreError
from nexis_store.history import read
from nexis_store.marks import blemishes
from nexis_store.publish import Artifact
from nexis_store.realisation import INPUTS, Realisation, inputs_of
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
    elsewhere = Path(os.environ["NEXIS_STORE"]).parent / "elsewhere"
    shutil.rmtree(elsewhere, ignore_errors=True)
    elsewhere.mkdir()
    shutil.move(path, elsewhere / "x")
    path.symlink_to(elsewhere / "x")


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


def test_while_a_tree_is_mended_its_path_is_never_gone(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = BuildKey.of(b"key")
    with Store.open(here / "store") as store:
        artifact = add(store, "first")
        store.record(Realisation(key, DerivationId(key), "x", {"out": artifact.digest}))
        cut(artifact.path / "usr/share/text")
        moves: list[str] = []

        def look(call: str, path: str) -> None:
            moves.append(path)
            assert store.realisation(key) is not None

        def rename(before: str, after: str, rename: Callable[[str, str], None] = os.rename) -> None:
            rename(before, after)
            look("rename", after)

        monkeypatch.setattr(os, "rename", rename)
        monkeypatch.setattr(fs, "intercept", look)
        add(store, "second")
        monkeypatch.undo()
        assert str(artifact.path) in moves
        assert list(blemishes(str(artifact.path), store.manifest(artifact.digest))) == []


def test_what_somebody_else_has_mended_is_not_replaced(here: Path) -> None:
    with Store.open(here / "store") as store:
        artifact = add(store, "first")
        cut(artifact.path / "usr/share/text")
        parts = []
        for name in ("one", "other"):
            fill(here / name)
            parts.append(store.prepare_directory(here / name, name))
        # Both find it damaged before one of them holds the lock.
        mended = parts[0].tree.stat().st_ino
        commit_together(store, parts)
        assert artifact.path.stat().st_ino == mended
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


@pytest.mark.parametrize(("path", "damage"), DAMAGE, ids=NAMES)
def test_what_is_damaged_is_told_and_repaired(
    here: Path, path: str, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a copy it stays a problem, however often it is repaired; with one the artifact is as it was."""
    with Store.open(here / "store") as store:
        artifact = add(store, "a")
        store.set_root("a", artifact.digest)
        assert run(["export", "a", "-o", "a.closure"]) == 0
        shutil.rmtree(store.layout.links)
    damage(artifact.path / path)
    assert run(["verify", "--contents"]) == 4
    for _ in range(2):
        told = run(["verify", "--contents", "--repair"])
        with Store.open(here / "store", readonly=True) as store:
            assert list(blemishes(os.fspath(artifact.path), store.manifest(artifact.digest))) == [] or told == 4
    assert run(["verify", "--contents", "--from", "a.closure"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("no problems")
    with Store.open(here / "store", readonly=True) as store:
        assert list(blemishes(os.fspath(artifact.path), store.manifest(artifact.digest))) == []
        assert store.roots() == {"a": artifact.digest}


def test_what_a_symlink_leads_to_is_a_copy(here: Path) -> None:
    for path in ("usr/share", "usr", ""):
        with Store.open(here / "store") as store:
            artifact = add(store, "a")
            shutil.rmtree(store.layout.links)
        shutil.rmtree(here / "mine", ignore_errors=True)
        shutil.move(artifact.path / path, here / "mine")
        (artifact.path / path).symlink_to(here / "mine")
        assert run(["verify"]) == (0 if path else 4) and run(["verify", "--contents"]) == 4
        assert run(["verify", "--contents", "--repair"]) == 0 and run(["verify", "--contents"]) == 0
        assert not (artifact.path / path).is_symlink() and (here / "mine").is_dir()


def test_a_mode_is_repaired_without_touching_what_is_not_the_stores(here: Path) -> None:
    with Store.open(here / "store") as store:
        file = add(store, "a").path / "usr/share/text"
        shutil.rmtree(store.layout.links)
    file.unlink()
    (here / "mine").write_bytes(TEXT)
    (here / "mine").chmod(0o640)
    file.hardlink_to(here / "mine")
    assert run(["verify", "--contents", "--repair"]) == 0
    assert file.stat().st_mode & 0o7777 == 0o444 and (here / "mine").stat().st_mode & 0o7777 == 0o640


def test_a_description_is_made_again_from_the_tree(here: Path) -> None:
    with Store.open(here / "store") as store:
        base = add(store, "base", program=True)
        with store.writer("a") as writer:
            writer.file("a", b"a")
            artifact = writer.commit([base.digest])
        sidecar = Path(store.layout.sidecar(artifact.digest))
    right = sidecar.read_bytes()
    for damage in (change, cut, remove, to_directory, to_fifo):
        damage(sidecar)
        assert run(["verify"]) == 4
        assert run(["verify", "--contents", "--repair"]) == 0
        assert sidecar.read_bytes() == right


def test_what_roots_keep_is_never_thrown_away(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store.open(here / "store") as store:
        first = add(store, "first")
        store.set_root("first", first.digest)
        store.database.checkpoint()
        base = add(store, "base", program=True)
        with store.writer("top") as writer:
            writer.file("top", b"top")
            top = writer.commit([base.digest])
        store.add_generation("p", top.digest)
        with store.writer("garbage") as writer:
            writer.file("garbage", b"garbage")
            garbage = writer.commit()
    (journal,) = (here / "store/.db/journal").iterdir()
    os.truncate(journal, 22)
    for line in ("verify", "verify --contents", "verify --contents --repair", "gc", "verify --contents --repair"):
        assert run(line.split()) == (0 if line == "gc" else 4)
        told = capsys.readouterr().out
        if line != "gc":
            assert told.count("lost: ") == 2 and "generations/p/1 keeps it" in told and "recover' takes back" in told
    assert not garbage.path.exists() and top.path.is_dir() and base.path.is_dir()
    assert run(["recover"]) == 0 and run(["verify", "--contents", "--refcounts"]) == 0
    with Store.open(here / "store") as store:
        assert [each.digest for each in store.generations("p")] == [top.digest]
        assert store.references(top.digest) == (base.digest,)


def test_a_killed_adder_does_not_take_what_a_root_keeps_with_it(here: Path) -> None:
    """It was killed after the answer; then the journal was cut. Its staging still says where the tree is."""
    with Store.open(here / "store") as store:
        artifact = add(store, "a")
        store.set_root("a", artifact.digest)
        goal = artifact.path.relative_to(here / "store")
        staging = here / "store/.staging/1-000000000000.0"
        staging.mkdir(parents=True)
        (staging / "goal").write_text(str(goal))
    (journal,) = (here / "store/.db/journal").iterdir()
    os.truncate(journal, 22)
    assert run(["gc"]) == 0
    assert run(["recover"]) == 0 and run(["verify", "--contents"]) == 0 and artifact.path.is_dir()


@pytest.mark.parametrize("name", [".roots/x", ".generations/p/x", ".db/journal/0000000099.log", ".db/journal/x"])
def test_what_does_not_belong_to_a_store_is_named(here: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Store.open(here / "store") as store:
        artifact = add(store, "a")
        store.add_generation("p", artifact.digest)
        store.set_root("a", artifact.digest)
    (here / "store" / name).write_bytes(b"stray" * 20)
    for line in ("verify", "verify --contents --repair"):
        assert run(line.split()) == 4 and f"{name}: it " in capsys.readouterr().out
    assert run(["ls"]) == 0 and run(["gc"]) == 0 and run(["recover"]) == 0


@pytest.mark.parametrize("name", [".links", ".staging", ".trash", ".locks", ".logs"])
def test_a_file_in_place_of_a_directory_of_the_store(here: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Store.open(here / "store") as store:
        store.set_root("a", add(store, "a").digest)
    shutil.rmtree(here / "store" / name, ignore_errors=True)
    (here / "store" / name).write_bytes(b"")
    assert run(["verify"]) == 4 and f"{name}: it is not a directory" in capsys.readouterr().out
    fill(here / "b")
    (here / "b/more").write_bytes(b"more" * 1000)
    for line in ("ls", "gc", "add b --root b", "recover"):
        try:
            run(line.split())
        except NexisError as error:
            assert name in str(error)
        except NotADirectoryError as error:
            # The program makes a message of it that names the place.
            assert name in str(error.filename)
    (here / "store" / name).unlink()
    assert run(["verify", "--contents"]) == 0


def test_a_root_that_names_nothing_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store.open(here / "store") as store:
        store.set_root("a", add(store, "a").digest)
    (here / "store/.roots/b").symlink_to("../ab/cd/" + "ab" * 32 + "-gone")
    assert run(["verify"]) == 4 and "it names an artifact that the store does not have" in capsys.readouterr().out
    assert run(["recover"]) == 4 and ".roots/b" in capsys.readouterr().out
    assert run(["roots", "--remove", "b"]) == 0
    assert run(["verify"]) == 0


def test_a_history_that_lacks_builds_is_told_and_written_again(here: Path) -> None:
    with Store.open(here / "store") as store:
        artifact = add(store, "a")
        for number in range(5):
            key = BuildKey.of(b"%d" % number)
            store.record(Realisation(key, DerivationId(key), "a", {"out": artifact.digest}))
            store.database.checkpoint()
    history = here / "store/.db/history.log"
    for damage in (change, cut, Path.unlink, to_fifo):
        damage(history)
        assert run(["verify"]) == 4
        assert run(["verify", "--repair"]) == 0 and run(["verify"]) == 0
        assert len(read(str(history))) == 5


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


@pytest.mark.parametrize(("path", "damage"), DAMAGE, ids=NAMES)
def test_what_is_damaged_is_not_used(here: Path, path: str, damage: Callable[[Path], None]) -> None:
    with Store.open(here / "store") as store:
        artifact = add(store, "a")
        store.check_intact([artifact.digest])
    damage(artifact.path / path)
    with Store.open(here / "store") as store:
        for _ in range(2):
            with pytest.raises(DamagedStoreError, match="is damaged"):
                store.check_intact([artifact.digest])
        add(store, "again")
        store.check_intact([artifact.digest])


def test_a_large_tree_is_looked_at_in_parts(here: Path) -> None:
    with Store.open(here / "store") as store, store.writer("many") as writer:
        for number in range(300):
            writer.file(f"d{number // 20}/{number}", b"%d" % number)
        digest = writer.commit().digest
        os.utime(store.path(digest) / "d3/77")
        store.check_intact([digest])
        change(store.path(digest) / "d3/77")
    with Store.open(here / "store") as store, pytest.raises(DamagedStoreError, match="d3/77 is damaged"):
        for _ in range(300 // 100 + 1):
            store.check_intact([digest], most=100)


def test_what_was_built_from_damage_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def build(name: str, inputs: list[TreeDigest], references: list[TreeDigest]) -> Artifact:
        with store.writer(name) as writer:
            writer.file(name, name.encode() * 999)
            artifact = writer.commit(references)
        key = BuildKey.of(name.encode())
        store.record(
            Realisation(
                key,
                DerivationId(key),
                name,
                {"out": artifact.digest},
                extra={INPUTS: inputs_of(inputs)} if inputs else {},
            )
        )
        return artifact

    with Store.open(here / "store") as store:
        libc = build("libc", [], [])
        gcc = build("gcc", [], [libc.digest])
        direct = build("direct", [libc.digest], [])
        build("by-reference", [gcc.digest], [])
        build("further", [direct.digest], [])
        build("unconcerned", [build("other", [], []).digest], [])
        change(libc.path / "libc")
        shutil.rmtree(store.layout.links)
        add_again = libc.digest
    assert run(["verify", "--contents"]) == 4
    told = capsys.readouterr().out
    assert re.findall(r"was damaged: (\S+)", told) == ["by-reference", "direct", "further"]
    with Store.open(here / "store") as store:
        assert build("libc", [], []).digest == add_again
    assert run(["verify", "--contents"]) == 0


def test_collecting_an_old_output_keeps_what_the_build_came_out_as_since(here: Path) -> None:
    key = BuildKey.of(b"key")
    with Store.open(here / "store") as store:
        old, new = add(store, "old"), add(store, "new", program=True)
        store.set_root("new", new.digest)
        for artifact in (old, new):
            store.record(Realisation(key, DerivationId(key), "x", {"out": artifact.digest}))
    assert run(["gc"]) == 0
    with Store.open(here / "store") as store:
        known = store.realisation(key)
        assert not store.has(old.digest) and known is not None and known.outputs == {"out": new.digest}
