from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexis_store.digest import TreeDigest
from nexis_store.errors import Contested, PathConflictError
from nexis_store.publish import Artifact
from nexis_store.store import Store
from nexis_store.tree import Attributes
from nexis_store.union import Winners, excluded
from tests.store.test_store import add

PATHS = ("usr/bin/clear", "usr/bin/vi", "usr/sbin/init")


@pytest.fixture
def parts(store: Store) -> tuple[Artifact, Artifact]:
    return (
        add(store, "one", {"usr/bin/one": b"1", "usr/bin/both": b"first", "usr/same": b"same"}),
        add(store, "two", {"usr/bin/two": b"2", "usr/bin/both": b"second", "usr/same": b"same"}),
    )


def test_conflicts_name_the_path_and_both_parts(store: Store, parts: tuple[Artifact, Artifact]) -> None:
    one, two = parts
    with pytest.raises(PathConflictError, match="both one and two have usr/bin/both"):
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
    with pytest.raises(PathConflictError, match="have a/b"):
        store.union("all", labelled)
    for order in (labelled, labelled[::-1]):
        with pytest.raises(PathConflictError, match="have a/b"):
            store.union("all", order, later_wins=True)
    union = store.union("all", labelled, winners=[("a/b", "two")])
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


@pytest.fixture
def three(store: Store) -> list[tuple[str, TreeDigest]]:
    return [
        (name, add(store, name, {path: name.encode() for path in PATHS}).digest) for name in ("one", "two", "three")
    ]


@pytest.mark.parametrize(
    ("winners", "expected"),
    [
        ({"/usr/bin": "one", "/usr/bin/clear": "two", "usr/sbin/": "three"}, ("two", "one", "three")),
        ({"/usr/bin/clear": "two", "/usr/bin": "one", "/": "three"}, ("two", "one", "three")),
        ({"/": "three"}, ("three", "three", "three")),
        ({"/usr": "one", "/usr/bin": "two", "/usr/bin/clear": "three"}, ("three", "two", "one")),
        ({"/": "two", "/usr/bin/cle": "three", "/usr/bin/clear/x": "three"}, ("two", "two", "two")),
    ],
)
def test_the_longest_path_decides(
    store: Store, three: list[tuple[str, TreeDigest]], winners: dict[str, str], expected: tuple[str, ...]
) -> None:
    for order in permutations(three):
        union = store.union("all", order, winners=[*winners.items()])
        assert tuple((union.path / path).read_text() for path in PATHS) == expected


def test_the_winner_may_have_what_another_one_has_too(store: Store) -> None:
    same = [(name, add(store, name, {"a": text}).digest) for name, text in (("x", b"1"), ("y", b"1 "), ("z", b"1"))]
    for order in permutations(same):
        assert (store.union("all", order, winners=[("a", "z")]).path / "a").read_bytes() == b"1"


def test_all_conflicts_are_told_at_once(store: Store, three: list[tuple[str, TreeDigest]]) -> None:
    with pytest.raises(PathConflictError) as caught:
        store.union("all", three, winners=[("/usr/bin/vi", "two"), ("/usr/sbin", "nobody")])
    assert caught.value.exit_code == 2
    contested = [Contested(path, ("one", "two", "three")) for path in ("usr/bin/clear", "usr/sbin/init")]
    assert list(caught.value.contested) == store.contested(three, winners=[("/usr/bin/vi", "two")]) == contested


def test_what_lies_below_a_directory_that_lost_is_not_asked_for(store: Store) -> None:
    parts = [
        ("one", add(store, "one", {"a/b": b"1"}).digest),
        ("two", add(store, "two", {"a/b": b"2"}).digest),
        ("three", add(store, "three", {"a": b"file"}).digest),
    ]
    assert store.contested(parts) == [Contested("a", ("one", "two", "three")), Contested("a/b", ("one", "two"))]
    assert (store.union("all", parts, winners=[("a", "three")]).path / "a").read_bytes() == b"file"


@given(
    winners=st.dictionaries(
        st.lists(st.sampled_from("ab"), max_size=4).map("/".join), st.sampled_from(["one", "two", "three"])
    ),
    path=st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map("/".join),
)
def test_the_winner_is_the_one_of_the_longest_prefix(winners: dict[str, str], path: str) -> None:
    prefixes = [each for each in winners if not each or f"{path}/".startswith(f"{each}/")]
    expected = winners[max(prefixes, key=len)] if prefixes else None
    assert Winners([*winners.items()]).of(path) == expected


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("usr/lib", {"usr/.hidden", "usr/libx/a.so", "usr/share/a/b.la", "usr/share/b.la"}),
        ("/usr/share/*.la", {"usr/.hidden", "usr/lib/a.la", "usr/libx/a.so", "usr/share/a/b.la"}),
        ("usr/*", {"usr/.hidden"}),
        ("usr/lib?/", {"usr/.hidden", "usr/lib/a.la", "usr/share/a/b.la", "usr/share/b.la"}),
        ("usr/lib[a-w.]", {"usr/.hidden", "usr/lib/a.la", "usr/libx/a.so", "usr/share/a/b.la", "usr/share/b.la"}),
        ("usr/lib[!a-w]", {"usr/.hidden", "usr/lib/a.la", "usr/share/a/b.la", "usr/share/b.la"}),
        ("usr/*/*/b.??", {"usr/.hidden", "usr/lib/a.la", "usr/libx/a.so", "usr/share/b.la"}),
        ("usr/lib(", {"usr/.hidden", "usr/lib/a.la", "usr/libx/a.so", "usr/share/a/b.la", "usr/share/b.la"}),
    ],
)
def test_what_is_excluded(store: Store, pattern: str, left: set[str]) -> None:
    paths = ("usr/.hidden", "usr/lib/a.la", "usr/libx/a.so", "usr/share/a/b.la", "usr/share/b.la")
    part = add(store, "one", dict.fromkeys(paths, b""))
    union = store.union("all", [("one", part.digest)], exclude=[pattern])
    assert {each.path for each in store.manifest(union.digest).entries() if each.kind == "f"} == left


@given(st.text(st.sampled_from("ab.*?[]!^-\\(+/"), min_size=1, max_size=8))
def test_any_pattern_is_one(pattern: str) -> None:
    excluded(pattern.split())("a/b")
