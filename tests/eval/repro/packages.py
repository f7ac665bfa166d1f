"""The corpus: small packages that are unreproducible on purpose, built with the host's own /usr for speed."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from nexis_eval.execute.runner import SandboxRunner
from nexis_eval.repro.rebuild import Laboratory
from nexis_eval.repro.vary import Tools
from nexis_eval.sandbox.spec import Bind, Identity, Overlay, SandboxSpec
from nexis_store.digest import TreeDigest
from nexis_store.store import Store
from tests.eval.sandbox.rooms import require_sandbox

CORPUS = Path(__file__).with_name("corpus")
SHIM_SOURCE = Path("nexis_eval/repro/shim/vary.c")
PASSWD = "root:x:0:0::/build:/bin/bash\nbuild:x:1000:1000::/build:/bin/bash\n"
T = TypeVar("T")


@dataclass(frozen=True)
class Package:
    """One package of the corpus, with what a check should find: sets of names, because some causes have two names."""

    name: str
    summary: str
    causes: frozenset[str]
    variations: frozenset[str]
    needs: tuple[str, ...]
    script: str

    @property
    def is_clean(self) -> bool:
        return self.causes == {"none"}


def package(path: Path) -> Package:
    text = path.read_text()
    header = dict(re.findall(r"^# (summary|cause|variation|needs): (.*)$", text, re.MULTILINE))
    return Package(
        path.stem,
        header["summary"],
        frozenset(header["cause"].split("|")),
        frozenset(header["variation"].split("|")),
        tuple(header.get("needs", "").split()),
        text,
    )


def packages() -> list[Package]:
    return [package(path) for path in sorted(CORPUS.glob("*.sh"))]


@dataclass(frozen=True)
class HostRecipe:
    """A recipe whose root is the host's /usr below a skeleton."""

    label: str
    script: str
    root: Path

    @property
    def identity(self) -> Identity:
        return Identity()

    def stage(self, directory: Path, identity: Identity, jobs: int, run_time: Mapping[str, str]) -> SandboxSpec:
        build, out, script = directory / "build", directory / "out", directory / "script"
        build.mkdir()
        out.mkdir()
        script.write_text(f"set -euo pipefail\n{self.script}", encoding="utf-8")
        env = {
            "PATH": "/usr/bin:/usr/sbin",
            "TMPDIR": "/tmp",
            "SOURCE_DATE_EPOCH": "1",
            "HOME": identity.home,
            "USER": identity.user,
            "LOGNAME": identity.user,
            "LANG": identity.locale,
            "LC_ALL": identity.locale,
            "TZ": identity.timezone,
            "NEXIS_JOBS": str(jobs),
            **run_time,
        }
        return SandboxSpec(
            overlays=(Overlay("/", (self.root,)), Overlay("/usr", (Path("/usr"),))),
            build_directory=build,
            out_directory=out,
            argv=("/bin/bash", "/in/script"),
            env=tuple(sorted(env.items())),
            binds=(Bind("/in/script", script),),
            identity=identity,
        )

    def land(self, store: Store, directory: Path, *, move: bool) -> Mapping[str, TreeDigest]:
        return {"out": store.add_directory(directory / "out", self.label, move=move).digest}


def skeleton(path: Path) -> Path:
    for name in ("proc", "dev", "tmp", "build", "out", "in", "usr", "etc"):
        (path / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (path / name).symlink_to(f"usr/{name}")
    (path / "etc/passwd").write_text(PASSWD)
    (path / "etc/group").write_text("root:x:0:\nbuild:x:1000:\n")
    alternatives = Path("/etc/alternatives")
    if alternatives.is_dir():
        shutil.copytree(alternatives, path / "etc/alternatives", symlinks=True)
    return path


def host_tools(directory: Path) -> Tools:
    """The shim, and the Estonian locale where the host can compile it."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    shim = directory / "shim.so"
    subprocess.run(["gcc", "-O2", "-fPIC", "-shared", "-Wall", "-Werror", "-o", shim, SHIM_SOURCE], check=True)
    locale: Path | None = directory / "locale"
    if shutil.which("localedef") and Path("/usr/share/i18n/locales/et_EE").exists():
        (directory / "locale").mkdir()
        subprocess.run(
            ["localedef", "-i", "et_EE", "-f", "UTF-8", directory / "locale/et_EE.utf8"], check=True, timeout=60
        )
    else:
        locale = None
    other = Path("/dev/shm")
    return Tools(shim=shim, locale=locale, other_file_system=other if other.is_dir() else None)


class Bench:
    """A laboratory for tests, and a loop to run it in."""

    def __init__(self, path: Path) -> None:
        require_sandbox()
        self.path = path
        self.tools = host_tools(path)
        self.root = skeleton(path / "skeleton")

    def recipe(self, name: str, script: str) -> HostRecipe:
        return HostRecipe(name, script, self.root)

    def run(self, work: Callable[[Laboratory], Coroutine[Any, Any, T]], **changes: Any) -> T:
        async def inside() -> T:
            runner = SandboxRunner()
            try:
                with Laboratory(self.path / "work", runner, replace(self.tools, **changes), jobs=2) as laboratory:
                    return await work(laboratory)
            finally:
                await runner.close()

        return asyncio.run(inside())
