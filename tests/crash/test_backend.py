"""Kills a process at random moments inside the databases' own writing, where the seam in ``fs`` does not reach."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nexis_store.database import Database
from nexis_store.metadata.base import Backend
from nexis_store.metadata.lmdb import LmdbBackend
from nexis_store.metadata.rocksdb import RocksBackend
from tests.crash.children import in_child

ROUNDS = 20
WRITER = """
import sys
from nexis_store.database import Database
from nexis_store.journal import create_segment
from {module} import {name} as Backend
import os
directory = sys.argv[1]
if not os.path.exists(directory + "/journal"):
    os.mkdir(directory + "/journal")
    create_segment(directory + "/journal", 1)
database = Database(Backend(directory), directory)
number = int(database.get(b"last") or 0)
print(number, flush=True)
while True:
    number += 1
    with database.transaction() as transaction:
        for copy in range(20):
            transaction.put(b"copy/%d" % copy, b"%d" % number)
        transaction.put(b"number/%d" % number, b"x" * 200)
        transaction.put(b"last", b"%d" % number)
    print(number, flush=True)
    if number % 5 == 0:
        database.checkpoint()
"""


@pytest.mark.crash
@pytest.mark.parametrize("kind", [LmdbBackend, RocksBackend], ids=["lmdb", "rocksdb"])
def test_killed_while_checkpointing(tmp_path: Path, kind: type[Backend]) -> None:
    dice = random.Random(5)
    script = WRITER.format(module=kind.__module__, name=kind.__name__)
    acknowledged = 0
    for _ in range(ROUNDS):
        command = [sys.executable, "-c", script, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as writer:
            assert writer.stdout is not None
            assert int(writer.stdout.readline()) >= acknowledged
            time.sleep(dice.uniform(0.01, 0.3))
            writer.send_signal(signal.SIGKILL)
            lines = writer.stdout.read().split("\n")
        # The last line may be cut short.
        acknowledged = max([acknowledged, *(int(line) for line in lines[:-1])])
    assert acknowledged > ROUNDS

    def check() -> None:
        database = Database(kind(str(tmp_path)), str(tmp_path))  # type: ignore[call-arg]
        last = int(database.get(b"last") or 0)
        assert last in (acknowledged, acknowledged + 1)
        assert {value for _, value in database.scan(b"copy/")} == {b"%d" % last}
        assert len(list(database.scan(b"number/"))) == last
        database.close()

    status, problem = in_child(check)
    assert status == 0, problem
