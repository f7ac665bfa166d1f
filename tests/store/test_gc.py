from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nexis_store import fs
from nexis_store.digest import BuildKey, DerivationId
from nexis_store.errors import NotInStoreError, StoreError
from nexis_store.realisation import Realisation
from nexis_store.store import Store
from tests.store.test_store import ABSENT, add


def reopened(store: Store) -> Store:
    """A store without the temporary roots of the one that added everything."""
    store.session.close()
    return store


def collect(store: Store) -> set[str]:
    plan = reopened(store).plan_gc()
    result = store.execute_gc(plan)
    assert result.collected == len(plan.dead)
    return {each.name for each in plan.dead}


def test_roots_keep_closures(store: Store) -> None:
    a = add(store, "a", {"a": b""})
    b = add(store, "b", {"b": b""}, (a.digest,))
    c = add(store, "c", {"c": b""}, (b.digest,))
    add(store, "loose", {"loose": b""})
    store.set_root("top", c.digest)
    store.set_root("also", b.digest)
    assert collect(store) == {"loose"}
    store.remove_root("top")
    assert collect(store) == {"c"}
    store.remove_root("also")
    assert collect(store) == {"a", "b"}
    assert list(store.artifacts()) == []
    assert os.listdir(store.layout.trash) == []


def test_a_new_artifact_is_kept_until_its_process_ends(store: Store) -> None:
    add(store, "a", {"a": b""})
    assert store.plan_gc().dead == ()
    assert [each.name for each in reopened(store).plan_gc().dead] == ["a"]


def test_what_is_added_under_another_name_while_it_is_collected_leaves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StopHereError(Exception):
        pass

    def stop(call: str, path: str) -> None:
        # The metadata are gone, the tree is not yet moved away.
        if call == "rename" and path.startswith(f"{store.layout.trash}/"):
            raise StopHereError

    a = add(store, "a", {"a": b""})
    plan = reopened(store).plan_gc()
    monkeypatch.setattr(fs, "intercept", stop)
    with pytest.raises(StopHereError):
        store.execute_gc(plan)
    monkeypatch.undo()
    again = add(store, "b", {"a": b""})
    assert again.digest == a.digest and again.path.is_dir() and not a.path.exists()
    store.set_root("keep", again.digest)
    assert collect(store) == set()
    assert list(store.verify(contents=True)) == []
    assert os.listdir(store.layout.staging) == os.listdir(store.layout.trash) == []


def test_a_root_set_after_planning_saves_the_artifact(store: Store) -> None:
    a = add(store, "a", {"a": b""})
    plan = reopened(store).plan_gc()
    store.set_root("keep", a.digest)
    assert store.execute_gc(plan).collected == 0
    assert store.has(a.digest)


def test_a_temporary_root_set_after_planning_saves_the_artifact(store: Store) -> None:
    a = add(store, "a", {"a": b""})
    plan = reopened(store).plan_gc()
    assert store.temporary_root(a.digest)
    assert store.execute_gc(plan).collected == 0
    assert not store.temporary_root(ABSENT)


def test_roots_removed_and_made_by_hand_count(store: Store) -> None:
    a, b = add(store, "a", {"a": b""}), add(store, "b", {"b": b""})
    store.set_root("mine", a.digest)
    os.unlink(store.root / ".roots/mine")
    os.symlink(f"../{b.path.relative_to(store.root)}", store.root / ".roots/theirs")
    assert collect(store) == {"a"}
    assert store.roots() == {"theirs": b.digest}


def test_setting_a_root_again_moves_it(store: Store) -> None:
    a, b = add(store, "a", {"a": b""}), add(store, "b", {"b": b""})
    store.set_root("mine", a.digest)
    store.set_root("mine", b.digest)
    store.set_root("mine", b.digest)
    assert collect(store) == {"a"}
    with pytest.raises(NotInStoreError):
        store.set_root("mine", a.digest)
    with pytest.raises(NotInStoreError):
        store.remove_root("other")


def test_collecting_takes_realisations_along(store: Store) -> None:
    a = add(store, "a", {"a": b""})
    key, recipe = BuildKey.of(b"k"), DerivationId.of(b"d")
    store.record(Realisation(key, recipe, "a", {"out": a.digest}))
    collect(store)
    assert store.realisation(key) is None and store.realised(recipe) is None
    assert add(store, "a", {"a": b""}).digest == a.digest
    assert store.realisation(key) is None


def test_shared_content_survives_and_lonely_content_goes(store: Store) -> None:
    a = add(store, "a", {"a": b"shared" * 1000, "own": b"own" * 1000})
    b = add(store, "b", {"b": b"shared" * 1000})
    store.set_root("b", b.digest)
    plan = reopened(store).plan_gc()
    freed = store.execute_gc(plan).freed_bytes
    assert freed == 4096
    assert (b.path / "b").read_bytes() == b"shared" * 1000
    pool = [name for _, _, names in os.walk(store.layout.links) for name in names]
    assert len(pool) == 1
    assert not a.path.exists()


def test_limits(store: Store) -> None:
    for name in "abcd":
        add(store, name, {name: b"x" * 1000})
    reopened(store)
    plan = store.plan_gc(max_freed=1500)
    assert len(plan.dead) == 2 and plan.kept_by_limit == 2
    assert store.plan_gc(older_than_ns=10**12).dead == ()
    assert len(store.plan_gc(older_than_ns=0).dead) == 4


def test_leftovers_of_killed_processes_are_removed(store: Store) -> None:
    script = (
        "import os, sys; from pathlib import Path; from nexis_store.store import Store\n"
        "writer = Store.open(Path(sys.argv[1])).writer('x').__enter__()\n"
        "writer.file('a', b'a'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script, str(store.root)], check=False, cwd=Path(__file__).parents[2])
    assert len(os.listdir(store.layout.staging)) == 1
    collect(store)
    assert os.listdir(store.layout.staging) == []


def test_a_symlink_of_the_user_keeps_an_artifact(store: Store, tmp_path: Path) -> None:
    a = add(store, "a", {"a": b"x"})
    store.set_indirect_root(tmp_path / "result", a.digest)
    assert (tmp_path / "result/a").read_bytes() == b"x"
    assert collect(store) == set()
    b = add(store, "b", {"b": b"x"})
    store.set_indirect_root(tmp_path / "result", b.digest)
    assert collect(store) == {"a"}
    (tmp_path / "result").unlink()
    assert collect(store) == {"b"}
    (tmp_path / "result").mkdir()
    with pytest.raises(StoreError, match="no symlink"):
        store.set_indirect_root(tmp_path / "result", add(store, "c", {"c": b""}).digest)
