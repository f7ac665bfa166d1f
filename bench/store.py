"""Measures the store: collecting, adding, closures, verifying. Prints a table for docs/benchmarks.md.

    python bench/store.py --directory /mnt/ext4-loop [--sizes 1000,10000] [--runs 3]

Give a directory on a journalled ext4 (a loop mount will do) or on tmpfs: without a journal, or with online discard,
deletes measure the device and not the program (docs/benchmarks.md). Each figure is the median of the runs, each run a
process of its own; the data are synced before the clock starts. How the figures for Nix were taken is said there, too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from nexis_store.checking import check_contents
from nexis_store.digest import TreeDigest
from nexis_store.metadata.choose import file_system_type
from nexis_store.store import Store

ROOTS = 11


def populate(store: Store, count: int, dead: int, files: int, seed: int = 1) -> None:
    """``count`` artifacts of ``files`` files of about 1 KiB, five references each; 11 roots keep all but ``dead``."""
    dice = random.Random(seed)
    live: list[TreeDigest] = []
    garbage: list[TreeDigest] = []
    for number in range(count):
        into = garbage if number >= count - dead else live
        with store.writer(f"package-{number}") as writer:
            for index in range(files):
                writer.file(f"share/{index}", b"%d %d " % (number, index) * 90)
            into.append(writer.commit(dice.sample(into, min(5, len(into)))).digest)
    for index in range(ROOTS if live else 0):
        with store.writer(f"profile-{index}") as writer:
            writer.file("profile", b"%d" % index)
            store.set_root(f"profile-{index}", writer.commit(live[index::ROOTS]).digest)


def fresh_process(function: str, *arguments: object) -> dict[str, float]:
    """Run one function of this file in a new process; returns what it returned, with its peak memory."""
    command = [sys.executable, __file__, "--call", function, json.dumps([str(each) for each in arguments])]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def make(root: str, count: str, dead: str, files: str) -> dict[str, float]:
    """Make a store."""
    started = time.perf_counter()
    with Store.open(Path(root), profile=os.environ.get("BENCH_PROFILE", "desktop")) as store:
        # Making the data is not what is measured; they are synced at the end.
        store.durability.sync = lambda: None  # type: ignore[method-assign]
        populate(store, int(count), int(dead), int(files))
        store.database.checkpoint()
    os.sync()
    return {"seconds": time.perf_counter() - started}


def gc(root: str) -> dict[str, float]:
    """Collect: (until the garbage is out of the store, until its space is free)."""
    started = time.perf_counter()
    with Store.open(Path(root), create=False) as store:
        plan = store.plan_gc()
        planned = time.perf_counter() - started
        result = store.execute_gc(plan)
    return {
        "collected": result.collected,
        "gone": planned + result.seconds_until_gone,
        "freed": planned + result.seconds_until_freed,
    }


def drop_roots(root: str) -> dict[str, float]:
    """Make everything garbage."""
    with Store.open(Path(root), create=False) as store:
        for name in store.roots():
            store.remove_root(name)
    return {}


def add(root: str, source: str) -> dict[str, float]:
    """Add a directory: (until it is in the store and durable)."""
    with Store.open(Path(root)) as store:
        started = time.perf_counter()
        cpu = time.process_time()
        store.add_directory(Path(source), "added")
        return {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}


def closure(root: str) -> dict[str, float]:
    """Query the closure of all roots."""
    with Store.open(Path(root), readonly=True) as store:
        started = time.perf_counter()
        found = store.closure(store.roots().values())
        return {"seconds": time.perf_counter() - started, "found": len(found)}


def verify(root: str) -> dict[str, float]:
    """Read all contents."""
    with Store.open(Path(root)) as store:
        started = time.perf_counter()
        assert check_contents(store) == []
        return {"seconds": time.perf_counter() - started}


def startup(root: str) -> dict[str, float]:
    """The command line from start to end, doing nothing."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "nexis_store.cli.main", "roots", "--store", root]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return {"seconds": time.perf_counter() - started}


CALLS: dict[str, Callable[..., dict[str, float]]] = {
    each.__name__: each for each in (make, gc, drop_roots, add, closure, verify, startup)
}


