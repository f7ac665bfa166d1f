"""A build script that failed: what a person is told of it, out of its log."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from nexis_eval.execute.base import BuildResult
from nexis_eval.graph.derivation import Derivation
from nexis_store.digest import BuildKey
from nexis_store.errors import NexisError
from nexis_store.store import Store

LOG_TAIL_LINES = 25

_FAILED_AT = re.compile(r"nexis: phase .* failed with status \d+, at: (.*)")
"""What the prelude of all rules prints when a command fails."""


class ScriptFailedError(NexisError):
    """A build script ended with an error."""

    code = "B0002"

    def __init__(
        self, message: str, *, result: BuildResult, tail: tuple[str, ...], command: str = "", hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.result = result
        self.tail = tail
        self.command = command


def script_failed(
    store: Store,
    derivation: Derivation,
    key: BuildKey,
    result: BuildResult,
    directory: Path,
    keep: Callable[[Path], Path] | None,
) -> ScriptFailedError:
    """Put the log of the build in ``directory`` by, and return the error that tells what went wrong.

    ``keep`` moves the directory to where it stays, and returns that place; without it nothing but the log is kept.
    """
    data = (directory / "log").read_bytes()
    store.put_log(key, data)
    lines = data.decode(errors="replace").splitlines()
    command = next((found[1] for line in reversed(lines) if (found := _FAILED_AT.match(line))), "")
    tail = tuple(line for line in lines[-LOG_TAIL_LINES:] if not _FAILED_AT.match(line))
    where = f" in phase '{result.phase}'" if result.phase else ""
    why = result.reason or f"exit code {result.exit_code}"
    hint = (
        f"'nexis-eval log {derivation.name}' shows the whole log, "
        f"'nexis-eval debug {derivation.name}' opens a shell where it failed"
    )
    if keep is not None:
        hint = f"the build directory was kept: {keep(directory)}"
    message = f"{derivation.label} failed{where}: {why}"
    return ScriptFailedError(message, result=result, tail=tail, command=command, hint=hint)


def reason(error: NexisError) -> str:
    """Why an alternative cannot be had: with what a script said last, where one failed."""
    said = error.tail[-1].strip() if isinstance(error, ScriptFailedError) and error.tail else ""
    return f"{error.message}: {said}" if said else error.message
