"""Sandboxes for tests: the host's own /usr as the root's content, because no toolchain is the point here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from nexis_eval.execute.runner import RunResult, SandboxRun, SandboxRunner
from nexis_eval.sandbox.check import available
from nexis_eval.sandbox.errors import SandboxError
from nexis_eval.sandbox.spec import Overlay, SandboxSpec

ENVIRONMENT = (("HOME", "/build"), ("LC_ALL", "C.UTF-8"), ("PATH", "/usr/bin:/usr/sbin"))


@cache
def _forbidden() -> str:
    try:
        available()
    except SandboxError as error:
        return str(error)
    return ""


def require_sandbox() -> None:
    """Skip the calling test where the machine forbids sandboxes."""
    if _forbidden():
        pytest.skip(_forbidden())


@dataclass(frozen=True)
class Room:
    """A directory with all that a sandboxed command needs."""

    path: Path

    @classmethod
    def make(cls, path: Path) -> Room:
        root = path / "root"
        for name in ("proc", "dev", "tmp", "build", "out", "in", "usr", "etc"):
            (root / name).mkdir(parents=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            (root / name).symlink_to(f"usr/{name}")
        (path / "build").mkdir()
        (path / "out").mkdir()
        return cls(path)

    @property
    def root(self) -> Path:
        return self.path / "root"

    @property
    def build(self) -> Path:
        return self.path / "build"

    @property
    def out(self) -> Path:
        return self.path / "out"

    @property
    def log(self) -> str:
        return (self.path / "log").read_text()

    def spec(self, script: str, **changes: Any) -> SandboxSpec:
        spec = SandboxSpec(
            overlays=(Overlay("/", (self.root,)), Overlay("/usr", (Path("/usr"),))),
            build_directory=self.build,
            out_directory=self.out,
            argv=("/bin/bash", "-c", script),
            env=ENVIRONMENT,
        )
        return replace(spec, **changes)

    def request(self, script: str, on_phase: Callable[[str], None] | None = None, **changes: Any) -> SandboxRun:
        return SandboxRun(self.spec(script, **changes), self.path / "log", on_phase)

    def run(self, script: str, on_phase: Callable[[str], None] | None = None, **changes: Any) -> RunResult:
        """Run ``script`` in a sandbox; its output is in ``log``."""

        async def work() -> RunResult:
            runner = SandboxRunner()
            try:
                return await runner.run(self.request(script, on_phase, **changes))
            finally:
                await runner.close()

        return asyncio.run(work())
