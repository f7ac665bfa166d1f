"""Finds dates and times in texts and bytes. Pure."""

from __future__ import annotations

import calendar
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

MONTHS = {name: index for index, name in enumerate(calendar.month_abbr) if name}
ZONE_SLACK_SECONDS = 14 * 3600
"""A date without its zone may be that far from UTC."""
DAY_SECONDS = 86400
EARLIEST, LATEST = 978_307_200, 4_102_444_800
"""2001 to 2100: what a number must lie between to be taken for a date."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A date or time in a text: ``epoch`` in seconds, right to ``slack`` seconds; ``epoch`` is ``None`` for a time of
    day without a date."""

    start: int
    end: int
    text: str
    epoch: float | None
    slack: float

    def within(self, clock: tuple[float, float] | None) -> bool:
        """Whether a build whose clock ran from ``clock[0]`` to ``clock[1]`` could have written it."""
        if clock is None or self.epoch is None:
            return False
        return clock[0] - self.slack - 2 <= self.epoch <= clock[1] + self.slack + 2


def _epoch(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> float | None:
    if not (1970 <= year <= 2200 and 1 <= month <= 12 and 1 <= day <= 31 and hour < 25 and minute < 61 and second < 62):
        return None
    return float(calendar.timegm((year, month, day, hour, minute, second)))


def _iso(match: re.Match[str]) -> tuple[float | None, float]:
    numbers = [int(each) for each in match.groups() if each]
    slack = ZONE_SLACK_SECONDS + (DAY_SECONDS if len(numbers) == 3 else 60)
    return _epoch(*numbers), slack


def _named_month(match: re.Match[str]) -> tuple[float | None, float]:
    parts = match.groupdict()
    month = MONTHS.get(parts["month"].title())
    if month is None:
        return None, 0
    clock = [int(each) for each in parts["time"].split(":")] if parts.get("time") else []
    slack = ZONE_SLACK_SECONDS + (60 if clock else DAY_SECONDS)
    return _epoch(int(parts["year"]), month, int(parts["day"]), *clock), slack


def _seconds(match: re.Match[str]) -> tuple[float | None, float]:
    digits, slack = match.group(1), 1.0
    value = float(digits[:10])
    return (value if EARLIEST <= value <= LATEST else None), slack


def _time_of_day(match: re.Match[str]) -> tuple[float | None, float]:
    return None, 0


_TIME = r"\d{1,2}:\d{2}(?::\d{2})?"
_MONTH = "|".join(MONTHS)
_PATTERNS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], tuple[float | None, float]], bool], ...] = (
    (re.compile(r"\b(\d{4})[-/.](\d{2})[-/.](\d{2})(?:[T _](\d{2}):(\d{2})(?::(\d{2}))?)?"), _iso, True),
    (re.compile(r"\b((?:19|20|21)\d{2})(\d{2})(\d{2})[T_-]?(?:(\d{2})(\d{2})(\d{2})?(?:\d\d)?)?(?!\d)"), _iso, True),
    (
        re.compile(
            rf"\b(?P<month>{_MONTH})[a-z]*\.? +(?P<day>\d{{1,2}}),?"
            rf"(?: +(?P<time>{_TIME}))?(?: +[A-Z]{{3,5}})? +(?P<year>\d{{4}})(?: +{_TIME})?",
            re.IGNORECASE,
        ),
        _named_month,
        True,
    ),
    (
        re.compile(
            rf"\b(?P<day>\d{{1,2}})[ -](?P<month>{_MONTH})[a-z]*\.?[ -](?P<year>\d{{4}})(?: +(?P<time>{_TIME}))?",
            re.IGNORECASE,
        ),
        _named_month,
        True,
    ),
    (re.compile(r"(?<![0-9A-Za-z.])(\d{10}(?:\d{3}|\d{6}|\d{9})?)(?![0-9A-Za-z])"), _seconds, True),
    (re.compile(r"\b(\d{2}:\d{2}:\d{2})(?:[.,]\d+)?\b"), _time_of_day, False),
)


def moments(text: str) -> Iterator[Moment]:
    """Every date or time in ``text``; a place may be found under several readings."""
    for pattern, reader, needs_epoch in _PATTERNS:
        for match in pattern.finditer(text):
            epoch, slack = reader(match)
            if epoch is not None or not needs_epoch:
                yield Moment(match.start(), match.end(), match.group(), epoch, slack)


def spelt(value: str) -> str:
    """A number of seconds since the epoch with its date, anything else as it is."""
    whole = value.partition(".")[0]
    if not (whole.isdecimal() and EARLIEST <= int(whole) <= LATEST):
        return value
    stamp = datetime.fromtimestamp(int(whole), UTC)
    return f"{value} ({stamp:%Y-%m-%d %H:%M:%S} UTC)"


def binary_moments(data: bytes, start: int, end: int) -> Iterator[tuple[int, str, int]]:
    """Plausible 32-bit and 64-bit times that cover some of ``data[start:end]``: offset, spelling, value in seconds."""
    for layout, size in (("<I", 4), (">I", 4), ("<Q", 8), (">Q", 8)):
        for at in range(max(0, start - size + 1), min(end, len(data) - size + 1)):
            value = struct.unpack_from(layout, data, at)[0]
            if EARLIEST <= value <= LATEST:
                yield at, layout, value
