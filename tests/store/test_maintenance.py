from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexis_store.checking import check_contents
from nexis_store.digest import BuildKey, DerivationId, TreeDigest
from nexis_store.errors import DamagedStoreError, StoreError
from nexis_store.journal import segment_path
from nexis_store.layout import Layout
from nexis_store.maintenance import backend_of, migrate, recover
from nexis_store.queries import diff, usage
from nexis_store.realisation import Realisation
from nexis_store.records import ARTIFACT, COUNT, REFERENCES, REFERRER, ArtifactRecord, pack_digests, pack_number
from nexis_store.repair import Recount, _circles, recount, repair_problem
from nexis_store.store import Store
from nexis_store.transfer import export, load
from nexis_store.tree import Attributes
from tests.store.test_store import add

KEY, RECIPE = BuildKey.of(b"key"), DerivationId.of(b"recipe")


def fill(store: Store) -> None:
    one = add(store, "one", {"usr/lib/one": b"one" * 1000, "shared": b"shared" * 1000})
    two = add(store, "two", {"usr/lib/two": b"two", "shared": b"shared" * 1000}, (one.digest,))
    store.record(Realisation(KEY, RECIPE, "two", {"out": two.digest}, duration_ns=9))
    store.set_root("top", two.digest)


def state(store: Store) -> object:
    return (
        sorted((each.name, each.digest, each.references) for each in store.artifacts()),
        store.roots(),
        store.realisation(KEY),
        store.realised(RECIPE),
        store.duration("two"),
    )


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("profile", ["desktop", "server"])
def test_recover_needs_no_database(tmp_path: Path, profile: str, checkpointed: bool) -> None:
    with Store.open(tmp_path, profile=profile) as store:
        fill(store)
        before = state(store)
        if checkpointed:
            store.database.checkpoint()
    for name in ("data.mdb", "data.mdb-lock", "rocks", "format.json" if profile == "desktop" else "none"):
        path = tmp_path / ".db" / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    result = recover(Layout(str(tmp_path)))
    assert (result.artifacts, result.realisations, result.roots, result.damaged) == (2, 1, 1, ())
    with Store.open(tmp_path) as store:
        assert state(store) == before
        assert list(store.verify(contents=True)) == []
        add(store, "three", {"3": b""})


