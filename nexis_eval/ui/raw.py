"""Everything that builds print, as it comes, between the lines of the plain view: for logs of CI and for watching."""

from __future__ import annotations

import os
import threading
from types import TracebackType
from typing import TextIO

from nexis_eval import events
from nexis_eval.ui.plain import PlainView
from nexis_store.digest import DerivationId
from nexis_store.names import printable

INTERVAL_SECONDS = 0.1
_BLOCK = 1 << 16
_LONGEST = 1 << 16
"""Bytes; a longer line is told in pieces."""


class _Tail:
    """A growing log, told line by line under the name of its build."""

    def __init__(self, label: str, descriptor: int) -> None:
        self._label = label
        self._descriptor = descriptor
        self._rest = b""

    def lines(self) -> list[str]:
        """The lines that were completed since the last time."""
        found: list[str] = []
        while data := os.read(self._descriptor, _BLOCK):
            *complete, self._rest = (self._rest + data).split(b"\n")
            if len(self._rest) > _LONGEST:
                complete.append(self._rest)
                self._rest = b""
            found.extend(map(self._line, complete))
        return found

    def close(self) -> list[str]:
        """What is left."""
        found = self.lines()
        os.close(self._descriptor)
        return [*found, self._line(self._rest)] if self._rest else found

    def _line(self, line: bytes) -> str:
        return f"{self._label}> {printable(line.decode(errors='replace'), colours=True, longest=_LONGEST)}"


class RawView:
    """A ``PlainView`` that reads the logs of running builds along, in a thread of its own."""

    def __init__(self, stream: TextIO) -> None:
        self._plain = PlainView(stream)
        self._stream = stream
        self._tails: dict[DerivationId, _Tail] = {}
        self._labels: dict[DerivationId, str] = {}
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="raw-logs", daemon=True)

    def __enter__(self) -> RawView:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        for each in list(self._tails):
            self._close(each)
        self._plain.__exit__()

    def _follow(self) -> None:
        while not self._end.wait(INTERVAL_SECONDS):
            with self._lock:
                for each in self._tails.values():
                    self._print(each.lines())

    def _print(self, lines: list[str]) -> None:
        if lines:
            print("\n".join(lines), file=self._stream, flush=True)

    def _close(self, each: DerivationId) -> None:
        tail = self._tails.pop(each, None)
        if tail is not None:
            self._print(tail.close())

    def __call__(self, event: events.Event) -> None:
        """Tell one event, after what its build had printed until then."""
        with self._lock:
            match event:
                case events.StepStarted(derivation=each, label=label):
                    self._labels[each] = label
                case events.StepLog(derivation=each, path=path):
                    self._tails[each] = _Tail(self._labels.get(each, "?"), os.open(path, os.O_RDONLY | os.O_CLOEXEC))
                case events.StepFinished(derivation=each) | events.StepFailed(derivation=each):
                    self._close(each)
                case _:
                    pass
            self._plain(event)
