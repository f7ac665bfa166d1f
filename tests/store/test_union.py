from __future__ import annotations

import pytest

from nexis_store.errors import ConflictError
from nexis_store.publish import Artifact
from nexis_store.store import Store
from nexis_store.tree import Attributes
from tests.store.test_store import add


@pytest.fixture
def parts(store: Store) -> tuple[Artifact, Artifact]:
    return (
        add(store, "one", {"usr/bin/one": b"1", "usr/bin/both": b"first", "usr/same": b"same"}),
        add(store, "two", {"usr/bin/two": b"2", "usr/bin/both": b"second", "usr/same": b"same"}),
    )


def test_conflicts_name_the_path_and_both_parts(store: Store, parts: tuple[Artifact, Artifact]) -> None:
    one, two = parts
    with pytest.raises(ConflictError, match="both one and two have usr/bin/both"):
        store.union("all", [("one", one.digest), ("two", two.digest)])


@pytest.mark.parametrize("winner", ["one", "two"])
def test_winners(store: Store, parts: tuple[Artifact, Artifact], winner: str) -> None:
    one, two = parts
    labelled = [("one", one.digest), ("two", two.digest)]
    union = store.union("all", labelled, winners=[("/usr/bin", winner)])
    assert (union.path / "usr/bin/both").read_bytes() == {"one": b"first", "two": b"second"}[winner]
    assert (union.path / "usr/same").stat().st_ino == (one.path / "usr/same").stat().st_ino
    assert {each.path for each in store.manifest(union.digest).entries()} == {
        "usr", "usr/bin", "usr/bin/one", "usr/bin/two", "usr/bin/both", "usr/same",
    }  # fmt: skip


def test_later_wins_and_exclude(store: Store, parts: tuple[Artifact, Artifact]) -> None:
    one, two = parts
    labelled = [("one", one.digest), ("two", two.digest)]
    union = store.union("all", labelled, later_wins=True, exclude=["/usr/same"], references=[one.digest])
    assert (union.path / "usr/bin/both").read_bytes() == b"second"
    assert not (union.path / "usr/same").exists()
    assert union.references == (one.digest,)


def test_a_file_that_wins_against_a_directory_hides_all_of_it(store: Store) -> None:
    one = add(store, "one", {"a/b/c": b"1", "a/d": b"1"})
    two = add(store, "two", {"a/b": b"file"})
    labelled = [("one", one.digest), ("two", two.digest)]
    with pytest.raises(ConflictError, match="have a/b"):
        store.union("all", labelled)
    union = store.union("all", labelled, later_wins=True)
    assert [each.path for each in store.manifest(union.digest).entries()] == ["a", "a/b", "a/d"]
    back = store.union("all", labelled, winners=[("a/b", "one")])
    assert (back.path / "a/b/c").read_bytes() == b"1"


def test_directories_merge_and_keep_declared_attributes(store: Store) -> None:
    one = add(store, "one", {"var/log/x": b""})
    with store.writer("two") as writer:
        writer.directory("var/log", Attributes(mode=0o2775, group="adm"))
        two = writer.commit()
    for order in ([("one", one.digest), ("two", two.digest)], [("two", two.digest), ("one", one.digest)]):
        entry = store.manifest(store.union("all", order).digest).get("var/log")
        assert entry is not None and entry.mode == 0o2775
