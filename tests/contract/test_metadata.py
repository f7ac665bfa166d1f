"""One suite for every metadata backend."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexis_store import fs
from nexis_store.errors import StoreError
from nexis_store.metadata import pages
from nexis_store.metadata.base import Backend
from nexis_store.metadata.lmdb import _SUM as SUM
from nexis_store.metadata.lmdb import LmdbBackend
from nexis_store.metadata.rocksdb import RocksBackend

Open = Callable[..., Backend]


@pytest.fixture(params=[LmdbBackend, RocksBackend], ids=["lmdb", "rocksdb"])
def open_backend(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    return lambda **options: request.param(str(tmp_path), **options)


@pytest.fixture
def backend(open_backend: Open) -> Iterator[Backend]:
    backend = open_backend()
    yield backend
    backend.close()


def test_empty(backend: Backend) -> None:
    assert backend.get(b"a") is None
    assert list(backend.scan(b"")) == []


def test_put_delete_scan(backend: Backend) -> None:
    backend.apply({b"b": b"2", b"a": b"1", b"ab": b"", b"c" * 65: b"x" * 100_000, b"\xff\xff": b"last"})
    assert backend.get(b"a") == b"1"
    assert backend.get(b"ab") == b""
    assert backend.get(b"c" * 65) == b"x" * 100_000
    assert [key for key, _ in backend.scan(b"a")] == [b"a", b"ab"]
    assert list(backend.scan(b"\xff")) == [(b"\xff\xff", b"last")]
    backend.apply({b"a": None, b"absent": None, b"b": b"3"})
    assert backend.get(b"a") is None
    assert backend.get(b"b") == b"3"


def test_a_scan_is_of_one_moment(backend: Backend) -> None:
    backend.apply({b"a%d" % number: b"" for number in range(10)})
    running = backend.scan(b"a")
    next(running)
    backend.apply({b"a%d" % number: None for number in range(10)})
    assert len(list(running)) == 9


def test_reopened(open_backend: Open) -> None:
    first = open_backend()
    first.apply({b"k": b"v"})
    first.close()
    for options in ({}, {"readonly": True}):
        again = open_backend(**options)
        assert again.get(b"k") == b"v"
        again.close()


def test_two_in_one_process_see_each_other(open_backend: Open) -> None:
    one, two = open_backend(), open_backend()
    one.apply({b"k": b"v"})
    two.refresh()
    assert two.get(b"k") == b"v"
    two.apply({b"k": b"w"})
    one.refresh()
    assert one.get(b"k") == b"w"
    one.close()
    assert two.get(b"k") == b"w"
    two.close()


def test_other_processes_are_seen_after_refresh(backend: Backend, tmp_path: Path) -> None:
    backend.apply({b"mine": b"1"})
    kind = type(backend)
    script = (
        f"import sys; from {kind.__module__} import {kind.__name__} as B\n"
        "b = B(sys.argv[1]); assert b.get(b'mine') == b'1'; b.apply({b'theirs': b'2'}); b.close()"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, cwd=Path(__file__).parents[2])
    backend.refresh()
    assert backend.get(b"theirs") == b"2"


def test_threads(backend: Backend) -> None:
    backend.apply({b"k%d" % number: b"v" for number in range(100)})
    failures: list[BaseException] = []

    def read() -> None:
        try:
            for number in range(300):
                assert backend.get(b"k%d" % (number % 100)) == b"v"
                assert len(list(backend.scan(b"k"))) == 100
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        backend.apply({b"other": b"x"})
    for thread in threads:
        thread.join()
    assert failures == []


keys = st.binary(min_size=1, max_size=3)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(keys, st.one_of(st.none(), st.binary(max_size=9)), max_size=6), max_size=5), keys)
def test_like_a_dictionary(open_backend: Open, batches: list[dict[bytes, bytes | None]], prefix: bytes) -> None:
    backend = open_backend()
    backend.apply({key: None for key, _ in backend.scan(b"")})
    model: dict[bytes, bytes] = {}
    for batch in batches:
        backend.apply(batch)
        model.update({key: value for key, value in batch.items() if value is not None})
        for key, value in batch.items():
            if value is None:
                model.pop(key, None)
    assert dict(backend.scan(b"")) == model
    assert list(backend.scan(prefix)) == sorted(pair for pair in model.items() if pair[0].startswith(prefix))
    backend.close()


def test_a_damaged_database_is_an_error_with_a_cure(open_backend: Open, tmp_path: Path) -> None:
    open_backend().close()
    for path in (tmp_path / "data.mdb", *(tmp_path / "rocks").glob("MANIFEST*"), tmp_path / "rocks/CURRENT"):
        if path.exists():
            path.write_bytes(b"nothing of the sort" * 1000)
    with pytest.raises(StoreError, match="database cannot be used") as caught:
        open_backend()
    assert "nexis-store recover" in str(caught.value)


FULL = {b"k%04d" % number: b"%d" % number * 9 for number in range(3000)}


def database_files(directory: Path) -> list[Path]:
    """The files that hold pairs, the largest first."""
    files = [directory / "data.mdb", *(directory / "rocks").glob("*.sst")]
    return sorted((path for path in files if path.exists()), key=lambda path: -path.stat().st_size)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ (1 << at % 8),)) + data[at + 1 :]


def zeroed(data: bytes, at: int) -> bytes:
    page = at & ~4095
    return data[:page] + bytes(min(4096, len(data) - page)) + data[page + 4096 :]


def cut(data: bytes, at: int) -> bytes:
    return data[:at]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([flipped, zeroed, cut]), st.integers(0, 999_999))
def test_damage_is_an_error_and_never_a_wrong_answer(
    open_backend: Open, tmp_path: Path, damage: Callable[[bytes, int], bytes], where: int
) -> None:
    for entry in tmp_path.iterdir():
        fs.remove_tree(str(entry))
    backend = open_backend()
    backend.apply(dict(FULL))
    backend.close()
    path = database_files(tmp_path)[0]
    good = path.read_bytes()
    path.write_bytes(damage(good, len(good) * where // 1_000_000))
    try:
        backend = open_backend()
        try:
            assert dict(backend.scan(b"k")) == FULL
            assert all(backend.get(key) == value for key, value in FULL.items())
        finally:
            backend.close()
    except StoreError as error:
        assert "nexis-store recover" in str(error)


@pytest.mark.parametrize("transactions", [1, 2, 5, 6])
def test_every_bit_of_lmdbs_headers(tmp_path: Path, transactions: int) -> None:
    """The library takes one of two headers by a number in it, and how keys are ordered from a flag."""
    backend = LmdbBackend(str(tmp_path))
    for number in range(transactions):
        backend.apply({b"number": b"%d" % number, **dict(list(FULL.items())[:200])})
    whole = dict(backend.scan(b""))
    backend.close()
    path = tmp_path / "data.mdb"
    good = path.read_bytes()
    # Magic and version, behind the place and the size that the library takes from its caller, the trees and numbers.
    fields = [*range(16, 24), *range(40, 152)]
    for at in (page + field for page in (0, 4096) for field in fields):
        for bit in range(8):
            path.write_bytes(good[:at] + bytes((good[at] ^ (1 << bit),)) + good[at + 1 :])
            try:
                pages.check(str(path), SUM)
            except pages.PageError:
                continue
            try:
                found = LmdbBackend(str(tmp_path))
            except StoreError as error:
                assert "nexis-store recover" in str(error)
                continue
            assert dict(found.scan(b"")) == whole, (at, bit)
            found.close()


def test_a_long_list_of_free_pages_is_no_damage(tmp_path: Path) -> None:
    backend = LmdbBackend(str(tmp_path))
    backend.apply(dict(FULL))
    # A reader that goes on for long keeps all pages from being used again: the list grows by one entry each time.
    with backend.reading():
        for number in range(600):
            backend.apply({b"k%04d" % number: b"%d" % number})
    backend.check()
    backend.close()
