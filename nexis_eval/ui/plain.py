"""Progress as plain lines, one per thing that happened: for logs, pipes and dumb terminals."""

from __future__ import annotations

import time
from typing import TextIO

from nexis_eval import events
from nexis_eval.ui import text


class PlainView:
    """Writes lines to ``stream``."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._total = 0
        self._finished = 0

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.flush()

    def _line(self, line: str) -> None:
        print(line, file=self._stream, flush=True)

    def _counter(self) -> str:
        width = len(str(self._total))
        return f"[{self._finished:{width}}/{self._total}]"

    def __call__(self, event: events.Event) -> None:
        """Tell one event."""
        match event:
            case events.PlanReady(total=total, done=done):
                self._total = total - done
            case events.StepStarted(kind="script", label=label, platform=platform, expected_ns=expected):
                usual = f", usually {text.duration(expected)}" if expected else ""
                self._line(f"{self._counter()} building {label} ({platform}{usual})")
            case events.StepFinished():
                self._finished += 1
                verb = text.VERBS[event.kind]
                unchanged = "; came out unchanged, nothing that uses it is rebuilt" if event.unchanged else ""
                note = f" ({event.note})" if event.note else ""
                took = text.duration(event.duration_ns)
                self._line(f"{self._counter()} {verb} {event.label}: {took}{unchanged}{note}")
            case events.StepCached(label=label):
                self._finished += 1
                self._line(f"{self._counter()} {label}: cut off, its inputs came out unchanged")
            case events.StepFailed():
                self._finished += 1
                self._line(failure(event))
            case events.Finished():
                counts = text.summary(event.built, event.fetched, event.cached, event.cut_off, event.failed)
                self._line(f"{counts}; {text.duration(event.duration_ns)}")
            case _:
                pass


def failure(event: events.StepFailed) -> str:
    """A failed step as a block: what, the end of its log, what it blocks."""
    if event.replaced:
        return f"note: {event.message}\n  building from source instead"
    lines = [f"error: {event.message}"]
    if event.log_tail:
        lines.append(f"  last lines of its log ({text.duration(event.duration_ns)} into the build):")
        lines.extend(f"  | {line}" for line in event.log_tail)
    if event.blocked:
        shown = ", ".join(event.blocked[:8]) + (f" and {len(event.blocked) - 8} more" if len(event.blocked) > 8 else "")
        lines.append(f"  not built because of this: {shown}")
    if event.hint:
        lines.append(f"hint: {event.hint}")
    return "\n".join(lines)


def now_ns() -> int:
    """The clock of the views (monotonic, nanoseconds)."""
    return time.monotonic_ns()
