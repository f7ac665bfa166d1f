"""A root for builds in fast tests: the host's bash and a few tools with the libraries they need, as a local tree.

No toolchain is the point of these tests; what matters is that a real script runs in a real sandbox.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from nexis_eval.derivation import Derivation, Local
from nexis_store.hashing import tree_of_path

TOOLS = (
    "bash",
    "cat",
    "chmod",
    "cp",
    "date",
    "echo",
    "env",
    "id",
    "ln",
    "make",
    "mkdir",
    "rm",
    "sleep",
    "touch",
    "true",
)


def _libraries(program: Path) -> list[Path]:
    listing = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout
    return [Path(each) for each in re.findall(r"(/\S+) \(0x", listing)]


def make_root(directory: Path) -> Path:
    """Lay out the root below ``directory``; returns it."""
    root = directory / "root"
    for name in ("proc", "dev", "tmp", "build", "out", "in", "usr/bin", "usr/lib", "usr/lib64", "etc"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    for tool in TOOLS:
        found = shutil.which(tool)
        if found is None:
            continue
        program = Path(found).resolve()
        shutil.copy(program, root / "usr/bin" / tool)
        for library in _libraries(program):
            # Below /lib64 lies the loader, whose place is written into every program.
            place = root / ("usr/lib64" if "/lib64/" in str(library) else "usr/lib") / library.name
            if not place.exists():
                shutil.copy(library.resolve(), place)
    (root / "usr/bin/sh").symlink_to("bash")
    return root


def root_derivation(root: Path) -> Derivation:
    """The root as an input for scripts."""
    return Derivation("test-root", Local(str(root), tree_of_path(root).digest), platform="x86_64")
