"""Evaluation speed: a made-up system of N packages, cold, warm, and after one edit; Nix beside it where it is there.

Prints the real command's time (a fresh process each, the best of a few runs), in parentheses what of it was processor
time, and its peak memory. On a machine that does other things too, the processor time is what can be compared. Python's
bytecode is kept between runs, as it is where the program is installed, whatever the environment says.

If ``nix-instantiate`` is on the path it instantiates, in turn with these runs, as many derivations as there are
packages, with the same dependencies, in a store of its own. (Here a package is two derivations: its download is one.)

The last column is ``nexis-eval check`` for one architecture, of what was just evaluated: it reads the configuration
anew, to say where things are, and recalls the rest.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from nix import Nix, version

PACKAGES_PER_FILE = 500
DEPENDENCIES = 5


def dependencies(index: int, rng: random.Random) -> list[int]:
    """Of one package of a layered graph: about five among the hundred before it."""
    lowest = max(0, index - 100)
    count = min(DEPENDENCIES, index - lowest)
    return sorted(rng.sample(range(lowest, index), count)) if count else []


def package(index: int, rng: random.Random) -> str:
    """One package."""
    needed = ", ".join(f'"package-{each}"' for each in dependencies(index, rng))
    return f"""
[[packages]]
name = "package-{index}"
version = "1.{index}"
source = "https://example.org/{{name}}/{{name}}-{{version}}.tar.gz"
hash = "sha256:{index:064x}"
build_system = "configure"
build_flags = ["--with-number={index}"]
dependencies = [{needed}]
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


_NIX = """
let
  tables = builtins.foldl' (all: file: all // import file) { } [ %s ];
  packages = builtins.mapAttrs (name: table: derivation {
    inherit name;
    inherit (table) version flags;
    system = "x86_64-linux";
    builder = "/bin/sh";
    args = [ "-c" "make install" ];
    source = "https://example.org/${name}/${name}-${table.version}.tar.gz";
    dependencies = map (each: packages.${each}) table.dependencies;
  }) tables;
in packages
"""


def write_nix(directory: Path, count: int) -> Path:
    """The same packages for Nix, spread over as many files; returns the path of the expression."""
    rng = random.Random(count)
    directory.mkdir(parents=True)
    names = []
    for start in range(0, count, PACKAGES_PER_FILE):
        texts = []
        for index in range(start, min(count, start + PACKAGES_PER_FILE)):
            needed = " ".join(f'"package-{each}"' for each in dependencies(index, rng))
            texts.append(
                f'  "package-{index}" = {{ version = "1.{index}"; flags = [ "--with-number={index}" ]; '
                f"dependencies = [ {needed} ]; }};\n"
            )
        name = f"packages-{start // PACKAGES_PER_FILE}.nix"
        (directory / name).write_text("{\n" + "".join(texts) + "}\n")
        names.append(f"./{name}")
    system = directory / "default.nix"
    system.write_text(_NIX % " ".join(names))
    return system


Figures = tuple[float, float, float]
"""Seconds, seconds of processor time, peak MiB."""


def measure(command: Sequence[str], environment: Mapping[str, str]) -> Figures:
    """One run of a program, whose output is thrown away."""
    program = shutil.which(command[0])
    assert program is not None
    start = time.perf_counter()
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)]
    pid = os.posix_spawn(program, [*command], environment, file_actions=quiet)
    _, status, usage = os.wait4(pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command)} failed: {status}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", nargs="*", type=int, default=[1000, 10_000, 50_000], metavar="N")
    parser.add_argument("--directory", type=Path, help="where to work (default: the directory for temporary files)")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    nix = version()
    print(f"{'packages':>9}{'':13}  {'cold s':>15}  {'warm s':>15}  {'edit s':>15}  {'peak MiB':>8}  {'check s':>15}")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    if arguments.directory is not None:
        arguments.directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
        directory = Path(name)
        environment["PYTHONPYCACHEPREFIX"] = str(directory / "bytecode")
        # The first time all bytecode is made.
        _ours(directory / "first", 1, 1, environment)
        for count in arguments.counts:
            rounds, theirs = [], []
            for run in range(arguments.runs):
                rounds.append(_ours(directory / "ours", count, run, environment))
                if nix is not None:
                    theirs.append(_nix(directory / "theirs", count, run))
            _show(count, "", rounds)
            if theirs:
                _show(count, f"Nix {nix}", theirs)
            shutil.rmtree(directory / "ours")


def _ours(directory: Path, count: int, run: int, environment: Mapping[str, str]) -> list[Figures]:
    """Cold, warm, one edit, check."""
    system = directory / "config/system.toml"
    if not system.exists():
        write_system(system.parent, count)
    program = str(Path(sys.executable).with_name("nexis-eval"))
    environment = {**environment, "XDG_CACHE_HOME": str(directory / f"cache-{run}")}
    command = [program, "targets", "--json", str(system)]
    cold, warm = (measure(command, environment) for _ in range(2))
    file = system.with_name(f"packages-{count // PACKAGES_PER_FILE // 2}.toml")
    file.write_text(file.read_text().replace("--with-number=", f"--with-run={run} --with-number=", 1))
    edit = measure(command, environment)
    return [cold, warm, edit, measure([program, "check", "--arch", "x86_64", str(system)], environment)]


def _nix(directory: Path, count: int, run: int) -> list[Figures]:
    """The same without check, from an empty store."""
    nix = Nix(directory)
    nix.clear()
    system = write_nix(directory / "config", count)
    command = ["nix-instantiate", str(system)]
    cold, warm = (measure(command, nix.environment()) for _ in range(2))
    file = system.with_name(f"packages-{count // PACKAGES_PER_FILE // 2}.nix")
    file.write_text(file.read_text().replace("--with-number=", f"--with-run={run} --with-number=", 1))
    edit = measure(command, nix.environment())
    nix.clear()
    shutil.rmtree(directory)
    return [cold, warm, edit]


def _show(count: int, name: str, rounds: Sequence[Sequence[Figures]]) -> None:
    best = [min(each) for each in zip(*rounds, strict=True)]
    times = [f"{seconds:6.3f} ({processor:6.3f})" for seconds, processor, _ in best]
    peak = max(memory for each in rounds for _, _, memory in each[:3])
    print(f"{count:9} {name:12}", *times[:3], f"{peak:8.0f}", *times[3:], sep="  ", flush=True)


if __name__ == "__main__":
    main()
