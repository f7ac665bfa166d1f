"""What differs between two texts of a file is found, or it is not said that only that differs."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nexis_eval.config import toml
from nexis_eval.evaluation.excerpt import differing

HEAD = "[system]\nhostname = 'a'\n"


def package(name: str, *lines: str) -> str:
    return "\n".join(("", "[[packages]]", f'name = "{name}"', *lines, ""))


ALL = [package(name, 'version = "1"') for name in "abcd"]


def test_one_package() -> None:
    edited = [*ALL]
    edited[2] = package("c", 'version = "2"')
    found = differing(HEAD + "".join(ALL), HEAD + "".join(edited))
    assert found is not None
    assert [each["name"] for each in found.before] == ["c"]
    assert found.after == [{"name": "c", "version": "2"}]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (HEAD + "".join(ALL), HEAD.replace("'a'", "'b'") + "".join(ALL)),
        (HEAD + "".join(ALL), HEAD + "".join(ALL) + "\n[network]\ndhcp = false\n"),
        (HEAD + "".join(ALL), HEAD + "".join(ALL).replace('version = "1"', 'version = "2', 3)),
        (HEAD + "".join(ALL), HEAD + "".join(ALL).replace('name = "c"', '[packages.env]\nA = "b"', 1)),
        (HEAD + "".join(ALL), HEAD + "".join(ALL).replace('"1"\n\n[[packages]]', '"1"[[packages]]', 2)),
        (HEAD + "".join(ALL), HEAD + "".join(ALL).replace('name = "c"', 'phases.build = """')),
    ],
    ids=[
        "other section before",
        "other section behind",
        "open string",
        "table of a package",
        "one line",
        "long string",
    ],
)
def test_what_may_be_more_is_read_as_a_whole(before: str, after: str) -> None:
    assert differing(before, after) is None


ONE, OTHER = package("a", 'hash = "x"', 'version = "1"'), package("a", 'version = "1"', 'hash = "x"')
TABLES = st.lists(
    st.builds(
        lambda name, lines: package(name, *lines),
        st.sampled_from("abc"),
        st.lists(st.sampled_from(['version = "1"', 'hash = "x"', "[packages.env]", "# note", ""]), unique=True),
    ),
    max_size=6,
).map(lambda tables: HEAD + "".join(tables))


@example(HEAD + package("b") + ONE, HEAD + package("b") + ONE + OTHER)
@given(TABLES, TABLES)
def test_what_is_said_to_differ_is_all_that_does(before: str, after: str) -> None:
    found = differing(before, after)
    if found is None:
        return
    old, new = (toml.parse(text, "f.toml") for text in (before, after))
    assert old["system"] == new["system"]
    tables = {"before": list(old["packages"]), "after": list(new.get("packages", []))}  # type: ignore[call-overload]
    for each in found.before:
        tables["before"].remove(each)
    for each in found.after:
        tables["after"].remove(each)
    # Of tables that are equal but for the order of their keys, either may have been removed.
    assert sorted(map(in_order, tables["before"])) == sorted(map(in_order, tables["after"]))


def in_order(table: dict[str, object]) -> str:
    return repr(sorted(table.items()))
