"""How numbers and names read. Pure."""

from __future__ import annotations

VERBS = {
    "fetch": "fetch",
    "git": "fetch",
    "local": "take in",
    "files": "write",
    "unpack": "unpack",
    "union": "compose",
    "script": "build",
    "choice": "choose",
}
"""What a step does, by kind of builder."""


def duration(nanoseconds: int) -> str:
    """A time as people say it: ``0.4 s``, ``12 s``, ``3 min 05 s``, ``1 h 02 min``."""
    seconds = nanoseconds / 1e9
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, whole = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {whole:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min"


def size(number: int) -> str:
    """Bytes in binary units: ``312 B``, ``4.1 KiB``, ``72.0 MiB``."""
    if number < 1024:
        return f"{number} B"
    value = float(number)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 1024:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} TiB"


def plural(number: int, noun: str) -> str:
    """``1 step``, ``2 steps``; a noun may bring its own plural: ``"patch|patches"``."""
    one, _, many = noun.partition("|")
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def summary(built: int, fetched: int, cached: int, cut_off: int, failed: int) -> str:
    """The counts of a run in one line; what did not happen is left out."""
    parts = [
        f"{number:,} {word}"
        for number, word in (
            (built, "built"),
            (fetched, "fetched"),
            (cut_off, "cut off (inputs came out unchanged)"),
            (cached, "already there"),
            (failed, "failed"),
        )
        if number
    ]
    return ", ".join(parts) or "nothing to do"
