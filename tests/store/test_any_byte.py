"""Each file of a store, damaged at any byte or cut there: the commands tell, answer nothing wrong, and lose nothing.

The database's own files are for ``test_backends.py``. ``-m exhaustive`` takes every position, else some of each file.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from nexis_store.cli.main import run
from nexis_store.digest import BuildKey, DerivationId
from nexis_store.errors import NexisError
from nexis_store.marks import blemishes
from nexis_store.realisation import Realisation
from nexis_store.store import Store

READING = (
    "ls", "ls first", "info second", "cat first text", "roots", "generations", "closure second", "references second",
    "why-alive first", "tree second",
)  # fmt: skip
CHANGING = (
    "du first",
    "stats",
    "add more --root more",
    "gc",
    "verify --contents --repair",
    "recover",
    "verify --contents --repair",
)


def make(root: Path) -> None:
    """Some of it is in the database and the history, the rest in the journal."""
    with Store.open(root) as store:
        with store.writer("first") as writer:
            writer.file("text", b"text " * 300)
            writer.file("tiny", b"tiny")
            first = writer.commit()
        store.set_root("first", first.digest)
        keys = [BuildKey.of(b"%d" % number) for number in range(4)]
        store.record(Realisation(keys[0], DerivationId(keys[0]), "first", {"out": first.digest}))
        store.record(Realisation(keys[1], DerivationId(keys[1]), "again", {"out": first.digest}))
        store.database.checkpoint()
        with store.writer("second") as writer:
            writer.file("usr/text", b"text " * 300)
            writer.symlink("usr/link", "text")
            second = writer.commit([first.digest])
        store.add_generation("p", second.digest)
        store.record(Realisation(keys[2], DerivationId(keys[2]), "second", {"out": second.digest}))
        store.record(Realisation(keys[3], DerivationId(keys[3]), "last", {"out": second.digest}))


def output(root: Path, line: str) -> tuple[int, str]:
    """What a command line prints and returns; errors that are told return what the program would."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        binary = io.BytesIO()
        printed.buffer = binary  # type: ignore[misc]
        try:
            code = run([*line.split(), "--store", str(root)])
        except NexisError as error:
            return error.exit_code, str(error)
        except OSError as error:
            # ``main`` tells those that name a file.
            assert error.filename is not None
            return 4, str(error)
    return code, (printed.getvalue() + binary.getvalue().decode()).replace(str(root), "STORE")


def files(root: Path) -> Iterator[str]:
    for directory, _, names in os.walk(root):
        for name in names:
            path = Path(directory) / name
            if path.is_file() and not path.is_symlink() and path.stat().st_size and not name.startswith("data.mdb"):
                yield os.path.relpath(path, root)


def damage(path: Path, at: int, how: str) -> None:
    """The file stays as it was but for one byte, or ends there; the mode and time are those of before for a flip."""
    before = path.stat()
    path.chmod(0o644)
    if how == "cut":
        os.truncate(path, at)
    else:
        with path.open("r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ (1 << at % 8)]))
    path.chmod(before.st_mode)


def copy(source: Path, target: Path) -> None:
    """The same with the hard links as they are."""
    shutil.rmtree(target, ignore_errors=True)
    inodes: dict[int, str] = {}

    def copy_file(one: str, other: str) -> None:
        first = inodes.setdefault(os.stat(one).st_ino, other)
        if first == other:
            shutil.copy2(one, other)
        else:
            os.link(first, other)

    shutil.copytree(source, target, symlinks=True, copy_function=copy_file)


def positions(size: int, everything: bool) -> list[int]:
    return list(range(size)) if everything else sorted({size // 2, size - 1})


def check_damage(healthy: Path, place: Path, everything: bool) -> None:
    expected = {line: output(healthy, line) for line in READING}
    assert all(code == 0 for code, _ in expected.values()), expected
    with Store.open(healthy, readonly=True) as store:
        roots = store.roots()
        keys = [BuildKey.of(b"%d" % number) for number in range(4)]
        assert all(store.realisation(key) for key in keys)
    for name in sorted(files(healthy)):
        for at in positions((healthy / name).stat().st_size, everything):
            for how in ("flip", "cut"):
                root = place / "store"
                copy(healthy, root)
                damage(root / name, at, how)
                case = f"{name} {how} at {at}"
                # A journal that ends in a record, or before one, is what a killed writer leaves.
                torn = how == "cut" and "journal" in name
                for line in READING:
                    code, told = output(root, line)
                    assert code == 4 or (code, told) == expected[line] or torn, (case, line, code, told)
                for line in CHANGING:
                    assert output(root, line)[0] in (0, 4), (case, line)
                code, told = output(root, "verify --contents")
                if code == 4:
                    # It cannot be repaired from this store alone, and is named.
                    assert name.split("/")[0] in told or "version" in told or "damaged" in told, (case, told)
                    continue
                with Store.open(root, readonly=True) as store:
                    assert {**store.roots(), **roots} == store.roots(), case
                    for digest in roots.values():
                        place_of = os.fspath(store.path(digest))
                        assert list(blemishes(place_of, store.manifest(digest))) == [], case
                    lost = [key for key in keys if store.realisation(key) is None]
                # A damaged record is lost; everything in the same file is only where the file is.
                assert not lost or "journal" in name or "history" in name, (case, lost)
                assert how == "cut" or len(lost) <= 1, (case, lost)


@pytest.fixture
def healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make(tmp_path / "healthy")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "more").mkdir()
    (tmp_path / "more/file").write_bytes(b"text " * 300)
    return tmp_path / "healthy"


def test_some_bytes_of_each_file(healthy: Path, tmp_path: Path) -> None:
    check_damage(healthy, tmp_path / "copy", everything=False)


@pytest.mark.exhaustive
def test_every_byte_of_each_file(healthy: Path, tmp_path: Path) -> None:
    check_damage(healthy, tmp_path / "copy", everything=True)