class Bench:
    """Runs everything below one directory and collects rows."""

    def __init__(self, directory: Path, runs: int) -> None:
        self.directory = directory
        self.runs = runs

    def row(self, what: str, figures: str) -> None:
        """Print a line of the table."""
        print(f"| {what} | {figures} |", flush=True)

    def median(self, results: list[dict[str, float]], key: str) -> str:
        """The middle one of the runs, in seconds."""
        values = [each[key] for each in results]
        return f"{statistics.median(values):.3f} s"

    def collecting(self, size: int) -> None:
        """A tenth, nothing and everything dead in a store of ``size`` artifacts."""
        nothing, tenth, everything = [], [], []
        for _ in range(self.runs):
            root = self.directory / "store"
            shutil.rmtree(root, ignore_errors=True)
            fresh_process("make", root, size, size // 10, 10)
            tenth.append(fresh_process("gc", root))
            nothing.append(fresh_process("gc", root))
            fresh_process("drop_roots", root)
            os.sync()
            everything.append(fresh_process("gc", root))
        for name, results in (("nothing", nothing), ("10 %", tenth), ("all", everything)):
            gone, freed = self.median(results, "gone"), self.median(results, "freed")
            memory = max(each["memory_mib"] for each in results)
            self.row(f"GC, {size:,} artifacts, {name} dead", f"{gone} gone, {freed} freed, {memory:.0f} MiB")

    def garbage_only(self, sizes: list[int]) -> None:
        """The same garbage in larger and larger stores."""
        for size in sizes:
            results = []
            for _ in range(self.runs):
                root = self.directory / "store"
                shutil.rmtree(root, ignore_errors=True)
                fresh_process("make", root, size - 1000, 0, 1)
                with Store.open(root) as store:
                    store.durability.sync = lambda: None  # type: ignore[method-assign]
                    populate(store, 1000, 1000, 10, seed=2)
                    store.database.checkpoint()
                os.sync()
                results.append(fresh_process("gc", root))
            gone, freed = self.median(results, "gone"), self.median(results, "freed")
            self.row(f"GC, 1,000 dead of {size:,}", f"{gone} gone, {freed} freed")

    def queries(self, size: int) -> None:
        """Closure, contents, and what the command line costs by itself."""
        root = self.directory / "store"
        shutil.rmtree(root, ignore_errors=True)
        fresh_process("make", root, size, 0, 10)
        results = [fresh_process("closure", root) for _ in range(self.runs)]
        self.row(f"closure of {size:,}", self.median(results, "seconds"))
        results = [fresh_process("verify", root) for _ in range(self.runs)]
        self.row(f"verify --contents, {size * 10:,} files", self.median(results, "seconds"))
        results = [fresh_process("startup", root) for _ in range(self.runs)]
        self.row("nexis-store roots, whole process", self.median(results, "seconds"))

    def adding(self) -> None:
        """Many small files and a large one, new and known."""
        small, large = self.directory / "small", self.directory / "large"
        dice = random.Random(3)
        for number in range(20_000):
            place = small / f"d{number // 50}"
            place.mkdir(parents=True, exist_ok=True)
            (place / f"f{number}").write_bytes(dice.randbytes(4025))
        large.mkdir(exist_ok=True)
        with open(large / "file", "wb") as file:
            for _ in range(1024):
                file.write(dice.randbytes(1 << 20))
        os.sync()
        for what, source in (("20,000 files of 4 KB", small), ("a file of 1 GiB", large)):
            new, again = [], []
            for _ in range(self.runs):
                root = self.directory / "store"
                shutil.rmtree(root, ignore_errors=True)
                os.sync()
                new.append(fresh_process("add", root, source))
                again.append(fresh_process("add", root, source))
            for name, results in (("", new), (", again", again)):
                cpu = self.median(results, "cpu")
                self.row(f"add {what}{name}", f"{self.median(results, 'seconds')} (CPU {cpu})")
        shutil.rmtree(small)
        shutil.rmtree(large)


def main() -> None:
    """Measure what the command line asks for."""
    if sys.argv[1:2] == ["--call"]:
        found = CALLS[sys.argv[2]](*json.loads(sys.argv[3]))
        found["memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(found))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--sizes", default="1000,10000", help="stores to collect in")
    parser.add_argument("--garbage-sizes", default="2000,20000", help="stores with 1,000 dead artifacts each")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    directory = args.directory / "nexis-bench"
    directory.mkdir(exist_ok=True)
    load = os.getloadavg()[0]
    kind = file_system_type(str(directory))
    print(
        f"{platform.system()} {platform.release()}, {os.cpu_count()} processors, {kind}, load {load:.1f} at the start\n"
    )
    print("| what | figures |\n|---|---|")
    bench = Bench(directory, args.runs)
    try:
        bench.adding()
        for size in map(int, args.sizes.split(",")):
            bench.collecting(size)
        bench.garbage_only([int(each) for each in args.garbage_sizes.split(",") if each])
        bench.queries(10_000)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print(f"\nload at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
