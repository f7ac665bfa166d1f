"""How numbers and names read. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nexis_eval import events
from nexis_eval.graph.builders import BUILDERS


def duration(nanoseconds: int) -> str:
    """A time as people say it: ``0.4 s``, ``12 s``, ``3 min 05 s``, ``1 h 02 min``."""
    seconds = nanoseconds / 1e9
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, whole = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {whole:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min"


def few(names: Sequence[str], noun: str) -> str:
    """The names where they are few, or else how many there are: ``a, b``, ``26 targets``."""
    return ", ".join(names) if len(names) < 5 else plural(len(names), noun)


def size(number: int) -> str:
    """Bytes in binary units: ``312 B``, ``4.1 KiB``, ``72.0 MiB``."""
    if number < 1024:
        return f"{number} B"
    value = float(number)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 1024:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} TiB"


def plural(number: int, noun: str) -> str:
    """``1 step``, ``2 steps``; a noun may bring its own plural: ``"patch|patches"``."""
    one, _, many = noun.partition("|")
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def summary(built: int, fetched: int, cached: int, cut_off: int, failed: int, copied: int = 0) -> str:
    """The counts of a run in one line; what did not happen is left out."""
    parts = [
        f"{number:,} {word}"
        for number, word in (
            (built, "built"),
            (fetched, "fetched"),
            (copied, "copied"),
            (cut_off, "cut off (inputs came out unchanged)"),
            (cached, "already there"),
            (failed, "failed"),
        )
        if number
    ]
    return ", ".join(parts) or "nothing to do"


MAX_CHAIN = 6
MAX_SPENT = 6
MAX_BLOCKED = 8
NOTICEABLE_NS = 100_000_000
"""A run shorter than this needs no account of where its time went."""

_ERROR = re.compile(
    r"""(^|[^\w-])(fatal\ )?error(\[E\d+\])?:       # compilers, linkers, cargo
      | ^make(\[\d+\])?:\ \*\*\*                     # make
      | ^ninja:\ (error|build\ stopped) | ^FAILED:\    # ninja
      | undefined\ reference\ to | cannot\ find\ -l
      | :\ (command\ not\ found|No\ such\ file\ or\ directory|Permission\ denied)$
      | ^CMake\ Error | ^Traceback\ | ^\w*Error:\      # cmake, python
      | ^panic:\ | ^thread\ '.*'\ panicked             # go, rust
    """,
    re.VERBOSE | re.IGNORECASE,
)


def is_error(line: str) -> bool:
    """Whether a line of a log looks like the reason of a failure."""
    return _ERROR.search(line) is not None


def failure(event: events.StepFailed) -> list[tuple[str, str]]:
    """A failed step as lines with their kinds: what, where, the end of its log, what it blocks, what to do.

    Kinds: ``error``, ``note``, ``text``, ``log``, ``culprit`` (a line of the log that tells the reason), ``hint``.
    """
    if event.replaced:
        return [("note", f"note: {event.message}"), ("text", "  building from source instead")]
    lines = [("error", f"error: {event.message}")]
    if event.command:
        lines.append(("culprit", f"  the command that failed: {event.command}"))
    if event.log_tail:
        lines.append(("text", f"  last lines of its log ({duration(event.duration_ns)} into the build):"))
        for line in event.log_tail:
            lines.append(("culprit", f"  > {line}") if is_error(line) else ("log", f"  | {line}"))
    elif event.duration_ns:
        lines.append(("text", f"  its log is empty ({duration(event.duration_ns)} into the build)"))
    if event.blocked:
        lines.append(("text", f"  not built because of this: {_some(event.blocked)}"))
    if event.hint:
        lines.extend(("hint", f"hint: {line}") for line in event.hint.splitlines())
    return lines


def _some(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - MAX_BLOCKED:,} more" if len(labels) > MAX_BLOCKED else ""
    return ", ".join(labels[:MAX_BLOCKED]) + more


def one_line(words: str) -> str:
    """``words`` without their line breaks, for what stands in the middle of a line."""
    return " ".join(words.split())


def tells_unchanged(event: events.StepFinished) -> bool:
    """Whether it is news that a step came out as before; what a choice takes was told when that was made."""
    return event.unchanged and not BUILDERS[event.kind].passes_on


def account(event: events.Finished) -> list[str]:
    """The end of a run: how much was done, what decided how long it took, and into what the time went."""
    counts = summary(event.built, event.fetched, event.cached, event.cut_off, event.failed, event.copied)
    lines = [f"{counts}; {duration(event.duration_ns)}"]
    if len(event.failures) > 1:
        lines.append(f"failed: {_some(event.failures)}")
        if event.blocked:
            lines.append(f"not built because of these: {_some(event.blocked)}")
    if event.left:
        lines.append(f"{plural(event.left, 'other step')} not done: --keep-going does what can be done after a failure")
    if event.duration_ns < NOTICEABLE_NS:
        return lines
    if len(event.longest_chain) > 1:
        lines.append(f"longest chain: {_chain(event.longest_chain)}")
    spent = [f"{what} {duration(ns)}" for what, ns in event.spent[:MAX_SPENT] if ns * 100 >= event.duration_ns]
    if spent:
        lines.append(f"time went into: {', '.join(spent)}")
    return lines


def _chain(steps: Sequence[tuple[str, int]]) -> str:
    """The steps that took longest among those that waited for each other, in their order."""
    longest = sorted(range(len(steps)), key=lambda index: -steps[index][1])[:MAX_CHAIN]
    shown = " -> ".join(f"{steps[index][0]} {duration(steps[index][1])}" for index in sorted(longest))
    left = len(steps) - len(longest)
    return f"{shown}; with {plural(left, 'shorter step')}" if left else shown
