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


def reopened(directory: str, *, after_restart: bool = False) -> Database:
    return Database(LmdbBackend(directory), directory, after_restart=after_restart)


def values(database: Database) -> dict[bytes, bytes]:
    return {key: value for key, value in database.scan(b"") if key != APPLIED}


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


@pytest.mark.parametrize("after_restart", [False, True])
def test_a_damaged_byte_is_told_and_nothing_behind_it_is_cut(
    database: Database, directory: str, after_restart: bool
) -> None:
    """Each byte of each record. After a restart nothing vouches that the last record was synced."""
    path = segment_path(f"{directory}/journal", 1)
    ends = []
    for number in range(6):
        put(database, b"%d" % number, b"v" * number)
        ends.append(os.path.getsize(path))
    whole = Path(path).read_bytes()
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 0x55
        Path(path).write_bytes(damaged)
        if after_restart and at >= ends[-2]:
            reopened(directory, after_restart=True).close()
            continue
        with pytest.raises(DamagedStoreError, match=r"is damaged at byte|not a journal segment") as met:
            reopened(directory, after_restart=after_restart)
        assert "recover" in (met.value.hint or "")
        assert Path(path).read_bytes() == damaged
    Path(path).write_bytes(whole)


def test_each_process_vouches_for_what_it_synced(database: Database, directory: str) -> None:
    """Also one that adds a single record: a power cut is no excuse for damage in it."""
    for number in range(3):
        other = reopened(directory)
        put(other, b"%d" % number, b"")
        other.close()
    path = Path(segment_path(f"{directory}/journal", 1))
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) - 70] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DamagedStoreError, match="is damaged at byte"):
        reopened(directory, after_restart=True)
    path.write_bytes(whole)
    assert values(database) == {b"0": b"", b"1": b"", b"2": b""}


def test_a_process_that_has_the_store_open_sees_the_damage_as_well(database: Database, directory: str) -> None:
    put(database, b"a", b"1")
    other = reopened(directory)
    path = Path(segment_path(f"{directory}/journal", 1))
    size = path.stat().st_size
    put(database, b"b", b"2")
    put(database, b"c", b"3")
    damaged = bytearray(path.read_bytes())
    damaged[size + 30] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DamagedStoreError, match="1 record behind it is whole"):
        other.get(b"b")
    with pytest.raises(DamagedStoreError, match="1 record behind it is whole"):
        put(other, b"d", b"4")
    assert path.read_bytes() == damaged
    other.close()


def test_a_journal_cut_anywhere_is_read_up_to_there(database: Database, directory: str) -> None:
    path = segment_path(f"{directory}/journal", 1)
    ends = {os.path.getsize(path): 0}
    for number in range(3):
        put(database, b"%d" % number, b"value")
        ends[os.path.getsize(path)] = number + 1
    whole = Path(path).read_bytes()
    for cut in range(min(ends), len(whole)):
        Path(path).write_bytes(whole[:cut])
        other = reopened(directory)
        assert len(values(other)) == max(count for end, count in ends.items() if end <= cut)
        put(other, b"x", b"")
        other.close()
    Path(path).write_bytes(whole)


def test_what_a_power_cut_leaves_behind_a_hole_is_cut(database: Database, directory: str) -> None:
    """Pages that were not synced reach the disk in any order."""
    put(database, b"a", b"1")
    path = Path(segment_path(f"{directory}/journal", 1))
    size = path.stat().st_size
    for key in (b"b", b"c"):
        with database.transaction(durable=False) as transaction:
            transaction.put(key, b"not synced")
    data = path.read_bytes()
    path.write_bytes(data[:size] + bytes(40) + data[size + 40 :])
    with pytest.raises(DamagedStoreError):
        reopened(directory)
    other = reopened(directory, after_restart=True)
    put(other, b"d", b"4")
    assert values(other) == {b"a": b"1", b"d": b"4"}
    other.close()


@pytest.mark.parametrize(
    "name", ["0000000099.log", "0000000002.log", "99.log", "\u0663.log", "x.log", "0000000001.log.new"]
)
def test_a_stray_file_beside_the_journal_is_ignored(database: Database, directory: str, name: str) -> None:
    put(database, b"a", b"1")
    Path(directory, "journal", name).write_bytes(b"not a segment " * 9)
    other = reopened(directory)
    put(other, b"b", b"2")
    other.checkpoint()
    assert values(other) == {b"a": b"1", b"b": b"2"}
    other.close()


def test_a_segment_that_is_gone_is_damage(database: Database, directory: str) -> None:
    put(database, b"a", b"1")
    segment = Segment(f"{directory}/journal", 1)
    segment.read()
    segment.append(SEAL)
    segment.close()
    with pytest.raises(DamagedStoreError, match=r"0000000002\.log is missing"):
        reopened(directory)


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
    with pytest.raises(DamagedStoreError, match="its end is lost"):
        reopened(directory)
    other = reopened(directory, after_restart=True)
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
