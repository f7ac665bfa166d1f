"""A build script that failed: what a person is told of it, out of its log."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from nexis_eval.execute.base import Result
from nexis_eval.execute.log import kept, last_lines
from nexis_eval.execute.runner import RunResult
from nexis_eval.graph.derivation import Derivation
from nexis_store.digest import BuildKey
from nexis_store.errors import NexisError
from nexis_store.store import Store

LOG_TAIL_LINES = 25
NOT_FOUND = 127
"""The exit code of a shell that did not find a program (POSIX)."""
_SIGNALLED = 128

_FAILED_AT = re.compile(r"nexis: phase .* failed with status \d+, at: (.*)")
"""What the prelude of all rules prints when a command fails."""
_SAYS_NOTHING = re.compile(r"(return|exit)\b.*")
"""Commands that only pass a failure on: what failed was told before."""
_MISSING = re.compile(
    r"""(?:.*:\ )?(?P<shell>[^\s:]+):\ (?:command\ )?not\ found$                  # bash, dash
      | (?:/usr/bin/)?env:\ ['‘](?P<env>[^'’]+)['’]:\ No\ such\ file\ or\ directory$
      | make(?:\[\d+\])?:\ (?P<make>[^\s:/]+):\ No\ such\ file\ or\ directory$
    """,
    re.VERBOSE,
)


class ScriptFailedError(NexisError):
    """A build script ended with an error.

    The message has the phase, the command and the last lines of the log. ``nexis-eval log TARGET`` prints all of it,
    ``nexis-eval debug TARGET`` runs the build again and opens a shell where it fails. A failure is never kept as a
    result: the next run tries again.
    """

    code = "B0002"

    def __init__(
        self, message: str, *, result: RunResult, tail: tuple[str, ...], command: str = "", hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.result = result
        self.tail = tail
        self.command = command


def exit_reason(exit_code: int) -> str:
    """An exit code in words: ``exit code 2``, ``exit code 139: killed by SIGSEGV (Segmentation fault)``."""
    try:
        number = signal.Signals(exit_code - _SIGNALLED)
    except ValueError:
        return f"exit code {exit_code}"
    return f"exit code {exit_code}: killed by {number.name} ({signal.strsignal(number)})"


def missing_program(exit_code: int, lines: Sequence[str]) -> str | None:
    """The program that a build did not find and failed for; what it only tried has no say."""
    if exit_code != NOT_FOUND and not any(line.endswith(f"Error {NOT_FOUND}") for line in lines):
        return None
    return next((found[found.lastgroup or 0] for line in reversed(lines) if (found := _MISSING.match(line))), None)


def script_failed(
    store: Store,
    derivation: Derivation,
    key: BuildKey,
    ended: Result,
    keep: Callable[[], Path] | None,
    called: str,
) -> ScriptFailedError:
    """Put the log of a build that failed by, and return the error that tells what went wrong.

    ``keep`` moves its directory to where it stays, and returns that place; without it nothing but the log is kept.
    ``called`` is what names the build to a command: its target, after what chose the system.
    """
    result = ended.run
    store.put_log(key, kept(ended.log, result.reason))
    lines = last_lines(ended.log)
    command = next((found[1] for line in reversed(lines) if (found := _FAILED_AT.match(line))), "")
    tail = tuple(line for line in lines[-LOG_TAIL_LINES:] if not _FAILED_AT.match(line))
    where = f" in phase '{result.phase}'" if result.phase else ""
    why = result.reason or exit_reason(result.exit_code)
    hints = []
    if (program := missing_program(result.exit_code, tail)) is not None and not result.reason:
        hints.append(
            f"no input of the build has '{program}': sets of the toolchain go into the package's 'tools' "
            "(docs/toolchain.md), packages of yours that have it into 'native_dependencies'"
        )
    look = f"'nexis-eval log {called}' shows the whole log"
    if result.reason:
        hints.append(f"{look}; --limit and --max-memory say how much a build may use")
    else:
        hints.append(f"{look}, 'nexis-eval debug {called}' opens a shell where it failed")
    if keep is not None:
        hints.append(f"its directory was kept, for you to remove: {keep()}")
    return ScriptFailedError(
        f"{derivation.label} failed{where}: {why}",
        result=result,
        tail=tail,
        command="" if _SAYS_NOTHING.fullmatch(command) else command,
        hint="\n".join(hints),
    )


def reason(error: NexisError) -> str:
    """Why an alternative cannot be had: with what a script said last, where one failed."""
    said = error.tail[-1].strip() if isinstance(error, ScriptFailedError) and error.tail else ""
    return f"{error.message}: {said}" if said else error.message
