from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexis_store import fs
from nexis_store.database import APPLIED, Database
from nexis_store.errors import DamagedStoreError, StoreError
from nexis_store.journal import (
    SEAL,
    Segment,
    create_segment,
    decode_changes,
    decode_records,
    encode_changes,
    encode_record,
    segment_path,
    segments,
)
from nexis_store.metadata.lmdb import LmdbBackend

changes = st.dictionaries(st.binary(min_size=1, max_size=9), st.one_of(st.none(), st.binary(max_size=99)), max_size=9)


@given(st.lists(changes, max_size=5), st.integers(1, 9))
def test_records_come_back(batches: list[dict[bytes, bytes | None]], segment: int) -> None:
    data = b""
    for batch in batches:
        data += encode_record(segment, 100 + len(data), encode_changes(batch))
    assert [decode_changes(payload) for _, payload in decode_records(segment, 100, data)] == batches
    for cut in range(len(data)):
        found = [decode_changes(payload) for _, payload in decode_records(segment, 100, data[:cut])]
        assert found == batches[: len(found)]
    assert list(decode_records(segment + 1, 100, data)) == []
    assert list(decode_records(segment, 101, data)) == []


def test_the_format_is_fixed() -> None:
    record = encode_record(1, 22, encode_changes({b"key": b"value", b"gone": None}))
    assert record.hex() == (
        "0000001caec227f7e3d8624ef445a9bc186510d8000000020003000000056b657976616c75650004ffffffff676f6e65"
    )


@pytest.fixture
def directory(tmp_path: Path) -> str:
    (tmp_path / "journal").mkdir()
    create_segment(f"{tmp_path}/journal", 1)
    return str(tmp_path)


@pytest.fixture
def database(directory: str) -> Iterator[Database]:
    database = Database(LmdbBackend(directory), directory)
    yield database
    database.close()


def put(database: Database, key: bytes, value: bytes) -> None:
    with database.transaction() as transaction:
        transaction.put(key, value)


def reopened(directory: str) -> Database:
    return Database(LmdbBackend(directory), directory)


def test_what_another_process_writes_is_seen_at_once(database: Database, directory: str) -> None:
    script = (
        "import sys; from nexis_store.database import Database; from nexis_store.metadata.lmdb import LmdbBackend\n"
        "d = Database(LmdbBackend(sys.argv[1]), sys.argv[1])\n"
        "for line in sys.stdin:\n"
        "    if line == 'checkpoint\\n': d.checkpoint()\n"
        "    else:\n"
        "        with d.transaction() as t: t.put(b'x' + line.strip().encode(), t.get(b'mine') or b'-')\n"
        "    print('done', flush=True)\n"
    )
    command = [sys.executable, "-c", script, directory]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as other:
        assert other.stdin is not None and other.stdout is not None
        for number, line in enumerate(["one", "checkpoint", "two", "checkpoint", "checkpoint", "three"]):
            put(database, b"mine", b"%d" % number)
            print(line, file=other.stdin, flush=True)
            assert other.stdout.readline() == "done\n"
            if line != "checkpoint":
                assert database.get(b"x" + line.encode()) == b"%d" % number
        other.stdin.close()
    assert [key for key, _ in database.scan(b"x")] == [b"xone", b"xthree", b"xtwo"]


def test_a_torn_tail_is_cut_by_the_next_writer(database: Database, directory: str) -> None:
    put(database, b"a", b"1")
    path = segment_path(f"{directory}/journal", 1)
    with open(path, "ab") as file:
        file.write(encode_record(1, os.path.getsize(path), encode_changes({b"b": b"torn"}))[:-1])
    assert database.get(b"b") is None
    put(database, b"c", b"3")
    other = reopened(directory)
    assert [other.get(key) for key in (b"a", b"b", b"c")] == [b"1", None, b"3"]
    other.close()


def test_checkpoints_can_stop_anywhere(database: Database, directory: str) -> None:
    """Also what the interruption of a checkpoint leaves: a later segment, a seal, a database that is behind."""
    put(database, b"a", b"1")
    create_segment(f"{directory}/journal", 2)
    put(database, b"b", b"2")
    segment = Segment(f"{directory}/journal", 1)
    segment.read()
    segment.append(SEAL)
    segment.close()
    put(database, b"c", b"3")
    other = reopened(directory)
    assert [other.get(key) for key in (b"a", b"b", b"c")] == [b"1", b"2", b"3"]
    other.checkpoint()
    assert segments(f"{directory}/journal") == [3]
    assert [database.get(key) for key in (b"a", b"b", b"c", APPLIED)] == [b"1", b"2", b"3", b"2"]
    other.close()


def test_a_lost_seal_loses_nothing_behind_it(database: Database, directory: str) -> None:
    put(database, b"a", b"1")
    create_segment(f"{directory}/journal", 2)
    second = Segment(f"{directory}/journal", 2)
    second.append(encode_changes({b"b": b"2"}))
    second.close()
    other = reopened(directory)
    assert other.get(b"a") == b"1" and other.get(b"b") == b"2"
    other.close()


def test_a_sync_that_fails_is_reported_and_what_follows_is_safe(
    database: Database, directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(database, b"a", b"1")
    failing = [True]

    def intercept(call: str, path: str) -> None:
        if call == "fdatasync" and failing:
            failing.pop()
            raise OSError(5, "I/O error")

    monkeypatch.setattr(fs, "intercept", intercept)
    with pytest.raises(StoreError, match="journal could not be written"):
        put(database, b"b", b"2")
    monkeypatch.setattr(fs, "intercept", None)
    assert segments(f"{directory}/journal") == [2]
    put(database, b"c", b"3")
    other = reopened(directory)
    assert [other.get(key) for key in (b"a", b"c")] == [b"1", b"3"]
    other.close()


def test_threads_share_syncs(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs: list[str] = []
    monkeypatch.setattr(fs, "intercept", lambda call, path: syncs.append(call) if call == "fdatasync" else None)
    started = threading.Barrier(8)

    def work(number: int) -> None:
        started.wait()
        for step in range(20):
            put(database, b"%d/%d" % (number, step), b"")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(database.scan(b""))) == 160
    assert 0 < len(syncs) <= 160


def test_a_transaction_sees_itself_and_nothing_happens_if_it_fails(database: Database) -> None:
    put(database, b"k1", b"old")
    with pytest.raises(RuntimeError), database.transaction() as transaction:
        transaction.put(b"k2", b"new")
        transaction.delete(b"k1")
        assert list(transaction.scan(b"k")) == [(b"k2", b"new")]
        assert transaction.get(b"k1") is None
        raise RuntimeError
    assert list(database.scan(b"k")) == [(b"k1", b"old")]


def test_what_is_no_segment(database: Database, directory: str) -> None:
    with open(segment_path(f"{directory}/journal", 9), "wb") as file:
        file.write(b"something else")
    with pytest.raises(DamagedStoreError):
        Segment(f"{directory}/journal", 9)
