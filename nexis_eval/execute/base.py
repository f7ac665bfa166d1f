"""The seam between deciding to build and building: request in, result out, here or on another machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nexis_eval.sandbox.spec import SandboxSpec


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """A build with all paths settled. ``name`` is for people; ``log`` receives stdout and stderr as they come."""

    name: str
    spec: SandboxSpec
    log: Path
    on_phase: Callable[[str], None] | None = None
    """Called with the phase's name whenever the script enters one (a line ``@nexis phase NAME`` on descriptor 3)."""


@dataclass(frozen=True, slots=True)
class BuildResult:
    """How it ended. ``exit_code`` is the script's, or 128 + signal; ``reason`` names the limit that ended it."""

    exit_code: int
    duration_ns: int
    cpu_ns: int = 0
    max_rss_bytes: int = 0
    phase: str = ""
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether the build succeeded."""
        return self.exit_code == 0


class Executor(Protocol):
    """Runs builds. Cancelling the task kills the build and everything it started before ``execute`` returns."""

    async def execute(self, request: BuildRequest) -> BuildResult:
        """Run one build to its end."""
        ...

    async def close(self) -> None:
        """Stop helpers that were kept for speed."""
        ...
