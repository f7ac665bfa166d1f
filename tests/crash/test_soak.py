"""Ten processes add, read, root, build and collect in one store at the same time; some are killed on the way."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nexis_store.repair import recount
from nexis_store.store import Store
from tests.crash.children import in_child

SECONDS = float(os.environ.get("NEXIS_SOAK_SECONDS", "60"))
PROCESSES = 10


def work(root: Path, number: int, deadline: float) -> None:
    """One process: whatever it has acknowledged to itself must stay true while it runs."""
    from nexis_store.digest import BuildKey, DerivationId, TreeDigest
    from nexis_store.realisation import Realisation

    dice = random.Random(number)
    mine: dict[TreeDigest, bytes] = {}
    done = 0
    with Store.open(root) as store:
        while time.time() < deadline:
            done += 1
            match dice.randrange(9):
                case 0 | 1 | 2:
                    data = b"%d" % dice.randrange(40)
                    references = dice.sample(sorted(mine), min(len(mine), dice.randrange(3)))
                    with store.writer(f"artifact-{number}") as writer:
                        writer.file("data", data)
                        writer.file("who", b"%d" % dice.randrange(3) + b"".join(references))
                        writer.file("shared", b"shared" * 1000)
                        artifact = writer.commit(references)
                    mine[artifact.digest] = data
                case 3 if mine:
                    store.set_root(f"{number}/{dice.randrange(3)}", dice.choice(list(mine)))
                case 4:
                    for name, digest in store.roots().items():
                        if name.startswith(f"{number}/") and dice.random() < 0.5:
                            assert store.has(digest)
                            store.remove_root(name)
                case 5 if mine:
                    key = BuildKey.of(b"%d" % dice.randrange(20))
                    with store.lock_build(key):
                        output = dice.choice(list(mine))
                        store.record(Realisation(key, DerivationId(key), "x", {"out": output}))
                        found = store.realisation(key)
                        assert found is not None and found.outputs["out"] == output, (number, key, found, output)
                case 6:
                    store.execute_gc(store.plan_gc())
                case 7 if mine:
                    # Nothing refers from it, so no circle comes about.
                    with store.writer("leaf") as writer:
                        writer.file("leaf", b"%d" % dice.randrange(5))
                        leaf = writer.commit().digest
                    assert leaf in store.add_references(dice.choice(list(mine)), [leaf])
                case _:
                    for digest, data in mine.items():
                        assert (store.path(digest) / "data").read_bytes() == data
                        store.manifest(digest)
    print(done)


@pytest.mark.crash
@pytest.mark.timeout(SECONDS * 6 + 300)
@pytest.mark.parametrize("profile", ["desktop", "server"])
def test_ten_processes(tmp_path: Path, profile: str) -> None:
    status, problem = in_child(lambda: Store.open(tmp_path, profile=profile).close())
    assert status == 0, problem
    deadline = time.time() + SECONDS

    def start(number: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.crash.test_soak", str(tmp_path), str(number), str(deadline)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2])

    running = [start(number) for number in range(PROCESSES)]
    killed = set()
    kills = 0
    while time.time() < deadline:
        time.sleep(min(SECONDS / 30, max(0.0, deadline - time.time())))
        victim = random.randrange(PROCESSES)
        if victim >= PROCESSES // 2:
            running[victim].send_signal(signal.SIGKILL)
            running[victim].communicate()
            killed.add(victim)
            kills += 1
            running[victim] = start(victim)
    operations = 0
    for process in running:
        output, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
        operations += int(output)
    assert killed
    print(f"{operations} operations by the processes that were not killed, {kills} kills")
    status, problem = in_child(lambda: check(tmp_path))
    assert status == 0, problem


def check(root: Path) -> None:
    """Nothing is lost, all counts are exact, and the collection leaves what roots keep and nothing else."""
    with Store.open(root) as store:
        assert [str(each) for each in store.verify(contents=True)] == []
        assert recount(store.layout, store.database).corrected == 0
        store.execute_gc(store.plan_gc())
        live = set(store.closure(store.roots().values()))
        assert {each.digest for each in store.artifacts()} == live
        for directory in (store.layout.trash, store.layout.staging):
            assert os.listdir(directory) == []
        assert [str(each) for each in store.verify(contents=True)] == []


if __name__ == "__main__":
    work(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
