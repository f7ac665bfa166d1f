"""Did you mean …?"""

from __future__ import annotations

from collections.abc import Iterable

_MANY = 500
"""With more names than this, only those of about the length and with the same first letter are compared."""


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The one of ``known`` that ``name`` was probably meant to be."""
    # Imported on use: most runs have no mistake to explain.
    from difflib import get_close_matches

    names = list(known)
    if len(names) > _MANY:
        names = [each for each in names if each[:1] == name[:1] and abs(len(each) - len(name)) <= 2][: 4 * _MANY]
    near = get_close_matches(name, names, n=1, cutoff=cutoff)
    return near[0] if near else None


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """A hint that offers the nearest name, or says something else."""
    near = nearest(name, known)
    return f"did you mean '{near}'?" if near else otherwise
