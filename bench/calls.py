"""The system calls of the store alone, in bare loops: what no program that makes them can be faster than.

    python bench/calls.py --directory /mnt/ext4-loop [--sizes 2000,20000,200000] [--runs 9]

The first table is the cost of each call that adding a small file needs. The second one moves and deletes 1,000 trees of
ten files in buckets that hold more and more trees: if it grows with their number, it is the file system that does.
Each figure is the median of the runs, with the range; the data are synced before the clock starts.
"""

# Bare calls are the point.
# ruff: noqa: PTH102, PTH103, PTH104, PTH106, PTH108, PTH120

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from blake3 import blake3

from nexis_store.fs import sync_file_system

FILES, BYTES, TREES, PER_TREE = 2000, 4025, 1000, 10


def per_call(function: Callable[[int], object], count: int) -> float:
    """Microseconds for each of ``count`` calls."""
    started = time.perf_counter()
    for number in range(count):
        function(number)
    return (time.perf_counter() - started) / count * 1e6


def adding(directory: Path, runs: int) -> None:
    """Print what each call costs that adding a file of 4 KB needs."""
    costs: dict[str, list[float]] = {}
    names = [f"d{number // 50}/f{number}" for number in range(FILES)]
    for run in range(runs + 1):
        source, tree, pool = directory / "source", directory / "tree", directory / "pool"
        for place in (source, tree):
            for name in {os.path.dirname(each) for each in names}:
                (place / name).mkdir(parents=True)
        for number in range(256):
            (pool / f"{number:02x}").mkdir(parents=True)
        dice = random.Random(run)
        for name in names:
            (source / name).write_bytes(dice.randbytes(BYTES))
        sync_file_system(str(directory))
        _measure_one_run(costs if run else {}, source, tree, pool, names, dice)
        for place in (source, tree, pool):
            shutil.rmtree(place)
    print("| adding a file of 4 KB: call | µs |\n|---|---|")
    for what, found in costs.items():
        print(f"| {what} | {spread(found, 1)} |")
    print(f"| all together | {sum(map(statistics.median, costs.values())):.1f} |", flush=True)


def _measure_one_run(
    costs: dict[str, list[float]], source: Path, tree: Path, pool: Path, names: Sequence[str], dice: random.Random
) -> None:
    def take(what: str, function: Callable[[int], object]) -> None:
        costs.setdefault(what, []).append(per_call(function, FILES))

    sources, targets = ([f"{place}/{name}" for name in names] for place in (source, tree))
    links = [f"{pool}/{dice.randbytes(1).hex()}/{dice.randbytes(31).hex()}" for _ in names]
    open_files: list[int] = []
    buffer = memoryview(bytearray(1 << 20))
    data = dice.randbytes(BYTES)
    new = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    take("open the source", lambda n: open_files.append(os.open(sources[n], os.O_RDONLY | os.O_CLOEXEC)))
    take("fstat", lambda n: os.fstat(open_files[n]))
    take("read", lambda n: os.readv(open_files[n], (buffer,)))
    take("close", lambda n: os.close(open_files[n]))
    take("BLAKE3 (no call)", lambda n: blake3(data).digest())
    take("look for the content in the pool", lambda n: os.access(links[n], os.F_OK))
    open_files.clear()
    take("create", lambda n: open_files.append(os.open(targets[n], new, 0o444)))
    take("write", lambda n: os.write(open_files[n], data))
    take("time stamp", lambda n: os.utime(open_files[n], ns=(1, 1)))
    take("close it", lambda n: os.close(open_files[n]))
    started = time.perf_counter()
    sync_file_system(str(tree))
    costs.setdefault("syncfs, its share", []).append((time.perf_counter() - started) / FILES * 1e6)
    take("link into the pool", lambda n: os.link(targets[n], links[n]))


def bucket(directory: Path, dice: random.Random) -> str:
    """The place of a new tree, in the store's layout."""
    name = dice.randbytes(32).hex()
    where = f"{directory}/{name[:2]}/{name[2:4]}"
    os.makedirs(where, exist_ok=True)
    return f"{where}/{name}"


def plant(directory: Path, trees: int, files: int, dice: random.Random) -> list[str]:
    """Make trees, each with a description beside it; returns their places."""
    places = []
    for number in range(trees):
        place = bucket(directory, dice)
        os.mkdir(place)
        os.mkdir(f"{place}/share")
        for index in range(files):
            Path(f"{place}/share/{index}").write_bytes(b"%d %d " % (number, index) * 90)
        Path(f"{place}.tree").write_bytes(b"x" * 700)
        places.append(place)
    return places


def deleting(directory: Path, sizes: Sequence[int], runs: int) -> None:
    """Print what it costs to move and to delete 1,000 trees among more and more others."""
    stores = {size: directory / f"of-{size}" for size in sizes}
    moved: dict[int, list[float]] = {size: [] for size in sizes}
    deleted: dict[int, list[float]] = {size: [] for size in sizes}
    dice = random.Random(4)
    for size, store in stores.items():
        (store / "trash").mkdir(parents=True)
        plant(store, size - TREES, 1, dice)
    for run in range(runs + 1):
        for size, store in stores.items():
            places = plant(store, TREES, PER_TREE, dice)
            sync_file_system(str(store))
            begin = time.perf_counter()
            for number, place in enumerate(places):
                os.rename(place, f"{store}/trash/{number}")
                os.rename(f"{place}.tree", f"{store}/trash/{number}.tree")
            middle = time.perf_counter()
            for number in range(TREES):
                for index in range(PER_TREE):
                    os.unlink(f"{store}/trash/{number}/share/{index}")
                os.rmdir(f"{store}/trash/{number}/share")
                os.rmdir(f"{store}/trash/{number}")
                os.unlink(f"{store}/trash/{number}.tree")
            if run:
                moved[size].append(middle - begin)
                deleted[size].append(time.perf_counter() - middle)
    print("| 1,000 trees of ten files, among so many | renaming, s | deleting, s |\n|---|---|---|")
    for size in sizes:
        print(f"| {size:,} | {spread(moved[size], 4)} | {spread(deleted[size], 4)} |", flush=True)


def spread(values: Sequence[float], digits: int) -> str:
    """The median and the range."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--only", default="adding,deleting")
    parser.add_argument("--sizes", default="2000,20000", help="trees among which 1,000 are deleted")
    parser.add_argument("--runs", type=int, default=9)
    args = parser.parse_args()
    directory = args.directory / "nexis-calls"
    directory.mkdir(parents=True)
    try:
        if "adding" in args.only:
            adding(directory, args.runs)
        if "deleting" in args.only:
            deleting(directory, [int(each) for each in args.sizes.split(",")], args.runs)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
