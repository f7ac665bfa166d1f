"""Progress as plain lines, one per thing that happened: for logs, pipes and dumb terminals."""

from __future__ import annotations

import time
from typing import TextIO

from nexis_eval import events
from nexis_eval.graph.builders import BUILDERS
from nexis_eval.ui import text
from nexis_store.names import printable


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
        print(printable(line), file=self._stream, flush=True)

    def _counter(self) -> str:
        width = len(str(self._total))
        return f"[{self._finished:{width}}/{self._total}]"

    def __call__(self, event: events.Event) -> None:
        """Tell one event."""
        match event:
            case events.PlanReady(total=total, done=done):
                # A second plan is what stands in for something that could not be had.
                self._total = self._finished + total - done
            case events.StepStarted(label=label, platform=platform, expected_ns=expected) if BUILDERS[event.kind].runs:
                usual = f", usually {text.duration(expected)}" if expected else ""
                self._line(f"{self._counter()} building {label} ({platform}{usual})")
            case events.StepFinished():
                self._finished += 1
                verb = BUILDERS[event.kind].verb
                unchanged = (
                    "; came out unchanged, nothing that uses it is rebuilt" if text.tells_unchanged(event) else ""
                )
                note = f" ({text.one_line(event.note)})" if event.note else ""
                took = text.duration(event.duration_ns)
                self._line(f"{self._counter()} {verb} {event.label}: {took}{unchanged}{note}")
            case events.StepCached(label=label):
                self._finished += 1
                self._line(f"{self._counter()} {label}: cut off, its inputs came out unchanged")
            case events.ResultCopied():
                took = text.duration(event.duration_ns)
                self._line(f"{self._counter()} copied {event.label} from {event.source}: {took}")
            case events.StepFailed():
                self._finished += 1
                self._line("\n".join(line for _, line in text.failure(event)))
            case events.Warned(message=message):
                self._line(f"warning: {message}")
            case events.Finished():
                self._line("\n".join(text.account(event)))
            case _:
                pass


def now_ns() -> int:
    """The clock of the views (monotonic, nanoseconds)."""
    return time.monotonic_ns()
