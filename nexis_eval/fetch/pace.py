"""The least rate at which a download must come. Pure but for reading the environment.

A server may be slow for a while. One that sends a byte a second would keep a build waiting for days: over each minute
of waiting at least so many bytes a second must have come. Only the time spent waiting for the server counts.
"""

from __future__ import annotations

import os

from nexis_eval.fetch.proxies import NetworkSettingError

VARIABLE = "NEXIS_LEAST_RATE"
LEAST_RATE_BYTES = 1000
"""A second."""
WINDOW_SECONDS = 60.0


class Pace:
    """Adds up what came in how much time of waiting."""

    def __init__(self, least_rate: int) -> None:
        self._least_rate = least_rate
        self._size = 0
        self._seconds = 0.0

    def too_slow(self, size: int, seconds: float) -> bool:
        """Note that ``size`` bytes came after ``seconds`` of waiting; whether the last minute was too slow."""
        self._size += size
        self._seconds += seconds
        if self._seconds < WINDOW_SECONDS:
            return False
        slow = self._size < self._least_rate * self._seconds
        self._size, self._seconds = 0, 0.0
        return slow


def least_rate() -> int:
    """What ``$NEXIS_LEAST_RATE`` says, in bytes a second; 0 is no limit. Raises ``NetworkSettingError``."""
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return LEAST_RATE_BYTES
    if not (text.isascii() and text.isdecimal() and len(text) <= 12):
        raise NetworkSettingError(
            f"{VARIABLE}: '{text}' is not a number of bytes a second", hint=f"{VARIABLE}=100, or 0 for any rate"
        )
    return int(text)


def slowness(least: int) -> str:
    """What to say of a server that was too slow."""
    return f"it sent less than {least:,} bytes a second for {WINDOW_SECONDS:.0f} seconds ({VARIABLE} sets the limit)"
