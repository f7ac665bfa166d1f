"""The lock file: what is written is read back, sorted, a change is a small difference."""

from __future__ import annotations

import difflib
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexis_eval.lock.model import Lock, LockedDeb, LockedSource, LockFormatError, format_lock, load_lock, parse_lock
from nexis_store.digest import TreeDigest

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
NAME = st.from_regex(r"[a-z0-9][a-z0-9+.-]{0,11}", fullmatch=True)
VERSION = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.+~:-]{0,11}", fullmatch=True)
URL = st.builds("https://host.example/{}/{}".format, st.text('abc"\\ é', max_size=9), VERSION)
WORD = st.text("abcxyz019.+~-:", min_size=1, max_size=12)
SOURCES = st.builds(
    LockedSource,
    package=WORD,
    field=st.sampled_from(["source", "prebuilt"]),
    arch=st.sampled_from(["", "x86_64", "riscv64"]),
    urls=st.lists(URL, min_size=1, max_size=3).map(tuple),
    algorithm=st.just("sha256"),
    hash=st.just("ab" * 32),
    size=st.none() | st.integers(0, 2**40),
    version=st.just("") | VERSION,
    tag=TEXT,
    commit=st.sampled_from(["", "1" * 40]),
    submodules=st.booleans(),
    tree=st.binary(max_size=4).map(TreeDigest.of),
    absent=TEXT,
)
DATES = st.datetimes(datetime(1993, 1, 1), datetime(2093, 1, 1)).map(lambda date: date.strftime("%Y-%m-%dT%H:%M:%SZ"))
DEBS = st.lists(
    st.builds(
        LockedDeb,
        name=NAME,
        version=VERSION,
        arch=st.sampled_from(["all", "amd64"]),
        urls=st.lists(URL.filter(lambda url: " " not in url), min_size=1, max_size=2).map(tuple),
        sha256=st.just("cd" * 32),
        size=st.integers(0, 2**40),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda deb: deb.name,
).map(lambda debs: tuple(sorted(debs, key=lambda deb: deb.name)))


@st.composite
def locks(draw: st.DrawFn) -> Lock:
    lock = Lock()
    for source in draw(st.lists(SOURCES, max_size=4)):
        lock = lock.with_source(source)
    for package in draw(st.lists(WORD, max_size=3)):
        lock = lock.with_debs(package, "x86_64", draw(DEBS), draw(TEXT))
    return replace(lock, releases=draw(st.dictionaries(WORD, DATES, max_size=2)))


@given(locks())
def test_what_is_written_is_read_back(lock: Lock) -> None:
    text = format_lock(lock)
    again = parse_lock(text)
    assert again == lock
    assert format_lock(again) == text


def source(package: str, **changes: object) -> LockedSource:
    settings: dict[str, object] = {"field": "source", "arch": "", "urls": ("https://x/a",), "algorithm": "sha256"}
    return LockedSource(package, **{**settings, "hash": "ab" * 32, "size": 1, **changes})  # type: ignore[arg-type]


def test_what_cannot_be_read_is_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "nexis.lock"
    assert load_lock(path) == Lock()
    path.mkdir()
    with pytest.raises(LockFormatError, match="Is a directory"):
        load_lock(path)
    path.rmdir()
    for data in (b"\xff", b"format = 1\nsource = " + b"[" * 5000 + b"]" * 5000):
        path.write_bytes(data)
        with pytest.raises(LockFormatError, match="not a lock file"):
            load_lock(path)


def test_order_does_not_matter() -> None:
    one, two = source("a"), source("b")
    assert format_lock(Lock().with_source(one).with_source(two)) == format_lock(
        Lock().with_source(two).with_source(one)
    )


def test_a_change_of_one_package_is_a_change_of_its_lines() -> None:
    before = Lock().with_source(source("a")).with_source(source("b")).with_source(source("c"))
    after = before.with_source(source("b", version="2", hash="cd" * 32))
    lines = [
        line
        for line in difflib.unified_diff(format_lock(before).splitlines(), format_lock(after).splitlines(), n=0)
        if line[0] in "+-" and line[:3] not in ("+++", "---")
    ]
    assert lines == ['+version = "2"', f'-hash = "sha256:{"ab" * 32}"', f'+hash = "sha256:{"cd" * 32}"']


def test_lines_of_two_branches_merge() -> None:
    """Every entry is a block of its own: changes to two packages never touch the same or neighbouring lines."""
    lock = Lock().with_source(source("a")).with_source(source("b"))
    blocks = format_lock(lock).split("\n\n")
    assert [block.count("[[source]]") for block in blocks] == [0, 1, 1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "format = 2\n",
        "format = 1\n[[source]]\n",
        'format = 1\n[[source]]\npackage = "a"\nfield = "source"\nurls = ["x"]\ntree = "short"\n',
        'format = 1\n[[debian]]\npackage = "a"\narch = "x"\ndebs = ["a 1 all"]\n',
        "<<<<<<< HEAD\nformat = 1\n",
        "format = 1\nsource = 3\n",
    ],
)
def test_anything_else_is_refused_with_a_cure(text: str) -> None:
    with pytest.raises(LockFormatError) as caught:
        parse_lock(text, "nexis.lock")
    assert caught.value.place is not None
    assert "nexis-eval lock" in (caught.value.hint or "")
    assert ("merge conflict" in (caught.value.hint or "")) == text.startswith("<<<")