def test_recover_leaves_out_what_is_damaged(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        fill(store)
        one = store.find("one")
        path = store.layout.sidecar(one)
        os.chmod(path, 0o644)
        with open(path, "r+b") as file:
            file.write(b"x")
        result = recover(store.layout)
        assert result.damaged == (path,) and result.artifacts == 1 and result.realisations == 1
        with pytest.raises(StoreError, match="was replaced"):
            store.set_root("x", one)


@pytest.mark.parametrize("where", ["journal", "history"])
def test_recover_takes_back_what_is_behind_a_damaged_byte(tmp_path: Path, where: str) -> None:
    keys = [BuildKey.of(b"%d" % number) for number in range(14)]
    with Store.open(tmp_path) as store:
        for number, key in enumerate(keys):
            artifact = add(store, f"a{number}", {"file": b"%d" % number * 999})
            store.set_root(f"r{number}", artifact.digest)
            store.record(Realisation(key, RECIPE, "a", {"out": artifact.digest}))
            if where == "history":
                store.database.checkpoint()
        before = store.roots()
    path = segment_path(f"{tmp_path}/.db/journal", 1) if where == "journal" else f"{tmp_path}/.db/history.log"
    data = bytearray(Path(path).read_bytes())
    data[data.index(b"a3") if where == "journal" else data.index(keys[3])] ^= 1
    Path(path).write_bytes(data)
    if where == "journal":
        for _ in range(2):
            with pytest.raises(DamagedStoreError, match="is damaged at byte"):
                Store.open(tmp_path)
        assert Path(path).read_bytes() == data
    else:
        # What comes later must not cut off what is behind the damage.
        with Store.open(tmp_path) as store:
            store.record(Realisation(KEY, RECIPE, "late", {"out": before["r0"]}))
            store.database.checkpoint()
    result = recover(Layout(str(tmp_path)))
    assert (result.artifacts, result.roots, result.damaged) == (14, 14, ())
    with Store.open(tmp_path) as store:
        assert store.roots() == before and list(store.verify(contents=True)) == []
        assert [number for number, key in enumerate(keys) if store.realisation(key) is None] in ([], [3])
        assert (store.realisation(KEY) is not None) == (where == "history")


@pytest.mark.parametrize(("start", "to"), [("desktop", "rocksdb"), ("server", "lmdb")])
def test_migrating(tmp_path: Path, start: str, to: str) -> None:
    with Store.open(tmp_path, profile=start) as store:
        fill(store)
        store.database.checkpoint()
        add(store, "late", {"late": b""})
        before = state(store)
        migrate(store.layout, store.database, to)
        with pytest.raises(StoreError, match="was replaced"):
            add(store, "too late", {"x": b""})
    with Store.open(tmp_path) as store:
        assert backend_of(store.layout) == to
        assert state(store) == before
        assert list(store.verify(contents=True)) == []


def test_export_and_import(store: Store, tmp_path: Path) -> None:
    fill(store)
    with store.writer("three") as writer:
        writer.file("again", b"shared" * 1000, executable=True)
        writer.file("once more", b"shared" * 1000)
        writer.file("su", b"su", attributes=Attributes(mode=0o4755, group="wheel"))
        writer.symlink("link", "su")
        writer.directory("empty", Attributes(mode=0o700))
        three = writer.commit([store.find("two")])
    stream = io.BytesIO()
    assert export(store, [three.digest], stream) == 3
    stream.seek(0)
    with Store.open(tmp_path / "other") as other:
        assert [each.name for each in load(other, stream)] == ["one", "two", "three"]
        assert store.manifest(three.digest) == other.manifest(three.digest)
        assert other.closure([three.digest]) == store.closure([three.digest])
        assert list(other.verify(contents=True)) == []


def test_damaged_archives_bring_nothing_wrong(store: Store, tmp_path: Path) -> None:
    fill(store)
    stream = io.BytesIO()
    export(store, [store.find("two")], stream, level=-5)
    raw = stream.getvalue()
    with Store.open(tmp_path / "other") as other:
        for at in range(0, len(raw), 7):
            damaged = bytearray(raw)
            damaged[at] ^= 0x55
            try:
                load(other, io.BytesIO(bytes(damaged)))
            except (DamagedStoreError, StoreError):
                continue
        for cut in (1, 20, len(raw) // 2, len(raw) - 20):
            with pytest.raises(StoreError):
                load(other, io.BytesIO(raw[:cut]))
        assert list(other.verify(contents=True)) == []
        names = {each.name: each.digest for each in other.artifacts()}
        assert all(store.has(digest) for digest in names.values())


def test_a_recount_corrects_and_finds_circles(store: Store) -> None:
    one = add(store, "one", {"1": b""})
    two = add(store, "two", {"2": b""}, (one.digest,))
    add(store, "one", {"1": b""}, (two.digest,))
    store.session.close()
    assert store.plan_gc().dead == ()
    result = recount(store.layout, store.database)
    assert result.unreachable >= 1 and result.corrected == 0
    store.execute_gc(store.plan_gc())
    assert list(store.artifacts()) == []


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30))
def test_circles_are_what_reaches_itself(pairs: list[tuple[int, int]]) -> None:
    digests = [TreeDigest.of(b"%d" % number) for number in range(10)]
    needs = {each: tuple(digests[to] for number, to in pairs if digests[number] == each) for each in digests[:8]}

    def reached(start: TreeDigest) -> set[TreeDigest]:
        found = {start}
        pending = [start]
        while pending:
            new = {*needs.get(pending.pop(), ())} - found
            found |= new
            pending += new
        return found

    circles = _circles(needs)
    for one in needs:
        for other in needs:
            together = one in reached(other) and other in reached(one)
            assert (circles[one] == circles[other]) == together


