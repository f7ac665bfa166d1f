"""Evaluation speed: a made-up system of N packages, cold, warm, and after one edit.

Prints the real command's time (a fresh process each, the best of a few runs), in parentheses what of it was processor
time, and its peak memory. On a machine that does other things too, the processor time is what can be compared. Python's
bytecode is kept between runs, as it is where the program is installed, whatever the environment says. Usage:

    python bench/eval.py [N ...]        (default: 1000 10000 50000)
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

RUNS = 3
PACKAGES_PER_FILE = 500
DEPENDENCIES = 5


def package(index: int, rng: random.Random) -> str:
    """One package of a layered graph: about five dependencies among the hundred before it."""
    lowest = max(0, index - 100)
    count = min(DEPENDENCIES, index - lowest)
    names = sorted(rng.sample(range(lowest, index), count)) if count else []
    dependencies = ", ".join(f'"package-{each}"' for each in names)
    return f"""
[[packages]]
name = "package-{index}"
version = "1.{index}"
source = "https://example.org/{{name}}/{{name}}-{{version}}.tar.gz"
hash = "sha256:{index:064x}"
build_system = "configure"
build_flags = ["--with-number={index}"]
dependencies = [{dependencies}]
install = false
"""


def write_system(directory: Path, count: int) -> Path:
    """A system file whose packages are spread over included files; returns its path."""
    rng = random.Random(count)
    directory.mkdir(parents=True)
    includes = []
    for start in range(0, count, PACKAGES_PER_FILE):
        name = f"packages-{start // PACKAGES_PER_FILE}.toml"
        texts = [package(index, rng) for index in range(start, min(count, start + PACKAGES_PER_FILE))]
        (directory / name).write_text("".join(texts))
        includes.append(name)
    example = Path(__file__).resolve().parents[1] / "examples" / "minimal"
    shutil.copytree(example, directory / "minimal")
    paths = ", ".join(f'"{each}"' for each in ["minimal/system.toml", *includes])
    system = directory / "system.toml"
    system.write_text(f"[includes]\npaths = [{paths}]\n")
    shutil.copy(example / "nexis.lock", directory / "nexis.lock")
    return system


def measure(system: Path, cache: Path, environment: Mapping[str, str]) -> tuple[float, float, float]:
    """One ``nexis-eval targets --json``, which evaluates and prints each target's id.

    Returns seconds, seconds of processor time, peak MiB.
    """
    program = Path(sys.executable).with_name("nexis-eval")
    start = time.perf_counter()
    pid = os.posix_spawn(
        program,
        [str(program), "targets", "--json", str(system)],
        {**environment, "XDG_CACHE_HOME": str(cache)},
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, usage = os.wait4(pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"nexis-eval failed: {status}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """Print the table."""
    counts = [int(each) for each in sys.argv[1:]] or [1000, 10_000, 50_000]
    print(f"{'packages':>9}  {'cold s':>15}  {'warm s':>15}  {'edit s':>15}  {'peak MiB':>8}")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as bytecode:
        environment["PYTHONPYCACHEPREFIX"] = bytecode
        for count in (0, *counts):
            _compare(count, environment)


def _compare(count: int, environment: Mapping[str, str]) -> None:
    """Print the line for ``count`` packages. With none, only all bytecode is made."""
    with tempfile.TemporaryDirectory() as name:
        system = write_system(Path(name) / "config", max(count, 1))
        file = system.with_name(f"packages-{count // PACKAGES_PER_FILE // 2}.toml")
        results = []
        for run in range(RUNS):
            cache = Path(name) / f"cache-{run}"
            cold, warm = (measure(system, cache, environment) for _ in range(2))
            file.write_text(file.read_text().replace("--with-number=", f"--with-run={run} --with-number=", 1))
            results.append((cold, warm, measure(system, cache, environment)))
        best = [min(each) for each in zip(*results, strict=True)]
        times = "  ".join(f"{seconds:6.3f} ({processor:6.3f})" for seconds, processor, _ in best)
        peak = max(memory for result in results for _, _, memory in result)
        if count:
            print(f"{count:9}  {times}  {peak:8.0f}", flush=True)


if __name__ == "__main__":
    main()
