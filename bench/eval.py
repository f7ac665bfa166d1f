"""Evaluation speed: a made-up system of N packages, cold, warm, and after one edit.

Prints medians over a few runs of the real command (a fresh process each) and its peak memory. Usage:

    python bench/eval.py [N ...]        (default: 1000 10000)
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import sys
import tempfile
import time
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


def measure(system: Path, cache: Path) -> tuple[float, float]:
    """Seconds and peak MiB of one ``nexis-eval targets --json``, which evaluates and prints each target's id."""
    program = Path(sys.executable).with_name("nexis-eval")
    start = time.perf_counter()
    pid = os.posix_spawn(
        program,
        [str(program), "targets", "--json", str(system)],
        {**os.environ, "XDG_CACHE_HOME": str(cache)},
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, usage = os.wait4(pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"nexis-eval failed: {status}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main() -> None:
    """Print the table."""
    counts = [int(each) for each in sys.argv[1:]] or [1000, 10_000]
    print(f"{'packages':>9}  {'cold s':>8}  {'warm s':>8}  {'edit s':>8}  {'peak MiB':>8}")
    for count in counts:
        with tempfile.TemporaryDirectory() as name:
            system = write_system(Path(name) / "config", count)
            cold, warm, edit, peak = [], [], [], 0.0
            for run in range(RUNS):
                cache = Path(name) / f"cache-{run}"
                seconds, memory = measure(system, cache)
                cold.append(seconds)
                peak = max(peak, memory)
                warm.append(measure(system, cache)[0])
                file = system.with_name(f"packages-{count // PACKAGES_PER_FILE // 2}.toml")
                file.write_text(file.read_text().replace("--with-number=", f"--with-run={run} --with-number=", 1))
                edit.append(measure(system, cache)[0])
            medians = "  ".join(f"{statistics.median(each):8.3f}" for each in (cold, warm, edit))
            print(f"{count:9}  {medians}  {peak:8.0f}", flush=True)


if __name__ == "__main__":
    main()
