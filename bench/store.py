"""Measures the store, and Nix beside it where it is installed. Prints a table for docs/benchmarks.md.

    python bench/store.py --directory /mnt/ext4-loop [--only adding,collecting] [--sizes 1000,10000] [--runs 5]

Give a directory on a journalled ext4 (a loop mount will do) or on tmpfs: without a journal, or with online discard,
deletes measure the device and not the program (docs/benchmarks.md). Each figure is the median of the runs with its
range, each run a process of its own. The data are synced before the clock starts; what is read was read once before.
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
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from nix import Nix
from nix import version as nix_version

from nexis_store.checking import check_contents
from nexis_store.digest import TreeDigest
from nexis_store.fs import sync_file_system
from nexis_store.metadata.choose import file_system_type
from nexis_store.store import Store

ROOTS = 11
Figures = dict[str, float]


def populate(
    store: Store, count: int, dead: int, files: int, *, seed: int = 1, size: int = 720, leaf_roots: bool = False
) -> None:
    """``count`` artifacts of ``files`` files of about ``size`` bytes, five references each.

    Eleven roots keep all but ``dead``; with ``leaf_roots`` a root each for those that nothing refers to.
    """
    dice = random.Random(seed)
    live: list[TreeDigest] = []
    garbage: list[TreeDigest] = []
    referred: set[TreeDigest] = set()
    for number in range(count):
        into = garbage if number >= count - dead else live
        with store.writer(f"package-{number}") as writer:
            for index in range(files):
                writer.file(f"share/{index}", b"%d %d " % (number, index) * (size // 8))
            wanted = dice.sample(into, min(5, len(into)))
            referred.update(wanted)
            into.append(writer.commit(wanted).digest)
    if leaf_roots:
        for number, digest in enumerate(each for each in live if each not in referred):
            store.set_root(f"leaf/{number}", digest)
        return
    for index in range(ROOTS if live else 0):
        with store.writer(f"profile-{index}") as writer:
            writer.file("profile", b"%d" % index)
            store.set_root(f"profile-{index}", writer.commit(live[index::ROOTS]).digest)


def make(root: str, count: str, dead: str, files: str, size: str = "720", leaf_roots: str = "") -> Figures:
    """Make a store. That is not what is measured, so it is synced once, at the end."""
    started = time.perf_counter()
    with Store.open(Path(root), profile=os.environ.get("BENCH_PROFILE", "desktop")) as store:
        store.durability.sync = lambda: None  # type: ignore[method-assign]
        populate(store, int(count), int(dead), int(files), size=int(size), leaf_roots=bool(leaf_roots))
        store.database.checkpoint()
    sync_file_system(root)
    return {"seconds": time.perf_counter() - started}


def more(root: str, dead: str) -> Figures:
    """Add garbage to a store."""
    with Store.open(Path(root)) as store:
        store.durability.sync = lambda: None  # type: ignore[method-assign]
        populate(store, int(dead), int(dead), 10, seed=2)
        store.database.checkpoint()
    sync_file_system(root)
    return {}


def gc(root: str) -> Figures:
    """Collect: until the garbage is out of the store, until its space is free, until the store is closed."""
    sync_file_system(root)
    started = time.perf_counter()
    with Store.open(Path(root), create=False) as store:
        plan = store.plan_gc()
        planned = time.perf_counter() - started
        result = store.execute_gc(plan)
    closed = time.perf_counter() - started
    gone, freed = planned + result.seconds_until_gone, planned + result.seconds_until_freed
    return {"collected": result.collected, "planned": planned, "gone": gone, "freed": freed, "closed": closed}


def drop_roots(root: str) -> Figures:
    """Make everything garbage."""
    with Store.open(Path(root), create=False) as store:
        for name in store.roots():
            store.remove_root(name)
    return {}


def warm(path: Path) -> None:
    """Read everything below a directory."""
    for directory, _, names in os.walk(path):
        for name in names:
            with open(f"{directory}/{name}", "rb", buffering=0) as file:
                while file.read(1 << 20):
                    pass


def add(root: str, source: str) -> Figures:
    """Add a directory: until it is in the store and durable, and the store closed."""
    warm(Path(source))
    sync_file_system(source)
    started, cpu = time.perf_counter(), time.process_time()
    with Store.open(Path(root)) as store:
        store.add_directory(Path(source), "added")
    return {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}


def closure(root: str) -> Figures:
    """Query the closure of all roots."""
    started = time.perf_counter()
    with Store.open(Path(root), readonly=True) as store:
        found = store.closure(store.roots().values())
    return {"seconds": time.perf_counter() - started, "found": len(found)}


def verify(root: str) -> Figures:
    """Read all contents."""
    started = time.perf_counter()
    with Store.open(Path(root)) as store:
        assert check_contents(store) == []
    return {"seconds": time.perf_counter() - started}


def verify_all(root: str) -> Figures:
    """Compare all metadata as well: what ``nexis-store verify --contents`` does."""
    started = time.perf_counter()
    with Store.open(Path(root)) as store:
        assert list(store.verify(descriptions=False)) == []
        assert check_contents(store, descriptions=True) == []
    return {"seconds": time.perf_counter() - started}


def startup(root: str) -> Figures:
    """The command line from start to end, doing nothing."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "nexis_store.cli.main", "roots", "--store", root]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return {"seconds": time.perf_counter() - started}


