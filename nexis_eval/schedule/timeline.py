"""From the events of a run: the chain of steps that decided how long it took, and where the time went."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from nexis_eval import events
from nexis_eval.graph.builders import BUILDERS
from nexis_store.digest import DerivationId


@dataclass(slots=True)
class _Step:
    label: str
    kind: str
    needs: tuple[DerivationId, ...]
    started_ns: int
    ended_ns: int = 0
    phase: str = ""
    phase_started_ns: int = 0
    spent: dict[str, int] = field(default_factory=dict)


class Timeline:
    """Takes in each event and passes it on to ``emit``. ``clock`` is in nanoseconds."""

    def __init__(self, emit: Callable[[events.Event], None], clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._emit = emit
        self._clock = clock
        self._steps: dict[DerivationId, _Step] = {}

    def __call__(self, event: events.Event) -> None:
        """Take in one event."""
        match event:
            case events.StepStarted():
                now = self._clock()
                self._steps[event.derivation] = _Step(event.label, event.kind, event.needs, now, phase_started_ns=now)
            case events.StepPhase(derivation=each, phase=phase) if each in self._steps:
                self._change(self._steps[each], phase)
            case events.StepFinished(derivation=each) | events.StepFailed(derivation=each) if each in self._steps:
                step = self._steps[each]
                self._change(step, "")
                step.ended_ns = self._clock()
            case _:
                pass
        self._emit(event)

    def _change(self, step: _Step, phase: str) -> None:
        now = self._clock()
        what = step.phase or ("start" if BUILDERS[step.kind].runs else step.kind)
        step.spent[what] = step.spent.get(what, 0) + now - step.phase_started_ns
        step.phase, step.phase_started_ns = phase, now

    def longest_chain(self) -> tuple[tuple[str, int], ...]:
        """(label, nanoseconds) of the steps that waited for each other until the end, first one first.

        From the step that ended last, back to the one among its inputs that ended last, and so on: to finish earlier,
        one of these must take less.
        """
        ended = [each for each in self._steps.values() if each.ended_ns]
        chain: list[tuple[str, int]] = []
        step = max(ended, key=lambda each: each.ended_ns, default=None)
        while step is not None:
            chain.append((step.label, step.ended_ns - step.started_ns))
            inputs = [self._steps[each] for each in step.needs if each in self._steps]
            step = max((each for each in inputs if each.ended_ns), key=lambda each: each.ended_ns, default=None)
        return tuple(reversed(chain))

    def spent(self) -> tuple[tuple[str, int], ...]:
        """(phase, or kind of step; nanoseconds), summed over all steps, most first."""
        total: dict[str, int] = {}
        for step in self._steps.values():
            for what, nanoseconds in step.spent.items():
                total[what] = total.get(what, 0) + nanoseconds
        return tuple(sorted(total.items(), key=lambda item: -item[1]))
