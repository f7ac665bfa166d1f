from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nexis_store import checking, freeing, fs, workers
from nexis_store.contents import TINY
from nexis_store.errors import StoreError
from nexis_store.records import SMALL
from nexis_store.store import Store
from tests.store.test_store import add


@pytest.fixture(autouse=True)
def _two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Helpers start for a handful of files, and as on a machine with two processors."""
    monkeypatch.setattr(workers, "MANY", 8)
    monkeypatch.setattr(freeing, "FEW", 4)
    monkeypatch.setattr(freeing, "SAMPLE", 1)
    monkeypatch.setattr(checking, "_FEW", 8)
    monkeypatch.setattr(workers, "processes", lambda: 2)


def make_source(path: Path) -> Path:
    for number in range(40):
        place = path / f"d{number % 5}/f{number}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"%d" % (number % 20) * (2000 if number % 3 else 2))
    (path / "d0/program").write_bytes(b"#!/bin/sh\n" * 500)
    (path / "d0/program").chmod(0o755)
    (path / "large").write_bytes(os.urandom(SMALL + 1))
    return path


def test_results_come_in_order_and_errors_are_raised() -> None:
    assert workers.in_processes(lambda part: (part, os.getpid()), [1, 2, 3])[0] == (1, os.getpid())
    found = workers.in_processes(lambda part: (part, os.getpid()), [1, 2, 3])
    assert [part for part, _ in found] == [1, 2, 3] and len({pid for _, pid in found}) == 3

    def refuse(part: int) -> int:
        if part == 2:
            raise StoreError("no", hint="yes")
        return part

    with pytest.raises(StoreError, match="no"):
        workers.in_processes(refuse, [1, 2])
    here = os.getpid()
    with pytest.raises(ChildProcessError, match="-9"):
        workers.in_processes(lambda part: os.getpid() != here and os.kill(os.getpid(), signal.SIGKILL), [1, 2])


def test_a_process_with_threads_works_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    alone = workers.processes()
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait)
    thread.start()
    assert workers.processes() == 1 <= alone <= workers.MOST
    gate.set()
    thread.join()


def test_the_same_tree_however_many_copy_it(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_source(tmp_path / "source")
    first = store.add_directory(source, "first")
    with Store.open(tmp_path / "other") as other:
        monkeypatch.setattr(workers, "processes", lambda: 1)
        assert other.add_directory(source, "first").digest == first.digest
    assert list(store.verify(contents=True)) == []
    # Equal contents are one file, whichever process wrote them.
    for number in (1, 2, 4, 5, 7):
        pair = [first.path / f"d{each % 5}/f{each}" for each in (number, number + 20)]
        if pair[0].stat().st_size == pair[1].stat().st_size > TINY:
            assert pair[0].stat().st_ino == pair[1].stat().st_ino
    assert (first.path / "d2/f2").stat().st_ino == (first.path / "d2/f22").stat().st_ino
    assert (first.path / "d0/program").stat().st_mode & 0o777 == 0o555


def test_a_known_tree_is_only_read(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_source(tmp_path / "source")
    first = store.add_directory(source, "first")
    calls: list[str] = []
    monkeypatch.setattr(fs, "intercept", lambda call, path: calls.append(call))
    monkeypatch.setattr(workers, "processes", lambda: 1)
    assert store.add_directory(source, "again").digest == first.digest
    assert not {"link", "create", "syncfs", "symlink", "clone"} & set(calls)


def test_a_tree_with_one_new_file(store: Store, tmp_path: Path) -> None:
    source = make_source(tmp_path / "source")
    first = store.add_directory(source, "first")
    (source / "d4/f9").write_bytes(b"new" * 1000)
    second = store.add_directory(source, "second")
    assert (second.path / "d4/f9").read_bytes() == b"new" * 1000
    assert (second.path / "d2/f2").stat().st_ino == (first.path / "d2/f2").stat().st_ino
    assert list(store.verify(contents=True)) == []


def test_a_killed_helper_leaves_nothing(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_source(tmp_path / "source")
    here = os.getpid()

    def intercept(call: str, path: str) -> None:
        if os.getpid() != here and path.endswith("f34"):
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(fs, "intercept", intercept)
    with pytest.raises(StoreError, match="helper"):
        store.add_directory(source, "first")
    monkeypatch.setattr(fs, "intercept", None)
    assert list(store.artifacts()) == [] and os.listdir(store.layout.staging) == []


def test_a_killed_parent_leaves_nothing_for_a_person(store: Store, tmp_path: Path) -> None:
    source = make_source(tmp_path / "source")
    script = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from nexis_store import fs, workers\nfrom nexis_store.store import Store\n"
        "workers.MANY = 8\nworkers.processes = lambda: 2\n"
        "def intercept(call, path):\n    if path.endswith('/goal'): os.kill(os.getpid(), signal.SIGKILL)\n"
        "fs.intercept = intercept\n"
        "with Store.open(Path(sys.argv[1])) as store: store.add_directory(Path(sys.argv[2]), 'first')\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(store.root), str(source)])
    assert done.returncode == -signal.SIGKILL and os.listdir(store.layout.staging) != []
    store.execute_gc(store.plan_gc())
    assert os.listdir(store.layout.staging) == [] and list(store.artifacts()) == []


def test_checking_and_freeing_in_helpers(store: Store, tmp_path: Path) -> None:
    artifacts = [add(store, f"a{number}", {"usr/x": b"%d" % number * 900, "y": b"same" * 900}) for number in range(24)]
    bad = artifacts[7].path / "usr/x"
    bad.chmod(0o644)
    bad.write_bytes(b"?" * 900)
    found = checking.check_contents(store)
    assert [(each.kind, each.digest, each.path) for each in found] == [("damaged", artifacts[7].digest, "usr/x")]
    store.session.close()
    result = store.execute_gc(store.plan_gc())
    assert result.collected == 24 and result.freed_bytes >= 24 * 4096
    assert os.listdir(store.layout.trash) == []
    assert [name for _, _, names in os.walk(store.layout.links) for name in names] == []
