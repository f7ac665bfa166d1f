"""A root for builds in fast tests: the host's bash and a few tools with the libraries they need, as a local tree.

No toolchain is the point of these tests; what matters is that a real script runs in a real sandbox.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from nexis_eval.graph.derivation import Derivation, Local
from nexis_eval.lock.model import LockedDeb
from nexis_eval.places import RULES
from nexis_eval.toolchain import Toolchain, Toolset, format_pins
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
    listing = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False).stdout
    return [Path(each) for each in re.findall(r"(/\S+) \(0x", listing)]


RULE_TOOLS = (
    *TOOLS,
    "find",
    "grep",
    "gzip",
    "head",
    "install",
    "ls",
    "mv",
    "od",
    "patch",
    "perl",
    "rmdir",
    "sed",
    "tar",
    "tr",
    "wc",
)
"""What the scripts of rules call beside a compiler."""


def make_root(directory: Path, tools: Sequence[str] = TOOLS) -> Path:
    """Lay out the root below ``directory``; returns it."""
    root = directory / "root"
    for name in ("proc", "dev", "tmp", "build", "out", "in", "usr/bin", "usr/lib", "usr/lib64", "etc"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    for tool in tools:
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
    if "perl" in tools:
        modules = Path(f"usr/lib/{os.uname().machine}-linux-gnu/perl-base")
        shutil.copytree("/" / modules, root / modules, dirs_exist_ok=True)
    (root / "usr/bin/sh").symlink_to("bash")
    return root


def root_derivation(root: Path) -> Derivation:
    """The root as an input for scripts."""
    return Derivation("test-root", Local(str(root), tree_of_path(root).digest), platform="x86_64")


def make_toolchain(
    directory: Path,
    names: Sequence[str] = ("core", "c", "cross-aarch64", "emulators"),
    tools: Sequence[str] = RULE_TOOLS,
) -> Toolchain:
    """A toolchain of one Debian package, which has the root and a ``file`` that never knows what a file is."""
    root = make_root(directory, tools)
    (root / "usr/bin/file").write_text("#!/bin/sh\necho application/octet-stream\n")
    (root / "usr/bin/file").chmod(0o755)
    data = directory / "data.tar"
    subprocess.run(["tar", "--numeric-owner", "-C", root, "-cf", data, "."], check=True)
    deb = directory / "tools.deb"
    with deb.open("wb") as out:
        out.write(b"!<arch>\n")
        members = (("debian-binary", b"2.0\n"), ("control.tar", b""), ("data.tar", data.read_bytes()))
        for name, content in members:
            out.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode())
            out.write(content + b"\n" * (len(content) % 2))
    content = deb.read_bytes()
    pin = LockedDeb("tools", "1", "amd64", (deb.as_uri(),), hashlib.sha256(content).hexdigest(), len(content))
    sets = {
        name: Toolset(name, name, "none", ("tools",), extends=() if name == "core" else ("core",)) for name in names
    }
    return Toolchain(sets, {name: (pin,) if name == "core" else () for name in names})


def make_rules(directory: Path, names: Sequence[str] = ("core", "c")) -> Path:
    """The build systems as they are, with the toolchain of ``make_toolchain``: returns their directory."""
    toolchain = make_toolchain(directory, names)
    rules = directory / "rules"
    rules.mkdir()
    for each in ("build", "system"):
        (rules / each).symlink_to(RULES / each)
    (rules / "toolchain.lock").write_text(format_pins(toolchain.pins, {}))
    (rules / "toolchain.toml").write_text(
        "".join(
            f'[toolset.{name}]\ndoc = "{name}"\nsuite = "none"\npackages = ["tools"]\nextends = {list(each.extends)}\n'
            for name, each in toolchain.sets.items()
        )
    )
    return rules
