"""Trees: every difference is found, and nothing else."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from nexis_eval.repro.compare import Tree, compare_trees
from nexis_eval.repro.findings import Cause
from nexis_store.digest import FileDigest
from nexis_store.hashing import tree_of_path
from nexis_store.tree import Attributes, Manifest, directory_entry, file_entry, symlink_entry


def tree(path: Path, files: dict[str, str]) -> Tree:
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return Tree(tree_of_path(path), path)


def test_all_differences_not_the_first(tmp_path: Path) -> None:
    before = tree(tmp_path / "a", {"same": "1", "x/changed": "1", "gone": "1", "z/gone": "2", "z/gone too": "3"})
    after = tree(tmp_path / "b", {"same": "1", "x/changed": "2", "new/file": "1", "z/other": "7"})
    found = {(each.path, each.change) for each in compare_trees(before, after)}
    assert found == {
        ("gone", "removed"),
        ("new", "added"),
        ("new/file", "added"),
        ("x/changed", "content"),
        ("z/gone", "removed"),
        ("z/gone too", "removed"),
        ("z/other", "added"),
    }


def test_a_date_in_a_name_is_one_difference(tmp_path: Path) -> None:
    before = tree(tmp_path / "a", {"d/log-20231114.txt": "text", "d/other": ""})
    after = tree(tmp_path / "b", {"d/log-20270115.txt": "text", "d/other": ""})
    (only,) = compare_trees(before, after)
    assert (only.change, only.key) == ("name", "d/*")
    assert only.verdict is not None
    assert only.verdict.cause is Cause.TIMESTAMP


def test_what_manifests_say_beyond_content() -> None:
    digest = FileDigest.of(b"x")
    before = Manifest.of([directory_entry("d"), file_entry("d/f", digest, 1), symlink_entry("l", "one")])
    after = Manifest.of(
        [
            directory_entry("d", Attributes(mode=0o1777)),
            file_entry("d/f", digest, 1, attributes=Attributes(mode=0o4755, owner="games", xattrs=(("user.a", b"1"),))),
            symlink_entry("l", "two"),
        ]
    )
    found = {(each.path, each.change, each.before, each.after) for each in compare_trees(Tree(before), Tree(after))}
    assert found == {
        ("d", "mode", "0755", "1777"),
        ("d/f", "mode", "0644", "4755"),
        ("d/f", "owner", "root:root", "games:root"),
        ("d/f", "attributes", "", "user.a=31"),
        ("l", "target", "one", "two"),
    }


def test_a_file_that_became_a_directory(tmp_path: Path) -> None:
    before, after = tree(tmp_path / "a", {"x": "1"}), tree(tmp_path / "b", {"x/y": "1"})
    assert [(each.path, each.change) for each in compare_trees(before, after)] == [("x", "kind"), ("x/y", "added")]


NAMES = st.sampled_from(["a", "b", "c", "d/a", "d/b", "e/f/a", "e/f/b"])
TREES = st.dictionaries(NAMES, st.sampled_from([b"1", b"2"]), max_size=6)


def manifest(files: dict[str, bytes]) -> Manifest:
    parents = {parent.as_posix() for name in files for parent in Path(name).parents} - {"."}
    entries = [file_entry(name, FileDigest.of(data), len(data)) for name, data in files.items()]
    return Manifest.of([*(directory_entry(parent) for parent in parents), *entries])


@given(before=TREES, after=TREES)
def test_nothing_is_found_exactly_where_digests_are_equal(before: dict[str, bytes], after: dict[str, bytes]) -> None:
    first, second = manifest(before), manifest(after)
    found = compare_trees(Tree(first), Tree(second))
    assert (first.digest == second.digest) == (not found)
    changed = {name for name in before.keys() & after.keys() if before[name] != after[name]}
    assert {each.path for each in found if each.change == "content"} == changed
