"""What somebody does who only guesses: each mistake is met by a message that says where, what, and what to do."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from nexis_store.checking import check_contents
from nexis_store.cli.common import parse_count, parse_duration, parse_size
from nexis_store.cli.main import COMMANDS, run
from nexis_store.digest import TreeDigest
from nexis_store.errors import DamagedStoreError, HostileArchiveError, NotInStoreError, StoreError
from nexis_store.overlay import Snapshot
from nexis_store.store import Store
from nexis_store.transfer import export


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a store that has an artifact ``a``, and an archive of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEXIS_STORE", str(tmp_path / "store"))
    (tmp_path / "a/usr/bin").mkdir(parents=True)
    (tmp_path / "a/usr/numbers").write_text("".join(f"{each}\n" for each in range(2000)))
    (tmp_path / "a/usr/bin/run").write_text("run")
    (tmp_path / "a/usr/bin/run").chmod(0o755)
    (tmp_path / "a/usr/bin/link").symlink_to("run")
    assert run(["add", "a", "--root", "a"]) == 0
    assert run(["export", "a", "-o", "a.closure"]) == 0
    return tmp_path


def artifact(here: Path) -> Path:
    with Store.open(here / "store", readonly=True) as store:
        return store.path(store.find("a"))


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("add nowhere", "nowhere cannot be read: No such file", "check the path"),
        ("add fifo", "fifo is a device, socket or fifo", "nexis-store add -"),
        ("add a --root ../a", "'../a' cannot name a root", "desktop"),
        ("add a --unpack tar", "a cannot be read: Is a directory", "name a file"),
        ("add a --reference nothing", "has no 'nothing'", "nexis-store ls"),
        ("add a --store a/usr/numbers", "numbers is no directory", "--store"),
        ("ls --store a/usr/numbers", "numbers is no directory", "--store"),
        ("import nowhere", "nowhere cannot be read: No such file", "check the path"),
        ("import a", "a cannot be read: Is a directory", "name a file"),
        ("import a/usr/numbers", "no archive of 'nexis-store export'", "which file"),
        ("export a -o no/such/place", "no/such/place could not be written", "check the path"),
        ("export a -o a", "a could not be written: Is a directory", "check the path"),
        ("verify --from nowhere", "there is no nowhere", "--from"),
        ("cat a usr/bin/link", "usr/bin/link: that is a symlink to run", "ls a"),
        ("cat a usr", "usr: that is a directory", "ls a"),
    ],
)
def test_mistakes(here: Path, line: str, message: str, hint: str) -> None:
    os.mkfifo(here / "fifo")
    with pytest.raises(StoreError) as met:
        run(line.split())
    assert message in met.value.message and hint in (met.value.hint or "")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_of_the_help_can_be_typed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run([command, "--help"])
    text = capsys.readouterr().out
    examples = text.partition("\nexamples:\n")[2].partition("\n\n")[0].splitlines()
    assert examples and all(f"nexis-store {command}" in each for each in examples)
    for each in examples:
        words = each.partition(f"nexis-store {command}")[2].partition("|")[0].split()
        options = [word for word in words if word.startswith("--")]
        assert all(option in text.partition("\nexamples:\n")[0] for option in options)


def test_numbers_that_make_no_sense() -> None:
    for parse, text in ((parse_size, "-5"), (parse_size, "inf"), (parse_duration, "-1d"), (parse_count, "-1")):
        with pytest.raises(Exception, match="write for example"):
            parse(text)


def process(*arguments: str, stdout: str = os.devnull) -> subprocess.CompletedProcess[str]:
    with open(stdout, "w") as out:
        command = [sys.executable, "-m", "nexis_store.cli.main", *arguments]
        return subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True)


def test_an_output_that_is_full_is_no_bug(here: Path) -> None:
    done = process("ls", stdout="/dev/full")
    assert done.returncode == 4
    assert done.stderr == "nexis-store: what it prints could not be written: No space left on device\n"


def test_what_the_system_refuses_inside_a_store_is_no_bug(here: Path) -> None:
    (here / "store/.roots").rename(here / "store/roots")
    (here / "store/.roots").write_text("no directory")
    done = process("roots")
    assert done.returncode == 4 and ".roots/ cannot be read: Not a directory\nhint: " in done.stderr


def test_unreadable_sources_are_named(here: Path) -> None:
    with Store.open(here / "store") as store, pytest.raises(StoreError, match="b/gone cannot be read"):  # noqa: SIM117
        with store.writer("b") as writer:
            writer.file("gone", here / "b/gone")


def test_a_file_larger_than_the_disk_is_refused_before_it_is_written(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=10, f_frsize=4096))
    header = tarfile.TarInfo("zeros")
    header.size = 1 << 30
    with Store.open(here / "store") as store:
        with pytest.raises(StoreError, match="zeros would have 1073741824 bytes, and the disk has 40960 left"):
            store.add_archive(io.BytesIO(header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)), "bomb")
        assert not os.path.exists(store.layout.staging) or os.listdir(store.layout.staging) == []


def test_an_artifact_is_found_by_any_beginning(here: Path) -> None:
    with Store.open(here / "store") as store:
        digest = store.find("a")
        assert store.find(digest.hex()[:5]) == store.find(digest.hex()[:6]) == digest
        with pytest.raises(NotInStoreError):
            store.find(digest.hex()[:3])


def test_indirect_roots_say_whose_they_are(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["roots", "--link", "result", "a"]) == 0 and run(["roots"]) == 0
    assert f"by {here}/result\n" in capsys.readouterr().out
    (here / "result").unlink()
    assert run(["roots"]) == 0
    assert "result" not in capsys.readouterr().out


def flip(path: Path) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.write_bytes(data)
    path.chmod(0o444)


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("no directory")


def add_surplus(path: Path) -> None:
    (path / "surplus/deep").mkdir(parents=True)
    (path / "surplus/elsewhere").symlink_to(path.parents[4] / "a")


DAMAGE: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "a byte": ("usr/numbers", flip, "damaged"),
    "a file that is gone": ("usr/numbers", Path.unlink, "missing"),
    "a mode": ("usr/bin/run", lambda path: path.chmod(0o4755), "mode"),
    "the mode of a directory": ("usr/bin", lambda path: path.chmod(0o777), "mode"),
    "a directory for a file": ("usr/numbers", replace_by_directory, "damaged"),
    "a file for a directory": ("usr/bin", replace_by_file, "damaged"),
    "a directory that is gone": ("usr", shutil.rmtree, "missing"),
    "a symlink that is gone": ("usr/bin/link", Path.unlink, "missing"),
    "the artifact": ("", shutil.rmtree, "missing"),
    "what does not belong there": ("usr", add_surplus, "surplus"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_found_and_repaired(here: Path, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    relative, damage, kind = DAMAGE[what]
    damage(artifact(here) / relative)
    assert run(["verify", "--contents"]) == 4
    assert kind in capsys.readouterr().out
    assert run(["verify", "--contents", "--from", "a.closure"]) == 0
    assert "repaired: " in capsys.readouterr().out
    assert run(["verify", "--contents"]) == 0
    assert (here / "a/usr/numbers").exists()


def test_damage_is_never_served(here: Path) -> None:
    flip(artifact(here) / "usr/numbers")
    with pytest.raises(DamagedStoreError, match="usr/numbers is damaged"):
        run(["cat", "a", "usr/numbers"])
    with pytest.raises(DamagedStoreError, match="usr/numbers is damaged"):
        run(["export", "a", "-o", "b.closure"])
    assert not [each for each in os.listdir(here) if each.startswith("b.closure")]


@pytest.mark.parametrize("profile", ["desktop", "server"])
def test_a_database_that_is_gone_is_damage_and_not_an_empty_store(tmp_path: Path, profile: str) -> None:
    with Store.open(tmp_path, profile=profile) as store, store.writer("x") as writer:
        writer.file("x", b"x")
        digest: TreeDigest = writer.commit().digest
        store.set_root("x", digest)
    for name in ("data.mdb", "rocks"):
        place = tmp_path / ".db" / name
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
    for _ in range(2):
        with pytest.raises(DamagedStoreError, match="is gone") as met:
            Store.open(tmp_path)
        assert "recover" in (met.value.hint or "")
    assert run(["recover", "--store", str(tmp_path)]) == 0
    with Store.open(tmp_path) as store:
        assert store.roots() == {"x": digest} and list(store.verify(contents=True)) == []


def test_all_metadata_gone(here: Path) -> None:
    shutil.rmtree(here / "store/.db")
    for line in ("ls", "verify", "gc", "add a"):
        with pytest.raises(DamagedStoreError, match=r"format\.json is gone"):
            run(line.split())
    assert run(["recover"]) == 0 and run(["verify", "--contents", "--refcounts"]) == 0


@pytest.mark.parametrize("text", ["[]", "nonsense", "", '{"version": 1}'])
def test_a_format_file_that_says_nothing(here: Path, text: str) -> None:
    (here / "store/.db/format.json").write_text(text)
    with pytest.raises(StoreError):
        run(["ls"])
    assert run(["recover"]) == 0 and run(["ls"]) == 0


def test_a_store_of_the_future_is_left_alone(here: Path) -> None:
    (here / "store/.db/format.json").write_text('{"version": 99, "backend": "lmdb"}')
    for command in ("ls", "recover"):
        with pytest.raises(StoreError, match="has version 99, this program knows 1"):
            run([command])


def test_an_archive_of_the_future(here: Path) -> None:
    data = bytearray((here / "a.closure").read_bytes())
    data[13] = 2
    (here / "b.closure").write_bytes(data)
    with pytest.raises(StoreError, match="the archive has version 2, this program knows 1"):
        run(["import", "b.closure"])


def test_migrating_to_where_it_is(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store.open(here / "store", readonly=True) as store:
        backend = "lmdb" if (store.root / ".db/data.mdb").exists() else "rocksdb"
    assert run(["migrate", "--to", backend]) == 0
    assert capsys.readouterr().out.endswith(f"the metadata are in {backend} already\n")


def test_a_store_that_can_only_be_read_can_be_verified_and_exported(here: Path) -> None:
    with Store.open(here / "store", readonly=True) as store:
        assert check_contents(store) == []
        with open(here / "again.closure", "wb") as out:
            assert export(store, [store.find("a")], out) == 1
    assert (here / "again.closure").read_bytes() == (here / "a.closure").read_bytes()
    assert not (here / "store/.db/verified").exists()


def test_names_that_speak_to_the_terminal_are_shown_as_text(
    here: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (here / "b").mkdir()
    for name in (b"\xff", b"\x1b[2J", b"new\nline", "ü".encode()):
        with open(os.fsencode(here / "b") + b"/" + name, "wb"):
            pass
    for arguments in (
        ["add", "b"],
        ["ls", "b"],
        ["ls", "b", "--json"],
        ["diff", "a", "b"],
        ["export", "b", "-o", "b.x"],
    ):
        command = [sys.executable, "-m", "nexis_store.cli.main", *arguments]
        assert subprocess.run(command).returncode == (1 if arguments[0] == "diff" else 0)
    said = capfdbinary.readouterr().out
    assert b"\x1b" not in said and rb" \xff" in said and rb"new\nline" in said and "ü".encode() in said


def test_what_an_archive_must_not_bring_can_be_left_out(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tarfile.open(here / "b.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("good"))
        bad = tarfile.TarInfo("dev/null")
        bad.type = tarfile.CHRTYPE
        archive.addfile(bad)
    with pytest.raises(HostileArchiveError, match="--exclude"):
        run(["add", "b.tar", "--unpack", "tar"])
    assert run(["add", "b.tar", "--unpack", "tar", "--exclude", "dev/null"]) == 0
    capsys.readouterr()
    assert run(["ls", "b.tar"]) == 0
    assert "good" in capsys.readouterr().out


def test_verifying_beside_a_collection(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is collected while it is looked at is no damage."""
    with Store.open(here / "store") as store:
        digest = store.find("a")
        place = store.path(digest)
        store.remove_root("a")
        snapshot = store.database.snapshot

        @contextlib.contextmanager
        def collected_afterwards() -> Iterator[Snapshot]:
            with snapshot() as seen:
                yield seen
            with Store.open(here / "store") as other:
                monkeypatch.setattr(store.database, "snapshot", snapshot)
                other.execute_gc(other.plan_gc())

        monkeypatch.setattr(store.database, "snapshot", collected_afterwards)
        assert list(store.verify()) == [] and not place.exists()
