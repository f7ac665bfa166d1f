"""The time zones of the IANA database (https://www.iana.org/time-zones), by name.

A list of our own, so that a configuration means the same on a machine without tzdata: ``timezones.txt``, which
``make timezones`` takes from the machine's.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from nexis_eval.config import errors
from nexis_eval.config.kinds import InvalidValueError, Issue, Kind
from nexis_store.suggest import nearest


@cache
def names() -> frozenset[str]:
    """All of them."""
    lines = Path(__file__).with_name("timezones.txt").read_text(encoding="ascii").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))


def _timezone(value: object, _directory: str) -> object:
    if value == "UTC":
        return value
    if type(value) is not str:
        raise InvalidValueError((Issue(errors.WrongTypeError, "expected a string (a time zone)", 'such as "UTC"'),))
    if value not in names():
        near = nearest(value, names(), cutoff=0.5)
        hint = f"did you mean '{near}'?" if near else "such as Europe/Berlin or UTC"
        raise InvalidValueError((Issue(errors.TimezoneError, f"there is no time zone '{value}'", hint),))
    return value


TIMEZONE = Kind("a time zone", _timezone, {"type": "string", "pattern": "^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$"})
