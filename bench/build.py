"""Measures what the engine costs: milliseconds a derivation for many trivial builds, everything included.

    python bench/build.py --directory /dev/shm/x [--counts 200,1000] [--jobs 2] [--runs 3]
    python bench/build.py --directory /mnt/ext4-loop --shape chain
    python bench/build.py --directory /dev/shm/x --busy 12

Each derivation runs bash in a sandbox, which writes one small file of its own; that is landed in the store, synced,
and recorded. Sandbox, hashing, commit and the plan are in the figure; Python's start and making the graph are not.
``--busy N`` builds N derivations that each keep a processor busy for some seconds instead, as compilers do, in a graph
with fans and chains, and prints how busy the processors were: the builds' processor time beside the time in which a
processor had nothing to do, so that other work on the machine counts neither way. ``--cpu-profile`` prints where the
engine's time went.

Give a directory on a journalled ext4 (a loop mount will do) or on tmpfs, as for bench/store.py.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

from nexis_eval import events
from nexis_eval.engine import open_engine
from nexis_eval.graph.dag import DerivationGraph, GraphBuilder, layers
from nexis_eval.graph.derivation import Derivation, Input, Local, Script, Use
from nexis_eval.mirrors import Mirrors
from nexis_eval.realise import Options, Outcome
from nexis_eval.schedule.plan import make_plan
from nexis_store.digest import DerivationId
from nexis_store.hashing import tree_of_path
from nexis_store.metadata.choose import file_system_type
from nexis_store.store import Store

SPIN = 400_000
"""Turns of an empty loop in bash: half a second to two seconds."""


def make_root(directory: Path) -> Path:
    """The host's bash and its libraries as the root of all builds."""
    for name in ("proc", "dev", "tmp", "build", "out", "in", "usr/bin", "usr/lib", "usr/lib64"):
        (directory / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (directory / name).symlink_to(f"usr/{name}")
    shutil.copy("/bin/bash", directory / "usr/bin/bash")
    listing = subprocess.run(["ldd", "/bin/bash"], capture_output=True, text=True, check=True).stdout
    for library in map(Path, re.findall(r"(/\S+) \(0x", listing)):
        shutil.copy(
            library.resolve(), directory / ("usr/lib64" if "/lib64/" in str(library) else "usr/lib") / library.name
        )
    return directory


def trivial(root: Path, count: int, shape: str) -> tuple[DerivationGraph, list[DerivationId]]:
    """``count`` derivations that no store has seen: side by side, in one chain, or each upon the three before it."""
    builder = GraphBuilder()
    tools = builder.add(Derivation("root", Local(str(root), tree_of_path(root).digest), "x86_64"))
    once = uuid.uuid4().hex
    made: list[DerivationId] = []
    for number in range(count):
        needed = {"wide": [], "chain": made[-1:], "mesh": made[-3:]}[shape]
        inputs = tuple(Input(each, Use.BIND, f"/in/{index}") for index, each in enumerate(needed))
        script = Script(f"echo {once} {number} >/out/file\n")
        made.append(builder.add(Derivation(f"n{number}", script, "x86_64", inputs=(*inputs, *layers([tools])))))
    return builder.finish(), made


def busy(root: Path, count: int) -> tuple[DerivationGraph, list[DerivationId]]:
    """``count`` derivations that compute for different times; each but the first few needs an earlier one."""
    builder = GraphBuilder()
    tools = builder.add(Derivation("root", Local(str(root), tree_of_path(root).digest), "x86_64"))
    once = uuid.uuid4().hex
    made: list[DerivationId] = []
    for number in range(count):
        needed = made[number - 6 : number - 5] if number >= 6 else []
        inputs = tuple(Input(each, Use.BIND, f"/in/{index}") for index, each in enumerate(needed))
        turns = SPIN * (1 + number % 5)
        script = Script(f"for ((i = 0; i < {turns}; i++)); do :; done\necho {once} {number} >/out/file\n")
        made.append(builder.add(Derivation(f"busy{number}", script, "x86_64", inputs=(*inputs, *layers([tools])))))
    return builder.finish(), made


def run(store: Store, graph: DerivationGraph, roots: list[DerivationId], jobs: int) -> tuple[float, Outcome]:
    """Build; returns seconds and what came out."""
    failures: list[events.Event] = []

    def emit(event: events.Event) -> None:
        if isinstance(event, events.StepFailed):
            failures.append(event)

    async def work() -> tuple[float, Outcome]:
        started = time.perf_counter()
        plan = make_plan(graph, roots, store.realised, store.realisation)
        async with open_engine(store, Mirrors({}), Options(jobs=jobs), emit) as engine:
            outcome = await engine.realise(graph, roots, plan)
            return time.perf_counter() - started, outcome

    result = asyncio.run(work())
    assert not failures, failures[0]
    return result


def own_cpu_seconds() -> float:
    """Processor time of the engine's process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def children_cpu_seconds() -> float:
    """Processor time of the spawners that have ended, and of all that they started."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def idle_seconds() -> float:
    """Time in which a processor of this machine had nothing to do, summed over all since it started."""
    fields = Path("/proc/stat").read_text().split(maxsplit=6)
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, required=True, help="where the stores are made")
    parser.add_argument("--counts", default="200,1000", help="how many derivations")
    parser.add_argument("--shape", choices=("wide", "chain", "mesh"), default="wide")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--busy", type=int, metavar="N", help="measure how busy N computing builds keep the processors")
    parser.add_argument("--cpu-profile", action="store_true", help="print where the engine's own time goes")
    args = parser.parse_args()
    args.directory.mkdir(parents=True, exist_ok=True)
    print(f"on {file_system_type(str(args.directory))}, -j{args.jobs}, {args.shape}")
    with tempfile.TemporaryDirectory(dir=args.directory) as directory:
        root = make_root(Path(directory) / "root")
        if args.busy:
            with Store.open(Path(directory) / "store") as store:
                for what in ("whose durations nobody knows", "the second time"):
                    graph, roots = busy(root, args.busy)
                    before, idle = children_cpu_seconds() + own_cpu_seconds(), idle_seconds()
                    seconds, _ = run(store, graph, roots, args.jobs)
                    used = children_cpu_seconds() + own_cpu_seconds() - before
                    idle = idle_seconds() - idle
                    print(
                        f"{args.busy} computing builds {what}: {seconds:.1f} s, processors busy "
                        f"{used / (used + idle):.1%} (builds {used:.1f} s, idle {idle:.1f} s)"
                    )
            return
        for count in map(int, args.counts.split(",")):
            times, engine, sandboxes = [], [], []
            for number in range(args.runs):
                with Store.open(Path(directory) / f"store-{count}-{number}") as store:
                    graph, roots = trivial(root, count, args.shape)
                    # The root goes in first: it is no part of what is measured.
                    run(store, graph, [next(iter(graph.derivations))], args.jobs)
                    before = own_cpu_seconds(), children_cpu_seconds()
                    if args.cpu_profile:
                        import cProfile
                        import pstats

                        with cProfile.Profile() as profile:
                            seconds, outcome = run(store, graph, roots, args.jobs)
                        pstats.Stats(profile).sort_stats("tottime").print_stats(35)
                    else:
                        seconds, outcome = run(store, graph, roots, args.jobs)
                    after = own_cpu_seconds(), children_cpu_seconds()
                    assert outcome.built == count
                times.append(seconds / count * 1e3)
                engine.append((after[0] - before[0]) / count * 1e3)
                sandboxes.append((after[1] - before[1]) / count * 1e3)
            print(
                f"{count:6,} derivations: {statistics.median(times):5.2f} ms each (least {min(times):.2f}), "
                f"processor time: engine {statistics.median(engine):.2f}, sandboxes {statistics.median(sandboxes):.2f}"
            )


if __name__ == "__main__":
    main()
