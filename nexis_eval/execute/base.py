"""The seam between deciding to run and running: an action goes in, trees come out, from whichever machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from nexis_eval.execute.action import Action
from nexis_eval.execute.runner import RunResult
from nexis_store.digest import TreeDigest
from nexis_store.errors import NexisError
from nexis_store.together import Part

LANDING = "landing"
"""The last phase of each action: what it left becomes trees of a store."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many actions an executor runs at a time, by the platform that they run on."""

    slots: Mapping[str, int]

    @property
    def total(self) -> int:
        """On all platforms together."""
        return sum(self.slots.values())


class NoExecutorError(NexisError):
    """A build must run on an architecture that nothing here runs.

    ``[build] platform`` says on which machine builds run; it is not the architecture that they are for, which is
    ``--arch``. Set it to an architecture that this machine has, or build on a machine of the one that is set.
    """

    code = "B0007"
    exit_code = 2


def check_platform(capacity: Capacity, label: str, platform: str) -> None:
    """Raise ``NoExecutorError`` if an executor of this capacity cannot run a build on ``platform``."""
    if platform not in capacity.slots:
        able = ", ".join(sorted(capacity.slots)) or "nothing"
        raise NoExecutorError(
            f"{label} is built on {platform}, and this machine runs builds on {able}",
            hint=f"set platform in [build] to one of: {able}; or run this on a machine with {platform}",
        )


class Watch(Protocol):
    """What the engine knows of a run and is told about it; none of it may change what comes out."""

    @property
    def usual_memory_bytes(self) -> int:
        """How much memory it took the last time; 0 if that is not known."""
        ...

    def started(self, log: Path | None) -> None:
        """It runs from now on. ``log`` is a file that grows with it, where there is one on this machine."""
        ...

    def phase(self, name: str) -> None:
        """The script entered a phase, or ``LANDING`` has begun."""
        ...


@dataclass(slots=True)
class Result:
    """How an action ended, and what it left. ``close`` must follow, whatever became of it."""

    run: RunResult
    log: Path
    """All that it printed; there until ``close``."""
    outputs: Mapping[str, TreeDigest] = field(default_factory=dict)
    """Its trees, by output; none if it failed."""
    pending: Mapping[str, Part] = field(default_factory=dict)
    """Those of them that the store holds once ``Store.record_together`` has recorded them."""
    error: NexisError | None = None
    """Why what a script that succeeded has left cannot become trees."""
    keep: Callable[[], Path] | None = None
    """Moves the directory of the build to where it stays, and returns that place; for builds of this machine."""
    on_close: Callable[[], None] = lambda: None

    @property
    def ok(self) -> bool:
        """Whether the action succeeded."""
        return self.run.ok

    def close(self) -> None:
        """Remove what the executor kept for it, and outputs that nobody recorded."""
        for part in self.pending.values():
            part.abandon()
        self.on_close()


class Executor(Protocol):
    """Runs actions. Cancelling the task ends the action and everything it started before ``execute`` returns."""

    @property
    def capacity(self) -> Capacity:
        """What it can run side by side."""
        ...

    async def execute(self, action: Action, watch: Watch) -> Result:
        """Run one action to its end. Raises ``NexisError`` where it could not be run at all."""
        ...

    async def close(self) -> None:
        """Stop helpers that were kept for speed."""
        ...
