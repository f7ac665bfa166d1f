"""Versions and tags as projects write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexis_eval.lock.versions import is_prerelease, newest, newest_tag, sort_key, split_tag, tag_of


@pytest.mark.parametrize(
    ("tag", "parts"),
    [
        ("v9.1.0", ("v", "9.1.0")),
        ("9.1", ("", "9.1")),
        ("curl-8_9_1", ("curl-", "8.9.1")),
        ("release-1.2", ("release-", "1.2")),
        ("openssl-3.0.22", ("openssl-", "3.0.22")),
        ("nightly", None),
    ],
)
def test_tags_have_a_prefix_and_a_version(tag: str, parts: tuple[str, str] | None) -> None:
    assert split_tag(tag) == parts


@pytest.mark.parametrize("version", ["1.0rc1", "1.0-rc.2", "2.0.0-alpha", "3.0b2", "1.0-dev", "2-beta1", "9.preview"])
def test_unfinished(version: str) -> None:
    assert is_prerelease(version)


@pytest.mark.parametrize("version", ["1.0", "1.1.1w", "2024.01.02", "9.1.0042", "1.0-1", "8.9p1", "1.0+dfsg"])
def test_finished(version: str) -> None:
    assert not is_prerelease(version)


def test_the_newest() -> None:
    assert newest(["1.9", "1.10", "1.10rc1", "1.2"]) == "1.10"
    assert newest(["1.0", "1.0.1", "1.0.0"]) == "1.0.1"
    assert newest(["1.1.1", "1.1.1w", "1.1.1b"]) == "1.1.1w"
    assert newest(["2.0rc1", "2.0rc2"]) == "2.0rc2"
    assert newest([]) is None


def test_the_newest_tag_of_the_project_itself() -> None:
    assert newest_tag(["v1.0", "v1.2", "tools-v9.0", "nothing"], "x") == ("1.2", "v1.2")
    assert newest_tag(["x-1.0", "y-2.0", "x-1.1"], "x") == ("1.1", "x-1.1")
    assert newest_tag(["ver1.0", "ver1.1", "odd5"], "x") == ("1.1", "ver1.1")
    assert newest_tag(["nothing"], "x") is None


def test_the_tag_of_a_version() -> None:
    assert tag_of("1.0", ["v1.0", "1.0", "x-1.0"], "x") == "1.0"
    assert tag_of("1.0", ["v1.0", "x-1.0"], "x") == "v1.0"
    assert tag_of("8.9.1", ["curl-8_9_1", "curl-8_9_0"], "curl") == "curl-8_9_1"
    assert tag_of("2.0", ["v1.0"], "x") is None


@given(st.lists(st.lists(st.integers(0, 10**6), min_size=1, max_size=4), min_size=1, max_size=20))
def test_numbers_count_as_numbers(versions: list[list[int]]) -> None:
    texts = [".".join(map(str, each)) for each in versions]
    assert sorted(texts, key=sort_key) == [".".join(map(str, each)) for each in sorted(versions)]
