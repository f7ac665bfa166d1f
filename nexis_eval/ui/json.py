"""Events as JSON, one object a line: for programs that watch a build."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, TextIO

from nexis_eval import events


def _plain(value: object) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


class JsonView:
    """Writes one line an event to ``stream``; the ``event`` member names its type."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __enter__(self) -> JsonView:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.flush()

    def __call__(self, event: events.Event) -> None:
        """Write one event."""
        values = {each.name: _plain(getattr(event, each.name)) for each in fields(event)}
        print(json.dumps({"event": type(event).__name__, **values}), file=self._stream, flush=True)
