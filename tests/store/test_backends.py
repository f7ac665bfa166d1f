"""A database that is damaged, a disk that is full: one error with its cure, and ``recover`` heals."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from nexis_store.binary_cache import BinaryCache, expand
from nexis_store.cli.main import run
from nexis_store.digest import FileDigest
from nexis_store.errors import StoreError
from nexis_store.metadata import choose, pages
from nexis_store.metadata.lmdb import LmdbBackend
from nexis_store.store import Store
from tests.contract.test_metadata import cut, database_files, flipped, zeroed
from tests.store.test_store import add


def middle(change: Callable[[bytes, int], bytes]) -> Callable[[bytes], bytes]:
    return lambda data: change(data, len(data) // 2)


@pytest.mark.parametrize("profile", ["desktop", "server"])
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(middle(cut), id="half"),
        pytest.param(middle(flipped), id="flipped"),
        pytest.param(middle(zeroed), id="zeroed"),
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: bytes(len(data)), id="zeros"),
        pytest.param(lambda data: data[:4096], id="head"),
    ],
)
def test_a_damaged_database_is_told_and_recovered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], profile: str, damage: Callable[[bytes], bytes]
) -> None:
    def keep(names: range) -> None:
        for number in names:
            store.set_root(f"r{number}", add(store, f"a{number}", {"file": b"%d" % number}).digest)
        store.database.checkpoint()

    with Store.open(tmp_path / "store", profile=profile) as store:
        keep(range(30))
        keep(range(30, 60))
    for path in database_files(tmp_path / "store/.db"):
        path.write_bytes(damage(path.read_bytes()))
    arguments = ["--store", str(tmp_path / "store")]
    for command in ("ls", "gc", "verify"):
        try:
            status = run([command, *arguments])
        except StoreError as error:
            assert error.exit_code == 4 and "nexis-store recover" in str(error)
        else:
            # Half of LMDB's file, or a byte of it, may be free: then nothing is lost.
            assert profile == "desktop" and status == 0
    capsys.readouterr()
    assert run(["recover", *arguments]) == 0
    assert "recovered 60 artifacts" in capsys.readouterr().out
    assert run(["ls", *arguments]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 60
    assert run(["verify", *arguments]) == 0


def test_a_file_that_nobody_changed_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    check = pages.check
    monkeypatch.setattr(pages, "check", lambda path, key: checked.append(path) or check(path, key))  # type: ignore[func-returns-value]
    with Store.open(tmp_path, profile="desktop") as store:
        add(store, "a", {"a": b"x"})
        store.database.checkpoint()
    checked.clear()
    Store.open(tmp_path).close()
    Store.open(tmp_path, readonly=True).close()
    assert checked == []
    os.utime(tmp_path / ".db/data.mdb")
    Store.open(tmp_path, readonly=True).close()
    Store.open(tmp_path).close()
    assert len(checked) == 2
    Store.open(tmp_path).close()
    assert len(checked) == 2


def test_verify_finds_what_looks_as_it_did(tmp_path: Path) -> None:
    """Bits may rot without any sign of it."""
    backend = LmdbBackend(str(tmp_path))
    backend.apply({b"key": b"a value that rots", b"other": b"x"})
    backend.check()
    path = tmp_path / "data.mdb"
    data = path.read_bytes()
    path.write_bytes(data.replace(b"that rots", b"that rotz"))
    with pytest.raises(StoreError, match="a key or a value is not what was written"):
        backend.check()
    backend.close()


def test_a_database_of_before_there_were_sums(tmp_path: Path) -> None:
    import lmdb

    with lmdb.open(str(tmp_path / "data.mdb"), subdir=False) as environment, environment.begin(write=True) as change:
        change.put(b"old", b"1")
    backend = LmdbBackend(str(tmp_path))
    backend.apply({b"new": b"2"})
    assert list(backend.scan(b"")) == [(b"new", b"2"), (b"old", b"1")]
    backend.check()
    backend.close()


FULL = """
set -e
mount -t tmpfs -o size=8m none "$1" || exit 99
export NEXIS_STORE="$1/store"
nexis() { set +e; "$python" -m nexis_store.cli.main "$@" 2>&1; echo "$1 $?"; }
python="$2"; other="$4"
mkdir "$1/src"; echo hi >"$1/src/f"
nexis add "$1/src" --profile "$3" --root a
head -c 100M /dev/zero >"$1/fill" 2>/dev/null
nexis recover; nexis migrate --to "$other"; nexis ls; nexis gc
rm -f "$NEXIS_STORE/.db/data.mdb-lock"
head -c 1M /dev/zero >>"$1/fill" 2>/dev/null
nexis ls; nexis gc
rm "$1/fill"
nexis recover; nexis migrate --to "$other"; nexis ls; nexis verify
"""


@pytest.mark.parametrize(("profile", "other"), [("desktop", "rocksdb"), ("server", "lmdb")])
def test_a_full_disk_is_told(tmp_path: Path, profile: str, other: str) -> None:
    command = ["unshare", "-rm", "sh", "-c", FULL, "sh", tmp_path, sys.executable, profile, other]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    if done.returncode == 99 or (done.returncode and not done.stdout):
        pytest.skip(f"no mounts of our own here: {done.stderr}")
    lines = done.stdout.splitlines()
    statuses = [line for line in lines if line.rpartition(" ")[2].isdigit() and len(line.split()) == 2]
    assert statuses[:4] == ["add 0", "recover 4", "migrate 4", "ls 0"], done.stdout
    assert all(status.endswith((" 0", " 4")) for status in statuses[4:7])
    assert statuses[-4:] == ["recover 0", "migrate 0", "ls 0", "verify 0"], done.stdout
    assert "No space left on device" in done.stdout and "free some disk space" in done.stdout


@pytest.mark.parametrize("name", ["nfs4", "cifs", "9p", "fuse.sshfs"])
def test_a_store_on_a_network_file_system_can_only_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with Store.open(tmp_path / "store") as store:
        a = add(store, "a", {"a": b"x"})
    monkeypatch.setattr(choose, "file_system_type", lambda path: name)
    monkeypatch.setattr(os, "major", lambda device: 0)
    with pytest.raises(StoreError, match=f"lies on {name}, a network file system") as caught:
        Store.open(tmp_path / "store")
    assert "--store" in str(caught.value)
    with Store.open(tmp_path / "store", readonly=True) as store:
        assert store.has(a.digest)
    with pytest.raises(StoreError, match="network file system"):
        Store.open(tmp_path / "new/store")
    assert not (tmp_path / "new").exists()


def test_file_systems_of_this_machine() -> None:
    assert choose.network_file_system("/proc/nowhere/below") is None
    assert choose.network_file_system(os.getcwd()) is None
    assert choose.file_system_type("/proc") == "proc"


def test_two_that_make_a_store_at_once_make_one(tmp_path: Path) -> None:
    script = "import sys, pathlib; from nexis_store.store import Store; Store.open(pathlib.Path(sys.argv[1])).close()"
    command = [sys.executable, "-c", script, tmp_path / "store"]
    running = [subprocess.Popen(command, cwd=Path(__file__).parents[2]) for _ in range(4)]
    assert [each.wait() for each in running] == [0, 0, 0, 0]
    with Store.open(tmp_path / "store") as store:
        add(store, "a", {"a": b"x"})
        assert list(store.verify(contents=True)) == []


def test_no_more_is_decompressed_than_was_promised(tmp_path: Path) -> None:
    compressor = zstandard.ZstdCompressor()
    bomb = compressor.compress(bytes(1 << 26))
    # The frame's header lies: it promises 2**60 bytes.
    liar = zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 10)
    assert expand(bomb, 1 << 20) is None
    assert expand(bomb, 1 << 26) == bytes(1 << 26)
    assert expand(liar, 9) is None and expand(liar, 10) == b"x" * 10
    assert expand(b"\x28\xb5\x2f\xfd\xe0" + (1 << 60).to_bytes(8, "little") + liar[6:], 100) in (None, b"x" * 10)
    digest = FileDigest.of(b"x" * 10)
    place = tmp_path / f"files/{digest.hex()[:2]}/{digest}.zst"
    place.parent.mkdir(parents=True)
    place.write_bytes(bomb)
    assert BinaryCache(tmp_path).content(digest, 10) is None
    place.write_bytes(liar)
    assert BinaryCache(tmp_path).content(digest, 10) == b"x" * 10
    assert BinaryCache(tmp_path).content(digest, 9) is None