def test_a_recount_cuts_a_circle_of_thousands_in_one_pass(tmp_path: Path) -> None:
    digests = [TreeDigest.of(b"%d" % number) for number in range(5000)]
    with Store.open(tmp_path / "circle") as store:
        with store.database.transaction() as transaction:
            for number, digest in enumerate(digests):
                needs = sorted({digests[(number + step) % len(digests)] for step in (1, 7, 900)})
                transaction.put(ARTIFACT + digest, ArtifactRecord("a", 0, 0, 0).encode())
                transaction.put(COUNT + digest, pack_number(len(needs)))
                transaction.put(REFERENCES + digest, pack_digests(needs))
                for each in needs:
                    transaction.put(REFERRER + each + digest, b"")
        assert recount(store.layout, store.database) == Recount(5000, 0, 5000)
        assert {each.digest for each in store.plan_gc().dead} == set(digests)


def test_a_recount_corrects_wrong_counts(store: Store) -> None:
    fill(store)
    one = store.find("one")
    with store.database.transaction() as transaction:
        transaction.put(COUNT + one, pack_number(17))
    assert [each.kind for each in store.verify()] == ["count"]
    assert recount(store.layout, store.database).corrected == 1
    assert list(store.verify()) == []


def test_diff(store: Store) -> None:
    def tree(**files: bytes) -> object:
        with store.writer("x") as writer:
            for name, data in files.items():
                writer.file(f"same/{name}" if name.startswith("s") else name, data)
            writer.symlink("link", files.get("target", b"t").decode())
            return store.manifest(writer.commit().digest)

    before = tree(s1=b"1", s2=b"2", gone=b"", changed=b"a")
    after = tree(s1=b"1", s2=b"2", fresh=b"", changed=b"b", target=b"u")
    found = [(each.path, each.what) for each in diff(before, after)]  # type: ignore[arg-type]
    assert found == [
        ("changed", "content"), ("fresh", "added"), ("gone", "removed"), ("link", "target"), ("target", "added"),
    ]  # fmt: skip


def test_usage_tells_shared_from_exclusive(store: Store) -> None:
    fill(store)
    found = usage(store, store.find("one"))
    assert found.exclusive == 4096 and found.shared == 8192 and found.apparent == 9000


def test_trees_that_nobody_knows_are_found_and_taken_away(store: Store) -> None:
    fill(store)
    directory = store.root / "ab" / "cd"
    directory.mkdir(parents=True, exist_ok=True)
    unknown = directory / ("abcd" + "0" * 60 + "-left-behind")
    (unknown / "usr").mkdir(parents=True)
    problems = check_contents(store)
    assert [(each.kind, each.path) for each in problems] == [("unknown", str(unknown))]
    assert repair_problem(store.layout, store.database, problems[0], None)
    assert not unknown.exists()
    assert check_contents(store) == []
    store.empty_trash()
    assert os.listdir(store.layout.trash) == []


def test_checking_can_be_resumed(store: Store) -> None:
    fill(store)
    first, second = sorted(each.digest for each in store.artifacts())
    for digest in (first, second):
        for path in store.path(digest).rglob("*"):
            if path.is_file():
                path.unlink()
                path.write_bytes(b"damaged")
    (store.root / ".db/verified").write_text(str(first))
    assert {each.digest for each in check_contents(store, resume=True)} == {second}
    assert {each.digest for each in check_contents(store)} == {first, second}
    originals = {"one": b"one" * 1000, "two": b"two", "shared": b"shared" * 1000}
    for problem in check_contents(store):
        data = originals[problem.path.rpartition("/")[2]]
        assert repair_problem(store.layout, store.database, problem, lambda digest, size, data=data: data)  # type: ignore[misc]
