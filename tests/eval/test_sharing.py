"""Several engines on one store, interruption from outside, and graphs of a size that nobody draws."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from nexis_eval.realise import Outcome
from nexis_store.digest import DerivationId
from nexis_store.store import Store
from tests.eval.processes import processes_with
from tests.eval.test_realise import Bench, root

__all__ = ["root"]

REPOSITORY = Path(__file__).parents[2]


def test_two_engines_on_one_store_share_the_work(tmp_path: Path, root: Path) -> None:
    """More builds than either has threads: what one builds the other waits for, and nothing is built twice."""
    Store.open(tmp_path / "store").close()
    outcomes: list[Outcome] = []
    built: list[str] = []

    def engine() -> None:
        with Store.open(tmp_path / "store") as store:
            bench = Bench(store, root)
            roots = wanted(bench)
            outcomes.append(bench.build(*roots))
            built.extend(bench.started())
            for index, each in enumerate(roots):
                assert bench.text(each, "usr/n") == f"{index}\n"

    def wanted(bench: Bench) -> list[DerivationId]:
        leaves = [
            bench.script(f"leaf{n}", f"sleep 0.0{n % 7}; mkdir /out/usr; echo {n} >/out/usr/n") for n in range(24)
        ]
        return [
            bench.script(f"top{n}", "mkdir /out/usr; cat /in/0/usr/n >/out/usr/n", (leaf,))
            for n, leaf in enumerate(leaves)
        ]

    engines = [threading.Thread(target=engine) for _ in range(2)]
    for each in engines:
        each.start()
    for each in engines:
        each.join(60)
        assert not each.is_alive(), "they wait for each other"
    assert [each.failed for each in outcomes] == [(), ()]
    assert sorted(built) == sorted([f"{kind}{n}" for kind in ("leaf", "top") for n in range(24)])
    assert min(each.built for each in outcomes) > 0, "both took part"


PROGRAM = """
import asyncio, signal, sys
from pathlib import Path
from nexis_store.store import Store
from tests.eval.test_realise import Bench

# Ignored in all that a shell script starts with '&', as these tests may have been.
signal.signal(signal.SIGINT, signal.default_int_handler)
with Store.open(Path(sys.argv[1])) as store:
    bench = Bench(store, Path(sys.argv[2]))
    bench.fresh()
    slow = [
        bench.script(f"slow{n}", "touch /out/usr; (trap '' INT TERM; sleep 98761 & sleep 98761)") for n in range(4)
    ]
    try:
        asyncio.run(bench.realise(*slow))
    except KeyboardInterrupt:
        sys.exit(130)
"""


def test_ctrl_c_stops_everything_and_leaves_nothing(tmp_path: Path, root: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "store"), str(root)]
    with subprocess.Popen(command, cwd=REPOSITORY, start_new_session=True, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 30
        while len(processes_with("98761")) < 4 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(processes_with("98761")) >= 4
        # As a terminal does: to the whole group.
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130, errors.decode()
    assert processes_with("98761") == []
    assert list((tmp_path / "store/.build").iterdir()) == []


LARGE = """
import asyncio, json, resource, sys, time
from pathlib import Path
from nexis_eval.graph.derivation import Derivation, Entry, Files, Union
from nexis_eval.engine import open_engine
from nexis_eval.graph.dag import GraphBuilder, layers
from nexis_eval.mirrors import Mirrors
from nexis_eval.schedule.plan import make_plan
from nexis_eval.realise import Options
from nexis_store.store import Store

shape, count = sys.argv[2], int(sys.argv[3])
builder = GraphBuilder()
made = [builder.add(Derivation("n0", Files((Entry("etc/n", text="0"),)), platform="x86_64"))]
for index in range(1, count):
    if shape == "deep":
        made.append(builder.add(Derivation(f"n{index}", Union(), platform="x86_64", inputs=tuple(layers(made[-1:])))))
    else:
        entry = Entry("etc/n", text=str(index % 50))
        made.append(builder.add(Derivation(f"n{index}", Files((entry,)), platform="x86_64")))
graph = builder.finish()
roots = made[-1:] if shape == "deep" else made

async def work(store):
    plan = make_plan(graph, roots, store.realised, store.realisation)
    async with open_engine(store, Mirrors({}), Options(jobs=2)) as engine:
        return await engine.realise(graph, roots, plan)

started = time.monotonic()
with Store.open(Path(sys.argv[1])) as store:
    outcome = asyncio.run(work(store))
    again = make_plan(graph, roots, store.realised, store.realisation)
print(json.dumps({
    "built": outcome.built, "failed": len(outcome.failed), "pending": len(again.pending),
    "seconds": time.monotonic() - started, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
"""


def large(store: Path, shape: str, count: int) -> dict[str, float]:
    command = [sys.executable, "-c", LARGE, str(store), shape, str(count)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, float] = json.loads(done.stdout)
    print(found)
    return found


@pytest.mark.parametrize("shape", ["deep", "wide"])
def test_large_graphs_in_small(tmp_path: Path, shape: str) -> None:
    """Deeper than Python's stack; the sizes of the specification are below."""
    found = large(tmp_path / "store", shape, 1200)
    assert (found["built"], found["failed"], found["pending"]) == (1200, 0, 0)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("shape", "count"), [("deep", 10_000), ("wide", 50_000)])
def test_large_graphs(tmp_path: Path, shape: str, count: int) -> None:
    found = large(tmp_path / "store", shape, count)
    assert (found["built"], found["failed"], found["pending"]) == (count, 0, 0)
    assert found["peak_mib"] < 600
