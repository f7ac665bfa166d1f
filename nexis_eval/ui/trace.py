"""A run as a trace that Chrome (``chrome://tracing``) and Perfetto show: one lane a slot, phases inside of steps.

Format: "Trace Event Format", complete events (``ph`` = ``X``), times in microseconds.
"""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nexis_eval import events
from nexis_store.digest import DerivationId


@dataclass(slots=True)
class _Step:
    label: str
    kind: str
    platform: str
    lane: int
    started: int
    phase: str = ""
    phase_started: int = 0


class Trace:
    """Takes in each event and passes it on to ``view``; ``save`` writes the file. ``clock`` is in nanoseconds."""

    def __init__(self, view: Callable[[events.Event], None], clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._view = view
        self._clock = clock
        self._begin = clock()
        self._running: dict[DerivationId, _Step] = {}
        self._free: list[int] = []
        self._lanes = 0
        self._events: list[dict[str, Any]] = []

    def __call__(self, event: events.Event) -> None:
        """Take in one event."""
        now = self._clock() - self._begin
        match event:
            case events.StepStarted():
                lane = heapq.heappop(self._free) if self._free else self._lanes
                self._lanes = max(self._lanes, lane + 1)
                self._running[event.derivation] = _Step(event.label, event.kind, event.platform, lane, now)
            case events.StepPhase(derivation=each, phase=phase) if each in self._running:
                self._end_phase(self._running[each], now)
                self._running[each].phase, self._running[each].phase_started = phase, now
            case events.StepFinished(derivation=each):
                self._end(each, now, "unchanged" if event.unchanged else "done", event.note)
            case events.StepFailed(derivation=each):
                self._end(each, now, "replaced" if event.replaced else "failed", event.message)
            case events.StepCached(label=label):
                self._events.append(
                    {"ph": "i", "name": f"{label}: nothing to do", "pid": 1, "tid": 0, "ts": now / 1e3, "s": "p"}
                )
            case _:
                pass
        self._view(event)

    def _add(self, name: str, kind: str, lane: int, started: int, ended: int, **details: str) -> None:
        self._events.append(
            {
                "ph": "X",
                "name": name,
                "cat": kind,
                "pid": 1,
                "tid": lane,
                "ts": started / 1e3,
                "dur": (ended - started) / 1e3,
                "args": details,
            }
        )

    def _end_phase(self, step: _Step, now: int) -> None:
        if step.phase:
            self._add(step.phase, "phase", step.lane, step.phase_started, now)

    def _end(self, each: DerivationId, now: int, result: str, note: str) -> None:
        step = self._running.pop(each, None)
        if step is None:
            return
        self._end_phase(step, now)
        self._add(step.label, step.kind, step.lane, step.started, now, platform=step.platform, result=result, note=note)
        heapq.heappush(self._free, step.lane)

    def save(self, path: Path) -> None:
        """Write what has happened so far."""
        now = self._clock() - self._begin
        for each in list(self._running):
            self._end(each, now, "interrupted", "")
        lanes = [
            {"ph": "M", "name": "thread_name", "pid": 1, "tid": lane, "args": {"name": f"slot {lane + 1}"}}
            for lane in range(self._lanes)
        ]
        process = {"ph": "M", "name": "process_name", "pid": 1, "tid": 0, "args": {"name": "nexis-eval build"}}
        path.write_text(
            json.dumps({"traceEvents": [process, *lanes, *self._events], "displayTimeUnit": "ms"}), encoding="utf-8"
        )
