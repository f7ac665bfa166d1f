"""Progress on a terminal: what is running and for how long, how far the whole is, what is left."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TextIO

from rich.console import Console, Group, OverflowMethod, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from nexis_eval import events
from nexis_eval.graph.builders import BUILDERS
from nexis_eval.ui import text
from nexis_eval.ui.plain import now_ns
from nexis_store.digest import DerivationId
from nexis_store.names import printable

MAX_ROWS = 8
KNOWN_ENOUGH = 0.5
"""No word on how long it will take while more than this part of that would be guessed."""
SHORTEST_BAR, LONGEST_BAR = 8, 24
"""Columns; what stands beside the bar is worth more than the bar."""
ECHO_WIDTH = len("^C") + 1
STYLES = {"error": "bold red", "note": "yellow", "text": "default", "log": "dim", "culprit": "bold red", "hint": "cyan"}


@dataclass(frozen=True, slots=True)
class Signs:
    """What is drawn beside words."""

    filled: str = "━"
    empty: str = "─"
    done: str = "✓"
    more: str = "…"
    overflow: OverflowMethod = "ellipsis"


ASCII = Signs("#", "-", "done:", "...", "crop")
"""For terminals that know no others."""


def signs_for(stream: TextIO) -> Signs:
    """The signs that a stream can show."""
    signs = Signs()
    try:
        (signs.filled + signs.empty + signs.done + signs.more).encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return signs


@dataclass(slots=True)
class _Running:
    label: str
    kind: str
    started_ns: int
    expected_ns: int | None
    phase: str = ""
    done_bytes: int = 0
    total_bytes: int | None = None


class TerminalView:
    """A live block at the bottom of the terminal; finished builds scroll away above it."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False)
        self._signs = signs_for(stream)
        self._running: dict[DerivationId, _Running] = {}
        self._total = 0
        self._done = 0
        self._counts = dict.fromkeys(("built", "fetched", "cut off", "failed"), 0)
        self._estimate: events.Estimate | None = None
        self._estimated_ns = 0
        self._started_ns = now_ns()
        self._live = Live(console=self._console, get_renderable=self._render, refresh_per_second=8, transient=True)

    def __enter__(self) -> TerminalView:
        self._live.start()
        with suppress(RuntimeError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGTSTP, self._suspend)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(RuntimeError):
            asyncio.get_running_loop().remove_signal_handler(signal.SIGTSTP)
        self._live.stop()

    def _suspend(self) -> None:
        """Ctrl-Z: the shell gets its line and its cursor back; with ``fg`` all is drawn anew below what it printed."""
        self._live.stop()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._live.start()

    def _render(self) -> RenderableType:
        if not self._total:
            return Text("")
        rows: list[Text] = []
        slowest = sorted(self._running.copy().values(), key=lambda each: each.started_ns)
        for each in slowest[:MAX_ROWS]:
            rows.append(self._row(each))
        if len(slowest) > MAX_ROWS:
            rows.append(Text(f"  {self._signs.more} and {len(slowest) - MAX_ROWS} more", style="dim"))
        rows.append(self._bar())
        return Group(*rows)

    def _row(self, each: _Running) -> Text:
        elapsed = now_ns() - each.started_ns
        row = Text(f"  {BUILDERS[each.kind].verb:8}", style="cyan")
        row.append(printable(each.label), style="bold")
        row.append(f"  {text.duration(elapsed)}", style="default")
        if each.expected_ns and BUILDERS[each.kind].runs:
            row.append(f" of about {text.duration(each.expected_ns)}", style="dim")
        if each.phase:
            row.append(f"  {each.phase}", style="dim")
        if each.done_bytes:
            total = f" of {text.size(each.total_bytes)}" if each.total_bytes else ""
            rate = text.size(int(each.done_bytes / max(elapsed / 1e9, 0.1)))
            row.append(f"  {text.size(each.done_bytes)}{total}, {rate}/s", style="dim")
        return self._cut(row)

    def _bar(self) -> Text:
        finished = sum(self._counts.values())
        told = Text(f"  {finished:,} of {self._total:,}")
        counts = [f"{number:,} {what}" for what, number in self._counts.items() if number]
        if self._done:
            counts.append(f"{self._done:,} cached")
        if counts:
            told.append(f": {', '.join(counts)}", style="dim")
        told.append(f"  {text.duration(now_ns() - self._started_ns)}")
        if self._estimate is not None and self._estimate.known >= KNOWN_ENOUGH:
            left = self._estimate.left_ns - (now_ns() - self._estimated_ns)
            told.append(f", about {text.duration(left)} left" if left > 1_000_000_000 else ", nearly done")
        width = self._room - told.cell_len - len("  ")
        if width < SHORTEST_BAR:
            return self._cut(told)
        width = min(width, LONGEST_BAR)
        filled = width * finished // max(self._total, 1)
        bar = Text("  ")
        bar.append(self._signs.filled * filled, style="green")
        bar.append(self._signs.empty * (width - filled), style="dim")
        return bar.append_text(told)

    @property
    def _room(self) -> int:
        """Columns of a line that are written to: with room for the ``^C`` that appears when somebody types that.

        In the last column that would begin a new line, and what is erased afterwards would be the wrong one.
        """
        return max(self._console.width - ECHO_WIDTH, 1)

    def _cut(self, line: Text) -> Text:
        line.truncate(self._room, overflow=self._signs.overflow)
        line.no_wrap = True
        return line

    def __call__(self, event: events.Event) -> None:
        """Take in one event."""
        match event:
            case events.PlanReady(total=total, done=done):
                self._total, self._done = total - done, done
                self._counts = dict.fromkeys(self._counts, 0)
            case events.Estimate():
                self._estimate, self._estimated_ns = event, now_ns()
            case events.StepStarted():
                self._running[event.derivation] = _Running(event.label, event.kind, now_ns(), event.expected_ns)
            case events.StepPhase(derivation=each, phase=phase) if each in self._running:
                self._running[each].phase = phase
            case events.StepProgress(derivation=each) if each in self._running:
                self._running[each].done_bytes = event.done_bytes
                self._running[each].total_bytes = event.total_bytes
            case events.StepFinished():
                self._running.pop(event.derivation, None)
                self._counts["fetched" if BUILDERS[event.kind].fetches else "built"] += 1
                if BUILDERS[event.kind].runs or event.unchanged:
                    self._tell(event)
            case events.StepCached():
                self._counts["cut off"] += 1
            case events.StepFailed():
                self._running.pop(event.derivation, None)
                self._counts["failed"] += 1
                for kind, line in text.failure(event):
                    self._console.print(Text(printable(line), style=STYLES[kind]), soft_wrap=True)
            case events.Warned(message=message):
                self._console.print(Text(printable(f"warning: {message}"), style=STYLES["note"]), soft_wrap=True)
            case events.Finished():
                self._total = 0
                for line in text.account(event):
                    self._console.print(Text(printable(line)), soft_wrap=True)
            case _:
                pass

    def _tell(self, event: events.StepFinished) -> None:
        what = f"{BUILDERS[event.kind].verb} [bold]{escape(printable(event.label))}[/]"
        line = f"[green]{self._signs.done}[/] {what}  {text.duration(event.duration_ns)}"
        if text.tells_unchanged(event):
            line += "  [dim]came out unchanged: nothing that uses it is rebuilt[/]"
        if event.note:
            line += f"  [yellow]{escape(printable(text.one_line(event.note)))}[/]"
        self._console.print(line)