def nix_make(directory: str, count: str, dead: str, leaf_roots: str = "") -> Figures:
    """Make the same with Nix."""
    Nix(Path(directory)).populate(int(count), int(dead), 10, leaf_roots=bool(leaf_roots))
    sync_file_system(directory)
    return {}


def nix(directory: str, *arguments: str) -> Figures:
    """Run ``nix-store`` from start to end."""
    if "--add" in arguments:
        warm(Path(arguments[-1]))
    sync_file_system(directory)
    return Nix(Path(directory)).run(*arguments)


CALLS: dict[str, Callable[..., Figures]] = {
    each.__name__: each
    for each in (make, more, gc, drop_roots, add, closure, verify, verify_all, startup, nix_make, nix)
}  # fmt: skip


class Bench:
    """Runs everything below one directory and prints rows."""

    def __init__(self, directory: Path, runs: int, through: Sequence[str]) -> None:
        self.directory = directory
        self.runs = runs
        self.through = through
        self.store = directory / "store"
        self.nix = Nix(directory) if nix_version() else None

    def call(self, function: str, *arguments: object, measured: bool = False) -> Figures:
        """One function of this file in a new process; returns what it returned, with its peak memory."""
        with tempfile.NamedTemporaryFile() as result:
            prefix = self.through if measured else ()
            command = [*prefix, sys.executable, __file__, "--call", function, result.name, *map(str, arguments)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            found: Figures = json.loads(Path(result.name).read_bytes())
        return found

    def fresh(self, *arguments: object) -> None:
        """A new store."""
        shutil.rmtree(self.store, ignore_errors=True)
        self.call("make", self.store, *arguments)

    def row(self, what: str, ours: str, theirs: Sequence[Figures] = ()) -> None:
        """Print a line of the table."""
        print(f"| {what} | {ours} | {figure(theirs, 'seconds') if theirs else ''} |", flush=True)

    def collecting(self, sizes: Sequence[int]) -> None:
        """Nothing, a tenth and everything dead."""
        for size in sizes:
            ours: dict[str, list[Figures]] = {"10 %": [], "nothing": [], "all": []}
            theirs: dict[str, list[Figures]] = {each: [] for each in ours}
            for _ in range(self.runs):
                self.fresh(size, size // 10, 10)
                ours["10 %"].append(self.call("gc", self.store, measured=True))
                ours["nothing"].append(self.call("gc", self.store, measured=True))
                self.call("drop_roots", self.store)
                ours["all"].append(self.call("gc", self.store, measured=True))
                shutil.rmtree(self.store)
                if self.nix:
                    self.call("nix_make", self.directory, size, size // 10)
                    theirs["10 %"].append(self.call("nix", self.directory, "--gc", measured=True))
                    theirs["nothing"].append(self.call("nix", self.directory, "--gc", measured=True))
                    self.nix.drop_roots()
                    theirs["all"].append(self.call("nix", self.directory, "--gc", measured=True))
                    self.nix.clear()
            for name in ("nothing", "10 %", "all"):
                self.row(f"GC, {size:,} artifacts, {name} dead", gone_and_freed(ours[name]), theirs[name])
                if self.nix:
                    self.row("… peak memory", memory(ours[name]) + f"; Nix {memory(theirs[name])}")

    def blocks(self, size: int) -> None:
        """Files long enough to be shared: each has a second name, which is deleted as well."""
        ours = []
        for _ in range(self.runs):
            self.fresh(size, size // 10, 10, 4000)
            ours.append(self.call("gc", self.store, measured=True))
        self.row(f"GC, {size:,} artifacts of 10 files of 4 KB, 10 % dead", gone_and_freed(ours))

    def leaves(self, size: int) -> None:
        """Every artifact that nothing refers to has a root of its own."""
        self.fresh(size, 0, 10, 720, "leaf")
        ours = [self.call("gc", self.store, measured=True) for _ in range(self.runs)]
        theirs = []
        if self.nix:
            self.call("nix_make", self.directory, size, 0, "leaf")
            theirs = [self.call("nix", self.directory, "--gc", measured=True)]
            self.nix.clear()
        self.row(f"GC, {size:,} artifacts, nothing dead, every leaf a root", gone_and_freed(ours), theirs)

    def garbage(self, sizes: Sequence[int]) -> None:
        """The same garbage in larger and larger stores, in turn: what the machine does meanwhile meets all of them."""
        stores = {size: self.directory / f"store-{size}" for size in sizes}
        ours: dict[int, list[Figures]] = {size: [] for size in sizes}
        nothing: dict[int, list[Figures]] = {size: [] for size in sizes}
        for size, store in stores.items():
            self.call("make", store, size - 1000, 0, 1)
        # One run more than is counted: the first one makes buckets that the others find.
        for run in range(self.runs + 1):
            for size, store in stores.items():
                self.call("more", store, 1000)
                found = self.call("gc", store, measured=True)
                empty = self.call("gc", store, measured=True)
                if run:
                    ours[size].append(found)
                    nothing[size].append(empty)
        for size in sizes:
            closed = f", store closed {figure(ours[size], 'closed')}"
            self.row(f"GC, 1,000 dead of {size:,}", gone_and_freed(ours[size]) + closed)
            self.row(f"GC, nothing dead of {size - 1000:,}", gone_and_freed(nothing[size]))
            shutil.rmtree(stores[size])

    def queries(self, size: int) -> None:
        """Closure, contents, and what the command line costs by itself."""
        self.fresh(size, 0, 10)
        theirs: dict[str, list[Figures]] = {"closure": [], "verify": []}
        ours = {
            each: [self.call(each, self.store, measured=True) for _ in range(self.runs + 1)][1:]
            for each in ("closure", "verify", "verify_all", "startup")
        }
        shutil.rmtree(self.store)
        if self.nix:
            self.call("nix_make", self.directory, size, 0)
            roots = [str(each) for each in self.nix.store.glob("*-profile-*")]
            for name, question in (
                ("closure", ["-q", "--requisites", *roots]),
                ("verify", ["--verify", "--check-contents"]),
            ):
                runs = [self.call("nix", self.directory, *question, measured=True) for _ in range(self.runs + 1)]
                theirs[name] = runs[1:]
            self.nix.clear()
        self.row(f"closure of {size:,}", figure(ours["closure"], "seconds"), theirs["closure"])
        self.row(f"verify --contents, {size * 10:,} files", figure(ours["verify"], "seconds"), theirs["verify"])
        self.row("… metadata and descriptions as well", figure(ours["verify_all"], "seconds"), theirs["verify"])
        self.row("`nexis-store roots`, whole process", figure(ours["startup"], "seconds"))

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
        for what, source in (("20,000 files of 4 KB", small), ("a file of 1 GiB", large)):
            ours: list[list[Figures]] = [[], []]
            theirs: list[list[Figures]] = [[], []]
            shared: list[Figures] = []
            durable: list[Figures] = []
            # One run more than is counted: the first finds memory that nobody has touched before.
            for _ in range(self.runs + 1):
                shutil.rmtree(self.store, ignore_errors=True)
                for each in ours:
                    each.append(self.call("add", self.store, source, measured=True))
                (source / "one more").write_bytes(b"new")
                shared.append(self.call("add", self.store, source, measured=True))
                (source / "one more").unlink()
                if self.nix:
                    self.nix.clear()
                    for each in theirs:
                        each.append(self.call("nix", self.directory, "--add", source, measured=True))
            if self.nix:
                self.nix.clear()
                option = ("--option", "fsync-store-paths", "true")
                durable = [self.call("nix", self.directory, *option, "--add", source, measured=True)]
                self.nix.clear()
            for name, mine, other in (("new", ours[0][1:], theirs[0][1:]), ("known", ours[1][1:], theirs[1][1:])):
                cpu = figure(mine, "cpu")
                self.row(f"add {what}, {name}", f"{figure(mine, 'seconds')}; CPU {cpu}; {memory(mine)}", other)
            cpu = figure(shared[1:], "cpu")
            self.row(f"add {what}, known, and a new one", f"{figure(shared[1:], 'seconds')}; CPU {cpu}")
            if durable:
                self.row(f"add {what}, new, Nix with fsync-store-paths", "", durable)
        shutil.rmtree(small)
        shutil.rmtree(large)


def figure(results: Sequence[Figures], key: str) -> str:
    """The middle one of the runs in seconds, and the range."""
    values = sorted(each[key] for each in results)
    spread = f" ({values[0]:.3f}-{values[-1]:.3f})" if len(values) > 1 else ""
    return f"{statistics.median(values):.3f} s{spread}"


def gone_and_freed(results: Sequence[Figures]) -> str:
    """Both times of a collection."""
    return f"gone {figure(results, 'gone')}, freed {figure(results, 'freed')}"


def memory(results: Sequence[Figures]) -> str:
    """The largest peak."""
    return f"{max(each['memory_mib'] for each in results):.0f} MiB"


def main() -> None:
    """Measure what the command line asks for."""
    if sys.argv[1:2] == ["--call"]:
        found = CALLS[sys.argv[2]](*sys.argv[4:])
        who = resource.RUSAGE_CHILDREN if sys.argv[2] == "nix" else resource.RUSAGE_SELF
        found["memory_mib"] = resource.getrusage(who).ru_maxrss / 1024
        Path(sys.argv[3]).write_text(json.dumps(found))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--only", default="adding,collecting,blocks,leaves,garbage,queries")
    parser.add_argument("--sizes", default="1000,10000", help="stores to collect in")
    parser.add_argument("--garbage-sizes", default="2000,20000", help="stores with 1,000 dead artifacts each")
    parser.add_argument("--size", type=int, default=10_000, help="of the store for all other questions")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--through", default="", metavar="COMMAND", help="run what is measured by this command")
    args = parser.parse_args()
    directory = args.directory / "nexis-bench"
    directory.mkdir(parents=True, exist_ok=True)
    kind = file_system_type(str(directory))
    machine = (
        f"{platform.system()} {platform.release()}, {os.cpu_count()} processors, {kind}, load {os.getloadavg()[0]:.1f}"
    )
    print(f"{machine}, Python {platform.python_version()}, Nix {nix_version() or 'not installed'}\n")
    print("| what | here | Nix |\n|---|---|---|")
    bench = Bench(directory, args.runs, args.through.split())
    parts: dict[str, Callable[[], None]] = {
        "adding": bench.adding,
        "collecting": lambda: bench.collecting([int(each) for each in args.sizes.split(",")]),
        "blocks": lambda: bench.blocks(args.size),
        "leaves": lambda: bench.leaves(args.size),
        "garbage": lambda: bench.garbage([int(each) for each in args.garbage_sizes.split(",")]),
        "queries": lambda: bench.queries(args.size),
    }
    try:
        for part in args.only.split(","):
            parts[part]()
    finally:
        if bench.nix:
            bench.nix.clear()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
