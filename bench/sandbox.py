"""How much a sandbox costs: time of a build that does nothing, one after another and side by side.

    python bench/sandbox.py [--count N] [--layers N] [--jobs N] [--limits]

Prints milliseconds a build: wall-clock time as the engine sees it, and processor time of the sandbox's own processes
(setting up, the command, taking down), which a busy machine distorts less. "bare" is the same command by
``asyncio.create_subprocess_exec`` without any sandbox.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from nexis_eval.execute.runner import SandboxRun, SandboxRunner
from nexis_eval.sandbox.check import available
from nexis_eval.sandbox.spec import Bind, Limits, Overlay, SandboxSpec

COMMAND = "/usr/bin/true"


def make_spec(directory: Path, layers: int, limits: Limits) -> SandboxSpec:
    """A sandbox with the host's /usr over ``layers`` directories, and a script bound as a build has it."""
    root = directory / "root"
    for name in ("proc", "dev", "tmp", "build", "out", "in", "usr"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    stack = [root]
    for index in range(layers - 1):
        layer = directory / f"layer-{index}"
        (layer / "etc").mkdir(parents=True)
        (layer / f"etc/file-{index}").write_text("")
        stack.append(layer)
    for name in ("build", "out"):
        (directory / name).mkdir()
    (directory / "script").write_text("")
    return SandboxSpec(
        overlays=(Overlay("/", tuple(stack)), Overlay("/usr", (Path("/usr"),))),
        build_directory=directory / "build",
        out_directory=directory / "out",
        argv=(COMMAND,),
        env=(("PATH", "/usr/bin"),),
        binds=(Bind("/in/script", directory / "script"),),
        limits=limits,
    )


def show(what: str, values: list[float]) -> None:
    """One line of the table."""
    ordered = sorted(values)
    quantiles = ordered[0], statistics.median(ordered), ordered[int(len(ordered) * 0.95)]
    print(f"{what:<34}" + "".join(f"{value:9.2f}" for value in quantiles))


async def measure(spec: SandboxSpec, log: Path, count: int, jobs: int) -> None:
    """Run ``count`` builds in each way."""
    runner = SandboxRunner()
    started = time.perf_counter()
    await runner.run(SandboxRun(spec, log))
    first = (time.perf_counter() - started) * 1e3
    wall, cpu = [], []
    for _ in range(count):
        started = time.perf_counter()
        result = await runner.run(SandboxRun(spec, log))
        wall.append((time.perf_counter() - started) * 1e3)
        cpu.append(result.cpu_ns / 1e6)
        assert result.ok
    bare = []
    for _ in range(count):
        started = time.perf_counter()
        process = await asyncio.create_subprocess_exec(COMMAND)
        await process.wait()
        bare.append((time.perf_counter() - started) * 1e3)
    gate = asyncio.Semaphore(jobs)

    async def gated() -> None:
        async with gate:
            await runner.run(SandboxRun(spec, log))

    started = time.perf_counter()
    await asyncio.gather(*(gated() for _ in range(count)))
    together = (time.perf_counter() - started) * 1e3 / count
    await runner.close()
    print(f"{'ms a build':<34}{'least':>9}{'median':>9}{'95 %':>9}")
    show("sandboxed, wall-clock", wall)
    show("sandboxed, processor", cpu)
    show("bare, wall-clock", bare)
    print(f"first build, spawner included: {first:.1f} ms; {jobs} side by side: {together:.2f} ms a build")


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--limits", action="store_true", help="with all limits, which then are watched")
    args = parser.parse_args()
    available()
    limits = Limits(600, 1 << 30, 1000, 1 << 30, 1 << 30) if args.limits else Limits()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        asyncio.run(measure(make_spec(path, args.layers, limits), path / "log", args.count, args.jobs))


if __name__ == "__main__":
    main()
